"""The IoU and its kin, bent: powers and logarithms of their terms, IoU rescaled, IoU of boxes that are rescaled.

The letters of the formulas are those of `overlap`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import _checks, numerics, similarity
from jaxbox._checks import EXPONENT, FLOOR, LOWER_IOU, PLANE, POSITIVE, UPPER_IOU
from jaxbox._geometry import Axis, Pair, overlap
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "squared_iou_loss",
    "log_iou_loss",
    "alpha_iou_loss",
    "alpha_giou_loss",
    "alpha_diou_loss",
    "alpha_ciou_loss",
    "inner_iou_loss",
    "focaler_iou_loss",
]


@preparation.loss()
def squared_iou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the squared IoU.

    `1 - IoU^2`. Its slope grows with the IoU.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, and wherever the IoU is 0: for boxes that are apart or only touch, and for a point, a box of
      no width or height, or a flipped box.

    References:
      Rahman and Wang, 2016, https://doi.org/10.1007/978-3-319-50835-1_22
    """
    overlap = similarity.iou(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(1 - jnp.square(overlap))


@preparation.loss(floor=FLOOR)
def log_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    floor: float | jax.Array | np.ndarray = 1e-6,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Minus the logarithm of the IoU.

    `-ln max(IoU, floor)`. The floor bounds the loss of boxes that are apart; libraries differ in it.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      floor: the least IoU that counts; from 1e-30 on and below 1, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, -ln floor]`; 0 only for equal boxes.

    Raises:
      ValueError: if `floor` is outside these bounds.

    Gradient:
      Zero for equal boxes, and for an IoU below the floor: for boxes that are apart or only touch, and for a point, a
      box of no width or height, or a flipped box.

    References:
      Yu et al., 2016, https://arxiv.org/abs/1608.01471
    """
    overlap = similarity.iou(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(-jnp.log(numerics.maximum(overlap, floor)))  # above 0 by the floor


@preparation.loss(alpha=EXPONENT)
def alpha_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 3.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus a power of the IoU.

    `1 - IoU^alpha`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes, and wherever the IoU is 0: for boxes that are apart or only touch, and for a point, a box of
      no width or height, or a flipped box.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    overlap = similarity.iou(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(1 - numerics.power(overlap, alpha))


@preparation.loss(alpha=EXPONENT)
def alpha_giou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 3.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The generalized IoU loss with its terms raised to a power.

    `1 - IoU^alpha + ((C - U) / C)^alpha`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2]`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes, and for a point or a box of no width or height inside its target. It is weak for boxes that
      are apart, where descent may enlarge the box, or not turn back a flipped one.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(1 - (numerics.power(pair.iou, alpha) - numerics.power(pair.vacancy, alpha)))


@preparation.loss(alpha=EXPONENT)
def alpha_diou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 3.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The distance IoU loss with its terms raised to a power.

    `1 - IoU^alpha + (rho^2 / D^2)^alpha`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes. It is weak for boxes that are apart, where descent may enlarge the box instead.
      A point, a box of no width or height, or a flipped box is turned inside out further, which enlarges D.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(1 - (numerics.power(pair.iou, alpha) - numerics.power(pair.distance, alpha)))


@preparation.loss(layout=PLANE, alpha=EXPONENT)
def alpha_ciou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 3.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The complete IoU loss with its terms raised to a power, for boxes in the plane.

    `1 - IoU^alpha + (rho^2 / D^2)^alpha + (beta v)^alpha`, where beta is the weight that `ciou_loss` calls alpha:
    without a gate.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes. It is weak for boxes that are apart, where descent may enlarge the box instead.
      A point or a flipped box is turned inside out further, which enlarges D.
      Held constant: beta.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    terms = pair.iou, pair.distance, pair.weighted_aspect
    iou_power, distance_power, aspect_power = (numerics.power(term, alpha) for term in terms)
    return numerics.fusion_barrier(1 - (iou_power - distance_power - aspect_power))


@preparation.loss(ratio=POSITIVE)
def inner_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    ratio: float | jax.Array | np.ndarray = 0.7,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the IoU of the boxes scaled about their own centers.

    `1 - IoU(scaled boxes)`. A ratio below 1 looks at the cores of boxes that overlap well, one above 1 reaches boxes
    that are apart. Combined forms are sums:

    >>> import jax.numpy as jnp
    >>> from jaxbox import losses
    >>> boxes = jnp.array([0.0, 0, 4, 4]), jnp.array([1.0, 0, 5, 5])
    >>> inner_ciou = losses.ciou_loss(*boxes) + losses.inner_iou_loss(*boxes, ratio=0.8) - losses.iou_loss(*boxes)
    >>> print(inner_ciou.round(3))
    0.605

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      ratio: what the sides are multiplied by; from 1e-15 to 1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Raises:
      ValueError: if `ratio` is outside these bounds.

    Gradient:
      Zero for equal boxes, where the scaled boxes are apart, and for a point or a flipped box, which cover nothing. A
      box of no width or height may be scaled out of its target.

    References:
      Zhang et al., 2023, https://arxiv.org/abs/2311.02877
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(1 - _scaled(pair, ratio).iou)


def _scaled(pair: Pair, ratio: float | jax.Array | np.ndarray) -> Pair:
    """The geometry of the boxes scaled about their own centers, in a unit of length of `ratio`."""
    ratio = jnp.asarray(ratio, pair.axes[0].offset.dtype)

    # In units of the ratio, in which the sides are what they were: scaled ones could be too small, or too large, to be
    # multiplied. The center of the second box is the origin: far from it corners would round.
    def scaled(axis: Axis) -> Axis:
        a, b, x = axis.side_a, axis.side_b, axis.offset / ratio
        return Axis(a, b, overlap(x - a / 2, x + a / 2, -b / 2, b / 2), x)

    return Pair(tuple(map(scaled, pair.axes)))


@preparation.loss(ordered=("lower", "upper"), lower=LOWER_IOU, upper=UPPER_IOU)
def focaler_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    lower: float | jax.Array | np.ndarray = 0.0,
    upper: float | jax.Array | np.ndarray = 0.95,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the IoU stretched from an interval to all of [0, 1].

    `1 - clip((IoU - lower) / (upper - lower), 0, 1)`. Combined forms are sums:

    >>> import jax.numpy as jnp
    >>> from jaxbox import losses
    >>> boxes = jnp.array([0.0, 0, 4, 4]), jnp.array([1.0, 0, 5, 5])
    >>> focaler_giou = losses.giou_loss(*boxes) + losses.focaler_iou_loss(*boxes) - losses.iou_loss(*boxes)
    >>> print(focaler_giou.round(3))
    0.514

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      lower: the IoU whose loss is 1; from 0 on, `()` or one a box, may be traced.
      upper: the IoU whose loss is 0; 1 or below, and above `lower` by 1e-6 at least; `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 from `upper` on.

    Raises:
      ValueError: if `lower` is not below `upper`, or one is no IoU.

    Gradient:
      Zero for an IoU outside the interval, so that a box stays where its IoU reaches `upper`, and for boxes that are
      apart, a point or a flipped box, which cover nothing.

    References:
      Zhang and Zhang, 2024, https://arxiv.org/abs/2401.10525
    """
    overlap = similarity.iou(*preparation.masked(where, predictions, targets))
    lower, upper = (jnp.asarray(bound, overlap.dtype) for bound in (lower, upper))
    width = numerics.maximum(upper - lower, _checks.LEAST_WIDTH)
    return numerics.fusion_barrier(1 - (1 - numerics.clip((upper - overlap) / width, 0, 1)))
