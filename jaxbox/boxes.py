"""What a box is: layouts and conversions, sides, area, center, scale, clip; and the geometry of a pair.

A box is an array `[..., 2n]`: the low corner, then the high corner. `n` is 2 for a box in an image (`xyxy`), 1 for an
interval and 3 for an upright solid. Functions named after a layout convert at the edge of a program; all others take
corners. Coordinates are in any unit of length. Half precision is promoted to float32 everywhere.

A flipped box, whose high corner is below its low one, is empty: areas and overlaps see its sides as 0. Where sides
are compared, they keep their sign.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import checkify

from jaxbox import _checks, numerics

__all__ = [
    "Intervals",
    "absolute_to_normalized",
    "area",
    "canonicalize",
    "center",
    "check",
    "clip",
    "cxcywh_to_xyxy",
    "is_valid",
    "normalized_to_absolute",
    "scale",
    "sides",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
    "xyxy_to_yxyx",
    "yxyx_to_xyxy",
]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["ends"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Intervals:
    """Intervals, whose last axis of 2 is meant: the low end, then the high end.

    Every function of boxes takes them, `losses.giou_loss(Intervals(predictions), Intervals(targets))`, and returns
    arrays. A plain array with a last axis of 2 is refused, as it may hold the corners `[..., 2, 2]` of boxes.

    Attributes:
      ends: `[..., 2]`.
    """

    ends: chex.Array

    dimensions = 1  # of the boxes

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the ends."""
        return self.ends.shape

    def __jax_array__(self) -> jax.Array:
        """The ends as an array."""
        return jnp.asarray(self.ends)


def _of_boxes(
    *, window: str | None = None, **intervals: _checks.Interval
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a public function of a formula that takes `boxes`, and perhaps a window and options."""
    return _checks.checked(_checks.of_boxes("boxes", window=window, options=intervals))


def _corners(coordinates: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    n = len(coordinates) // 2
    return coordinates[:n], coordinates[n:]


def _split(boxes: chex.Array) -> tuple[jax.Array, jax.Array]:
    """The two halves of the last axis, in float32 or float64, as `[n, ...]`: XLA likes a short axis best in front."""
    (coordinates,) = numerics.unstack(boxes)
    first, second = _corners(coordinates)
    return jnp.stack(first), jnp.stack(second)


def _join(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.moveaxis(jnp.concatenate([first, second]), 0, -1)


@_of_boxes()
def xywh_to_xyxy(boxes: chex.Array) -> jax.Array:
    """Converts low corner and sides to corners. COCO annotations are in this layout.

    Args:
      boxes: `[..., 2n]`, the low corner, then the sides.

    Returns:
      Low corner, then high corner, `[..., 2n]`.
    """
    low, sides = _split(boxes)
    return _join(low, low + sides)


@_of_boxes()
def xyxy_to_xywh(boxes: chex.Array) -> jax.Array:
    """Converts corners to low corner and sides.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Low corner, then sides, `[..., 2n]`.
    """
    low, high = _split(boxes)
    return _join(low, high - low)


@_of_boxes()
def cxcywh_to_xyxy(boxes: chex.Array) -> jax.Array:
    """Converts center and sides to corners. DETR and YOLO heads predict this layout.

    Args:
      boxes: `[..., 2n]`, the center, then the sides.

    Returns:
      Low corner, then high corner, `[..., 2n]`.
    """
    middle, sides = _split(boxes)
    return _join(middle - sides / 2, middle + sides / 2)


@_of_boxes()
def xyxy_to_cxcywh(boxes: chex.Array) -> jax.Array:
    """Converts corners to center and sides.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Center, then sides, `[..., 2n]`.
    """
    low, high = _split(boxes)
    return _join((low + high) / 2, high - low)


@_of_boxes()
def yxyx_to_xyxy(boxes: chex.Array) -> jax.Array:
    """Reverses the order of the axes in each corner. TensorFlow boxes often start with y.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, each with its last axis first.

    Returns:
      The same corners with their first axis first, `[..., 2n]`.
    """
    low, high = _split(boxes)
    return _join(low[::-1], high[::-1])


@_of_boxes()
def xyxy_to_yxyx(boxes: chex.Array) -> jax.Array:
    """Reverses the order of the axes in each corner: the inverse of `yxyx_to_xyxy`, which is the same function.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      The same corners, each with its last axis first, `[..., 2n]`.
    """
    return yxyx_to_xyxy(boxes)


@_of_boxes()
def normalized_to_absolute(boxes: chex.Array, image_size: chex.Array | Sequence[chex.Numeric]) -> jax.Array:
    """Multiplies boxes in units of the image by its size in pixels.

    Args:
      boxes: `[..., 2n]`, with coordinates in `[0, 1]` inside the image.
      image_size: the shape of the image without channels, `(height, width)`: `n` numbers, the last one along x. An
        array `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.

    Returns:
      Boxes in pixels, `[..., 2n]`.

    Raises:
      ValueError: if `image_size` does not have `n` numbers.
    """
    low, high = _split(boxes)
    size = _before(low, jnp.moveaxis(jnp.asarray(image_size), -1, 0)[::-1])
    return _join(low * size, high * size)


@_of_boxes()
def absolute_to_normalized(boxes: chex.Array, image_size: chex.Array | Sequence[chex.Numeric]) -> jax.Array:
    """Divides boxes in pixels by the size of the image.

    Args:
      boxes: `[..., 2n]`, in pixels.
      image_size: the shape of the image without channels, `(height, width)`: `n` numbers, the last one along x. An
        array `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.

    Returns:
      Boxes in units of the image, with coordinates in `[0, 1]` inside it, `[..., 2n]`.

    Raises:
      ValueError: if `image_size` does not have `n` numbers.
    """
    low, high = _split(boxes)
    size = _before(low, jnp.moveaxis(jnp.asarray(image_size), -1, 0)[::-1])
    return _join(low / size, high / size)


def _before(halves: jax.Array, numbers: jax.Array) -> jax.Array:
    """Numbers `[n]`, or with an axis for each one of the boxes, in a shape that goes with halves `[n, ...]`."""
    return numbers if numbers.ndim == halves.ndim else numbers.reshape(-1, *(1,) * (halves.ndim - 1))


@_of_boxes()
def sides(boxes: chex.Array) -> jax.Array:
    """The sides of boxes, negative where a box is flipped.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Lengths in the unit of the boxes, `[..., n]`.
    """
    low, high = _split(boxes)
    return jnp.moveaxis(high - low, 0, -1)


@_of_boxes()
def area(boxes: chex.Array) -> jax.Array:
    """The area of boxes; the length of intervals, the volume of solids. A flipped box is empty.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      The area in the squared unit of the boxes, `[...]`, not negative.

    Gradient:
      That of the product of the sides; a side of exactly 0 can grow, a negative one has derivative 0.
    """
    low, high = _split(boxes)
    return _area(list(high - low))


@_of_boxes()
def center(boxes: chex.Array) -> jax.Array:
    """The center of boxes.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Points in the unit of the boxes, `[..., n]`.
    """
    low, high = _split(boxes)
    return jnp.moveaxis((low + high) / 2, 0, -1)


@_of_boxes(factor=_checks.FINITE)
def scale(boxes: chex.Array, factor: chex.Numeric) -> jax.Array:
    """Scales boxes about their own centers.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      factor: what the sides are multiplied by; finite, `()` or one a box, may be traced.

    Returns:
      Boxes with the same centers, `[..., 2n]`.
    """
    low, high = _split(boxes)
    factor = jnp.asarray(factor, low.dtype)
    margin = (high - low) * ((factor[None] if factor.ndim else factor) - 1) / 2
    return _join(low - margin, high + margin)


@_of_boxes(window="window")
def clip(boxes: chex.Array, window: chex.Array) -> jax.Array:
    """Clips boxes to a window. A box outside collapses onto the nearest edge of the window.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      window: `[2n]`, one box in the same unit, which all boxes are clipped to. `[..., 2n]` is one an image or a box,
        and its leading axes are the first ones of the boxes.

    Returns:
      Boxes inside the window, `[..., 2n]`.

    Gradient:
      1 for a coordinate inside the window, 0 outside, 1/2 on its edge.
    """
    boxes, window = numerics.promote(boxes, window)
    low, high = _split(boxes)
    window_low, window_high = (_before(low, half) for half in _split(window))
    return _join(jnp.clip(low, window_low, window_high), jnp.clip(high, window_low, window_high))


@_of_boxes()
def canonicalize(boxes: chex.Array) -> jax.Array:
    """Sorts the corners of boxes, so that none is flipped.

    Args:
      boxes: `[..., 2n]`, two opposite corners in any order.

    Returns:
      Low corner, then high corner, `[..., 2n]`.

    Gradient:
      That of a permutation; one half each where two coordinates coincide.
    """
    first, second = _split(boxes)
    return _join(numerics.minimum(first, second), numerics.maximum(first, second))


@_of_boxes()
def is_valid(boxes: chex.Array) -> jax.Array:
    """Tells which boxes are finite and not flipped. A side may be 0.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      A boolean array `[...]`, fit for the `where` of a loss.
    """
    low, high = _split(boxes)
    return jnp.all(jnp.isfinite(low) & jnp.isfinite(high) & (high >= low), axis=0)


@_of_boxes(window="window")
def check(boxes: chex.Array, *, window: chex.Array | None = None, where: chex.Array | None = None) -> None:
    """Checks the values of boxes inside a compiled function, for debugging: finite, not flipped, inside a window.

    It does nothing, and costs nothing, unless the function that calls it is wrapped in
    `jax.experimental.checkify.checkify` or in `chex.chexify`. (On a mesh with explicit axes it works with jax 0.10.2
    and 0.12, and not with 0.6.2.)

    >>> from jax.experimental import checkify
    >>> @jax.jit
    ... def step(boxes):
    ...     check(boxes)
    ...     return area(boxes)
    >>> broken = jnp.array([[0.0, 0, 1, 1], [2, 2, 1, 3]])
    >>> step(broken)
    Array([1., 0.], dtype=float32)
    >>> error, _ = checkify.checkify(step)(broken)
    >>> print(error.get().splitlines()[0])
    box [1], [2. 2. 1. 3.], is flipped: a high coordinate is below its low one (`check` failed)

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      window: `[2n]`, one box in the same unit, such as the whole image, or one an image as for `clip`, or None.
      where: boolean mask, `[...]`: rows that are False are not checked; or None.

    Raises:
      JaxRuntimeError: from `error.throw()` of checkify, or from the function that chexify made. It names the first box
        that is at fault, its place and its values.
    """
    promoted = numerics.promote(boxes)[0]
    low, high = _split(promoted)
    faults = {
        "is not finite": ~jnp.all(jnp.isfinite(promoted), axis=-1),
        "is flipped: a high coordinate is below its low one": jnp.any(high < low, axis=0),
    }
    if window is not None:
        faults["is not inside the window {window}"] = jnp.any(clip(boxes, window) != promoted, axis=-1)
    for fault, found in faults.items():
        if where is not None:
            found = found & where
        if found.size == 0:
            continue
        first, place = _first(found)
        index = ", ".join(f"{{{axis}}}" for axis in range(found.ndim))
        box = jnp.sum(jnp.where(jnp.expand_dims(first, -1), promoted, 0), axis=tuple(range(found.ndim)))
        checkify.debug_check(~jnp.any(found), f"box [{index}], {{box}}, {fault}", *place, box=box, window=window)


def _first(found: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """The first place of a boolean array that is True: as such an array, and by its indices.

    By arithmetic, since an array whose rows are spread over devices has no slice of one row.
    """
    number = jnp.zeros(found.shape, jnp.int32)
    for axis, length in enumerate(found.shape):
        number = number * length + lax.broadcasted_iota(jnp.int32, found.shape, axis)
    rest = first = jnp.min(jnp.where(found, number, found.size))
    place = []
    for length in reversed(found.shape):
        place.append(rest % length)
        rest = rest // length
    return number == first, place[::-1]


def _area(lengths: Sequence[jax.Array], units: Sequence[jax.Array] | None = None) -> jax.Array:
    return functools.reduce(operator.mul, map(numerics.positive_part, _in_units(lengths, units)))


def _in_units(lengths: Sequence[jax.Array], units: Sequence[jax.Array] | None) -> Sequence[jax.Array]:
    return lengths if units is None else list(map(operator.truediv, lengths, units))


@dataclasses.dataclass(frozen=True)
class Pair:
    """The geometry of two boxes: four numbers an axis, and the dimensionless terms that losses are made of.

    Every field is a list of `n` arrays, one an axis. Where boxes broadcast, the sides keep the shape of their own box.

    Attributes:
      sides_a: sides of the first box, negative where it is flipped.
      sides_b: sides of the second box.
      overlaps: smaller high edge minus larger low edge; negative is the gap between boxes that are apart.
      offsets: center of the first minus center of the second.
    """

    sides_a: list[jax.Array]
    sides_b: list[jax.Array]
    overlaps: list[jax.Array]
    offsets: list[jax.Array]

    @functools.cached_property
    def units(self) -> list[jax.Array] | None:
        """Lengths that areas are measured in, one an axis: powers of two, so that no bit of a ratio changes.

        The volume of a solid of sides of 1e-15 is below the smallest float32. An interval and a box in the plane need
        none: None.
        """
        return None if len(self.offsets) < 3 else list(map(numerics.power_of_two, self.hull))

    @functools.cached_property
    def area_a(self) -> jax.Array:
        """Area of the first box, in `units`."""
        return _area(self.sides_a, self.units)

    @functools.cached_property
    def area_b(self) -> jax.Array:
        """Area of the second box, in `units`."""
        return _area(self.sides_b, self.units)

    @functools.cached_property
    def intersection(self) -> jax.Array:
        """Area that both boxes cover, in `units`."""
        return _area(self.overlaps, self.units)

    @functools.cached_property
    def union(self) -> jax.Array:
        """Area that either box covers, in `units`."""
        return self.area_a + self.area_b - self.intersection

    @functools.cached_property
    def hull(self) -> list[jax.Array]:
        """Sides of the smallest box around both, larger by the depth of the flip if one is flipped.

        Side plus side minus overlap is that length for upright boxes. It needs no further minimum or maximum of
        corners, and it grows when a box is turned inside out, so that a loss with a hull turns the box back.
        """
        # At a side of 0 the maximum has derivative 1/2, so that a point that is apart moves as a whole; with 1 only its
        # far corner would move, into a flipped box, and the loss would not fall.
        return [
            numerics.maximum(side_a, 0) + numerics.maximum(side_b, 0) - overlap
            for side_a, side_b, overlap in zip(self.sides_a, self.sides_b, self.overlaps, strict=True)
        ]

    @functools.cached_property
    def hull_area(self) -> jax.Array:
        """Area of the hull, in `units`."""
        return functools.reduce(operator.mul, _in_units(self.hull, self.units))

    @functools.cached_property
    def squared_diagonal(self) -> jax.Array:
        """Squared diagonal of the hull."""
        return sum_of_squares(self.hull)

    @functools.cached_property
    def squared_offset(self) -> jax.Array:
        """Squared distance of the centers."""
        return sum_of_squares(self.offsets)

    @functools.cached_property
    def side_differences(self) -> list[jax.Array]:
        """Sides of the first box minus sides of the second, signed."""
        return [side_a - side_b for side_a, side_b in zip(self.sides_a, self.sides_b, strict=True)]

    @functools.cached_property
    def larger_sides(self) -> list[jax.Array]:
        """The larger side of the two along each axis, without regard to sign."""
        sides = zip(self.sides_a, self.sides_b, strict=True)
        return [numerics.maximum(numerics.absolute(side_a), numerics.absolute(side_b)) for side_a, side_b in sides]

    @functools.cached_property
    def side_changes(self) -> list[jax.Array]:
        """Difference of the sides over the larger side, in `[0, 1]`; up to 2 if a box is flipped."""
        pairs = zip(self.side_differences, self.larger_sides, strict=True)
        return [numerics.divide(numerics.absolute(difference), larger) for difference, larger in pairs]

    @functools.cached_property
    def low_offsets(self) -> list[jax.Array]:
        """Low corner of the first minus low corner of the second."""
        return [x - difference / 2 for x, difference in zip(self.offsets, self.side_differences, strict=True)]

    @functools.cached_property
    def high_offsets(self) -> list[jax.Array]:
        """High corner of the first minus high corner of the second."""
        return [x + difference / 2 for x, difference in zip(self.offsets, self.side_differences, strict=True)]

    @functools.cached_property
    def squared_wasserstein(self) -> jax.Array:
        """Squared Wasserstein distance of normal distributions with these centers, and half these sides as deviations.

        It is also half the sum of the squared distances of the low corners and of the high corners.
        """
        return self.squared_offset + sum_of_squares(self.side_differences) / 4

    @functools.cached_property
    def edge_error(self) -> jax.Array:
        """Mean over the edges of their distance from that of the second box, divided by the side of it that they end.

        An edge above a thousand sides away counts as a thousand, so that none can overflow.
        """
        sides = [numerics.absolute(side) for side in self.sides_b] * 2
        moves = [numerics.absolute(move) for move in self.low_offsets + self.high_offsets]
        units = [numerics.maximum(side, move / 1000) for side, move in zip(sides, moves, strict=True)]
        return numerics.total(map(numerics.divide, moves, units)) / len(moves)

    @functools.cached_property
    def iou_bounds(self) -> list[jax.Array]:
        """The greatest IoU that each offset of the center, and then each pair of sides, allows: in `[0, 1]`.

        Where a box is flipped, the bound of its side goes down to -1.
        """
        twice = [2 * numerics.absolute(offset) for offset in self.offsets]
        sides = [numerics.maximum(side, 0) for side in self.sides_b]
        of_offsets = [
            numerics.divide(numerics.positive_part(side - away), side + away, otherwise=1)
            for side, away in zip(sides, twice, strict=True)
        ]
        of_sides = [
            numerics.divide(numerics.minimum(side_a, side_b), larger, otherwise=1)
            for side_a, side_b, larger in zip(self.sides_a, self.sides_b, self.larger_sides, strict=True)
        ]
        return of_offsets + of_sides

    @functools.cached_property
    def signed_intersection(self) -> jax.Array:
        """Area that both boxes in the plane cover, continued below 0 where they are apart, as Peng and Yu do."""
        # The low edge of the overlap, seen from the low corner of the hull. In a gap the high edge is below it, but not
        # below that corner, not even for a flipped box.
        lows = [numerics.absolute(offset) for offset in self.low_offsets]
        axes = zip(lows, self.overlaps, strict=True)
        x, y = overlaps = [jnp.where(low + overlap < 0, -low, overlap) for low, overlap in axes]
        gap_x, gap_y = (numerics.minimum(overlap, 0) for overlap in overlaps)
        low_x, low_y = lows
        # The published products of edges, multiplied out: they cancel for a small overlap far from the corner.
        return x * y + gap_x * gap_y + 2 * (gap_x * low_y + gap_y * low_x)

    @functools.cached_property
    def same_sides(self) -> jax.Array:
        """Whether the boxes have the same sides, to the last bit.

        Equal boxes are told by comparison and not left to arithmetic: where a backend rounds a product and a sum
        together, as one with fused multiply-add may, equal products differ in a last bit.
        """
        return functools.reduce(operator.and_, map(operator.eq, self.sides_a, self.sides_b))

    @functools.cached_property
    def equal(self) -> jax.Array:
        """Whether the boxes are the same, to the last bit."""
        return functools.reduce(operator.and_, (offset == 0 for offset in self.offsets), self.same_sides)

    @functools.cached_property
    def iou(self) -> jax.Array:
        """Intersection over union, in `[0, 1]`. Two empty boxes have 1 if they are equal, else 0."""
        return self._ratio_of_areas(self.intersection, self.union)

    @functools.cached_property
    def ioa(self) -> jax.Array:
        """Intersection over the area of the first box, in `[0, 1]`. An empty one has 1 if both are equal, else 0."""
        # In units of its own sides, since the hull can be larger than those by more than float32 holds.
        units = None if self.units is None else list(map(numerics.power_of_two, map(numerics.absolute, self.sides_a)))
        area = _area(self.sides_a, units)
        return numerics.divide(_area(self.overlaps, units), area, otherwise=self.equal.astype(area.dtype))

    def _ratio_of_areas(self, numerator: jax.Array, denominator: jax.Array) -> jax.Array:
        return jnp.where(self.equal, 1, numerics.divide(numerator, denominator))

    @functools.cached_property
    def extended_iou(self) -> jax.Array:
        """Signed intersection over union, in `[-1, 1]`; 1 for equal boxes.

        The areas together count as 1e-12 of the hull at least. Two empty boxes that differ have -1 if they are apart,
        else 0, without a gradient.
        """
        # Nothing but the gap bounds the signed intersection, so that against areas near 0 it could be as steep as 1e60.
        areas = self.area_a + self.area_b
        counted = jnp.where(numerics.is_zero(areas), 0, numerics.maximum(areas, 1e-12 * self.hull_area))
        return self._ratio_of_areas(self.signed_intersection, counted - self.signed_intersection)

    @functools.cached_property
    def vacancy(self) -> jax.Array:
        """Share of the hull that neither box covers, in `[0, 1]`: GIoU's penalty."""
        # Not hull minus union over hull: for boxes far apart that cancels in the derivative.
        return 1 - self._ratio_of_areas(self.union, self.hull_area)

    @functools.cached_property
    def distance(self) -> jax.Array:
        """Squared distance of the centers over the squared diagonal of the hull, in `[0, 1)`: DIoU's penalty."""
        return numerics.divide(self.squared_offset, self.squared_diagonal)

    @functools.cached_property
    def aspect(self) -> jax.Array:
        """Squared angle between the diagonals of boxes in the plane, over that of a right angle: `[0, 1]`, CIoU's v."""
        sides, sides_star = (map(numerics.positive_part, sides) for sides in (self.sides_a, self.sides_b))
        difference = numerics.angle_between(*sides, *sides_star)
        return (2 / jnp.pi * difference) ** 2

    @functools.cached_property
    def weighted_aspect(self) -> jax.Array:
        """`aspect` times its weight of itself over `(1 - iou) + aspect`, which is held constant: CIoU's last term."""
        weight = lax.stop_gradient(numerics.divide(self.aspect, (1 - self.iou) + self.aspect))
        return weight * self.aspect

    def scaled(self, ratio: chex.Numeric) -> Pair:
        """The geometry of the boxes scaled about their own centers, in a unit of length of `ratio`.

        Args:
          ratio: what the sides are multiplied by; may be traced.

        Returns:
          A pair with the same sides, and offsets divided by the ratio.
        """
        ratio = jnp.asarray(ratio, self.offsets[0].dtype)
        # In units of the ratio, in which the sides are what they were: scaled ones could be too small, or too large, to
        # be multiplied. The center of the second box is the origin: far from it corners would round.
        offsets = [x / ratio for x in self.offsets]
        axes = zip(self.sides_a, self.sides_b, offsets, strict=True)
        overlaps = [_overlap(x - a / 2, x + a / 2, -b / 2, b / 2) for a, b, x in axes]
        return Pair(self.sides_a, self.sides_b, overlaps, offsets)


def _overlap(low_a: jax.Array, high_a: jax.Array, low_b: jax.Array, high_b: jax.Array) -> jax.Array:
    return numerics.minimum(high_a, high_b) - numerics.maximum(low_a, low_b)


def sum_of_squares(lengths: Sequence[jax.Array]) -> jax.Array:
    """The squared length of a vector that is given by its components.

    Args:
      lengths: arrays `[...]`, one an axis.

    Returns:
      Their sum of squares, `[...]`.
    """
    return numerics.total(length * length for length in lengths)


def pair(a: chex.Array, b: chex.Array) -> Pair:
    """The geometry of two boxes, in four numbers an axis.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A `Pair`.

    Gradient:
      Where two edges coincide, one half each.
    """
    _checks.assert_one_dimension({"a": a, "b": b})
    rank = max(a.ndim, b.ndim)
    expanded = (jnp.expand_dims(box, range(rank - box.ndim)) for box in (a, b))
    (low_a, high_a), (low_b, high_b) = map(_corners, numerics.unstack(*expanded))
    axes = list(zip(low_a, high_a, low_b, high_b, strict=True))
    return Pair(
        sides_a=[high_a - low_a for low_a, high_a, _, _ in axes],
        sides_b=[high_b - low_b for _, _, low_b, high_b in axes],
        overlaps=[_overlap(*edges) for edges in axes],
        # Center minus center would cancel: by 3e-3 of a DIoU, in float32 at coordinates of 1e5.
        offsets=[((low_a - low_b) + (high_a - high_b)) / 2 for low_a, high_a, low_b, high_b in axes],
    )


def __dir__() -> list[str]:
    return sorted(__all__)
