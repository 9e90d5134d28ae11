"""What losses do around a formula: arguments are checked, masked rows replaced, coordinates taken apart and summed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics

FEW = 8  # coordinates that are worth arrays of their own: what is done for one is compiled for each


def loss(
    *, layout: _checks.Layout = _checks.BOXES, ordered: tuple[str, ...] = (), **intervals: _checks.Interval
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a loss of a formula that takes `predictions` and `targets`.

    Args:
      layout: what their last axis holds.
      ordered: two options, of which the first must be below the second.
      **intervals: what the options of the formula may be.

    Returns:
      A decorator of the formula.
    """
    check = _checks.of_boxes("predictions", "targets", layout=layout, equal=True, ordered=ordered, options=intervals)
    return _checks.checked(check)


def masked(where: jax.Array | np.ndarray | None, *arrays: jax.Array | np.ndarray) -> tuple[Any, ...]:
    """Puts zeros where a row is masked.

    At equal boxes, even empty ones, every loss is 0 and stationary.

    Args:
      where: boolean mask, `[...]` with axes that may have length 1, or None.
      *arrays: coordinates, `[..., k]`.

    Returns:
      The arrays, `[..., k]`.
    """
    if where is None:
        return tuple(map(jnp.asarray, arrays))
    keep = jnp.expand_dims(where, -1)
    return tuple(jnp.where(keep, array, 0) for array in arrays)


def propagated(value: jax.Array, *arrays: jax.Array) -> jax.Array:
    """A value that is NaN where a row of an array holds one, also in a number that the formula does not see.

    Args:
      value: of a loss, `[...]`.
      *arrays: boxes, `[..., k]`.

    Returns:
      The value, `[...]`.
    """
    # Made of the boxes, as `jax_debug_nans` finds a NaN that is a constant.
    seen = lax.stop_gradient(sum(jnp.sum(array, axis=-1) for array in numerics.promote(*arrays)))
    return jnp.where(jnp.isnan(seen), seen, value)


def coordinates(where: jax.Array | np.ndarray | None, *arrays: jax.Array | np.ndarray) -> tuple[list[jax.Array], ...]:
    """The coordinates of each array, with zeros where a row is masked, in the dtype to compute in.

    Args:
      where: boolean mask, `[...]` with axes that may have length 1, or None.
      *arrays: coordinates, `[..., k]`.

    Returns:
      For each array a list of arrays that together are its last axis: `k` of `[..., 1]` if these are few, else one of
      `[..., k]`.
    """
    arrays = masked(where, *arrays)
    length = arrays[0].shape[-1]
    if not isinstance(length, int) or length > FEW:  # or a symbol of `jax.export`
        return tuple([array] for array in numerics.promote(*arrays))
    return tuple([jnp.expand_dims(x, -1) for x in apart] for apart in numerics.coordinates(*arrays))


def errors(
    where: jax.Array | np.ndarray | None, predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray
) -> list[jax.Array]:
    """Predictions minus targets, in the form of `coordinates`; 0 where a row is masked."""
    pairs = zip(*coordinates(where, predictions, targets), strict=True)
    return [prediction - target for prediction, target in pairs]


def of_coordinates(option: float | jax.Array | np.ndarray) -> float | jax.Array | np.ndarray:
    """An option, `()` or one a box, as what goes with coordinates, `()` or `[..., 1]`."""
    return jnp.expand_dims(option, -1) if jnp.ndim(option) else option


def total(terms: Iterable[jax.Array]) -> jax.Array:
    """The sum of what `coordinates` took apart: one value a row, `[...]`."""
    return numerics.fusion_barrier(numerics.row_sums(numerics.total(terms)))


def total_of_simple(terms: Iterable[jax.Array]) -> jax.Array:
    """The same of terms of an operation or two, which the kernel of a sum computes on its way."""
    return numerics.fusion_barrier(jnp.sum(numerics.total(terms), axis=-1))
