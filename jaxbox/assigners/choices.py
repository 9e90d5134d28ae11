"""What a target takes, and which target an anchor gets that several take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["best_chooser", "first_of", "number", "over_images", "owners", "sizes_of_levels"]

Array = jax.Array | np.ndarray
_Result = TypeVar("_Result")


def number(name: str, value: object, example: int) -> int:
    """The number from 1 on that an argument is, which the message repeats, with an example of what to write."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise TypeError(f"`{name}` is {value!r}, but it is a whole number from 1 on. Write `{name}={example}`.")
    return int(value)


def sizes_of_levels(sizes: object, anchors: int) -> tuple[int, ...]:
    """The number of anchors of each level that `level_sizes` holds, which are so many in all."""
    if not isinstance(sizes, Sequence) or not all(
        isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 0 for size in sizes
    ):
        raise TypeError(
            f"`level_sizes` is {sizes!r}, but it is the number of anchors of each level, one after the other. Write "
            f"`level_sizes=[{anchors}]` for one level."
        )
    if sum(sizes) != anchors:
        raise ValueError(
            f"`level_sizes` is {tuple(sizes)}, {sum(sizes)} in all, but there are {anchors} anchors. Write "
            f"`level_sizes=[{anchors}]` for one level."
        )
    return tuple(int(size) for size in sizes)


def over_images(function: Callable[..., _Result], *arrays: jax.Array) -> _Result:
    """A function of the arrays of an image, for all images; the first array has two axes in an image."""
    for _ in range(arrays[0].ndim - 2):
        function = jax.vmap(function)
    return function(*arrays)


def owners(is_chosen: jax.Array, count: int) -> jax.Array:
    """The slot of each row where it chooses, else their number."""
    return jnp.where(is_chosen, jnp.arange(count, dtype=np.int32)[:, None], count)


def best_chooser(places: jax.Array, is_chosen: jax.Array, overlaps: jax.Array, anchors: int) -> jax.Array:
    """For each anchor the target that it overlaps most of those that chose it, the first of equal ones.

    Args:
      places: of the candidates of each target, `[M, k]`; each is there once.
      is_chosen: which of them the target takes.
      overlaps: of these.
      anchors: their number.
    """
    count = len(places)
    most = jnp.full(anchors, -jnp.inf, overlaps.dtype).at[places].max(jnp.where(is_chosen, overlaps, -jnp.inf))
    is_best = is_chosen & (overlaps == most[places])
    return jnp.full(anchors, count, np.int32).at[places].min(owners(is_best, count))


def first_of(costs: jax.Array, count: int) -> jax.Array:
    """The place of the least number along the last axis, the first of equal ones; their number where all are infinite.

    As the minimum of places: XLA finds the place of a minimum one number at a time on a CPU.
    """
    least = jnp.min(costs, axis=-1, keepdims=True, initial=jnp.inf)
    places = lax.broadcasted_iota(np.int32, costs.shape, costs.ndim - 1)
    return jnp.min(jnp.where((costs == least) & (costs < jnp.inf), places, count), axis=-1, initial=count)
