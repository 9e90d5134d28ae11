"""Every loss: one value a box.

`name_loss(predictions, targets, *, options, where=None)` takes two arrays of one shape and reduces only their last
axis; the functions in `reductions` do the rest. Rows that `where` masks are replaced before anything is computed, so
they add exactly 0 to the loss and to the gradient, even when they hold NaN. A NaN in a row that is not masked
propagates.

In the formulas I is the area of the intersection of the boxes, U that of their union, and C that of their hull, the
smallest box around both.
"""

import functools
import operator
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jax import core

from jaxbox import boxes, numerics, similarity

# What all losses do before and after their formula.


def _masked(predictions: chex.Array, targets: chex.Array, where: chex.Array | None) -> tuple[chex.Array, chex.Array]:
    """Puts zeros in both places of a masked row: at equal boxes, even empty ones, every loss is 0 and stationary."""
    boxes.assert_aligned(predictions=predictions, targets=targets)
    if where is None:
        return predictions, targets
    boxes.assert_mask(where, predictions.shape[:-1])
    keep = jnp.expand_dims(where, -1)
    return jnp.where(keep, predictions, 0), jnp.where(keep, targets, 0)


def _sum_over_coordinates(
    function: Callable[[jax.Array], jax.Array], predictions: chex.Array, targets: chex.Array, where: chex.Array | None
) -> jax.Array:
    predictions, targets = numerics.promote(*_masked(predictions, targets, where))
    return numerics.seam(functools.reduce(operator.add, map(function, boxes.coordinates(predictions - targets))))


def _one_minus(
    alike: Callable[[chex.Array, chex.Array], jax.Array],
    predictions: chex.Array,
    targets: chex.Array,
    where: chex.Array | None,
) -> jax.Array:
    boxes.assert_boxes(predictions=predictions, targets=targets)
    return numerics.seam(1 - alike(*_masked(predictions, targets, where)))


# Coordinates.


def l1_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """Sum of the absolute errors of the coordinates.

    `sum(|d|)`, where d is prediction minus target. optax and torch return one value a coordinate instead, or their
    mean. DETR takes this loss of centres and sides in units of the image: convert with `boxes.xyxy_to_cxcywh` first.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the unit of the coordinates, `[...]`, in `[0, inf)`.

    Gradient:
      The sign of each error; 0 where it is 0.

    References:
      Carion et al., 2020, https://arxiv.org/abs/2005.12872
    """
    return _sum_over_coordinates(numerics.absolute, predictions, targets, where)


def l2_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """Half the sum of the squared errors of the coordinates.

    `sum(d^2 / 2)`, where d is prediction minus target: `optax.l2_loss`, summed over the coordinates. torch leaves out
    the half, and takes the mean.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the squared unit of the coordinates, `[...]`, in `[0, inf)`.

    Gradient:
      The errors themselves.

    References:
      Girshick et al., 2013, https://arxiv.org/abs/1311.2524
    """
    return _sum_over_coordinates(lambda error: error * error / 2, predictions, targets, where)


def smooth_l1_loss(
    predictions: chex.Array, targets: chex.Array, *, beta: chex.Numeric = 1.0, where: chex.Array | None = None
) -> jax.Array:
    """Sum of the absolute errors of the coordinates, each rounded off near 0.

    `sum(d^2 / (2 beta) if |d| < beta else |d| - beta / 2)`, where d is prediction minus target. Its slope far from the
    target is 1 for every beta; that of `huber_loss` is delta, and the two agree only at 1.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      beta: where the parabola ends, in the unit of the coordinates, not negative; may be traced. 0 gives `l1_loss`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the unit of the coordinates, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if `beta` is negative.

    Gradient:
      `clip(d, -beta, beta) / beta`.

    References:
      Girshick, 2015, https://arxiv.org/abs/1504.08083
    """
    _require_not_negative(beta=beta)
    return _sum_over_coordinates(lambda d: numerics.smooth_absolute(d, beta), predictions, targets, where)


def huber_loss(
    predictions: chex.Array, targets: chex.Array, *, delta: chex.Numeric = 1.0, where: chex.Array | None = None
) -> jax.Array:
    """Sum of half the squared errors of the coordinates, each growing only linearly beyond delta.

    `sum(d^2 / 2 if |d| < delta else delta (|d| - delta / 2))`, where d is prediction minus target. It is delta times
    `smooth_l1_loss` with that beta, and the two agree only at 1.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      delta: where the parabola ends, in the unit of the coordinates, not negative; may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the squared unit of the coordinates, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if `delta` is negative.

    Gradient:
      `clip(d, -delta, delta)`.

    References:
      Huber, 1964, https://doi.org/10.1214/aoms/1177703732
    """
    _require_not_negative(delta=delta)
    return _sum_over_coordinates(
        lambda d: jnp.asarray(delta, d.dtype) * numerics.smooth_absolute(d, delta), predictions, targets, where
    )


def _require_not_negative(**options: chex.Numeric) -> None:
    for name, value in options.items():
        if not isinstance(value, core.Tracer) and value < 0:
            raise ValueError(f"`{name}` is {value}, but a length is not negative. Write `{name}=1.0`, its default.")


# Overlap of upright boxes.


def iou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the intersection over union.

    `1 - I / U`. It does not depend on the unit or the origin, as L1 and L2 do, but it has no gradient where the boxes
    are
    apart: that is its definition, and what the losses below mend.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, and for boxes that are apart.

    References:
      Yu et al., 2016, https://arxiv.org/abs/1608.01471
    """
    return _one_minus(similarity.iou, predictions, targets, where)


def giou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the generalized IoU.

    `1 - IoU + (C - U) / C`. The second term is the share of the hull that neither box covers; it draws together boxes
    that are apart.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    return _one_minus(similarity.giou, predictions, targets, where)


def diou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the distance IoU.

    `1 - IoU + rho^2 / D^2`, where rho is the distance of the centres and D the diagonal of the hull.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return _one_minus(similarity.diou, predictions, targets, where)


def ciou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the complete IoU, for boxes in the plane.

    `1 - IoU + rho^2 / D^2 + alpha v`, where v is the squared angle between the diagonals of the boxes over that of a
    right angle, and `alpha = v / ((1 - IoU) + v)` is held constant in the gradient.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes.

    References:
      Zheng et al., 2020, https://arxiv.org/abs/2005.03572
    """
    boxes.assert_boxes(predictions=predictions, targets=targets, planar=True)
    return _one_minus(similarity.ciou, predictions, targets, where)
