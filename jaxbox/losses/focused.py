"""Losses of other families with a weight that says which boxes count. The weight, or what it is made of, is held."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import numerics, similarity
from jaxbox._checks import EXPONENT, FROM_1, POSITIVE
from jaxbox._geometry import Pair
from jaxbox.losses import preparation
from jaxbox.losses.overlap import eiou_loss, powerful_iou_loss

__all__ = [  # in the order of the tables
    "focal_eiou_loss",
    "wiou_loss",
    "focused_wiou_loss",
    "focused_powerful_iou_loss",
]


@preparation.loss(gamma=EXPONENT)
def focal_eiou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    gamma: float | jax.Array | np.ndarray = 0.5,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The efficient IoU loss, weighted by a power of the IoU.

    `IoU^gamma (1 - EIoU)`. The slope of the weight is infinite at an IoU of 0, so it is held constant.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      gamma: the power; above 0, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)` in the plane; 0 for equal boxes, and for boxes that are apart.

    Raises:
      ValueError: if `gamma` is not positive.

    Gradient:
      Zero for equal boxes, and wherever the IoU is 0: nothing moves boxes that are apart or only touch, a point, a
      box of no width or height, or a flipped box, so train with another loss beside it. A step against the gradient may
      raise the loss, as the weight grows with the IoU.
      Held constant: IoU^gamma.

    References:
      Zhang et al., 2021, https://arxiv.org/abs/2101.08158
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    weight = lax.stop_gradient(numerics.power(similarity.iou(predictions, targets), gamma))
    return numerics.fusion_barrier(weight * eiou_loss(predictions, targets))


@preparation.loss()
def wiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """The IoU loss, weighted by the distance of the centers: Wise-IoU version 1.

    `exp(rho^2 / D^2) (1 - IoU)`. Without the gradient of D no box grows to enlarge it.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, e)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A point or a flipped box stays where its center is that of the target: it covers nothing.
      Held constant: D.

    References:
      Tong et al., 2023, https://arxiv.org/abs/2301.10051
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    distance = numerics.divide(pair.squared_offset, lax.stop_gradient(pair.squared_diagonal))
    return numerics.fusion_barrier(jnp.exp(distance) * (1 - pair.iou))


@preparation.loss(mean_loss=POSITIVE, alpha=FROM_1, delta=POSITIVE)
def focused_wiou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    mean_loss: float | jax.Array | np.ndarray,
    alpha: float | jax.Array | np.ndarray = 1.9,
    delta: float | jax.Array | np.ndarray = 3.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The WIoU loss with a weight that favours boxes of ordinary quality: Wise-IoU version 3.

    `b / (delta alpha^(b - delta)) exp(rho^2 / D^2) (1 - IoU)`, where b is the IoU loss of the box over the running mean
    of IoU losses; a weight above 1e6 counts as that.
    `reductions.update_mean` keeps that mean, which is an argument and a result of the training step:

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxbox import losses, reductions
    >>> @jax.jit
    ... def step(predictions, targets, mean_loss):
    ...     def loss_of(predictions):
    ...         values = losses.focused_wiou_loss(predictions, targets, mean_loss=mean_loss)
    ...         ious = losses.iou_loss(predictions, targets)
    ...         return reductions.weighted_mean(values), reductions.update_mean(mean_loss, ious, momentum=0.01)
    ...     gradient, mean_loss = jax.grad(loss_of, has_aux=True)(predictions)
    ...     return predictions - 0.1 * gradient, mean_loss
    >>> predictions, targets = jnp.array([[0.0, 0, 4, 4]]), jnp.array([[1.0, 0, 5, 5]])
    >>> mean_loss = jnp.float32(1)
    >>> for _ in range(100):
    ...     predictions, mean_loss = step(predictions, targets, mean_loss)
    >>> print(mean_loss.round(2), losses.iou_loss(predictions, targets).round(2))
    0.51 [0.07]

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      mean_loss: running mean of `iou_loss`; from 1e-15 to 1e15, `()` or one a box, may be traced.
      alpha: base of the weight; from 1 to 1e15, `()` or one a box, may be traced. Below 1 the weight would
        grow with the outlier degree.
      delta: the outlier degree whose weight is 1; from 1e-15 to 1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, inf)`; 0 only for equal boxes.

    Raises:
      ValueError: if an option is outside its bounds.

    Gradient:
      Zero for equal boxes. A point or a flipped box stays where its center is that of the target. A step
      against the gradient may raise the loss, as b is not differentiated.
      Held constant: b and D.

    References:
      Tong et al., 2023, https://arxiv.org/abs/2301.10051
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    iou_losses = 1 - similarity.iou(predictions, targets)
    mean_loss, alpha, delta = (jnp.asarray(option, iou_losses.dtype) for option in (mean_loss, alpha, delta))
    outlier = numerics.divide(iou_losses, mean_loss)
    # Both bounds are beyond what a box of ordinary quality has. They keep the gradients of tiny boxes finite.
    power = jnp.exp(numerics.minimum((delta - outlier) * jnp.log(alpha), 34))
    weight = lax.stop_gradient(numerics.minimum(outlier / delta * power, 1e6))
    return numerics.fusion_barrier(weight * wiou_loss(predictions, targets))


@preparation.loss(focus=POSITIVE)
def focused_powerful_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    focus: float | jax.Array | np.ndarray = 1.3,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The powerful IoU loss with a weight that favours boxes of ordinary quality: PIoU version 2.

    `3 z exp(-z^2) (1 - IoU + 1 - exp(-p^2))`, where `z = focus exp(-p)` and p is the mean distance of the edges in
    units of the side of the target. Nothing is held constant, so that the loss falls again for boxes far from the
    target.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      focus: the paper's lambda; from 1e-15 to 1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2.6)`; 0 only for equal boxes.

    Raises:
      ValueError: if `focus` is outside these bounds.

    Gradient:
      Zero for equal boxes. A box whose edges are more than about one side of the target away is pushed away from it,
      with less and less force, as are a point and a flipped box that are apart.

    References:
      Liu et al., 2024, https://doi.org/10.1016/j.neunet.2023.11.041
    """
    # Promoted here, since the gradients of two uses add up, which must not be done in half precision.
    predictions, targets = numerics.promote(*preparation.masked(where, predictions, targets))
    error = Pair.of(predictions, targets).edge_error
    # z exp(-z^2) is 0 from 40 on, so that no focus overflows.
    z = jnp.exp(numerics.minimum(jnp.log(focus) - error, math.log(40)))
    return numerics.fusion_barrier(3 * z * jnp.exp(-z * z) * powerful_iou_loss(predictions, targets))
