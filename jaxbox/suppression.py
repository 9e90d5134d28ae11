"""Boxes that are found more than once: of those that overlap, the one with the best score is kept.

Padding lies anywhere, and what it holds, NaN included, suppresses nothing and is not kept. A box or a score that is NaN
counts as padding. Leading axes are images, each of which is looked at by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics
from jaxbox._checks import BETWEEN_0_AND_1, FINITE, POSITIVE
from jaxbox.similarity import iou, pairwise

__all__ = ["Kept", "nms", "soft_nms"]

Array = jax.Array | np.ndarray
TILE = 256  # boxes that are looked at together; a matrix of their pairs fits a cache


class Kept(NamedTuple):
    """The boxes that are kept, best first.

    Attributes:
      indices: places among the N boxes, `[..., outputs]`, int32; N where fewer are kept.
      scores: their scores, `[..., outputs]`; 0 where fewer are kept.
    """

    indices: jax.Array
    scores: jax.Array


def _check(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    boxes = given["boxes"] = _checks.laid_out("boxes", given["boxes"], _checks.BOXES)
    leading = boxes.shape[:-1]
    if not leading:
        raise ValueError(f"`boxes` has shape {boxes.shape}, but it is `[..., N, 4]`. For one box write `boxes[None]`.")
    given["scores"] = scores = _checks.exactly("scores", _checks.floats("scores", given["scores"]), leading)
    given["where"] = _checks.mask(given["where"], leading)
    if given["classes"] is not None:
        classes = _checks.array_of("classes", given["classes"], "jnp.int32")
        given["classes"] = _checks.exactly("classes", _checks.indices("classes", classes), leading)
    outputs = given["outputs"]
    if isinstance(outputs, bool) or not isinstance(outputs, (int, np.integer)) or outputs < 1:
        raise TypeError(f"`outputs` is {outputs!r}, but it is how many boxes are kept at most. Write `outputs=100`.")
    alike = given["similarity"]
    if not callable(alike):
        raise TypeError(
            f"`similarity` is {_checks.kind(alike)}, but it is a function of two boxes. Write "
            "`similarity=similarity.iou`."
        )
    options: _checks.Given = {}
    if isinstance(alike, functools.partial) and not alike.args:
        alike, options = alike.func, alike.keywords
    # A tree of arrays, so that its options may be traced.
    given["similarity"] = jax.tree_util.Partial(alike, **_checks.options_of_rows(alike, options, [boxes]))
    dtype = _checks.dtype_to_compute_in([boxes, scores])
    for name, interval in {"threshold": FINITE, "sigma": POSITIVE, "least_score": BETWEEN_0_AND_1}.items():
        if name in given.keys() - untouched.keys():
            given[name] = _checks.option(name, given[name], interval, (), dtype)
    return {"outputs": int(outputs)}


@_checks.checked(_check)
def nms(
    boxes: Array,
    scores: Array,
    *,
    threshold: float | Array,
    outputs: int,
    classes: Array | None = None,
    where: Array | None = None,
    similarity: Callable[..., jax.Array] = iou,
) -> Kept:
    """Keeps the best box, drops those that are too similar to it, and goes on with the best of the rest.

    It stops when `outputs` are kept, so that a few of many are found sooner than all.

    >>> import jax.numpy as jnp
    >>> from jaxbox import suppression
    >>> boxes = jnp.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 9, 9]])
    >>> kept = suppression.nms(boxes, jnp.array([0.5, 0.9, 0.4]), threshold=0.7, outputs=3)
    >>> print(kept.indices, kept.scores)
    [1 2 3] [0.9 0.4 0. ]

    Args:
      boxes: `[..., N, 2n]`, low corner, then high corner, in any unit.
      scores: `[..., N]`, higher is better; of equal ones the first box is better.
      threshold: a box goes that is more similar than this to a better one that is kept; may be traced.
      outputs: how many boxes are kept at most.
      classes: whole numbers, `[..., N]`: boxes of different classes do not suppress each other.
      where: which boxes take part, boolean, `[..., N]`.
      similarity: of two boxes, such as `similarity.diou`.

    Returns:
      The boxes that are kept, best first.

    Raises:
      TypeError: if an array has a dtype that does not fit, `outputs` is no number or `similarity` no function.
      ValueError: if a shape does not fit.

    Gradient:
      None: boxes and scores are held constant.
    """
    known = _held(boxes, scores, classes, where)
    keep = functools.partial(_kept_in_tiles, jnp.asarray(threshold), similarity, outputs)
    return Kept(*_each_image(keep, *known))


@_checks.checked(_check)
def soft_nms(
    boxes: Array,
    scores: Array,
    *,
    outputs: int,
    sigma: float | Array = 0.5,
    least_score: float | Array = 1e-3,
    classes: Array | None = None,
    where: Array | None = None,
    similarity: Callable[..., jax.Array] = iou,
) -> Kept:
    """Keeps the best box, lowers the score of those that are similar to it, and goes on with the best of the rest.

    Each time the other scores are multiplied by `exp(-s^2 / sigma)` for the similarity s, which counts as 0 below 0.

    Args:
      boxes: `[..., N, 2n]`, low corner, then high corner, in any unit.
      scores: `[..., N]`, not negative; of equal ones the first box is better.
      outputs: how many boxes are kept at most.
      sigma: above 0; may be traced.
      least_score: what has a lower score is not kept; in `[0, 1]`, may be traced.
      classes: whole numbers, `[..., N]`: boxes of different classes do not lower each other.
      where: which boxes take part, boolean, `[..., N]`.
      similarity: of two boxes, such as `similarity.diou`.

    Returns:
      The boxes that are kept, best first, with their lowered scores.

    Raises:
      TypeError: if an array has a dtype that does not fit, `outputs` is no number or `similarity` no function.
      ValueError: if a shape does not fit, or an option is out of range.

    Gradient:
      None: boxes and scores are held constant.

    References:
      Bodla et al., 2017, https://arxiv.org/abs/1704.04503
    """
    known = _held(boxes, scores, classes, where)
    options = jnp.asarray(sigma), jnp.asarray(least_score)
    return Kept(*_each_image(functools.partial(_kept_softly, *options, similarity, outputs), *known))


def _held(
    boxes: Array,
    scores: Array,
    classes: Array | None,
    where: Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Boxes, scores and classes, held constant; -infinity is the score of what takes no part."""
    boxes, scores = (lax.stop_gradient(x) for x in numerics.promote(boxes, scores))
    takes_part = ~(jnp.isnan(scores) | jnp.any(jnp.isnan(boxes), axis=-1))
    if where is not None:
        takes_part &= jnp.asarray(where)
    of_one = jnp.zeros(scores.shape, np.int32) if classes is None else jnp.asarray(classes)
    return jnp.where(takes_part[..., None], boxes, 0), jnp.where(takes_part, scores, -jnp.inf), of_one


def _each_image(
    function: Callable[..., tuple[jax.Array, jax.Array]], boxes: jax.Array, scores: jax.Array, classes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A function of the boxes, the scores and the classes of an image, for all images."""
    for _ in range(scores.ndim - 1):
        function = jax.vmap(function)
    return function(boxes, scores, classes)


def _alike(
    similarity: Callable[..., jax.Array], some: tuple[jax.Array, jax.Array], others: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """How similar boxes `[n, 2n]` of classes `[n]` are to others; below everything if their classes differ."""
    (a, of_a), (b, of_b) = some, others
    return jnp.where(of_a[:, None] == of_b[None], pairwise(similarity)(a, b), -jnp.inf)


def _kept_in_tiles(
    threshold: jax.Array,
    similarity: Callable[..., jax.Array],
    outputs: int,
    boxes: jax.Array,
    scores: jax.Array,
    classes: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The walk over the boxes of an image, a tile of the sorted ones at a time."""
    count = scores.shape[0]
    if count == 0:
        return jnp.zeros((outputs,), np.int32), jnp.zeros((outputs,), scores.dtype)
    tile = min(TILE, count)
    tiles = -(-count // tile)
    order = jnp.argsort(-scores, stable=True).astype(np.int32)
    # What fills the last tile takes no part.
    order = jnp.pad(order, (0, tiles * tile - count), constant_values=count)
    of_tile = lax.broadcasted_iota(np.int32, (tile, tile), 0) < lax.broadcasted_iota(np.int32, (tile, tile), 1)

    def take(array: jax.Array, places: jax.Array, fill: float) -> jax.Array:
        return array.at[places].get(mode="fill", fill_value=fill)

    def goes_on(state: tuple[jax.Array, ...]) -> jax.Array:
        number, found, *_ = state
        return (number < tiles) & (found < outputs)

    def look_at_a_tile(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, found, kept, kept_boxes, kept_classes = state
        places = lax.dynamic_slice(order, (number * tile,), (tile,))
        some = take(boxes, places, 0), take(classes, places, 0)
        is_one = take(scores, places, -jnp.inf) > -jnp.inf
        is_kept_before = jnp.arange(outputs, dtype=np.int32) < found
        too_alike = _alike(similarity, (kept_boxes, kept_classes), some) > threshold
        is_one &= ~jnp.any(too_alike & is_kept_before[:, None], axis=0)
        drops = (_alike(similarity, some, some) > threshold) & of_tile

        # Each round settles at least one box more: those before it are as they will be.
        def settle(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            now, _ = state
            return is_one & ~jnp.any(drops & now[:, None], axis=0), now

        now, _ = lax.while_loop(lambda state: jnp.any(state[0] != state[1]), settle, settle((is_one, is_one)))
        target = jnp.where(now, found + jnp.cumsum(now, dtype=np.int32) - 1, outputs)  # the last ones find no room
        return (
            number + 1,
            found + jnp.sum(now, dtype=np.int32),
            kept.at[target].set(places, mode="drop"),
            kept_boxes.at[target].set(some[0], mode="drop"),
            kept_classes.at[target].set(some[1], mode="drop"),
        )

    # Made of the arguments, so that they vary over devices as these do.
    nothing = jnp.sum(boxes[:0]) + jnp.sum(scores[:0])
    kept = jnp.full((outputs,), count, np.int32) + nothing.astype(np.int32)
    kept_boxes = jnp.zeros((outputs, boxes.shape[-1]), boxes.dtype) + nothing
    kept_classes = jnp.zeros((outputs,), classes.dtype) + jnp.sum(classes[:0])
    start = nothing.astype(np.int32), nothing.astype(np.int32), kept, kept_boxes, kept_classes
    _, _, kept, *_ = lax.while_loop(goes_on, look_at_a_tile, start)
    return kept, take(scores, kept, 0)


def _kept_softly(
    sigma: jax.Array,
    least_score: jax.Array,
    similarity: Callable[..., jax.Array],
    outputs: int,
    boxes: jax.Array,
    scores: jax.Array,
    classes: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """One box after the other, the best of those that are left."""
    count = scores.shape[0]
    if count == 0:
        return jnp.zeros((outputs,), np.int32), jnp.zeros((outputs,), scores.dtype)
    places = lax.broadcasted_iota(np.int32, (count,), 0)

    def take_the_best(left: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        score = jnp.max(left)
        best = jnp.min(jnp.where(left == score, places, count - 1))
        is_enough = (score >= least_score) & (score > -jnp.inf)
        overlaps = jnp.maximum(_alike(similarity, (boxes[best][None], classes[best][None]), (boxes, classes))[0], 0)
        lowered = jnp.where(places == best, -jnp.inf, left * jnp.exp(-(overlaps**2) / sigma))
        found = jnp.where(is_enough, best, count), jnp.where(is_enough, score, 0)
        return jnp.where(is_enough, lowered, left), found

    _, kept = lax.scan(take_the_best, scores, length=outputs)
    return kept


def __dir__() -> list[str]:
    return sorted(__all__)
