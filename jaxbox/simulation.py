"""Regress boxes under a loss, thousands at a time: the simulation of the DIoU paper.

Anchors of 49 shapes at points scattered over a disc descend on targets of 7 shapes at its center, and the total error
is recorded after each of 200 steps. The figure was published with ascent directions that were written by hand and are
not the gradients of the losses, so there are two experiments: the published one (`published_iou` and its three
siblings) and the exact one (`exact` of any loss). Neither says how well a detector trains under a loss.

Boxes are `[..., 4]` here, the center and then the sides, x before y: the steps are taken in these coordinates. A
direction is a function of predictions and targets that returns the way up, `[..., 4]`, before it is given a rate.

References:
  Zheng et al., 2019, https://arxiv.org/abs/1911.08287
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, boxes, losses, numerics, reductions

Direction = Callable[[jax.Array, jax.Array], jax.Array]

CASES_PER_POINT = 343  # 7 targets times 7 areas times 7 ratios
# About a megabyte of boxes: it stays in the cache that the cores share, and is enough for XLA to use more than one.
CHUNK_SIZE = 100 * CASES_PER_POINT


# The cases and the rates.


class Grid(NamedTuple):
    """The cases of the simulation, those of one point next to each other.

    Attributes:
      points: where the centers of the anchors lie, `[points, 2]`.
      anchors: the boxes to start from, center and sides, `[points * 343, 4]`.
      targets: the boxes to reach, `[points * 343, 4]`.
    """

    points: np.ndarray
    anchors: np.ndarray
    targets: np.ndarray


def paper_grid(points: int = 5000, *, dtype: np.typing.DTypeLike = np.float32) -> Grid:
    """The cases of the paper: 7 targets, and at each point anchors of 7 areas times 7 ratios of the sides.

    Args:
      points: how many of the 5000 points of the published scatter to take, from the first on.
      dtype: of the result; JAX computes in float64 only where that is enabled.

    Returns:
      A `Grid` of NumPy arrays; the sides of the targets are around 1, the points within 3 of their center, (10, 10).

    Raises:
      ValueError: if there are not so many points.
    """
    scatter = 5000
    if not 0 <= points <= scatter:
        raise ValueError(f"`points` is {points}, but the published scatter has 0 to {scatter}. Write `paper_grid(64)`.")
    radius, turn = np.random.RandomState(5489).rand(2, scatter)[:, :points]
    centers = 10 + 3 * np.sqrt(radius)[:, None] * np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], -1)
    ratios = np.array([1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4])
    areas = np.array([0.5, 0.67, 0.75, 1, 1.33, 1.5, 2])
    sides = np.stack([np.sqrt(ratios), 1 / np.sqrt(ratios)], axis=-1)
    cases = (points, 7, 7, 7)  # point, target, area, ratio
    center_of_anchor = np.broadcast_to(centers[:, None, None, None], (*cases, 2))
    sides_of_anchor = np.broadcast_to(np.sqrt(areas)[:, None, None] * sides, (*cases, 2))
    center_of_target = np.full((*cases, 2), 10.0)
    sides_of_target = np.broadcast_to(sides[:, None, None], (*cases, 2))
    anchors = np.concatenate([center_of_anchor, sides_of_anchor], axis=-1)
    targets = np.concatenate([center_of_target, sides_of_target], axis=-1)
    return Grid(centers.astype(dtype), anchors.reshape(-1, 4).astype(dtype), targets.reshape(-1, 4).astype(dtype))


def paper_schedule() -> np.ndarray:
    """The rates of the paper: 0.1 for 160 steps, 0.01 for 20, 0.001 for 20.

    Returns:
      One rate a step, `[200]`.
    """
    return np.repeat([0.1, 0.01, 0.001], [160, 20, 20])


# The experiment.


class Regression(NamedTuple):
    """What became of the cases.

    Attributes:
      curve: the sum of the errors of all cases after each step, `[steps]`.
      boxes: where the boxes ended, center and sides, `[cases, 4]`.
      errors: the sum of the absolute errors of the four coordinates there, `[cases]`.
      ious: the intersection over union with the target there, `[cases]`.
    """

    curve: jax.Array | np.ndarray
    boxes: jax.Array | np.ndarray
    errors: jax.Array | np.ndarray
    ious: jax.Array | np.ndarray


def regress(
    direction: Direction,
    anchors: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    schedule: jax.Array | np.ndarray | Sequence[float] | None = None,
    where: jax.Array | np.ndarray | None = None,
) -> Regression:
    """Moves all boxes at once, by one `lax.scan` over the steps; it keeps nothing of a step but the sum of the errors.

    A step is `rate * (2 - IoU) * direction`, with the IoU before the step, and no momentum or clamping. For more cases
    than fit the cache, `simulate` is faster.

    Args:
      direction: a function of predictions and targets, `[..., 4]` each, that returns the direction upwards, `[..., 4]`.
      anchors: the boxes to start from, center and sides, `[..., 4]`.
      targets: the boxes to reach, `[..., 4]`.
      schedule: the rate of each step, `[steps]`; that of the paper without it.
      where: boolean mask, `[...]`; cases that are False add 0 to the curve.

    Returns:
      A `Regression`, whose cases have the leading axes of the anchors.
    """
    anchors, targets = numerics.promote(*_checks.pairs(_checks.PLANE, anchors=anchors, targets=targets))
    rates = jnp.asarray(paper_schedule() if schedule is None else schedule, anchors.dtype)
    # The scan carries the coordinates one after the other, `[4, ...]`: with the four of a box together XLA interleaves
    # them, and a step takes twice as long.
    targets_by_coordinate = jnp.moveaxis(targets, -1, 0)

    def step(by_coordinate: jax.Array, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        predictions, targets = (jnp.moveaxis(x, 0, -1) for x in (by_coordinate, targets_by_coordinate))
        pace = rate * (2 - _iou(*_axes(predictions, targets)))
        ascent = jnp.moveaxis(direction(predictions, targets), -1, 0)
        by_coordinate = by_coordinate + jnp.expand_dims(pace, 0) * ascent
        errors = losses.l1_loss(jnp.moveaxis(by_coordinate, 0, -1), targets)
        return by_coordinate, reductions.weighted_sum(errors, where=where)

    by_coordinate, curve = lax.scan(step, jnp.moveaxis(anchors, -1, 0), rates)
    final = jnp.moveaxis(by_coordinate, 0, -1)
    return Regression(curve, final, losses.l1_loss(final, targets), _iou(*_axes(final, targets)))


_compiled_regress = jax.jit(regress, static_argnums=0)


def simulate_chunks(
    direction: Direction,
    anchors: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    schedule: jax.Array | np.ndarray | Sequence[float] | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Iterator[Regression]:
    """Regresses the cases chunk by chunk, so that a step stays in the cache and progress can be shown.

    All chunks run the same compiled program, since the last one is padded with cases that are masked. So does a later
    simulation with the same direction; `exact` makes a new one whenever it is called.

    Args:
      direction: as in `regress`.
      anchors: the boxes to start from, center and sides, `[cases, 4]`.
      targets: the boxes to reach, `[cases, 4]`.
      schedule: the rate of each step, `[steps]`; that of the paper without it.
      chunk_size: how many cases to regress at once.

    Returns:
      The `Regression` of one chunk after the other, of NumPy arrays; its length is that of `errors`.
    """
    pairs = [np.asarray(x) for x in _checks.pairs(_checks.COORDINATES, anchors=anchors, targets=targets)]
    count = len(pairs[0])
    chunk_size = min(chunk_size, max(count, 1))
    for start in range(0, max(count, 1), chunk_size):
        length = min(chunk_size, count - start)
        padding = [(0, chunk_size - length), (0, 0)]
        part = [np.pad(values[start : start + length], padding) for values in pairs]
        result = _compiled_regress(direction, *part, schedule=schedule, where=np.arange(chunk_size) < length)
        curve, *cases = map(np.asarray, result)
        yield Regression(curve, *(values[:length] for values in cases))


def simulate(
    direction: Direction,
    anchors: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    schedule: jax.Array | np.ndarray | Sequence[float] | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Regression:
    """Regresses any number of cases, by chunks: `simulate(published_giou, grid.anchors, grid.targets)`.

    Args:
      direction: a function of predictions and targets, `[cases, 4]` each, that returns the direction upwards.
      anchors: the boxes to start from, center and sides, `[cases, 4]`.
      targets: the boxes to reach, `[cases, 4]`.
      schedule: the rate of each step, `[steps]`; that of the paper without it.
      chunk_size: how many cases to regress at once.

    Returns:
      A `Regression` of NumPy arrays.
    """
    return join(simulate_chunks(direction, anchors, targets, schedule=schedule, chunk_size=chunk_size))


def join(chunks: Iterable[Regression]) -> Regression:
    """Puts the chunks of a simulation together.

    Args:
      chunks: what `simulate_chunks` yields, in its order.

    Returns:
      A `Regression` of NumPy arrays, whose curve is summed in float64.
    """
    curves, *cases = zip(*chunks, strict=True)
    return Regression(np.stack(curves).sum(axis=0, dtype=np.float64), *map(np.concatenate, cases))


def sum_by_point(errors: jax.Array | np.ndarray) -> np.ndarray:
    """The sum of the errors of all cases that start at one point.

    Args:
      errors: one value a case of `paper_grid`, `[points * 343]`.

    Returns:
      One value a point, `[points]`.
    """
    return np.sum(np.reshape(errors, (-1, CASES_PER_POINT)), axis=-1)


def fractions_above(ious: jax.Array | np.ndarray, thresholds: Sequence[float] = (0.5, 0.75, 0.95)) -> np.ndarray:
    """The fraction of cases above each of some thresholds.

    Args:
      ious: one value a case, `[cases]`.
      thresholds: what to compare with, `[n]`.

    Returns:
      Fractions of all cases, `[n]`, in `[0, 1]`.
    """
    return np.array([np.mean(np.asarray(ious) > threshold) for threshold in thresholds])


# The directions of the exact experiment.


def exact(loss: Callable[[jax.Array, jax.Array], jax.Array]) -> Direction:
    """Minus the gradient of a loss by center and sides.

    Args:
      loss: a function of predictions and targets, corners, `[..., 4]` each, that returns one value a box, such as
        `losses.giou_loss`.

    Returns:
      A direction, that is a function of predictions and targets, center and sides, `[..., 4]` each.
    """

    def direction(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        corners = boxes.cxcywh_to_xyxy(targets)
        return -jax.grad(lambda x: jnp.sum(loss(boxes.cxcywh_to_xyxy(x), corners)))(predictions)

    return direction


def scale_sides(direction: Direction, factor: float) -> Direction:
    """Multiplies what a direction does to the sides.

    The published directions have twice the derivative by a side: 1/2 gives them the true one, and 2 gives the habit of
    the scripts to an exact direction.

    Args:
      direction: a function of predictions and targets.
      factor: of the third and fourth coordinate.

    Returns:
      Another direction.
    """

    def scaled(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        ((x, y, w, h),) = numerics.coordinates(direction(predictions, targets))
        return jnp.stack([x, y, factor * w, factor * h], axis=-1)

    return scaled


# The directions of the published experiment. They are what the scripts of the authors compute, so they share no
# geometry with `boxes`: overlaps are not clamped, and boxes apart along both axes have a positive area in common; where
# edges coincide the derivative is 0, not one half; and the derivative by a side is that by its high edge minus that by
# its low one, which is twice the true one.


class _Length(NamedTuple):
    """A length along one axis, and its derivatives by the center and, doubled, by the side of the prediction."""

    value: jax.Array
    by_center: jax.Array
    by_side: jax.Array


class _Axis(NamedTuple):
    """What the two boxes of a pair are to each other along one axis."""

    offset: jax.Array
    side: _Length
    side_of_target: jax.Array
    overlap: _Length
    hull: _Length


class _Area(NamedTuple):
    """An area, and its derivatives by x, y, w and h, the last two doubled."""

    value: jax.Array
    slope: list[jax.Array]


def _axes(predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray) -> list[_Axis]:
    predictions, targets = _checks.pairs(_checks.PLANE, predictions=predictions, targets=targets)
    (x, y, w, h), (x_star, y_star, w_star, h_star) = numerics.coordinates(predictions, targets)
    return [_axis(x, w, x_star, w_star), _axis(y, h, y_star, h_star)]


def _axis(center: jax.Array, side: jax.Array, center_star: jax.Array, side_star: jax.Array) -> _Axis:
    low, high = center - side / 2, center + side / 2
    low_star, high_star = center_star - side_star / 2, center_star + side_star / 2

    def length(value: jax.Array, low_shortens: jax.Array, high_lengthens: jax.Array) -> _Length:
        at_low, at_high = low_shortens.astype(value.dtype), high_lengthens.astype(value.dtype)
        return _Length(value, at_high - at_low, at_high + at_low)

    overlap = jnp.minimum(high, high_star) - jnp.maximum(low, low_star)
    hull = jnp.maximum(high, high_star) - jnp.minimum(low, low_star)
    return _Axis(
        offset=center_star - center,
        side=_Length(side, jnp.zeros_like(side), jnp.full_like(side, 2)),
        side_of_target=side_star,
        overlap=length(overlap, low > low_star, high < high_star),
        hull=length(hull, low < low_star, high > high_star),
    )


def _area(x: _Length, y: _Length) -> _Area:
    slope = [x.by_center * y.value, x.value * y.by_center, x.by_side * y.value, x.value * y.by_side]
    return _Area(x.value * y.value, slope)


def _intersection_and_union(x: _Axis, y: _Axis) -> tuple[_Area, _Area]:
    intersection, area = _area(x.overlap, y.overlap), _area(x.side, y.side)
    union = area.value + x.side_of_target * y.side_of_target - intersection.value
    return intersection, _Area(union, [da - di for da, di in zip(area.slope, intersection.slope, strict=True)])


def _slope_of_ratio(a: _Area, b: _Area) -> list[jax.Array]:
    square = b.value * b.value
    return [numerics.divide(b.value * da - a.value * db, square) for da, db in zip(a.slope, b.slope, strict=True)]


def _overlapping(x: _Axis, y: _Axis) -> jax.Array:
    return (x.overlap.value > 0) & (y.overlap.value > 0)


def _iou(x: _Axis, y: _Axis) -> jax.Array:
    intersection, union = _intersection_and_union(x, y)
    return jnp.where(_overlapping(x, y), numerics.divide(intersection.value, union.value), 0)


def _slope_of_iou(x: _Axis, y: _Axis) -> list[jax.Array]:
    return [jnp.where(_overlapping(x, y), slope, 0) for slope in _slope_of_ratio(*_intersection_and_union(x, y))]


def _sum(a: Sequence[jax.Array], b: Sequence[jax.Array]) -> jax.Array:
    return jnp.stack([one + other for one, other in zip(a, b, strict=True)], axis=-1)


def published_iou(predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray) -> jax.Array:
    """The direction of the published experiment for IoU; 0 where the boxes are apart.

    Args:
      predictions: center and sides, `[..., 4]`.
      targets: center and sides in the same unit, `[..., 4]`.

    Returns:
      The direction, `[..., 4]`.
    """
    return jnp.stack(_slope_of_iou(*_axes(predictions, targets)), axis=-1)


def published_giou(predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray) -> jax.Array:
    """The direction of the published experiment for GIoU.

    The overlap in its penalty is not clamped: boxes apart along one axis have a negative area in common, which takes
    away the pull of the penalty and holds up the published curve. With it clamped, nearly all boxes arrive.

    Args:
      predictions: center and sides, `[..., 4]`.
      targets: center and sides in the same unit, `[..., 4]`.

    Returns:
      The direction, `[..., 4]`.
    """
    x, y = _axes(predictions, targets)
    _, union = _intersection_and_union(x, y)
    return _sum(_slope_of_iou(x, y), _slope_of_ratio(union, _area(x.hull, y.hull)))


def published_diou(predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray) -> jax.Array:
    """The direction of the published experiment for DIoU.

    The derivative of the diagonal of the hull has the wrong sign in x and y, which speeds the approach up.

    Args:
      predictions: center and sides, `[..., 4]`.
      targets: center and sides in the same unit, `[..., 4]`.

    Returns:
      The direction, `[..., 4]`.
    """
    x, y = _axes(predictions, targets)
    diagonal = x.hull.value * x.hull.value + y.hull.value * y.hull.value
    distance = x.offset * x.offset + y.offset * y.offset
    perimeter = 2 * (x.hull.value + y.hull.value)

    def by_center(axis: _Axis) -> jax.Array:
        return 2 * axis.offset * diagonal - perimeter * axis.hull.by_center * distance

    def by_side(axis: _Axis, other: _Axis) -> jax.Array:
        across = axis.hull.by_side / 2
        along = jnp.where(axis.hull.by_side == 2, -1, across)
        return 2 * (axis.hull.value * along + other.hull.value * across) * distance

    square = diagonal * diagonal
    penalty = [numerics.divide(slope, square) for slope in (by_center(x), by_center(y), by_side(x, y), by_side(y, x))]
    return _sum(_slope_of_iou(x, y), penalty)


def published_ciou(predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray) -> jax.Array:
    """The direction of the published experiment for CIoU.

    The derivative of the aspect term lacks its factor 1 / (w^2 + h^2).

    Args:
      predictions: center and sides, `[..., 4]`.
      targets: center and sides in the same unit, `[..., 4]`.

    Returns:
      The direction, `[..., 4]`.
    """
    x, y = _axes(predictions, targets)
    w, h, w_star, h_star = x.side.value, y.side.value, x.side_of_target, y.side_of_target
    # atan(w* / h*) - atan(w / h) for upright boxes; one angle instead of two, which are slow on CPU.
    delta = numerics.angle_between(w, h, w_star, h_star)
    v = (2 / jnp.pi * delta) ** 2
    alpha = v / (1 - _iou(x, y) + v + 1e-7)  # the only epsilon, and it is the authors'
    pull = 8 / jnp.pi**2 * alpha * delta
    zero = jnp.zeros_like(pull)
    return published_diou(predictions, targets) + jnp.stack([zero, zero, pull * h, -pull * w], axis=-1)
