"""Powers of two as units of length, in which no bit of a number changes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxbox.numerics.execution import settled

__all__ = ["in_unit", "power_of_two"]


def power_of_two(x: jax.Array) -> jax.Array:
    """The power of two that is nearest to a length, a unit in which no bit changes; 1 where it is 0. It is held.

    Args:
      x: numbers that are not negative.

    Returns:
      Powers of two, of the same shape, with derivative 0.
    """
    held = lax.stop_gradient(x)
    positive = jnp.where(held > 0, held, 1)
    return lax.reduce_precision(positive, exponent_bits=jnp.finfo(x.dtype).nexp, mantissa_bits=0)


def _reciprocal(unit):
    """One over a power of two, by the sign of its exponent: a division has a kernel of its own on a CPU."""
    bits = jnp.int32 if unit.dtype == jnp.float32 else jnp.int64
    one = lax.bitcast_convert_type(jnp.ones((), unit.dtype), bits)
    return lax.bitcast_convert_type(2 * one - lax.bitcast_convert_type(unit, bits), unit.dtype)


@jax.custom_jvp
def _in_unit(unit, *lengths):
    per_unit = _reciprocal(unit)
    return tuple(length * per_unit for length in lengths)


@functools.partial(_in_unit.defjvp, symbolic_zeros=True)
def _in_unit_jvp(primals, tangents):
    (unit, *lengths), (_, *dlengths) = primals, tangents
    per_unit = settled(_reciprocal(unit))
    moved = (dlength if isinstance(dlength, SymbolicZero) else dlength * per_unit for dlength in dlengths)
    return tuple(length * per_unit for length in lengths), tuple(moved)


def in_unit(unit: jax.Array, *lengths: jax.Array) -> tuple[jax.Array, ...]:
    """Lengths in a unit, which is held: `length / unit`, exactly.

    Args:
      unit: what `power_of_two` gives, of an exponent whose negative one the dtype has too.
      *lengths: floating point arrays, of shapes that broadcast with that of the unit.

    Returns:
      The quotients, all of one shape.
    """
    return _in_unit(*jnp.broadcast_arrays(unit, *lengths))
