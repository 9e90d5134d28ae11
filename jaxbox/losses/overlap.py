"""Losses of the overlap of upright boxes, and of what was put beside it for boxes that do not overlap.

In the formulas I is the area of the intersection of the boxes, U that of their union, and C that of their hull, the
smallest box around both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import numerics, similarity
from jaxbox._checks import EXPONENT, NOT_NEGATIVE, PLANE
from jaxbox._geometry import Axis, Pair, sum_of_squares
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "iou_loss",
    "bounded_iou_loss",
    "giou_loss",
    "diou_loss",
    "ciou_loss",
    "eiou_loss",
    "extended_iou_loss",
    "siou_loss",
    "mgiou_loss",
    "mpdiou_loss",
    "shape_iou_loss",
    "powerful_iou_loss",
]


@preparation.loss()
def iou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the intersection over union.

    `1 - I / U`. It does not depend on the unit or the origin, as L1 and L2 do, but it has no gradient where the boxes
    are apart: that is its definition, and what the losses below mend.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, for boxes that are apart, and for a point or a flipped box, which cover nothing.

    References:
      Yu et al., 2016, https://arxiv.org/abs/1608.01471
    """
    return numerics.fusion_barrier(1 - similarity.iou(*preparation.masked(where, predictions, targets)))


@preparation.loss(beta=NOT_NEGATIVE)
def bounded_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    beta: float | jax.Array | np.ndarray = 0.2,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Smooth L1 of one minus the best IoU that each coordinate alone allows.

    `sum(smooth_l1(1 - B))` over the coordinates of center and sides, where `B = max(0, (s - 2 |x|) / (s + 2 |x|))` for
    the offset x of the center along a side s of the target, and `B = min(t / s, s / t)` for the side t of the
    prediction.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      beta: where smooth L1 becomes straight, not negative; `()` or one a box, may be traced. Infinity gives 0.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)` in the plane, and up to 6 if a box is flipped; 0 only for
      equal boxes.

    Raises:
      ValueError: if `beta` is negative.

    Gradient:
      Zero for equal boxes. Nothing draws a center that is more than half a side of the target away, be it
      of a box that is apart, of a point or of a flipped box.
      Held constant: the target.

    References:
      Tychsen-Smith and Petersson, 2017, https://arxiv.org/abs/1711.00164
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    pair = Pair.of(predictions, lax.stop_gradient(targets))
    bounds = [_bound_of_offset(axis) for axis in pair.axes] + [_bound_of_sides(axis) for axis in pair.axes]
    return numerics.fusion_barrier(numerics.total(numerics.smooth_absolute(1 - bound, beta) for bound in bounds))


def _bound_of_offset(axis: Axis) -> jax.Array:
    """The greatest IoU that the offset of the center allows, in `[0, 1]`."""
    side, away = numerics.maximum(axis.side_b, 0), 2 * numerics.absolute(axis.offset)
    bound = numerics.divide(numerics.positive_part(side - away), side + away)
    return jnp.where(axis.offset == 0, 1, bound)  # by comparison: on a GPU a number over itself may not be 1


def _bound_of_sides(axis: Axis) -> jax.Array:
    """The greatest IoU that the two sides allow, in `[0, 1]`; down to -1 if a box is flipped."""
    bound = numerics.divide(numerics.minimum(axis.side_a, axis.side_b), axis.larger_side)
    return jnp.where((axis.side_a == axis.side_b) & (axis.side_a >= 0), 1, bound)


@preparation.loss()
def giou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
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
    return numerics.fusion_barrier(1 - similarity.giou(*preparation.masked(where, predictions, targets)))


@preparation.loss()
def diou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the distance IoU.

    `1 - IoU + rho^2 / D^2`, where rho is the distance of the centers and D the diagonal of the hull.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A flipped box is not turned back: turning it further enlarges D. So does turning a point
      inside out, which no area holds back.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return numerics.fusion_barrier(1 - similarity.diou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=PLANE)
def ciou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the complete IoU, for boxes in the plane.

    `1 - IoU + rho^2 / D^2 + alpha v`, where v is the squared angle between the diagonals of the boxes over that of a
    right angle, and `alpha = v / ((1 - IoU) + v)`. Alpha applies at every IoU, as in the paper below. A later paper,
    https://arxiv.org/abs/2005.03572, sets it to 0 below an IoU of 0.5, and so does mmdetection.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A flipped box is not turned back: turning it further enlarges D. So does turning a point
      inside out, which no area holds back.
      Held constant: alpha.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return numerics.fusion_barrier(1 - similarity.ciou(*preparation.masked(where, predictions, targets)))


@preparation.loss()
def eiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the efficient IoU.

    `1 - IoU + rho^2 / D^2 + sum((t - s)^2 / H^2)`, where t and s are the sides of the boxes along an axis and H that of
    the hull. This is Efficient-IoU; the other loss of that name is `extended_iou_loss`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)` in the plane; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A flipped box inside its target is not turned back: turning it further enlarges the hull.

    References:
      Zhang et al., 2021, https://arxiv.org/abs/2101.08158
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    changes = [numerics.divide(axis.side_difference, axis.hull) for axis in pair.axes]
    return numerics.fusion_barrier(1 - (pair.iou - pair.distance - sum_of_squares(changes)))


@preparation.loss(layout=PLANE, smooth=NOT_NEGATIVE)
def extended_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    smooth: float | jax.Array | np.ndarray = 0.1,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Smooth L1 of one minus an IoU that is continued below 0 for boxes that are apart.

    `smooth_l1(1 - S / (A + B - S))`, where A and B are the areas of the boxes, and S is that of their intersection, or
    minus that of a gap. mmdetection calls it EIoULoss; Efficient-IoU is `eiou_loss`.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      smooth: where smooth L1 becomes straight, not negative; `()` or one a box, may be traced. Infinity gives 0.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Raises:
      ValueError: if `smooth` is negative.

    Gradient:
      Zero for equal boxes. The formula is not symmetric: for boxes that are apart, their mirror images differ, and a
      point or a flipped box may stay there. A and B count together as 1e-12 of the hull at least, and nothing has a
      gradient if both are 0.

    References:
      Peng and Yu, 2021, https://arxiv.org/abs/2112.01793
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    shared = _signed_intersection(pair)
    # Nothing but the gap bounds it, so that against areas near 0 the quotient could be as steep as 1e60.
    areas = pair.area_a + pair.area_b
    counted = jnp.where(numerics.is_zero(areas), 0, numerics.maximum(areas, 1e-12 * pair.hull_area))
    extended_iou = pair.ratio_of_areas(shared, counted - shared)
    return numerics.fusion_barrier(numerics.smooth_absolute(1 - extended_iou, smooth))


def _signed_intersection(pair: Pair) -> jax.Array:
    """Area that both boxes in the plane cover, continued below 0 where they are apart, as Peng and Yu do."""
    # The low edge of the overlap, seen from the low corner of the hull. In a gap the high edge is below it, but not
    # below that corner, not even for a flipped box.
    low_x, low_y = lows = [numerics.absolute(axis.low_offset) for axis in pair.axes]
    overlaps = [axis.overlap for axis in pair.axes]
    x, y = overlaps = [jnp.where(low + o < 0, -low, o) for low, o in zip(lows, overlaps, strict=True)]
    gap_x, gap_y = (numerics.minimum(overlap, 0) for overlap in overlaps)
    # The published products of edges, multiplied out: they cancel for a small overlap far from the corner.
    return x * y + gap_x * gap_y + 2 * (gap_x * low_y + gap_y * low_x)


@preparation.loss(layout=PLANE, theta=EXPONENT)
def siou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    theta: float | jax.Array | np.ndarray = 4.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the SCYLLA IoU, for boxes in the plane.

    `1 - IoU + sum(1 - exp(-gamma (x / H)^2) + (1 - exp(-c))^theta) / 2` over the axes, where x is the offset of the
    center, H the side of the hull, c the difference of the sides over the larger one, and `gamma = 2 - 2 |x y| / rho^2`
    for the offsets x and y and the distance rho of the centers. That fraction is the sine of twice the angle of the
    offset, in closed form: the arcsine that the paper takes has an infinite slope along an axis. The offset is a cost:
    some copies have its sign turned, and reward it.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      theta: how little small differences of the sides count; above 0,
        `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Raises:
      ValueError: if `theta` is not positive.

    Gradient:
      Zero for equal boxes.

    References:
      Gevorgyan, 2022, https://arxiv.org/abs/2205.12740
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    x, y = (numerics.absolute(axis.offset) for axis in pair.axes)
    # Of the quotient, and not of squares, which can be too small to divide by.
    slope = numerics.divide(numerics.minimum(x, y), numerics.maximum(x, y))
    gamma = 2 - 2 * slope / (1 + slope * slope)
    shares = [numerics.divide(axis.offset, axis.hull) for axis in pair.axes]
    offset_cost = numerics.total(-jnp.expm1(-gamma * jnp.square(share)) for share in shares)
    shape_cost = _shape_cost((axis.side_change for axis in pair.axes), theta)
    return numerics.fusion_barrier(1 - (pair.iou - (offset_cost + shape_cost) / 2))


def _shape_cost(changes: Iterable[jax.Array], theta: float | jax.Array | np.ndarray) -> jax.Array:
    """What SIoU and shape IoU charge for sides that differ: the sum of `(1 - exp(-c))^theta`."""
    return numerics.total(numerics.power(-jnp.expm1(-change), theta) for change in changes)


@preparation.loss()
def mgiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Half of one minus the marginalized generalized IoU.

    `(1 - mean(o / H)) / 2` over the axes, where o is the overlap of the boxes along an axis, negative for a gap, and H
    the side of their hull. It ranks boxes and measures no area.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes.

    References:
      Le et al., 2025, https://arxiv.org/abs/2504.16443
    """
    return numerics.fusion_barrier((1 - similarity.mgiou(*preparation.masked(where, predictions, targets))) / 2)


@preparation.loss()
def mpdiou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    image_size: jax.Array | np.ndarray | Sequence[float | jax.Array | np.ndarray],
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the minimum point distance IoU.

    `1 - IoU + (d1^2 + d2^2) / (w^2 + h^2)`, where d1 and d2 are the distances of the low corners and of the high
    corners, and w and h are the sides of the image. Forks divide by other things; this is the paper.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      image_size: the shape of the image, `(height, width)`, in the unit of the boxes; may be traced. An array
        `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, inf)`; below 3 inside the image, and 0 only for equal boxes.

    Raises:
      ValueError: if `image_size` does not have `n` positive numbers.

    Gradient:
      Zero for equal boxes.

    References:
      Ma and Xu, 2023, https://arxiv.org/abs/2307.07662
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    # In units of the longest side, so that no square is too small or too large.
    size = jnp.asarray(image_size)
    unit = jnp.max(size, axis=-1)
    shape = size / jnp.expand_dims(unit, -1)
    offsets = [*(axis.low_offset for axis in pair.axes), *(axis.high_offset for axis in pair.axes)]
    squared_distance = sum_of_squares(offset / unit for offset in offsets)
    return numerics.fusion_barrier(1 - (pair.iou - squared_distance / jnp.sum(shape * shape, axis=-1)))


@preparation.loss(layout=PLANE, scale=NOT_NEGATIVE)
def shape_iou_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray = 0.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the shape IoU, for boxes in the plane.

    `1 - IoU + sum(u x^2 / D^2 + (1 - exp(-u c))^4 / 2)` over the axes, where x is the offset of the center, D the
    diagonal of the hull, c the difference of the sides over the larger one, and u the weights of the shape of the
    target: `2 h^s / (w^s + h^s)` along x and `2 w^s / (w^s + h^s)` along y, for its sides w and h and the scale s.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      scale: how much the shape of the target counts, not negative; `()` or one a box, may be traced. 0 makes both
        weights 1.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)`; 0 only for equal boxes.

    Raises:
      ValueError: if `scale` is negative.

    Gradient:
      Zero for equal boxes. A box that is flipped and apart is not turned back.
      Held constant: the weights u.

    References:
      Zhang and Zhang, 2023, https://arxiv.org/abs/2312.17663
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    weights = _shape_weights(pair, scale)
    weighted = list(zip(weights, pair.axes, strict=True))
    distance = numerics.total(weight * jnp.square(axis.offset) for weight, axis in weighted)
    shape_cost = _shape_cost((weight * axis.side_change for weight, axis in weighted), 4.0)
    return numerics.fusion_barrier(1 - (pair.iou - numerics.divide(distance, pair.squared_diagonal) - shape_cost / 2))


def _shape_weights(pair: Pair, scale: float | jax.Array | np.ndarray) -> list[jax.Array]:
    # Nothing here is differentiated, so that absolute value and power may be those of jnp, where 0 to the power of 0 is
    # 1. Over the longer side, one of both powers is 1 for every scale.
    w, h = (jnp.abs(lax.stop_gradient(axis.side_b)) for axis in pair.axes)
    longer = jnp.maximum(w, h)
    shares = [jnp.where(side == longer, 1, numerics.divide(side, longer)) for side in (h, w)]
    powers = [jnp.power(share, lax.stop_gradient(jnp.asarray(scale, share.dtype))) for share in shares]
    return [2 * power / numerics.total(powers) for power in powers]


@preparation.loss()
def powerful_iou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the powerful IoU: PIoU version 1.

    `1 - IoU + 1 - exp(-p^2)`, where p is the mean distance of the edges in units of the side of the target that they
    end. It does not grow when a box is made larger, as penalties over the hull do.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. It vanishes for boxes that are several sides of the target apart.

    References:
      Liu et al., 2024, https://doi.org/10.1016/j.neunet.2023.11.041
    """
    pair = Pair.of(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(1 - (pair.iou + jnp.expm1(-jnp.square(pair.edge_error))))
