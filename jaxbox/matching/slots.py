"""Slots by thresholds of a similarity, and what is done with slots."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks

__all__ = ["majority", "rescue_targets", "take", "threshold_assignment"]


def _check_thresholds(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    similarities = _check_matrix(given)
    dtype = _checks.dtype_to_compute_in([similarities])
    given["low"], given["high"] = _checks.thresholds(given["low"], given["high"], dtype)
    return {}


def _check_rescue(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    similarities = _check_matrix(given)
    given["slots"] = _checks.exactly("slots", _checks.indices("slots", given["slots"]), similarities.shape[:-1])
    return {}


def _check_matrix(given: _checks.Given) -> jax.Array:
    given["similarities"] = similarities = _checks.matrix("similarities", given["similarities"])
    for axis, name in ((-2, "row_where"), (-1, "column_where")):
        given[name] = _checks.mask_of_side(name, given[name], ("similarities", similarities.shape), axis)
    return similarities


@_checks.checked(_check_thresholds)
def threshold_assignment(
    similarities: jax.Array | np.ndarray,
    *,
    low: float | jax.Array | np.ndarray,
    high: float | jax.Array | np.ndarray,
    row_where: jax.Array | np.ndarray | None = None,
    column_where: jax.Array | np.ndarray | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Gives each row the column that is most similar to it, if it is similar enough.

    A row whose best similarity is at least `high` has that column, the first one of several. One below `low` has none.
    One between is ignored: it is neither, and is left out of the loss of the classes.

    >>> import jax.numpy as jnp
    >>> from jaxbox import boxes, matching, similarity
    >>> anchors = jnp.array([[0.0, 0, 4, 4], [0, 0, 4, 8], [5, 5, 9, 9]])
    >>> targets = jnp.array([[0.0, 0, 4, 5]])
    >>> ious = similarity.pairwise(similarity.iou)(anchors, targets)
    >>> slots, ignored = matching.threshold_assignment(ious, low=0.5, high=0.7)
    >>> print(slots, ignored)
    [0 1 1] [False  True False]

    Args:
      similarities: `[..., N, M]`, floating point; NaN is none.
      low: below it a row has no column; a number, at most `high`, may be traced.
      high: from it on a row has its column; a number, may be traced.
      row_where: which rows take part, boolean, `[..., N]`; its leading axes broadcast to those of the similarities.
      column_where: which columns take part, boolean, `[..., M]`, likewise.

    Returns:
      The column of each row, `[..., N]`, int32, M where it has none, and whether it is ignored, `[..., N]`, boolean. A
      row that is masked has none and is not ignored.

    Raises:
      TypeError: if the similarities are not of floating point, or a mask is not boolean.
      ValueError: if a shape does not fit, or `low` is above `high`.

    Gradient:
      None: the similarities are held constant.
    """
    known = _known(similarities, row_where, column_where)
    best, slots = _best(known, axis=-1)
    columns = known.shape[-1]
    return jnp.where(best >= high, slots, columns), (best >= low) & (best < high)


@_checks.checked(_check_rescue)
def rescue_targets(
    slots: jax.Array | np.ndarray,
    similarities: jax.Array | np.ndarray,
    *,
    row_where: jax.Array | np.ndarray | None = None,
    column_where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Lets every target that overlaps anything keep its best predictions, however low their similarity.

    The rows that are most similar to a column, ties included, get a column even below the threshold: each its own best
    one, which may be another. A column whose best similarity is not above 0 rescues nothing. After
    `threshold_assignment`, what is rescued is no longer ignored: `ignored & (slots == M)`.

    Args:
      slots: of `threshold_assignment`, `[..., N]`, integers.
      similarities: `[..., N, M]`, floating point; NaN is none.
      row_where: which rows take part, boolean, `[..., N]`; its leading axes broadcast to those of the similarities.
      column_where: which columns take part, boolean, `[..., M]`, likewise.

    Returns:
      The column of each row, `[..., N]`, int32; M where it has none.

    Raises:
      TypeError: if the similarities are not of floating point, slots not integers, or a mask is not boolean.
      ValueError: if a shape does not fit.

    Gradient:
      None: the similarities are held constant.
    """
    known = _known(similarities, row_where, column_where)
    of_column = jnp.max(known, axis=-2, keepdims=True, initial=-jnp.inf)
    is_best = jnp.any((known == of_column) & (known > 0), axis=-1)
    return jnp.where(is_best, _best(known, axis=-1)[1], jnp.asarray(slots).astype(jnp.int32))


def _known(
    given: jax.Array | np.ndarray, row_where: jax.Array | np.ndarray | None, column_where: jax.Array | np.ndarray | None
) -> jax.Array:
    """Similarities, held constant, of what takes part; -infinity of everything else."""
    similarities = lax.stop_gradient(jnp.asarray(given))
    takes_part = ~jnp.isnan(similarities)
    *leading, _, columns = similarities.shape
    if row_where is not None:
        takes_part &= jnp.expand_dims(jnp.broadcast_to(row_where, takes_part.shape[:-1]), -1)
    if column_where is not None:
        takes_part &= jnp.expand_dims(jnp.broadcast_to(column_where, (*leading, columns)), -2)
    return jnp.where(takes_part, similarities, -jnp.inf)


def _best(known: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The maximum along an axis and its place, the first one of several; their number if there is none."""
    best = jnp.max(known, axis=axis, keepdims=True, initial=-jnp.inf)
    places = lax.broadcasted_iota(np.int32, known.shape, known.ndim + axis)
    place = jnp.min(jnp.where(known == best, places, known.shape[axis]), axis=axis, initial=known.shape[axis])
    return jnp.squeeze(best, axis), place


def _check_majority(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    given["slots"] = slots = _checks.indices("slots", given["slots"])
    if slots.ndim < 2 or slots.shape[0] == 0:
        raise ValueError(
            f"`slots` has shape {slots.shape}, but it is `[sets, ..., N]`, with one set at least. Write `slots[None]` "
            "for one."
        )
    return _count("columns", given)


def _count(name: str, given: _checks.Given) -> _checks.Given:
    count = given[name]
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
        raise TypeError(f"`{name}` is {count!r}, but it is a number of slots. Write `{name}=targets.shape[-2]`.")
    return {name: int(count)}


@_checks.checked(_check_majority)
def majority(slots: jax.Array | np.ndarray, *, columns: int) -> jax.Array:
    """The target that most of several assignments give a prediction.

    Args:
      slots: of each assignment, `[sets, ..., N]`, integers; `columns` for none, which does not count.
      columns: M, the number of slots.

    Returns:
      The slot that is most frequent, `[..., N]`, int32, of several that of the first set which has one of them; M where
      no set has any.

    Raises:
      TypeError: if slots are not integers, or `columns` is no number.
      ValueError: if there is no axis of sets.

    Gradient:
      None: slots are integers.
    """
    slots = jnp.asarray(slots).astype(jnp.int32)
    votes = sum((slots == one[None]).astype(jnp.int32) for one in slots)
    votes = jnp.where(slots < columns, votes, 0)
    found = jnp.take_along_axis(slots, jnp.argmax(votes, axis=0, keepdims=True), axis=0)[0]
    return jnp.minimum(found, columns)


def _check_take(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    given["values"] = values = _checks.array_of("values", given["values"])
    given["slots"] = slots = _checks.indices("slots", given["slots"])
    tail, leading = given["tail"], slots.shape[:-1]
    said = f"Got `values` of shape {values.shape} and `slots` of shape {slots.shape}"
    if tail is None:
        tail = values.ndim - slots.ndim
        if tail < 0 or values.shape[: len(leading)] != leading:
            raise ValueError(
                f"{said}, whose leading axes differ, so that it is not known which axis is that of the slots. Write "
                "`tail=1` for values `[..., M, k]`, such as boxes, or `tail=0` for values `[..., M]`, such as labels."
            )
    elif isinstance(tail, bool) or not isinstance(tail, (int, np.integer)) or not 0 <= tail < values.ndim:
        raise ValueError(
            f"`tail` is {tail!r}, but it is the number of axes behind that of the slots, of {values.ndim} axes in all. "
            "Write `tail=1` for boxes, or `tail=0` for labels."
        )
    own = values.shape[: values.ndim - 1 - tail]

    def holds() -> None:
        for one, other in zip(own[::-1], leading[::-1], strict=False):
            if one not in (1, other):
                chex.assert_equal(one, other)
        chex.assert_equal(len(own) <= len(leading), True)

    _checks.assert_shape(
        holds, lambda: f"{said}, but the leading axes {own} of the values do not broadcast to {leading} of the slots."
    )
    if values.ndim == 0 or values.shape[values.ndim - 1 - tail] == 0:
        raise ValueError(f"{said}, but values have one slot at least, that of padding. Write `jnp.zeros((1,))`.")
    return {"tail": int(tail)}


@_checks.checked(_check_take)
def take(
    values: jax.Array | np.ndarray,
    slots: jax.Array | np.ndarray,
    *,
    tail: int | None = None,
    fill: float | jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """The value of the target that each prediction answers for.

    Where it answers for none the value is 0, or `fill`, never what padding holds. Taken the other way,
    `take(predictions, assignment.row_of_column)` gives the prediction of each target.

    >>> import jax.numpy as jnp
    >>> from jaxbox import matching
    >>> boxes, labels = jnp.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]), jnp.array([7, 9])
    >>> slots = jnp.array([1, 2, 0])
    >>> print(matching.take(labels, slots, fill=-1))
    [ 9 -1  7]
    >>> layers = jnp.stack([slots, slots])
    >>> print(matching.take(boxes, slots).shape, matching.take(boxes, layers, tail=1).shape)
    (3, 4) (2, 3, 4)

    Args:
      values: of the targets, `[..., M]`, or with axes behind, such as the boxes `[..., M, 4]`; of any dtype.
      slots: of the predictions, `[..., N]`, integers; M where a prediction answers for none.
      tail: how many axes are behind that of the slots: 1 for boxes, 0 for labels. Without it, values and slots have the
        same leading axes; with it, those of the values broadcast, as slots of several layers want.
      fill: the value where there is none; 0 without it.

    Returns:
      The values, `[..., N]` with the axes behind, of the dtype of the values.

    Raises:
      TypeError: if slots are not integers.
      ValueError: if the leading axes do not fit.

    Gradient:
      That of the values; where a prediction answers for none it is 0.
    """
    values, slots = jnp.asarray(values), jnp.asarray(slots)
    tail = values.ndim - slots.ndim if tail is None else tail
    axis = values.ndim - 1 - tail
    count, leading = values.shape[axis], slots.shape[:-1]

    def take_rows(rows: jax.Array, places: jax.Array) -> jax.Array:
        return rows[places]

    at = take_rows
    for _ in leading:
        at = jax.vmap(at)
    rows = jnp.broadcast_to(values, (*leading, *values.shape[axis:]))
    found = at(rows, jnp.clip(slots, 0, count - 1))
    is_one = jnp.expand_dims((slots >= 0) & (slots < count), tuple(range(slots.ndim, slots.ndim + tail)))
    return jnp.where(is_one, found, jnp.asarray(0 if fill is None else fill, values.dtype))
