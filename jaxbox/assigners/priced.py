"""Which target an anchor answers for, by costs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics
from jaxbox.assigners.choices import Array, first_of, number, over_images, owners

__all__ = ["sim_ota"]


def _check_sim_ota(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    costs = given["costs"] = _checks.matrix("costs", given["costs"])
    given["overlaps"] = _checks.exactly("overlaps", _checks.matrix("overlaps", given["overlaps"]), costs.shape)
    for name in ("allowed", "preferred"):
        array = given[name] = _checks.array_of(name, given[name], "bool")
        if array.dtype != bool or array.shape not in (costs.shape, (*costs.shape[:-1], 1)):
            raise (TypeError if array.dtype != bool else ValueError)(
                f"`{name}` has dtype {array.dtype} and shape {array.shape}, but it is boolean, {costs.shape}, or "
                f"{(*costs.shape[:-1], 1)} where it is the same for all targets. If all are, write "
                f"`{name}=jnp.ones({costs.shape}, bool)`."
            )
    given["where"] = _checks.mask_of_side("where", given["where"], ("costs", costs.shape), -1)
    return {"candidates": number("candidates", given["candidates"], 10)}


@_checks.checked(_check_sim_ota)
def sim_ota(
    costs: Array,
    overlaps: Array,
    allowed: Array,
    preferred: Array,
    *,
    candidates: int = 10,
    where: Array | None = None,
) -> jax.Array:
    """SimOTA, as in YOLOX: each target takes as many of the cheapest anchors as its best overlaps sum up to.

    The number of anchors of a target is the sum of its `candidates` largest overlaps with allowed anchors, rounded
    down, and at least 1. It takes the cheapest allowed ones, preferred ones first, however much they cost. An anchor
    that several take goes to the cheapest target of **all**, also one that did not take it.

    Args:
      costs: of giving an anchor a target, `[..., A, M]`.
      overlaps: of anchors' predictions and targets, likewise, in `[0, 1]`, such as IoU.
      allowed: which anchors may be taken at all, boolean, `[..., A, M]`, or `[..., A, 1]` for all targets alike.
      preferred: which anchors come first, likewise, such as those near the center.
      candidates: how many overlaps are summed up, and how many anchors a target takes at most.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      The slot of the target of each anchor, `[..., A]`, int32, M where it has none.

    Raises:
      TypeError: if an array has a dtype that does not fit, or the number of candidates is none.
      ValueError: if a shape does not fit.

    Gradient:
      None: costs and overlaps are held constant.

    References:
      Ge et al., 2021, https://arxiv.org/abs/2107.08430
    """
    costs, overlaps = (numerics.settled(lax.stop_gradient(x)) for x in numerics.promote(costs, overlaps))
    may = jnp.broadcast_to(jnp.asarray(allowed), costs.shape) & ~jnp.isnan(costs)
    if where is not None:
        may &= jnp.broadcast_to(where, (*costs.shape[:-2], costs.shape[-1]))[..., None, :]
    is_first = jnp.broadcast_to(jnp.asarray(preferred), costs.shape) & may
    known = costs, jnp.where(may & ~jnp.isnan(overlaps), overlaps, 0), may, is_first
    return over_images(functools.partial(_sim_ota, candidates), *(jnp.swapaxes(x, -1, -2) for x in known))


def _sim_ota(candidates: int, costs: jax.Array, overlaps: jax.Array, may: jax.Array, is_first: jax.Array) -> jax.Array:
    count, anchors = costs.shape
    candidates = min(candidates, anchors)
    largest, _ = lax.top_k(overlaps, candidates)
    wanted = jnp.maximum(jnp.floor(jnp.sum(largest, axis=-1)), 1).astype(np.int32)
    taken = jnp.zeros(count, np.int32)
    choosers = jnp.zeros(anchors, np.int32)
    alone = jnp.full(anchors, count, np.int32)
    for which in (is_first, may & ~is_first):
        _, places = lax.top_k(jnp.where(which, -costs, -jnp.inf), candidates)
        is_chosen = jnp.take_along_axis(which, places, axis=-1)
        is_chosen &= jnp.arange(candidates, dtype=np.int32)[None] < (wanted - taken)[:, None]
        taken += jnp.sum(is_chosen, axis=-1, dtype=np.int32)
        choosers = choosers.at[places].add(is_chosen.astype(np.int32))
        alone = alone.at[places].min(owners(is_chosen, count))
    first, second = (first_of(jnp.where(which, costs, jnp.inf).T, count) for which in (is_first, may & ~is_first))
    return jnp.where(choosers > 1, jnp.where(first < count, first, second), alone)
