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
from jaxbox.similarity import iou

__all__ = ["Kept", "nms", "soft_nms"]

Array = jax.Array | np.ndarray
OF_AN_IMAGE = 2, 1, 1  # axes of boxes, scores and classes
LANES = 32  # numbers that a maximum is taken of in one piece


class Kept(NamedTuple):
    """The boxes that are kept, best first.

    Attributes:
      indices: places among the N boxes, `[..., outputs]`, int32; N where fewer are kept.
      scores: their scores, `[..., outputs]`; 0 where fewer are kept.
    """

    indices: jax.Array
    scores: jax.Array


def _check(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    boxes = given["boxes"] = _checks.laid_out("boxes", given["boxes"], _checks.layout_of_rows(given["similarity"]))
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
    given["similarity"] = _checks.similarity_of(given["similarity"], [boxes], "iou")
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

    It stops when `outputs` are kept or none is left, so that a few of many are found sooner than all.

    >>> import jax.numpy as jnp
    >>> from jaxbox import suppression
    >>> boxes = jnp.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 9, 9]])
    >>> kept = suppression.nms(boxes, jnp.array([0.5, 0.9, 0.4]), threshold=0.7, outputs=3)
    >>> print(kept.indices, kept.scores)
    [1 2 3] [0.9 0.4 0. ]

    Args:
      boxes: what `similarity` compares, in any unit: `[..., N, 2n]`, low corner, then high corner, or turned boxes
        `[..., N, 5]` with `similarity.rotated_iou`.
      scores: `[..., N]`, higher is better; of equal ones the first box is better.
      threshold: a box goes that is more similar than this to a better one that is kept; may be traced.
      outputs: how many boxes are kept at most.
      classes: whole numbers, `[..., N]`: boxes of different classes do not suppress each other.
      where: which boxes take part, boolean, `[..., N]`.
      similarity: of two boxes, such as `similarity.diou`; also a function of the caller's own.

    Returns:
      The boxes that are kept, best first.

    Raises:
      TypeError: if an array has a dtype that does not fit, `outputs` is no number or `similarity` no function.
      ValueError: if a shape does not fit.

    Gradient:
      None: boxes and scores are held constant.
    """
    known = _held(boxes, scores, classes, where)

    def drop(scores: jax.Array, alike: jax.Array) -> jax.Array:
        return jnp.where(alike > jnp.asarray(threshold, alike.dtype), -jnp.inf, scores)

    keep = functools.partial(_keep, drop, jnp.asarray(-jnp.inf, known[1].dtype), similarity, outputs)
    return Kept(*numerics.over_batch(keep, known, own=OF_AN_IMAGE[: len(known)]))


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
      boxes: what `similarity` compares, in any unit: `[..., N, 2n]`, low corner, then high corner, or turned boxes
        `[..., N, 5]` with `similarity.rotated_iou`.
      scores: `[..., N]`, not negative; of equal ones the first box is better.
      outputs: how many boxes are kept at most.
      sigma: above 0; may be traced.
      least_score: what has a lower score is not kept; in `[0, 1]`, may be traced.
      classes: whole numbers, `[..., N]`: boxes of different classes do not lower each other.
      where: which boxes take part, boolean, `[..., N]`.
      similarity: of two boxes, such as `similarity.diou`; also a function of the caller's own.

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

    def lower(scores: jax.Array, alike: jax.Array) -> jax.Array:
        return scores * jnp.exp(-(jnp.maximum(alike, 0) ** 2) / jnp.asarray(sigma, alike.dtype))

    keep = functools.partial(_keep, lower, jnp.asarray(least_score, known[1].dtype), similarity, outputs)
    return Kept(*numerics.over_batch(keep, known, own=OF_AN_IMAGE[: len(known)]))


def _held(
    boxes: Array,
    scores: Array,
    classes: Array | None,
    where: Array | None,
) -> tuple[jax.Array, ...]:
    """Boxes, scores and classes if there are any, held constant; -infinity is the score of what takes no part."""
    boxes, scores = (lax.stop_gradient(x) for x in numerics.promote(boxes, scores))
    takes_part = ~(jnp.isnan(scores) | jnp.any(jnp.isnan(boxes), axis=-1))
    if where is not None:
        takes_part &= jnp.asarray(where)
    known = jnp.where(takes_part[..., None], boxes, 0), jnp.where(takes_part, scores, -jnp.inf)
    return known if classes is None else (*known, jnp.asarray(classes))


def _keep(
    lower: Callable[[jax.Array, jax.Array], jax.Array],
    least_score: jax.Array,
    similarity: Callable[..., jax.Array],
    outputs: int,
    boxes: jax.Array,
    scores: jax.Array,
    classes: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The walk over the boxes of an image: the best of those that are left, until enough are kept or none is left.

    Args:
      lower: the scores of boxes, from these and from how similar they are to one that is kept.
      least_score: what has a lower score is not kept.
      similarity: of two boxes.
      outputs: how many are kept at most.
      boxes: `[N, 2n]`.
      scores: `[N]`; -infinity for what takes no part.
      classes: `[N]`, or None if all are of one.
    """
    count = scores.shape[0]
    if count == 0:
        return jnp.zeros((outputs,), np.int32), jnp.zeros((outputs,), scores.dtype)
    missing = -count % LANES if isinstance(count, int) else 0
    boxes = jnp.pad(boxes, ((0, missing), (0, 0)))
    scores = jnp.pad(scores, (0, missing), constant_values=-jnp.inf)
    if classes is not None:
        classes = jnp.pad(classes, (0, missing))
    # Whole numbers of floating point, for the barrier.
    places = lax.broadcasted_iota(scores.dtype, scores.shape, 0)
    # Each in one piece, which the loop reads faster on a CPU than rows.
    (coordinates,) = numerics.coordinates(boxes)

    def is_kept(score: jax.Array) -> jax.Array:
        return (score > -jnp.inf) & (score >= least_score)

    def goes_on(state: tuple[jax.Array, ...]) -> jax.Array:
        found, score, *_ = state
        return (found < outputs) & is_kept(score)

    # On a CPU XLA runs up to 8 kernels and copies one after another, and of more it asks again and again which are
    # ready: for a thousand boxes a third of the time. So the results are one array, and the last score is not read.
    def keep_the_best(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        found, _, left, kept = state
        score = _largest(left)
        place = -_largest(jnp.where(left == score, -places, -jnp.inf))
        best = place.astype(np.int32)
        lowered = lower(left, similarity(boxes[best][None], numerics.together(coordinates)))
        if classes is not None:
            lowered = jnp.where(classes == classes[best], lowered, left)
        left = jnp.where(places == place, -jnp.inf, lowered)
        return found + 1, score, left, lax.dynamic_update_index_in_dim(kept, jnp.stack([place, score]), found, 0)

    # Made of the arguments, so that they vary over devices as these do.
    nothing = numerics.total(jnp.sum(x[:0]).astype(scores.dtype) for x in (boxes, scores, classes) if x is not None)
    none_yet = jnp.full((outputs, 2), -jnp.inf, scores.dtype) + nothing
    start = nothing.astype(np.int32), jnp.inf + nothing, scores + nothing, none_yet
    *_, kept = lax.while_loop(goes_on, keep_the_best, start)
    ((place, score),) = numerics.coordinates(kept)
    return jnp.where(is_kept(score), place, count).astype(np.int32), jnp.where(is_kept(score), score, 0)


def _largest(numbers: jax.Array) -> jax.Array:
    """The maximum, of lanes first: on a CPU XLA takes one of more numbers one at a time. The barrier keeps the two."""
    if not isinstance(numbers.shape[0], int) or numbers.shape[0] % LANES:
        return jnp.max(numbers)
    return jnp.max(numerics.fusion_barrier(jnp.max(numbers.reshape(-1, LANES), axis=0)))


def __dir__() -> list[str]:
    return sorted(__all__)
