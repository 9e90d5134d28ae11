"""The terms of two normal distributions that boxes stand for: a half side is a standard deviation along its side.

All of them are sums and products of what is 0 for equal boxes, so that nothing cancels near the target and nothing has
to be added to a denominator. In the formulas p and q are the half sides of the first box and a and b those of the
second, c and s cosine and sine of the turn between them; A = p q and B = a b are the roots of the determinants of the
covariances. The determinant of the sum of both covariances is the sum of three squares,
`(A + B)^2 + X^2 + Y^2` for `X = c (p b - q a)` and `Y = s (p a - q b)`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import numerics
from jaxbox._geometry.rotated import Turned
from jaxbox._geometry.upright import Pair, sum_of_squares

__all__ = ["Normals", "raised_axes"]


class Normals(Turned):
    """Two normal distributions, in the frame of the second: the terms that their distances are made of."""

    @functools.cached_property
    def in_units(self) -> Self:
        """The same boxes in `unit`. If the longest length has a square that is no normal number, all of them are 0."""
        is_there = self.unit >= float(jnp.finfo(self.unit.dtype).tiny) ** 0.5
        return self._of_lengths(numerics.in_unit(self.unit, *(jnp.where(is_there, x, 0) for x in self._lengths)))

    def raised(self, floor: float | jax.Array | np.ndarray) -> Normals:
        """The pair that distances are finite for, of one that is `in_units`.

        Args:
          floor: share of the longest of half sides and distance of the centers, below which a side is raised.

        Returns:
          The same boxes, with every half side above half of that.

        Gradient:
          Held constant: what the floor is a share of.
        """
        (p, q), (a, b), (u, v) = self.half_sides_a, self.half_sides_b, map(lax.stop_gradient, self.offset)
        # Held, so that these may be jnp's. Squares that underflow are not those of the longest length.
        longest = functools.reduce(jnp.maximum, map(lax.stop_gradient, (p, q, a, b, jnp.sqrt(u * u + v * v))))
        least = jnp.asarray(floor, longest.dtype) * longest
        sides_a, sides_b = (_raised(p, least), _raised(q, least)), (_raised(a, least), _raised(b, least))
        return dataclasses.replace(self, half_sides_a=sides_a, half_sides_b=sides_b)

    @functools.cached_property
    def shapes(self) -> Normals:
        """The same boxes at one place, in units of their longest side."""
        none = lax.stop_gradient(0 * self.offset[0])  # which varies over the devices that the offset does
        return dataclasses.replace(self, offset=(none, none)).in_units

    @functools.cached_property
    def root_a(self) -> jax.Array:
        """Root of the determinant of the first covariance: A."""
        p, q = self.half_sides_a
        return p * q

    @functools.cached_property
    def root_b(self) -> jax.Array:
        """Root of the determinant of the second covariance: B."""
        a, b = self.half_sides_b
        return a * b

    @functools.cached_property
    def growth(self) -> jax.Array:
        """A - B. Written with differences of sides, as X and Y are, it is 0 for equal ones in every rounding."""
        (p, q), (a, b) = self.half_sides_a, self.half_sides_b
        # Of two ways to write it, the one whose terms are not larger than A and B.
        shorter = p < a
        return (p - a) * jnp.where(shorter, b, q) + (q - b) * jnp.where(shorter, p, a)

    @functools.cached_property
    def stretch(self) -> jax.Array:
        """X: by how much the ratio of the sides differs."""
        (p, q), (a, b) = self.half_sides_a, self.half_sides_b
        shorter = p < a
        return self.cosine * ((p - a) * jnp.where(shorter, q, b) - (q - b) * jnp.where(shorter, p, a))

    @functools.cached_property
    def twist(self) -> jax.Array:
        """Y: by how much the boxes are turned, as far as that can be seen of them."""
        (p, q), (a, b) = self.half_sides_a, self.half_sides_b
        return self.sine * ((p - q) * a + (a - b) * q)

    @functools.cached_property
    def _of_sum(self) -> tuple[jax.Array, tuple[jax.Array, ...], jax.Array]:
        """A unit, A + B, X and Y in it, and the root of the sum of their squares, which is 0 or from 0.7 to 3.

        In units of the largest of these, no derivative of the root is too large.
        """
        terms = self.root_a + self.root_b, self.stretch, self.twist
        # Held, so that absolute value and maximum may be those of jnp.
        largest = functools.reduce(jnp.maximum, map(jnp.abs, map(lax.stop_gradient, terms)))
        unit = _or_zero(numerics.power_of_two(largest))
        both, stretch, twist = (numerics.divide(term, unit) for term in terms)
        return unit, (both, stretch, twist), numerics.square_root(sum_of_squares((both, stretch, twist)))

    @functools.cached_property
    def separation(self) -> jax.Array:
        """Bhattacharyya's term of the centers: a quarter of the squared offset in units of both covariances."""
        (p, q), (a, b), (u, v), (u_a, v_a) = self.half_sides_a, self.half_sides_b, self.offset, self.offset_of_a
        unit, _, root = self._of_sum
        over_root = numerics.divide(jnp.ones_like(root), root)
        offsets = (numerics.divide(x, unit) for x in (b * u, a * v, q * u_a, p * v_a))
        return sum_of_squares(x * over_root for x in offsets) / 4

    @functools.cached_property
    def dissimilarity(self) -> jax.Array:
        """Bhattacharyya's term of the covariances: `log(R^2 / (4 A B)) / 2`."""
        mean = numerics.square_root(self.root_a * self.root_b)
        different = (self.growth, self.stretch, self.twist)
        return jnp.log1p(sum_of_squares(numerics.divide(x, mean) for x in different) / 4) / 2

    @functools.cached_property
    def wasserstein(self) -> jax.Array:
        """The 2-Wasserstein distance, of a pair that is `in_units`."""
        (p, q), (a, b), (u, v) = self.half_sides_a, self.half_sides_b, self.offset
        # With boxes turned by an eighth of a turn or less, the last term is above -0.71 of the two before it.
        of_turn = 2 * (a - b) * self._share_of_turn
        return numerics.square_root(u * u + v * v + (p - a) * (p - a) + (q - b) * (q - b) + of_turn)

    @functools.cached_property
    def _share_of_turn(self) -> jax.Array:
        """`s^2 (p - q) (N + M) / (N + F)` for N = p a + q b, M = p b + q a and F^2 = (c N)^2 + (s M)^2.

        The trace of the root in Wasserstein's distance is F, and `N - F = s^2 (N - M) (N + M) / (N + F)`, which does
        not count where N and F are too small to divide by.
        """
        (p, q), (a, b) = self.half_sides_a, self.half_sides_b
        along, across = p * a + q * b, p * b + q * a
        root = numerics.square_root(sum_of_squares((self.cosine * along, self.sine * across)))
        turned = (self.sine * (p - q)) * (self.sine * (along + across))
        return numerics.divide(turned, _or_zero(along + root))

    @functools.cached_property
    def kfiou_deficit(self) -> jax.Array:
        """`1 - 3 KFIoU`, of a pair that is `shapes`, where `KFIoU = A B / (S R - A B)` for S = A + B.

        With D = A - B it is `(D^2 / (S R) + (X^2 + Y^2) / (R^2 + S R)) / (1 - S / (4 R) + D^2 / (4 S R))`, of shares
        that are at most 1.
        """
        unit, (both, stretch, twist), root = self._of_sum
        share, *different = (numerics.divide(term, root) for term in (both, stretch, twist))
        growth = numerics.divide(numerics.divide(self.growth, unit), numerics.square_root(both * root))
        lost = growth * growth + sum_of_squares(different) / (1 + share)
        deficit = lost / (1 - (share - growth * growth) / 4)  # by 3/4 to 1
        # Nothing is left of the formula for two segments along one line, or if one is a point. In float32 a box of an
        # aspect of 1e19 is a segment.
        (p, q), (a, b) = self.half_sides_a, self.half_sides_b
        alike = (p == a) & (q == b) & ((self.turn == 0) | (p == q))
        return jnp.where(root == 0, jnp.where(alike, 0, 1), deficit)


def _or_zero(length: jax.Array) -> jax.Array:
    """A length to divide by, which is 0 if its square is no normal number."""
    return jnp.where(length < float(jnp.finfo(length.dtype).tiny) ** 0.5, 0, length)


def _raised(side: jax.Array, least: jax.Array) -> jax.Array:
    """A side, which counts as `m^2 / (2 m - side)` below m: from m / 2 on, with a slope from 1/4 to 1."""
    # A quotient at the end, as a product would be rounded together with the difference that follows.
    return jnp.where(side < least, numerics.divide(least * least, 2 * least - side), side)


def raised_axes(pair: Pair, floor: float | jax.Array | np.ndarray) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """The offset and the sides along each axis of two upright boxes, in units of the longest of these.

    Args:
      pair: the boxes.
      floor: share of the longest, below which a side is raised; a flipped one counts as 0.

    Returns:
      Offset, side of the first and side of the second, one of each an axis.

    Gradient:
      Held constant: what the floor is a share of.
    """
    axes = [
        (axis.offset, numerics.positive_part(axis.side_a), numerics.positive_part(axis.side_b)) for axis in pair.axes
    ]
    # Held, so that absolute value and maximum may be those of jnp.
    longest = functools.reduce(jnp.maximum, [jnp.abs(lax.stop_gradient(x)) for axis in axes for x in axis])
    unit = _or_zero(numerics.power_of_two(longest))
    least = jnp.asarray(floor, unit.dtype) * numerics.divide(longest, unit)
    offsets, sides_a, sides_b = ([numerics.divide(x, unit) for x in lengths] for lengths in zip(*axes, strict=True))
    return [(x, _raised(t, least), _raised(s, least)) for x, t, s in zip(offsets, sides_a, sides_b, strict=True)]
