"""Which side the agents are, problem by problem, and which form solves a batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxbox import numerics
from jaxbox._assignment import in_step, mosaic, one_by_one, triton
from jaxbox._assignment.problems import INDEX, Problems, filled

__all__ = ["match"]

Form = Callable[[Problems], tuple[jax.Array, jax.Array]]


def match(costs: jax.Array, row_where: jax.Array | None, column_where: jax.Array | None) -> tuple[jax.Array, ...]:
    """Matches rows and columns.

    Args:
      costs: `[..., N, M]`.
      row_where: which rows take part, `[..., N]`, or None for all.
      column_where: which columns take part, `[..., M]`, or None for all.

    Returns:
      The column of each row, `[..., N]`, M where it has none, and the row of each column, `[..., M]`.
    """
    masks = [where for where in (row_where, column_where) if where is not None]
    return _batchwise(row_where is not None, column_where is not None)(costs, *masks)


@functools.cache
def _batchwise(masks_rows: bool, masks_columns: bool) -> Callable[..., tuple[jax.Array, ...]]:
    """The matching of arrays that are costs and the masks that there are."""

    def by(form: Form) -> Callable[..., tuple[jax.Array, jax.Array]]:
        def match(costs: jax.Array, *masks: jax.Array) -> tuple[jax.Array, jax.Array]:
            return _match(form, costs, masks[0] if masks_rows else None, masks[-1] if masks_columns else None)

        return match

    signature = ",".join(["nm", *["n"] * masks_rows, *["m"] * masks_columns]) + "->n,m"
    forms = {"cpu": one_by_one, "cuda": triton, "tpu": mosaic, "default": in_step}
    return numerics.batchwise(signature, **{platform: by(form.solve) for platform, form in forms.items()})


def _match(
    form: Form, costs: jax.Array, row_where: jax.Array | None, column_where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """`match` by a form.

    Which side has fewer members depends on the masks. Where these may turn the sides over, both ways are solved, each
    without agents in the problems of the other one.
    """
    *leading, rows, columns = costs.shape
    batch = math.prod(leading)
    if 0 in costs.shape:
        return jnp.full((*leading, rows), columns, INDEX), jnp.full((*leading, columns), rows, INDEX)
    costs = costs.reshape(batch, rows, columns)
    row_where, column_where = (
        None if where is None else where.reshape(batch, count)
        for where, count in ((row_where, rows), (column_where, columns))
    )
    of_rows = filled(costs[:, :, 0], True, bool) if row_where is None else row_where
    of_columns = filled(costs[:, 0], True, bool) if column_where is None else column_where

    def by_columns(agents: jax.Array) -> tuple[jax.Array, jax.Array]:
        row_of_column, column_of_row = form(Problems(costs, agents, row_where, 2))
        return column_of_row, row_of_column

    def by_rows(agents: jax.Array) -> tuple[jax.Array, jax.Array]:
        return form(Problems(costs, agents, column_where, 1))

    if row_where is None and _is_at_most(columns, rows):
        found = by_columns(of_columns)
    elif column_where is None and _is_at_most(rows, columns):
        found = by_rows(of_rows)
    else:
        fewer_rows = (jnp.sum(of_rows, axis=1) < jnp.sum(of_columns, axis=1))[:, None]
        both = zip(by_rows(of_rows & fewer_rows), by_columns(of_columns & ~fewer_rows), strict=True)
        found = tuple(jnp.where(fewer_rows, one, other) for one, other in both)
    return found[0].reshape(*leading, rows), found[1].reshape(*leading, columns)


def _is_at_most(count: int, other: int) -> bool:
    """Whether one number is known to be at most another: it may be a symbol of `jax.export`."""
    return isinstance(count, int) and isinstance(other, int) and count <= other
