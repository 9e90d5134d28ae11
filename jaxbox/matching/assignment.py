"""One to one, at the least total cost."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _assignment, _checks

__all__ = ["Assignment", "linear_assignment"]


class Assignment(NamedTuple):
    """Pairs of rows and columns, in which each row and each column is at most once.

    One past the end says none, not -1: `x.at[slots].set(y, mode="drop")` then leaves x as it is, where -1 would
    overwrite the last.

    Attributes:
      column_of_row: the column of each row, `[..., N]`, int32; M for a row without one.
      row_of_column: the row of each column, `[..., M]`, int32; N for a column without one.
    """

    column_of_row: jax.Array
    row_of_column: jax.Array


def _check(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    given["costs"] = costs = _checks.matrix("costs", given["costs"])
    for axis, name in ((-2, "row_where"), (-1, "column_where")):
        given[name] = _checks.mask_of_side(name, given[name], ("costs", costs.shape), axis)
    return {}


@_checks.checked(_check)
def linear_assignment(
    costs: jax.Array | np.ndarray,
    *,
    row_where: jax.Array | np.ndarray | None = None,
    column_where: jax.Array | np.ndarray | None = None,
) -> Assignment:
    """Pairs rows and columns, as many as there can be, so that the sum of their costs is the least.

    This is what `scipy.optimize.linear_sum_assignment` computes, exactly, for each problem of a batch, with a number of
    targets in each that the program does not know. In a training step, with the predictions as rows and the slots of
    the targets as columns:

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxbox import losses, matching, reductions, similarity
    >>> @jax.jit
    ... def loss_of(predictions, targets, is_target):
    ...     costs = 1 - similarity.pairwise(similarity.giou)(predictions, targets)
    ...     slots = matching.linear_assignment(costs, column_where=is_target).column_of_row
    ...     matched, goals = slots < targets.shape[-2], matching.take(targets, slots)
    ...     return reductions.weighted_mean(losses.giou_loss(predictions, goals, where=matched), where=matched), slots
    >>> predictions = jnp.array([[[0.0, 0, 4, 4], [8, 8, 9, 9], [5, 5, 7, 7]]])
    >>> targets = jnp.array([[[5.0, 5, 7, 8], [jnp.nan] * 4, [0, 0, 4, 4]]])
    >>> loss, slots = loss_of(predictions, targets, jnp.array([[True, False, True]]))
    >>> print(slots, f"{loss:.3f}")
    [[2 3 0]] 0.167

    There are as many pairs as members of the smaller side: with fewer predictions than targets some targets get none.

    Args:
      costs: `[..., N, M]`, floating point, in any unit and of any size. NaN and infinity forbid a pair: as few of those
        are made as possible, and then left out of the result. -infinity forces a pair.
      row_where: which rows take part, boolean, `[..., N]`; its leading axes broadcast to those of the costs.
      column_where: which columns take part, boolean, `[..., M]`, likewise: masks of `[B, M]` go with costs of
        `[layers, B, N, M]`.

    Returns:
      Two arrays of indices: of columns in `[0, M]`, and of rows in `[0, N]`. What is masked has none, and what its
      costs hold, NaN included, changes nothing. Of several optima it is always the same one.

    Raises:
      TypeError: if the costs are not of floating point, or a mask is not boolean.
      ValueError: if a shape does not fit.

    Gradient:
      None: the costs are held constant, and the result are integers.

    References:
      Jonker and Volgenant, 1987, https://doi.org/10.1007/BF02278710; Crouse, 2016,
      https://doi.org/10.1109/TAES.2016.140952
    """
    costs = lax.stop_gradient(jnp.asarray(costs))
    leading = costs.shape[:-2]
    masks = (
        None if where is None else jnp.broadcast_to(where, (*leading, where.shape[-1]))
        for where in (row_where, column_where)
    )
    return Assignment(*_assignment.match(costs, *masks))
