"""Every box of one set with every box of another."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import _checks, boxes, numerics

__all__ = ["pairwise"]


def pairwise(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Makes a function of two boxes compare every box of one set with every box of another.

    Its gradient is that of broadcasting, but for many pairs it is computed some rows at a time, in little memory.

    Args:
      function: a similarity, or a loss: for options write `functools.partial(smooth_l1_loss, beta=0.1)`. Any other one
        is compiled with the matrix, as by `jax.jit`, for as long as that function is kept.

    Returns:
      A function of `a`, `[..., N, 2n]`, and `b`, `[..., M, 2n]`, that returns `[..., N, M]`; leading axes broadcast.
      Its argument `where` holds two masks, `[..., N]` and `[..., M]`, or None for one of them. A pair with a box that
      they mask has 0, whatever the box holds, and gradient 0.

    Raises:
      TypeError: if `function` is none.
    """
    if not callable(function):
        raise TypeError(
            f"`pairwise` takes a function of two boxes, not a {type(function).__name__}. "
            "Write `similarity.pairwise(similarity.iou)(a, b)`."
        )
    of_rows, options = _without_options(function)
    known = {name: value for name, value in options.items() if _is_known(value)}
    check = getattr(of_rows, "check", None)
    is_ours = isinstance(check, _checks.BoxCheck)
    program = _program_of(of_rows) if is_ours else _matrix_program(of_rows)
    layout = _checks.layout_of_rows(of_rows)

    def compare_all(
        a: jax.Array | np.ndarray,
        b: jax.Array | np.ndarray,
        *,
        where: tuple[jax.Array | np.ndarray | None, jax.Array | np.ndarray | None] | None = None,
    ) -> jax.Array:
        sets = {"a": _checks.laid_out("a", a, layout), "b": _checks.laid_out("b", b, layout)}
        _checks.assert_sets(sets)
        masks = _checks.two_masks(where, *(rows.shape[:-1] for rows in sets.values()))
        checked = _checks.options_of_rows(of_rows, options, list(sets.values()))
        given = {name: value for name, value in checked.items() if name not in known}
        key = tuple(known.items()), _checks.is_interval(a), _checks.looks_for_infinities()
        return program(key, given, *sets.values(), *masks)

    return compare_all


def _without_options(function: Callable[..., jax.Array]) -> tuple[Callable[..., jax.Array], dict[str, Any]]:
    if isinstance(function, functools.partial) and not function.args:
        return function.func, function.keywords
    return function, {}


def _is_known(option: object) -> bool:
    """Whether an option can be a constant of a program: it holds no array, and hashes."""
    holds_array = any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(option))
    return not holds_array and option.__hash__ is not None


def _matrix_program(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The program of all pairs: of a key, options, two sets and two masks.

    The key holds what the program knows while it is traced: options, whether rows are intervals, and whether JAX looks
    for infinities.
    """

    def matrix_of(
        key: tuple[tuple[tuple[str, Any], ...], bool, bool],
        given: dict[str, Any],
        a: jax.Array,
        b: jax.Array,
        where_a: jax.Array | None,
        where_b: jax.Array | None,
    ) -> jax.Array:
        known, are_intervals, _ = key

        def of_two(x: jax.Array, y: jax.Array) -> jax.Array:
            pair = (boxes.Intervals(x), boxes.Intervals(y)) if are_intervals else (x, y)
            return function(*pair, **dict(known), **given)

        sets = _kept(a, where_a), _kept(b, where_b)
        values = numerics.over_batch(numerics.all_pairs(of_two), sets, own=(2, 2))
        for where, axis in ((where_a, -1), (where_b, -2)):
            if where is not None:
                mask = jnp.expand_dims(where, axis)
                mask = jnp.expand_dims(mask, range(values.ndim - mask.ndim))
                values = jnp.where(mask, values, jnp.zeros((), values.dtype))
        return values

    return jax.jit(matrix_of, static_argnums=0, inline=True)


_program_of = functools.lru_cache(_matrix_program)


def _kept(rows: jax.Array, where: jax.Array | None) -> jax.Array:
    return rows if where is None else jnp.where(jnp.expand_dims(where, -1), rows, 0)
