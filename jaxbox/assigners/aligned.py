"""Which target an anchor answers for, by its class and its place together."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics
from jaxbox.assigners.choices import Array, best_chooser, first_of, number, over_images, owners
from jaxbox.matching import take

__all__ = ["task_aligned", "task_aligned_tood"]


def _check_aligned(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    overlaps = given["overlaps"] = _checks.matrix("overlaps", given["overlaps"])
    scores = given["scores"] = _checks.floats("scores", given["scores"])
    if scores.ndim != overlaps.ndim or scores.shape[:-1] != overlaps.shape[:-1]:
        raise ValueError(
            f"`scores` has shape {scores.shape}, but there is one row of K probabilities for each anchor of the "
            f"overlaps, {(*overlaps.shape[:-1], 'K')}."
        )
    slots = (*overlaps.shape[:-2], overlaps.shape[-1])
    given["inside"] = _inside_of(given["inside"], overlaps.shape)
    labels = _checks.array_of("labels", given["labels"], "jnp.int32")
    given["labels"] = _checks.exactly("labels", _checks.indices("labels", labels), slots)
    given["where"] = _checks.mask_of_side("where", given["where"], ("overlaps", overlaps.shape), -1)
    dtype = _checks.dtype_to_compute_in([overlaps, scores])
    for name in {"alpha", "beta"} - untouched.keys():
        given[name] = _checks.option(name, given[name], _checks.NOT_NEGATIVE, (), dtype)
    known = {"candidates": number("candidates", given["candidates"], 10)}
    if given.get("keep") is not None:
        known["keep"] = number("keep", given["keep"], 1)
    return known


def _inside_of(value: object, shape: _checks.Shape) -> Array:
    array = _checks.array_of("inside", value, "bool")
    if array.dtype != bool or array.shape != shape:
        raise (TypeError if array.dtype != bool else ValueError)(
            f"`inside` has dtype {array.dtype} and shape {array.shape}, but it says of each anchor and target whether "
            f"the one lies inside the other, {shape}. Write `inside=assigners.inside(points, targets)`."
        )
    return array


@_checks.checked(_check_aligned)
def task_aligned(
    scores: Array,
    overlaps: Array,
    inside: Array,
    labels: Array,
    *,
    candidates: int = 10,
    alpha: float | Array = 0.5,
    beta: float | Array = 6.0,
    keep: int | None = None,
    where: Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Task-aligned assignment as in YOLOv8: the anchors inside a target that are best in class and place together.

    The alignment of an anchor with a target is `p^alpha o^beta`, for its probability p of the class of the target and
    its overlap o with it, at least 0. Each target takes the `candidates` best anchors inside, of an alignment above 0.
    One that several take goes to the target that it overlaps most among **all** that it is inside of, also one that did
    not take it, the first of equal ones.

    Args:
      scores: probabilities of the classes, `[..., A, K]`.
      overlaps: of anchors' predictions and targets, `[..., A, M]`, such as CIoU.
      inside: which anchors lie inside which targets, boolean, `[..., A, M]`.
      labels: classes of the targets, whole numbers `[..., M]`; what is no class has a probability of 0.
      candidates: how many anchors a target takes at most.
      alpha: exponent of the probability, not negative; may be traced.
      beta: exponent of the overlap, not negative; may be traced.
      keep: how many anchors of a target are left at the end, the best aligned ones; all without it. YOLO26 has 1.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      The slot of the target of each anchor, `[..., A]`, int32, M where it has none, and its score, `[..., A]`: its
      alignment over the largest of its target, times the largest overlap of its target, both among the anchors that
      the target has at the end; 0 where it has none.

    Raises:
      TypeError: if an array has a dtype that does not fit, or a number of anchors is none.
      ValueError: if a shape does not fit, or an exponent is negative.

    Gradient:
      None: scores and overlaps are held constant.

    References:
      Feng et al., 2021, https://arxiv.org/abs/2108.07755; ultralytics 8.4.190
    """
    known = _alignments(scores, overlaps, inside, labels, alpha, beta, where)
    return over_images(functools.partial(_aligned_inside, candidates, keep), *known)


@_checks.checked(_check_aligned)
def task_aligned_tood(
    scores: Array,
    overlaps: Array,
    inside: Array,
    labels: Array,
    *,
    candidates: int = 13,
    alpha: float | Array = 1.0,
    beta: float | Array = 6.0,
    where: Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Task-aligned assignment as in TOOD: candidates among all anchors, conflicts among those that took the anchor.

    As `task_aligned`, but each target takes the `candidates` best of **all** anchors, of which those stay that lie
    inside; and an anchor that several take goes to the one of **these** that it overlaps most, the first of equal ones.

    Args:
      scores: probabilities of the classes, `[..., A, K]`.
      overlaps: of anchors' predictions and targets, `[..., A, M]`, such as IoU.
      inside: which anchors lie inside which targets, boolean, `[..., A, M]`.
      labels: classes of the targets, whole numbers `[..., M]`; what is no class has a probability of 0.
      candidates: how many anchors a target takes at most.
      alpha: exponent of the probability, not negative; may be traced.
      beta: exponent of the overlap, not negative; may be traced.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      The slot of the target of each anchor, `[..., A]`, int32, M where it has none, and its score, `[..., A]`, as
      those of `task_aligned`.

    Raises:
      TypeError: if an array has a dtype that does not fit, or a number of anchors is none.
      ValueError: if a shape does not fit, or an exponent is negative.

    Gradient:
      None: scores and overlaps are held constant.

    References:
      Feng et al., 2021, https://arxiv.org/abs/2108.07755
    """
    known = _alignments(scores, overlaps, inside, labels, alpha, beta, where)
    return over_images(functools.partial(_aligned_among_all, candidates), *known)


def _alignments(
    scores: Array,
    overlaps: Array,
    is_inside: Array,
    labels: Array,
    alpha: float | Array,
    beta: float | Array,
    where: Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logarithms of all alignments, the overlaps and which anchors are inside, each `[..., M, A]`.

    Logarithms, since a small overlap to the power of 6 underflows.
    """
    scores, overlaps = (lax.stop_gradient(x) for x in numerics.promote(scores, overlaps))
    overlaps = numerics.settled(overlaps)
    probabilities = take(jnp.swapaxes(scores, -1, -2), labels, tail=1)
    takes_part = ~jnp.isnan(overlaps)
    if where is not None:
        takes_part &= jnp.broadcast_to(where, (*overlaps.shape[:-2], overlaps.shape[-1]))[..., None, :]
    overlaps = jnp.maximum(jnp.where(takes_part, overlaps, 0), 0)
    overlaps, is_inside = (jnp.swapaxes(x, -1, -2) for x in (overlaps, jnp.asarray(is_inside) & takes_part))
    return _power(alpha, probabilities) + _power(beta, overlaps), overlaps, is_inside


def _power(exponent: float | Array, base: jax.Array) -> jax.Array:
    """The logarithm of a power; that of 0^0 is 0."""
    exponent = jnp.asarray(exponent, base.dtype)
    return jnp.where(exponent == 0, 0, exponent * jnp.log(base))


def _aligned_inside(
    candidates: int, keep: int | None, known: jax.Array, overlaps: jax.Array, is_inside: jax.Array
) -> tuple[jax.Array, jax.Array]:
    count, anchors = known.shape
    alignments, places = lax.top_k(jnp.where(is_inside, known, -jnp.inf), min(candidates, anchors))
    is_chosen = alignments > -jnp.inf
    choosers = jnp.zeros(anchors, np.int32).at[places].add(is_chosen.astype(np.int32))
    alone = jnp.full(anchors, count, np.int32).at[places].min(owners(is_chosen, count))
    most = first_of(jnp.where(is_inside, -overlaps, jnp.inf).T, count)
    slots = jnp.where(choosers > 1, most, alone)
    if keep is not None:
        slots = _best_of_target(slots, known, keep)
    return slots, _aligned_scores(slots, known, overlaps)


def _aligned_among_all(
    candidates: int, known: jax.Array, overlaps: jax.Array, is_inside: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, places = lax.top_k(known, min(candidates, known.shape[-1]))
    alignments, taken = (jnp.take_along_axis(x, places, axis=-1) for x in (known, overlaps))
    is_chosen = jnp.take_along_axis(is_inside, places, axis=-1) & (alignments > -jnp.inf)
    slots = best_chooser(places, is_chosen, taken, known.shape[-1])
    return slots, _aligned_scores(slots, known, overlaps)


def _best_of_target(slots: jax.Array, known: jax.Array, keep: int) -> jax.Array:
    """Slots of the anchors that are among the best aligned of their target."""
    count, anchors = known.shape
    is_own = slots[None] == jnp.arange(count, dtype=np.int32)[:, None]
    alignments, places = lax.top_k(jnp.where(is_own, known, -jnp.inf), min(keep, anchors))
    return jnp.full(anchors, count, np.int32).at[places].min(owners(alignments > -jnp.inf, count))


def _aligned_scores(slots: jax.Array, known: jax.Array, overlaps: jax.Array) -> jax.Array:
    """For each anchor its alignment over the largest of its target, times the largest overlap of its target."""
    count, anchors = known.shape
    if count == 0:
        return jnp.zeros((anchors,), known.dtype)
    own = jnp.minimum(slots, count - 1)
    alignment, overlap = (jnp.take_along_axis(x, own[None], axis=0)[0] for x in (known, overlaps))
    # An anchor without a target has the slot behind the last one, which is dropped.
    largest = jnp.full(count, -jnp.inf, known.dtype).at[slots].max(alignment, mode="drop")[own]
    furthest = jnp.zeros(count, known.dtype).at[slots].max(overlap, mode="drop")[own]
    is_aligned = (slots < count) & (alignment > -jnp.inf)
    return jnp.where(is_aligned, jnp.exp(jnp.where(is_aligned, alignment - largest, 0)) * furthest, 0)
