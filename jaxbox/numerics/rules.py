"""Primitives whose derivative JAX leaves undefined or badly chosen.

Each states its value and its derivative at the one point where the textbook has none. The rules call the safe functions
themselves, so the derivatives of every order exist.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax

from jaxbox.numerics.execution import share_of_the_first

__all__ = [
    "absolute",
    "balanced_integral",
    "clip",
    "divide",
    "is_zero",
    "log1p_integral",
    "log_cosh",
    "log_deficit",
    "logarithm",
    "maximum",
    "minimum",
    "positive_part",
    "power",
    "product",
    "smooth_absolute",
    "square_root",
    "straightened_square",
    "total",
]


def total(terms: Iterable[jax.Array]) -> jax.Array:
    """The sum of arrays, one by one.

    Args:
      terms: at least one array, of shapes that broadcast against each other.

    Returns:
      Their sum.
    """
    return functools.reduce(operator.add, terms)


def product(factors: Iterable[jax.Array]) -> jax.Array:
    """The product of arrays, one by one.

    Args:
      factors: at least one array, of shapes that broadcast against each other.

    Returns:
      Their product.
    """
    return functools.reduce(operator.mul, factors)


@jax.custom_jvp
def _maximum(x, y):
    return jnp.maximum(x, y)


@_maximum.defjvp
def _maximum_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    larger = _maximum(x, y)
    share = share_of_the_first(x > y, x, y, larger)
    return larger, share * dx + (1 - share) * dy


def maximum(x: jax.Array, y: float | jax.Array | np.ndarray) -> jax.Array:
    """The larger number, with derivative 1/2 for each where both are equal.

    That is also JAX's derivative of `jnp.maximum`, which costs a division.

    Args:
      x: any real numbers.
      y: the same, of a shape that broadcasts against `x`.

    Returns:
      The larger of the two.
    """
    return _maximum(x, jnp.asarray(y, x.dtype))


@jax.custom_jvp
def _minimum(x, y):
    return jnp.minimum(x, y)


@_minimum.defjvp
def _minimum_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    smaller = _minimum(x, y)
    share = share_of_the_first(x < y, x, y, smaller)
    return smaller, share * dx + (1 - share) * dy


def minimum(x: jax.Array, y: float | jax.Array | np.ndarray) -> jax.Array:
    """The smaller number, with derivative 1/2 for each where both are equal, as for `maximum`.

    Args:
      x: any real numbers.
      y: the same, of a shape that broadcasts against `x`.

    Returns:
      The smaller of the two.
    """
    return _minimum(x, jnp.asarray(y, x.dtype))


def clip(x: jax.Array, lower: float | jax.Array | np.ndarray, upper: float | jax.Array | np.ndarray) -> jax.Array:
    """The number of an interval that is nearest to `x`, with derivative 1/2 on an end of it, as for `maximum`.

    Args:
      x: any real numbers.
      lower: the low end, of a shape that broadcasts against `x`.
      upper: the high end, not below `lower`.

    Returns:
      `x` inside the interval, else the nearer end.
    """
    return maximum(minimum(x, upper), lower)


@jax.custom_jvp
def _positive_part(x):
    return jnp.maximum(x, 0)


_positive_part.defjvps(lambda dx, _, x: jnp.where(x < 0, 0, dx))


def positive_part(x: jax.Array) -> jax.Array:
    """`max(x, 0)`, with derivative 1 at 0.

    A collapsed side then grows and touching boxes are drawn together. JAX gives 1/2 for `jnp.maximum(x, 0)` and 0 for
    `jax.nn.relu`.

    Args:
      x: any real numbers.

    Returns:
      `x` where it is positive, else 0.
    """
    return _positive_part(x)


@jax.custom_jvp
def _absolute(x):
    return jnp.abs(x)


_absolute.defjvps(lambda dx, _, x: jnp.sign(x) * dx)


def absolute(x: jax.Array) -> jax.Array:
    """The absolute value, with derivative 0 at 0, where JAX gives 1.

    Args:
      x: any real numbers.

    Returns:
      `|x|`.
    """
    return _absolute(x)


def is_zero(x: jax.Array) -> jax.Array:
    """Whether a number is too small to divide by: 0, or so near to it that its last bits are not certain.

    Some backends flush what is below the smallest normal number to 0 and others do not, or not everywhere: a term of a
    sum can be there in one kernel and missing in the next. A sum that is larger than that number by the reciprocal of
    the precision does not feel it. In float32 this is 1e-31.

    Args:
      x: any real numbers.

    Returns:
      A boolean array of the same shape.
    """
    precision = jnp.finfo(x.dtype)
    return jnp.abs(x) < precision.tiny / precision.eps


@jax.custom_jvp
def _divide(x, y):
    if jax.config.jax_debug_infs:  # type: ignore[attr-defined]  # which would find that infinity, if it is kept for a gradient
        return jnp.where(is_zero(y), 0, x / jnp.where(is_zero(y), 1, y))
    return x / jnp.where(is_zero(y), jnp.inf, y)


@_divide.defjvp
def _divide_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    quotient = _divide(x, y)
    # The usual -x / y**2 overflows for y above 1e19 in float32 and above 256 in float16.
    return quotient, _divide(dx - quotient * dy, y)


def divide(x: jax.Array, y: jax.Array, *, otherwise: float | jax.Array | np.ndarray | None = None) -> jax.Array:
    """`x / y`, and a limit that was decided, with derivative 0, where `y` is 0.

    Args:
      x: numerator.
      y: denominator, of a shape that broadcasts against `x`.
      otherwise: the value where `y` is 0; 0 by default.

    Returns:
      The quotient.
    """
    quotient = _divide(x, y)
    return quotient if otherwise is None else jnp.where(is_zero(y), otherwise, quotient)


@jax.custom_jvp
def _square_root(x):
    return jnp.sqrt(x)


_square_root.defjvps(lambda dx, root, _: divide(dx, 2 * root))


def square_root(x: jax.Array) -> jax.Array:
    """The square root, with derivative 0 at 0, where JAX gives infinity.

    Args:
      x: numbers that are not negative.

    Returns:
      The root.
    """
    return _square_root(x)


@jax.custom_jvp
def _smooth_absolute(x, width):
    return _smooth_sign(x, width) * (x - jnp.clip(x, -width, width) / 2)


@_smooth_absolute.defjvp
def _smooth_absolute_jvp(primals, tangents):
    (x, width), (dx, dwidth) = primals, tangents
    slope = _smooth_sign(x, width)
    return _smooth_absolute(x, width), slope * dx - slope * slope / 2 * dwidth


def _smooth_sign(x, width):
    return jnp.where(is_zero(width), jnp.sign(x), divide(jnp.clip(x, -width, width), width))


def smooth_absolute(x: jax.Array, width: float | jax.Array | np.ndarray) -> jax.Array:
    """The absolute value with its corner rounded: `x**2 / (2 width)` within `width` of 0, `|x| - width / 2` beyond.

    Both branches are `s * (x - clip(x, -width, width) / 2)` for `s = clip(x, -width, width) / width`, which is also the
    derivative. Written as a difference of squares the derivative cancels for small `x`.

    Args:
      x: any real numbers.
      width: half the width of the rounded part, not negative; may be traced. 0 gives `absolute`, infinity gives 0.

    Returns:
      The rounded absolute value, `[0, inf)`; 0 with derivative 0 at 0.
    """
    return _smooth_absolute(x, jnp.asarray(width, x.dtype))


@jax.custom_jvp
def _straightened_square(x, width):
    near = jnp.clip(x, -width, width)
    return near * (x - near / 2)


@_straightened_square.defjvp
def _straightened_square_jvp(primals, tangents):
    (x, width), (dx, dwidth) = primals, tangents
    near = jnp.clip(x, -width, width)
    return _straightened_square(x, width), near * dx + (absolute(x) - absolute(near)) * dwidth


def straightened_square(x: jax.Array, width: float | jax.Array | np.ndarray) -> jax.Array:
    """Half the square, and a straight line of the same slope beyond `width` of 0: `width (|x| - width / 2)`.

    Both branches are `c (x - c / 2)` for `c = clip(x, -width, width)`, which is also the derivative.

    Args:
      x: any real numbers.
      width: where the line begins, not negative; may be traced. Infinity gives half the square, 0 gives 0.

    Returns:
      The straightened square, `[0, inf)`; 0 with derivative 0 at 0.
    """
    return _straightened_square(x, jnp.asarray(width, x.dtype))


@jax.custom_jvp
def _power(x, exponent):
    return jnp.where(x <= 0, 0, jnp.power(jnp.where(x <= 0, 1, x), exponent))


@_power.defjvp
def _power_jvp(primals, tangents):
    (x, exponent), (dx, dexponent) = primals, tangents
    value = _power(x, exponent)
    slope = exponent * _power(x, exponent - 1)
    return value, slope * dx + value * jnp.log(jnp.where(x <= 0, 1, x)) * dexponent


def power(x: jax.Array, exponent: float | jax.Array | np.ndarray) -> jax.Array:
    """`x ** exponent`, which is 0 with derivative 0 where `x` is 0, whatever the exponent.

    Args:
      x: numbers that are not negative; what rounding left below 0 counts as 0.
      exponent: a number; may be traced. One above 1e3 over the precision, 1e10 in float32, counts as that: the power
        of every number below 1 is then 0, to the last bit.

    Returns:
      The power.
    """
    known = not isinstance(exponent, core.Tracer) and np.ndim(exponent) == 0
    if known and exponent in (2, 3, 4):  # XLA takes a logarithm of each number for a power, and none for a product
        return lax.integer_pow(jnp.where(x <= 0, 0, x), int(exponent))
    return _power(x, jnp.clip(jnp.asarray(exponent, x.dtype), max=1e3 / jnp.finfo(x.dtype).eps))


@jax.custom_jvp
def _logarithm(x):
    return jnp.log(jnp.where(_has_logarithm(x), x, 1))


_logarithm.defjvps(lambda dx, _, x: divide(dx, jnp.where(_has_logarithm(x), x, 0)))


def _has_logarithm(x):
    return ~((x <= 0) | is_zero(x))  # so that a NaN stays


def logarithm(x: jax.Array) -> jax.Array:
    """The logarithm, which is 0 with derivative 0 where `x` is not positive: JAX has -inf or NaN there.

    Args:
      x: any real numbers.

    Returns:
      The logarithm.
    """
    return _logarithm(x)


@jax.custom_jvp
def _log_deficit(ratio, excess):
    near = (excess > -1 / 3) & (excess < 1 / 2)
    # The logarithm is 2 artanh(t) for t = x / (2 + x), and x - 2 t is x t: nothing cancels. Up to |t| = 1/5.
    x = jnp.where(near, excess, 0)
    t = x / (2 + x)
    last = 6 if x.dtype == jnp.float32 else 12  # what the series leaves out is below the precision
    series = functools.reduce(lambda rest, k: 1 / (2 * k + 1) + t * t * rest, range(last, 0, -1), 0.0)
    return jnp.where(near, t * (x - 2 * t * t * series), excess - jnp.log(jnp.where(near, 1, ratio)))


@_log_deficit.defjvp
def _log_deficit_jvp(primals, tangents):
    (ratio, excess), (dratio, _) = primals, tangents
    return _log_deficit(ratio, excess), divide(excess, ratio) * dratio


def log_deficit(ratio: jax.Array, excess: jax.Array) -> jax.Array:
    """How far a logarithm is below its tangent at 1: `g - 1 - log(g)`, without cancellation near 1.

    Args:
      ratio: g, a positive number; its derivative is that of the result.
      excess: `g - 1` to more digits than `ratio` has: the difference of what g is the quotient of, over the divisor.

    Returns:
      The deficit, `[0, inf)`, with derivative `1 - 1 / g`; 0 with derivative 0 at 1.
    """
    return _log_deficit(ratio, excess)


@jax.custom_jvp
def _log_cosh(x):
    size = jnp.abs(x)
    fall = jnp.expm1(-2 * size)
    tangent = fall / (2 + fall)  # minus tanh(size); the denominator is 1 to 2
    near = size < 1
    # -log(1 - tanh(x)**2) / 2 near 0, and |x| + log((1 + exp(-2 |x|)) / 2) far from it: one logarithm is enough.
    log = jnp.log1p(jnp.where(near, -tangent * tangent, fall / 2))
    return jnp.where(near, -log / 2, size + log)


_log_cosh.defjvps(lambda dx, _, x: jnp.tanh(x) * dx)


def log_cosh(x: jax.Array) -> jax.Array:
    """The logarithm of the hyperbolic cosine, without overflow far from 0 or cancellation near it.

    Args:
      x: any real numbers.

    Returns:
      `log(cosh(x))`, `[0, inf)`.
    """
    return _log_cosh(x)


@jax.custom_jvp
def _log1p_integral(x):
    return (1 + x) * jnp.log1p(x) - x


_log1p_integral.defjvps(lambda dx, _, x: jnp.log1p(x) * dx)


def log1p_integral(x: jax.Array) -> jax.Array:
    """The integral of `log(1 + t)` for t from 0 to x: `(1 + x) log(1 + x) - x`.

    JAX's derivative of that expression cancels near 0; this one is `log1p(x)`.

    Args:
      x: numbers that are not negative.

    Returns:
      The integral, `[0, inf)`.
    """
    return _log1p_integral(x)


FLAT, STEEP = 0.05, 20  # where `balanced_integral` takes another form


def balanced_integral(
    e: jax.Array, alpha: float | jax.Array | np.ndarray, gamma: float | jax.Array | np.ndarray
) -> jax.Array:
    """The integral of `alpha log(1 + b t)` for t from 0 to e, where `b = exp(gamma / alpha) - 1`.

    The slope rises from 0 at 0 to gamma at 1. Three forms, by `gamma / alpha`: for a large one b overflows, which the
    logarithm does not, and for a small one the expression cancels.

    Args:
      e: numbers in `[0, 1]`.
      alpha: a number above 0; may be traced. The limit for infinity is `gamma e^2 / 2`, that for 0 is `gamma e`.
      gamma: a number above 0; may be traced.

    Returns:
      The integral, `alpha / b ((1 + b e) log(1 + b e) - b e)`.
    """
    known = isinstance(alpha, float) and isinstance(gamma, float) and FLAT < gamma / alpha < STEEP
    alpha, gamma = (jnp.asarray(number, e.dtype) for number in (alpha, gamma))
    precision = jnp.finfo(e.dtype)
    # At the ends of this interval the limits are reached, to the last bit.
    alpha = clip(alpha, gamma * float(precision.eps) * 1e-3, gamma / float(precision.eps))
    ratio = divide(gamma, alpha)

    b = jnp.expm1(clip(ratio, FLAT, STEEP))
    moderate = alpha / b * log1p_integral(b * e)
    if known:  # the default, for which XLA would compute the other forms too
        return moderate

    large = maximum(ratio, STEEP)
    shrunk = jnp.exp(-large)
    grown = maximum(e + (1 - e) * shrunk, float(precision.tiny))  # (1 + b e) exp(-gamma / alpha)
    slope = alpha * (large + jnp.log(grown))
    steep = (e + shrunk / (1 - shrunk)) * slope - alpha * e

    b = jnp.expm1(minimum(ratio, FLAT))
    # What the series leaves out is below the precision.
    last = 8 if e.dtype == jnp.float32 else 13
    series = functools.reduce(lambda rest, k: 1 / (k * (k - 1)) - b * e * rest, range(last, 1, -1), 0.0)
    flat = alpha * b * e * e * series

    return jnp.where(ratio > STEEP, steep, jnp.where(ratio < FLAT, flat, moderate))
