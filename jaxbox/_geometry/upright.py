"""The geometry of two upright boxes: four numbers an axis, and the terms that many formulas are made of.

A flipped box, whose high corner is below its low one, is empty: areas and overlaps see its sides as 0. Where sides are
compared, they keep their sign. A term that one formula alone uses stands beside that formula.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics

__all__ = ["Axis", "Pair", "area", "overlap", "sum_of_squares"]


def overlap(low_a: jax.Array, high_a: jax.Array, low_b: jax.Array, high_b: jax.Array) -> jax.Array:
    """The length that two intervals have in common: smaller high end minus larger low end; negative is their gap."""
    return numerics.minimum(high_a, high_b) - numerics.maximum(low_a, low_b)


def sum_of_squares(lengths: Iterable[jax.Array]) -> jax.Array:
    """The squared length of a vector that is given by its components."""
    return numerics.total(length * length for length in lengths)


def area(lengths: Iterable[jax.Array], units: Sequence[jax.Array] | None = None) -> jax.Array:
    """The product of sides, where a negative one counts as 0; in the product of `units` if there are any."""
    return numerics.product(map(numerics.positive_part, _in_units(lengths, units)))


def _in_units(lengths: Iterable[jax.Array], units: Sequence[jax.Array] | None) -> Iterable[jax.Array]:
    return lengths if units is None else map(operator.truediv, lengths, units)


@dataclasses.dataclass(frozen=True)
class Axis:
    """What two boxes are along one axis. Where boxes broadcast, a side keeps the shape of its own box.

    Attributes:
      side_a: side of the first box, negative where it is flipped.
      side_b: side of the second box.
      overlap: smaller high edge minus larger low edge; negative is the gap between boxes that are apart.
      offset: center of the first minus center of the second.
    """

    side_a: jax.Array
    side_b: jax.Array
    overlap: jax.Array
    offset: jax.Array

    @classmethod
    def of(cls, low_a: jax.Array, low_b: jax.Array, high_a: jax.Array, high_b: jax.Array) -> Axis:
        """The axis of four edges."""
        return cls(
            side_a=high_a - low_a,
            side_b=high_b - low_b,
            overlap=overlap(low_a, high_a, low_b, high_b),
            # Center minus center would cancel: by 3e-3 of a DIoU, in float32 at coordinates of 1e5.
            offset=((low_a - low_b) + (high_a - high_b)) / 2,
        )

    @functools.cached_property
    def equal(self) -> jax.Array:
        """Whether both boxes are the same along this axis, to the last bit."""
        return (self.side_a == self.side_b) & (self.offset == 0)

    @functools.cached_property
    def hull(self) -> jax.Array:
        """Side of the smallest box around both, larger by the depth of the flip if one is flipped.

        Side plus side minus overlap is that length for upright boxes. It needs no further minimum or maximum of
        corners, and it grows when a box is turned inside out, so that a loss with a hull turns the box back.
        """
        # At a side of 0 the maximum has derivative 1/2, so that a point that is apart moves as a whole; with 1 only its
        # far corner would move, into a flipped box, and the loss would not fall.
        return numerics.maximum(self.side_a, 0) + numerics.maximum(self.side_b, 0) - self.overlap

    @functools.cached_property
    def side_difference(self) -> jax.Array:
        """Side of the first box minus side of the second, signed."""
        return self.side_a - self.side_b

    @functools.cached_property
    def larger_side(self) -> jax.Array:
        """The larger side of the two, without regard to sign."""
        # A side of 0 is the larger one only if both are 0, and nothing is divided by 0: its slope does not count.
        return numerics.maximum(jnp.abs(self.side_a), jnp.abs(self.side_b))

    @functools.cached_property
    def side_change(self) -> jax.Array:
        """Difference of the sides over the larger side, in `[0, 1]`; up to 2 if a box is flipped."""
        return numerics.divide(numerics.absolute(self.side_difference), self.larger_side)

    @functools.cached_property
    def low_offset(self) -> jax.Array:
        """Low edge of the first minus low edge of the second."""
        return self.offset - self.side_difference / 2

    @functools.cached_property
    def high_offset(self) -> jax.Array:
        """High edge of the first minus high edge of the second."""
        return self.offset + self.side_difference / 2


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two boxes by their axes, and the terms that follow from all of these.

    Attributes:
      axes: one an axis of space.
    """

    axes: tuple[Axis, ...]

    @classmethod
    def of(cls, a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> Pair:
        """The geometry of two boxes.

        Args:
          a: boxes, `[..., 2n]`, low corner, then high corner.
          b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

        Returns:
          A pair whose terms have the shape of `a` and `b` broadcast, without the last axis.

        Gradient:
          Where two edges coincide, one half each.
        """
        _checks.assert_one_dimension({"a": a, "b": b})
        rank = max(a.ndim, b.ndim)
        a_and_b = (jnp.expand_dims(box, range(rank - box.ndim)) for box in (a, b))
        edges_a, edges_b = numerics.coordinates(*a_and_b)
        n = len(edges_a) // 2
        return cls(tuple(map(Axis.of, edges_a[:n], edges_b[:n], edges_a[n:], edges_b[n:])))

    @functools.cached_property
    def units(self) -> list[jax.Array] | None:
        """Lengths that areas are measured in, one an axis: powers of two, so that no bit of a ratio changes.

        The volume of a solid of sides of 1e-15 is below the smallest float32. An interval and a box in the plane need
        none: None.
        """
        return None if len(self.axes) < 3 else [numerics.power_of_two(axis.hull) for axis in self.axes]

    @functools.cached_property
    def area_a(self) -> jax.Array:
        """Area of the first box, in `units`."""
        return area((axis.side_a for axis in self.axes), self.units)

    @functools.cached_property
    def area_b(self) -> jax.Array:
        """Area of the second box, in `units`."""
        return area((axis.side_b for axis in self.axes), self.units)

    @functools.cached_property
    def intersection(self) -> jax.Array:
        """Area that both boxes cover, in `units`."""
        return area((axis.overlap for axis in self.axes), self.units)

    @functools.cached_property
    def union(self) -> jax.Array:
        """Area that either box covers, in `units`."""
        return self.area_a + self.area_b - self.intersection

    @functools.cached_property
    def hull_area(self) -> jax.Array:
        """Area of the hull, in `units`."""
        return numerics.product(_in_units((axis.hull for axis in self.axes), self.units))

    @functools.cached_property
    def squared_diagonal(self) -> jax.Array:
        """Squared diagonal of the hull."""
        return sum_of_squares(axis.hull for axis in self.axes)

    @functools.cached_property
    def squared_offset(self) -> jax.Array:
        """Squared distance of the centers."""
        return sum_of_squares(axis.offset for axis in self.axes)

    @functools.cached_property
    def equal(self) -> jax.Array:
        """Whether the boxes are the same, to the last bit.

        Equal boxes are told by comparison and not left to arithmetic: where a backend rounds a product and a sum
        together, as one with fused multiply-add may, equal products differ in a last bit.
        """
        return functools.reduce(operator.and_, (axis.equal for axis in self.axes))

    @functools.cached_property
    def iou(self) -> jax.Array:
        """Intersection over union, in `[0, 1]`. Two empty boxes have 1 if they are equal, else 0."""
        return self.ratio_of_areas(self.intersection, self.union)

    def ratio_of_areas(self, numerator: jax.Array, denominator: jax.Array) -> jax.Array:
        """A quotient that is 1 for equal boxes, and else 0 where the denominator is 0."""
        return jnp.where(self.equal, 1, numerics.divide(numerator, denominator))

    @functools.cached_property
    def vacancy(self) -> jax.Array:
        """Share of the hull that neither box covers, in `[0, 1]`: GIoU's penalty."""
        # Not hull minus union over hull: for boxes far apart that cancels in the derivative.
        return 1 - self.ratio_of_areas(self.union, self.hull_area)

    @functools.cached_property
    def distance(self) -> jax.Array:
        """Squared distance of the centers over the squared diagonal of the hull, in `[0, 1)`: DIoU's penalty."""
        return numerics.divide(self.squared_offset, self.squared_diagonal)

    @functools.cached_property
    def aspect(self) -> jax.Array:
        """Squared angle between the diagonals of boxes in the plane, over that of a right angle: `[0, 1]`, CIoU's v."""
        sides = [*(axis.side_a for axis in self.axes), *(axis.side_b for axis in self.axes)]
        difference = numerics.angle_between(*map(numerics.positive_part, sides))
        return (2 / jnp.pi * difference) ** 2

    @functools.cached_property
    def weighted_aspect(self) -> jax.Array:
        """`aspect` times its weight of itself over `(1 - iou) + aspect`, which is held constant: CIoU's last term."""
        weight = lax.stop_gradient(numerics.divide(self.aspect, (1 - self.iou) + self.aspect))
        return weight * self.aspect

    @functools.cached_property
    def edge_error(self) -> jax.Array:
        """Mean over the edges of their distance from that of the second box, divided by the side of it that they end.

        An edge above a thousand sides away counts as a thousand, so that none can overflow: powerful IoU's p.
        """
        moves = [*(axis.low_offset for axis in self.axes), *(axis.high_offset for axis in self.axes)]
        sides = [axis.side_b for axis in self.axes] * 2

        def error(move: jax.Array, side: jax.Array) -> jax.Array:
            distance = numerics.absolute(move)
            # A side of 0 is divided by only where the distance is 0 as well, which has derivative 0.
            return numerics.divide(distance, numerics.maximum(jnp.abs(side), distance / 1000))

        return numerics.total(map(error, moves, sides)) / len(moves)
