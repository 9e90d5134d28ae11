"""Angles of vectors in the plane, with the derivative 0 at a vector that has none."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxbox.numerics.rules import divide, is_zero

__all__ = ["angle_between"]


def _arctangent2(y, x):
    """The angle of float32 vectors by a polynomial: on CPU, XLA computes `jnp.arctan2` one number at a time."""
    across, along = jnp.abs(y), jnp.abs(x)
    shorter, longer = jnp.minimum(across, along), jnp.maximum(across, along)
    # An angle from pi / 8 to pi / 4 is pi / 4 plus a negative one: the polynomial then reaches to pi / 8 only.
    steep = shorter > 0.41421356 * longer
    # The slope is used several times; XLA would compute a quotient that is in a kernel of its own, a product not.
    slope = jnp.where(steep, shorter - longer, shorter) * divide(
        jnp.ones_like(longer), jnp.where(steep, shorter + longer, longer)
    )
    square = slope * slope
    # Minimax coefficients of (arctan(t) / t - 1) / t**2 up to t = tan(pi / 8): relative error 2e-8.
    series = -0.33332955 + square * (0.19977926 + square * (-0.1387985 + square * 0.08060309))
    folded = jnp.where(steep, jnp.pi / 4, 0) + (slope + slope * square * series)
    acute = jnp.where(across > along, jnp.pi / 2 - folded, folded)
    upper = jnp.where(x < 0, jnp.pi - acute, acute)
    return jnp.where(y < 0, -upper, upper)


@jax.custom_jvp
def _angle_between(x, y, x_star, y_star):
    # One angle is enough, and a difference of two would cancel.
    same = (x == x_star) & (y == y_star)
    across = jnp.where(same, 0, x_star * y - x * y_star)
    along = x_star * x + y_star * y
    if x.dtype == jnp.float32:
        return _arctangent2(across, along)
    # Without the replacement the angle of (0, -0.0) would be pi.
    return jnp.arctan2(across, jnp.where(is_zero(along) & is_zero(across), 1, along))


@_angle_between.defjvp
def _angle_between_jvp(primals, tangents):
    (x, y, x_star, y_star), (dx, dy, dx_star, dy_star) = primals, tangents
    square, square_star = x * x + y * y, x_star * x_star + y_star * y_star
    turn = divide(x * dy - y * dx, square) - divide(x_star * dy_star - y_star * dx_star, square_star)
    return _angle_between(x, y, x_star, y_star), jnp.where(is_zero(square) | is_zero(square_star), 0, turn)


def angle_between(x: jax.Array, y: jax.Array, x_star: jax.Array, y_star: jax.Array) -> jax.Array:
    """The angle of the vector `(x, y)` less that of `(x_star, y_star)`; 0, with derivative 0, where one of them is 0.

    Args:
      x: component along the first axis. The square of every component must be a normal number, or 0.
      y: component along the second axis.
      x_star: component of the second vector along the first axis.
      y_star: component of the second vector along the second axis.

    Returns:
      Radians, in `[-pi, pi]`; exactly 0 for equal vectors.
    """
    return _angle_between(x, y, x_star, y_star)
