"""What losses do before their formula: their arguments are checked, and masked rows replaced."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

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


def masked(where: chex.Array | None, *arrays: chex.Array) -> tuple[Any, ...]:
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


def sum_over_coordinates(
    function: Callable[..., jax.Array], predictions: chex.Array, targets: chex.Array, *others: chex.Array
) -> jax.Array:
    """The loss that is the sum over the coordinates of a function of the error.

    Args:
      function: of the errors of one coordinate, `[...]`, and of the same coordinate of each other array.
      predictions: coordinates, `[..., k]`.
      targets: coordinates, `[..., k]`.
      *others: further numbers a coordinate, `[..., k]`.

    Returns:
      One value a row, `[...]`.
    """

    def of_one(prediction: jax.Array, target: jax.Array, *rest: jax.Array) -> jax.Array:
        return function(prediction - target, *rest)

    length = jnp.shape(predictions)[-1]
    if not isinstance(length, int) or length > FEW:  # or a symbol of `jax.export`
        of_all = jax.vmap(of_one, in_axes=-1, out_axes=-1)
        return jnp.sum(of_all(*numerics.promote(predictions, targets, *others)), axis=-1)
    return numerics.seam(numerics.total(map(of_one, *numerics.unstack(predictions, targets, *others))))
