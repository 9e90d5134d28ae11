"""Angles of vectors in the plane, with the derivative 0 at a vector that has none, and turns by an angle.

A quarter turn is pi / 2 as the dtype holds it, which is not corrected: the angles 0, pi / 2 and pi are then exactly
upright.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox.numerics.execution import settled
from jaxbox.numerics.rules import divide, is_zero

__all__ = ["angle_between", "cosine_and_sine", "direction", "is_odd", "quarter_turns", "turn_between", "versine"]

LEAST_TURN = 1e-15  # as of sides: two lines that cross at less have a hull that float32 cannot divide by


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


@functools.cache
def _parts_of_a_quarter(dtype: np.dtype) -> list[np.generic]:
    """A quarter turn as the sum of numbers of few bits, whose products with a number of quarters have no rounding."""
    bits = (jnp.finfo(dtype).nmant + 3) // 3
    rest, parts = float(dtype.type(np.pi / 2)), []
    for place in (bits, 2 * bits, 3 * bits):
        part = np.floor(rest * 2.0 ** (place - 1)) / 2.0 ** (place - 1)
        parts.append(dtype.type(part))
        rest -= part
    return parts


@jax.custom_jvp
def _turn(angle, quarters):
    turn = angle
    for part in _parts_of_a_quarter(angle.dtype):
        turn = turn - quarters * part
    # Of an angle of thousands of turns, whose bits are not certain, something is left.
    return jnp.clip(turn, -0.8, 0.8)


@_turn.defjvp
def _turn_jvp(primals, tangents):
    return _turn(*primals), tangents[0]


def quarter_turns(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An angle as a whole number of quarter turns and what is left, with the derivative of the angle.

    Args:
      angle: radians.

    Returns:
      The rest in radians, within `[-pi / 4, pi / 4]`, and the number of quarter turns, whole numbers of the same dtype,
      which are held constant.
    """
    quarters = lax.stop_gradient(jnp.round(angle * angle.dtype.type(2 / np.pi)))
    return _turn(angle, quarters), quarters


@jax.custom_jvp
def _turn_between(angle, angle_star):
    difference = angle - angle_star
    # What the difference has lost: what it and one angle say of the other one.
    said = difference - angle
    lost = (angle - (difference - said)) - (angle_star + said)
    turn, quarters = quarter_turns(difference)
    # Of thousands of turns nothing is certain, and the rest stays within its bounds.
    turn = turn + jnp.where(jnp.abs(lost) < 1e-3, lost, 0)
    return jnp.where(jnp.abs(turn) < LEAST_TURN, 0, turn), quarters


@_turn_between.defjvp
def _turn_between_jvp(primals, tangents):
    turn, quarters = _turn_between(*primals)
    (dangle, dangle_star) = tangents
    # Zeros that vary over devices as the number of quarters does, in a `shard_map` of jax 0.6 too.
    return (turn, quarters), (dangle - dangle_star, 0 * quarters)


def turn_between(angle: jax.Array, angle_star: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first angle less the second as `quarter_turns` gives it; exactly 0 below 1e-15.

    Angles are subtracted before anything else. What that loses, as much as a millionth for some turns apart, is added
    when the quarters are gone.

    Args:
      angle: radians.
      angle_star: radians.

    Returns:
      The rest in radians, within `[-pi / 4, pi / 4]`, and the number of quarter turns, whole numbers of the same dtype,
      which are held constant.
    """
    return _turn_between(angle, angle_star)


def _near(turn):
    """Cosine and sine within an eighth of a turn: XLA computes those of any angle one number at a time on a CPU."""
    if turn.dtype != jnp.float32:
        return jnp.cos(turn), jnp.sin(turn)
    square = turn * turn
    # Minimax coefficients up to pi / 4: relative error 2e-10 and 4e-9.
    of_sine = -0.1666665461 + square * (0.008332160595 + square * -0.0001951526307)
    return 1 + square * (square * _of_cosine(square) - 0.5), turn + turn * square * of_sine


def _of_cosine(square):
    return 0.04166664568 + square * (-0.001388731601 + square * 2.443313125e-5)


@jax.custom_jvp
def _cosine_and_sine(turn):
    return _near(turn)


@_cosine_and_sine.defjvp
def _cosine_and_sine_jvp(primals, tangents):
    cosine, sine = map(settled, _cosine_and_sine(*primals))
    (dturn,) = tangents
    return (cosine, sine), (-sine * dturn, cosine * dturn)


def cosine_and_sine(turn: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of what `quarter_turns` leaves of an angle.

    Args:
      turn: radians, within `[-pi / 4, pi / 4]`.

    Returns:
      Cosine, from 0.7 to 1, and sine.
    """
    return _cosine_and_sine(turn)


@jax.custom_jvp
def _versine(turn):
    if turn.dtype != jnp.float32:
        half = jnp.sin(turn / 2)
        return 2 * half * half
    square = turn * turn
    return square * (0.5 - square * _of_cosine(square))


_versine.defjvps(lambda dturn, _, turn: _cosine_and_sine(turn)[1] * dturn)


def versine(turn: jax.Array) -> jax.Array:
    """One minus the cosine of what `quarter_turns` leaves of an angle, which does not cancel.

    Args:
      turn: radians, within `[-pi / 4, pi / 4]`.

    Returns:
      From 0 to 0.3.
    """
    return _versine(turn)


def is_odd(number: jax.Array) -> jax.Array:
    """Whether whole numbers of floating point, such as those of `quarter_turns`, are odd.

    Args:
      number: whole numbers.

    Returns:
      A boolean array of the same shape.
    """
    return number - 2 * jnp.floor(number / 2) == 1


@jax.custom_jvp
def _direction(angle):
    turn, quarters = quarter_turns(angle)
    cosine, sine = _near(turn)
    swapped, half = is_odd(quarters), is_odd(jnp.floor(quarters / 2))
    x, y = jnp.where(swapped, -sine, cosine), jnp.where(swapped, cosine, sine)
    return jnp.where(half, -x, x), jnp.where(half, -y, y)


@_direction.defjvp
def _direction_jvp(primals, tangents):
    x, y = map(settled, _direction(*primals))
    (dangle,) = tangents
    return (x, y), (-y * dangle, x * dangle)


def direction(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of any angle, exact at multiples of a quarter turn.

    Args:
      angle: radians. Beyond some thousands of turns the bits of an angle are not certain, nor are these.

    Returns:
      The components of the unit vector at this angle from the first axis towards the second.
    """
    return _direction(angle)
