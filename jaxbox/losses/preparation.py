"""What all losses do before and after their formula."""

import operator
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxbox import boxes, numerics


def prepared(predictions: chex.Array, targets: chex.Array, where: chex.Array | None) -> tuple[jax.Array, jax.Array]:
    """Asserts two aligned arrays, and puts zeros into both where a row is masked.

    At equal boxes, even empty ones, every loss is 0 and stationary.

    Args:
      predictions: coordinates, `[..., k]`.
      targets: coordinates, `[..., k]`.
      where: boolean mask, `[...]`, or None.

    Returns:
      Predictions and targets, `[..., k]`.
    """
    boxes.assert_aligned(predictions=predictions, targets=targets)
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if where is None:
        return predictions, targets
    boxes.assert_mask(where, predictions.shape[:-1])
    keep = jnp.expand_dims(where, -1)
    return jnp.where(keep, predictions, 0), jnp.where(keep, targets, 0)


def prepared_boxes(
    predictions: chex.Array, targets: chex.Array, where: chex.Array | None, *, planar: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Asserts two aligned arrays of boxes and prepares them.

    Args:
      predictions: boxes, `[..., 2n]`.
      targets: boxes, `[..., 2n]`.
      where: boolean mask, `[...]`, or None.
      planar: whether `n` must be 2.

    Returns:
      Predictions and targets, `[..., 2n]`.
    """
    boxes.assert_boxes(predictions=predictions, targets=targets, planar=planar)
    return prepared(predictions, targets, where)


def sum_over_coordinates(
    function: Callable[[jax.Array], jax.Array], predictions: chex.Array, targets: chex.Array, where: chex.Array | None
) -> jax.Array:
    """The loss that is the sum over the coordinates of a function of the error.

    Args:
      function: of the errors of one coordinate, `[...]`.
      predictions: coordinates, `[..., k]`.
      targets: coordinates, `[..., k]`.
      where: boolean mask, `[...]`, or None.

    Returns:
      One value a row, `[...]`.
    """
    coordinates = numerics.unstack(*prepared(predictions, targets, where))
    return numerics.seam(numerics.total(map(function, map(operator.sub, *coordinates))))


def one_minus(
    alike: Callable[[chex.Array, chex.Array], jax.Array],
    predictions: chex.Array,
    targets: chex.Array,
    where: chex.Array | None,
    *,
    planar: bool = False,
) -> jax.Array:
    """The loss that is one minus a similarity.

    Args:
      alike: a similarity.
      predictions: boxes, `[..., 2n]`.
      targets: boxes, `[..., 2n]`.
      where: boolean mask, `[...]`, or None.
      planar: whether `n` must be 2.

    Returns:
      One value a box, `[...]`.
    """
    return numerics.seam(1 - alike(*prepared_boxes(predictions, targets, where, planar=planar)))
