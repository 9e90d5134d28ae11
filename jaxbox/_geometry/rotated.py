"""The geometry of two turned rectangles, and of two solids that are turned about the vertical.

All of it is in the frame of the second rectangle, whose center is the origin and whose sides lie along the axes, with
half sides. Which of its angles stands for a rectangle makes no difference: `(w, h, t)`, `(h, w, t + pi / 2)` and
`(w, h, t + pi)` are one box.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics

__all__ = ["Solids", "Turned"]


class _Sizes:
    """Ratios of what two shapes cover, areas or volumes in one unit."""

    area_a: Any
    area_b: Any
    intersection: Any
    hull_area: Any
    equal: Any
    misfits: Any

    @functools.cached_property
    def union(self) -> jax.Array:
        """What either covers."""
        return self.area_a + self.area_b - self.intersection

    @functools.cached_property
    def iou(self) -> jax.Array:
        """Intersection over union, in `[0, 1]`. Two empty ones have 1 if they are equal, else 0."""
        return self.ratio_of_areas(self.intersection, self.union)

    @functools.cached_property
    def vacancy(self) -> jax.Array:
        """Share of the hull that neither covers, in `[0, 1]`: GIoU's penalty."""
        share = 1 - self.ratio_of_areas(self.union, self.hull_area)
        # Less than 0 by rounding: the value is mended and the slope is not, which is right all the same.
        return share - lax.stop_gradient(jnp.minimum(share, 0))

    @functools.cached_property
    def misfit(self) -> jax.Array:
        """The mean of `misfits`, in `[0, 1)`: half of one minus the MGIoU."""
        return numerics.total(self.misfits) / len(self.misfits)

    def ratio_of_areas(self, numerator: jax.Array, denominator: jax.Array) -> jax.Array:
        """A quotient that is 1 for equal shapes, and else 0 where the denominator is 0."""
        return jnp.where(self.equal, 1, numerics.divide(numerator, denominator))


def _gap(difference: jax.Array, offset: jax.Array) -> jax.Array:
    return numerics.maximum(numerics.absolute(difference), numerics.absolute(offset))


@dataclasses.dataclass(frozen=True)
class Turned(_Sizes):
    """Two turned rectangles in the frame of the second. Where boxes broadcast, half sides keep the shape of their box.

    Attributes:
      half_sides_a: of the first rectangle, along its own axes; a negative side counts as 0.
      half_sides_b: of the second rectangle.
      offset: center of the first minus center of the second, along the axes of the second.
      turn: angle of the first less that of the second, within `[-pi / 4, pi / 4]`: after an odd number of quarter turns
        the sides of the first have changed places.
      cosine: of the turn.
      sine: of the turn.
    """

    half_sides_a: tuple[jax.Array, jax.Array]
    half_sides_b: tuple[jax.Array, jax.Array]
    offset: tuple[jax.Array, jax.Array]
    turn: jax.Array
    cosine: jax.Array
    sine: jax.Array

    @classmethod
    def of(cls, a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> Self:
        """The geometry of two turned rectangles.

        Args:
          a: boxes, `[..., 5]`: center, sides, angle in radians.
          b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.

        Returns:
          A pair whose terms have the shape of `a` and `b` broadcast, without the last axis.
        """
        _checks.assert_one_dimension({"a": a, "b": b})
        rank = max(a.ndim, b.ndim)
        return cls.of_columns(*numerics.coordinates(*(jnp.expand_dims(box, range(rank - box.ndim)) for box in (a, b))))

    @classmethod
    def of_columns(cls, a: tuple[jax.Array, ...], b: tuple[jax.Array, ...]) -> Self:
        """The geometry of two turned rectangles that are given by their columns: x, y, w, h, angle."""
        (x_a, y_a, w_a, h_a, angle_a), (x_b, y_b, w_b, h_b, angle_b) = (
            map(numerics.settled_slope, box) for box in (a, b)
        )
        # Angles and centers are subtracted first: equal ones then differ by 0, and far centers lose nothing.
        turn, quarters = numerics.turn_between(angle_a, angle_b)
        swapped = numerics.is_odd(quarters)
        p, q, half_w, half_h = (numerics.positive_part(side) / 2 for side in (w_a, h_a, w_b, h_b))
        p, q, half_w, half_h, turn, cosine, sine, along, across = numerics.settled_for_slopes(
            jnp.where(swapped, q, p),
            jnp.where(swapped, p, q),
            half_w,
            half_h,
            turn,
            *numerics.cosine_and_sine(turn),
            *numerics.direction(angle_b),
        )
        dx, dy = x_a - x_b, y_a - y_b
        u, v = numerics.settled_for_slopes(dx * along + dy * across, dy * along - dx * across)
        return cls((p, q), (half_w, half_h), (u, v), turn, cosine, sine)

    @functools.cached_property
    def offset_of_a(self) -> tuple[jax.Array, jax.Array]:
        """The offset along the axes of the first."""
        (u, v), c, s = self.offset, self.cosine, self.sine
        return c * u + s * v, c * v - s * u

    @functools.cached_property
    def equal(self) -> jax.Array:
        """Whether the boxes are the same, to the last bit."""
        (p, q), (a, b), (u, v) = self.half_sides_a, self.half_sides_b, self.offset
        return (p == a) & (q == b) & (u == 0) & (v == 0) & (self.turn == 0)

    @functools.cached_property
    def unit(self) -> jax.Array:
        """The longest of half sides and offset, rounded to a power of two and held: no bit of a ratio changes by it."""
        # Held, so that absolute value and maximum may be those of jnp.
        held = map(lax.stop_gradient, (*self.half_sides_a, *self.half_sides_b, *self.offset))
        longest = functools.reduce(jnp.maximum, map(jnp.abs, held))
        precision = jnp.finfo(longest.dtype)
        # Not so short that one over it is infinite.
        return numerics.power_of_two(jnp.maximum(longest, float(precision.tiny / precision.eps)))

    @property
    def _lengths(self) -> tuple[jax.Array, ...]:
        return *self.half_sides_a, *self.half_sides_b, *self.offset

    def _of_lengths(self, lengths: Iterable[jax.Array]) -> Self:
        p, q, a, b, u, v = lengths
        return dataclasses.replace(self, half_sides_a=(p, q), half_sides_b=(a, b), offset=(u, v))

    @functools.cached_property
    def in_units(self) -> Self:
        """The same two rectangles in `unit`, so that no product of lengths over- or underflows where it counts."""
        return self._of_lengths(numerics.in_unit(self.unit, *self._lengths))

    @functools.cached_property
    def sides_around(self) -> tuple[jax.Array, ...]:
        """Sides of the two rectangles around both: those along the second one, then those along the first."""
        return tuple(reach + gap for reach, gap in zip(self._reaches, self.gaps, strict=True))

    @functools.cached_property
    def _across(self) -> tuple[jax.Array, ...]:
        """Half of what one reaches along each normal of the other: both sides of the second, both of the first."""
        (p, q), (a, b), c, s = self.half_sides_a, self.half_sides_b, self.cosine, numerics.absolute(self.sine)
        return c * p + s * q, c * q + s * p, c * a + s * b, c * b + s * a

    @functools.cached_property
    def _reaches(self) -> tuple[jax.Array, ...]:
        own = (*self.half_sides_b, *self.half_sides_a)
        return tuple(map(operator.add, own, self._across))

    @functools.cached_property
    def gaps(self) -> tuple[jax.Array, ...]:
        """What the sides around both are longer than the half sides of both together, 0 for equal rectangles.

        Along a normal two intervals reach `e` and `f` from centers that are `o` apart. They have
        `e + f - max(|e - f|, |o|)` in common, less than 0 if they are apart, and a hull of `e + f + max(|e - f|, |o|)`.
        """
        (p, q), (a, b), s = self.half_sides_a, self.half_sides_b, numerics.absolute(self.sine)
        # One minus the cosine, without cancellation: the sides are subtracted first.
        fall = numerics.versine(self.turn)
        differences = (
            (p - a) + (s * q - fall * p),
            (q - b) + (s * p - fall * q),
            (a - p) + (s * b - fall * a),
            (b - q) + (s * a - fall * b),
        )
        return tuple(map(_gap, differences, (*self.offset, *self.offset_of_a)))

    @functools.cached_property
    def misfits(self) -> list[jax.Array]:
        """Half of one minus the GIoU of the intervals along each normal, in `[0, 1)`: the gap over the hull."""
        # In units: of a hull that is shorter by 1e-30 than a side the slope is not that of a number of float32.
        pair = self.in_units
        return [numerics.divide(gap, hull) for gap, hull in zip(pair.gaps, pair.sides_around, strict=True)]

    @functools.cached_property
    def area_a(self) -> jax.Array:
        """Area of the first, in `unit`."""
        p, q = self.in_units.half_sides_a
        return (2 * p) * (2 * q)

    @functools.cached_property
    def area_b(self) -> jax.Array:
        """Area of the second, in `unit`."""
        a, b = self.in_units.half_sides_b
        return (2 * a) * (2 * b)

    @functools.cached_property
    def _frame(self) -> tuple[Any, ...]:
        pair = self.in_units
        return pair.half_sides_a, pair.half_sides_b, pair.offset, pair.turn, pair.cosine, pair.sine

    @functools.cached_property
    def intersection(self) -> jax.Array:
        """Area that both cover, in `unit`."""
        return numerics.turned_overlap(*self._frame)

    @functools.cached_property
    def hull_area(self) -> jax.Array:
        """Area of the smallest rectangle around both, at any angle, in `unit`."""
        # The search has many kernels, all of which have the frame.
        frame = jax.tree.map(numerics.settled, self._frame)
        x, y, along, across = Turned(*frame).sides_around
        return numerics.smallest_rectangle(numerics.minimum(x * y, along * across), *frame)

    @functools.cached_property
    def squared_diagonal(self) -> jax.Array:
        """Squared diagonal of the rectangle around both, the smaller one of those along either, in `unit`."""
        x, y, along, across = self.in_units.sides_around
        return numerics.minimum(x * x + y * y, along * along + across * across)

    @functools.cached_property
    def squared_offset(self) -> jax.Array:
        """Squared distance of the centers, in `unit`."""
        u, v = self.in_units.offset
        return u * u + v * v

    @functools.cached_property
    def distance(self) -> jax.Array:
        """Squared distance of the centers over the squared diagonal around both, in `[0, 1)`: DIoU's penalty."""
        return numerics.divide(self.squared_offset, self.squared_diagonal)


@dataclasses.dataclass(frozen=True)
class Solids(_Sizes):
    """Two solids that are turned about the vertical.

    Attributes:
      footprint: their rectangles.
      half_height_a: of the first; a negative height counts as 0.
      half_height_b: of the second.
      rise: center of the first above that of the second.
    """

    footprint: Turned
    half_height_a: jax.Array
    half_height_b: jax.Array
    rise: jax.Array

    @classmethod
    def of(cls, a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> Solids:
        """The geometry of two solids.

        Args:
          a: solids, `[..., 7]`: center, sides, angle in radians.
          b: solids in the same unit, `[..., 7]`; leading axes broadcast against `a`.

        Returns:
          A pair whose terms have the shape of `a` and `b` broadcast, without the last axis.
        """
        _checks.assert_one_dimension({"a": a, "b": b})
        rank = max(a.ndim, b.ndim)
        columns = numerics.coordinates(*(jnp.expand_dims(box, range(rank - box.ndim)) for box in (a, b)))
        (z_a, height_a), (z_b, height_b) = ((column[2], column[5]) for column in columns)
        footprint_a, footprint_b = ((*column[:2], *column[3:5], column[6]) for column in columns)
        half_heights = (numerics.positive_part(height) / 2 for height in (height_a, height_b))
        vertical = numerics.settled_for_slopes(*half_heights, z_a - z_b)
        return cls(Turned.of_columns(footprint_a, footprint_b), *vertical)

    @functools.cached_property
    def equal(self) -> jax.Array:
        """Whether the solids are the same, to the last bit."""
        return self.footprint.equal & (self.half_height_a == self.half_height_b) & (self.rise == 0)

    @functools.cached_property
    def gap(self) -> jax.Array:
        """What the vertical side around both is longer than half heights together: see `Turned.gaps`."""
        return _gap(self.half_height_a - self.half_height_b, self.rise)

    @functools.cached_property
    def height_around(self) -> jax.Array:
        """Vertical side around both."""
        return (self.half_height_a + self.half_height_b) + self.gap

    @functools.cached_property
    def misfits(self) -> list[jax.Array]:
        """Half of one minus the GIoU of the intervals along each normal, in `[0, 1)`: the vertical is the last one."""
        return [*self.footprint.misfits, numerics.divide(self.gap, self.height_around)]

    @functools.cached_property
    def unit(self) -> jax.Array:
        """What heights are measured in where volumes are: a power of two, which is held."""
        return numerics.power_of_two(self.height_around)

    @functools.cached_property
    def area_a(self) -> jax.Array:
        """Volume of the first, in the units of footprint and heights."""
        return self.footprint.area_a * (2 * (self.half_height_a / self.unit))

    @functools.cached_property
    def area_b(self) -> jax.Array:
        """Volume of the second, in the units of footprint and heights."""
        return self.footprint.area_b * (2 * (self.half_height_b / self.unit))

    @functools.cached_property
    def intersection(self) -> jax.Array:
        """Volume that both cover, in the units of footprint and heights."""
        overlap = (self.half_height_a + self.half_height_b) - self.gap
        return self.footprint.intersection * numerics.positive_part(overlap / self.unit)

    @functools.cached_property
    def hull_area(self) -> jax.Array:
        """Volume of the smallest upright solid around both, at any angle about the vertical."""
        return self.footprint.hull_area * (self.height_around / self.unit)

    @functools.cached_property
    def distance(self) -> jax.Array:
        """Squared distance of the centers over the squared diagonal around both, in `[0, 1)`: DIoU's penalty."""
        pair = self.footprint
        unit = jnp.maximum(pair.unit, self.unit)
        level, height, rise = ((length / unit) ** 2 for length in (pair.unit, self.height_around, self.rise))
        return numerics.divide(pair.squared_offset * level + rise, pair.squared_diagonal * level + height)
