"""Costs of giving a prediction a target, `[..., N, M]`, which the caller adds up for `matching.linear_assignment`.

Rows are predictions and columns are targets, whose slots may be padded: what padding holds, NaN included, stays in its
column. Leading axes broadcast, so that the targets of a batch `[B, M]` go with the predictions of its layers
`[L, B, N]`. A cost may be negative.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax

from jaxbox import _checks, boxes, numerics
from jaxbox._checks import BOXES, FACTOR, FINITE, SHARE
from jaxbox.similarity import giou

__all__ = ["box_costs", "class_costs", "focal_costs"]


def _check_boxes(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    layout = _checks.layout_of_rows(given["similarity"])
    layout = BOXES if layout is _checks.COORDINATES else layout
    sets = {name: _checks.laid_out(name, given[name], layout) for name in ("predictions", "targets")}
    _checks.assert_sets(sets)
    given["similarity"] = _checks.similarity_of(given["similarity"], list(sets.values()), "giou")
    dtype = _checks.dtype_to_compute_in(list(sets.values()))
    for name in {"l1_weight", "giou_weight"} - untouched.keys():
        given[name] = _checks.option(name, given[name], FINITE, (), dtype)
    given |= sets
    return {}


@_checks.checked(_check_boxes)
def box_costs(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    l1_weight: float | jax.Array | np.ndarray = 5.0,
    giou_weight: float | jax.Array | np.ndarray = 2.0,
    similarity: Callable[..., jax.Array] = giou,
) -> jax.Array:
    """What DETR and its kin charge for the boxes: the L1 of centers and sides, less the generalized IoU.

    `l1_weight sum(|c - d|) - giou_weight GIoU`, for the centers and sides c and d of the two boxes. Of turned boxes
    and solids, which go with a similarity of these, the angle counts in the similarity alone.

    Args:
      predictions: boxes, `[..., N, 2n]`, low corner, then high corner, in units of the image; or turned boxes,
        `[..., N, 5]`, or solids, `[..., N, 7]`.
      targets: boxes of the same kind and unit, `[..., M, 2n]`; leading axes broadcast.
      l1_weight: weight of the first term; finite, may be traced.
      giou_weight: weight of the second term; finite, may be traced.
      similarity: what takes the place of GIoU, a function of two sets of boxes that broadcasts; of
        `functools.partial(function, **options)` the options may be traced.

    Returns:
      Costs, `[..., N, M]`.

    Raises:
      TypeError: if `similarity` is no function.
      ValueError: if shapes do not fit, or a weight is not finite.

    References:
      Carion et al., 2020, https://arxiv.org/abs/2005.12872
    """
    rank = max(predictions.ndim, targets.ndim)
    a = jnp.expand_dims(predictions, (*range(rank - predictions.ndim), rank - 1))
    b = jnp.expand_dims(targets, (*range(rank - targets.ndim), rank - 2))
    layouts = numerics.coordinates(*map(_centers_and_sides, (a, b)))
    distances = numerics.total(numerics.absolute(x - y) for x, y in zip(*layouts, strict=True))
    l1_weight, giou_weight = (jnp.asarray(weight, distances.dtype) for weight in (l1_weight, giou_weight))
    return l1_weight * distances - giou_weight * similarity(a, b)


def _centers_and_sides(x: jax.Array) -> jax.Array:
    has_an_angle = x.shape[-1] % 2
    return x[..., :-1] if has_an_angle else boxes.xyxy_to_cxcywh(x)


def _check_classes(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    costs, labels = _checks.floats("costs", given["costs"]), _checks.array_of("labels", given["labels"], "jnp.int32")
    if costs.ndim < 2:
        raise ValueError(
            f"`costs` has shape {costs.shape}, but it is `[..., N, K]`: the costs of K classes for N predictions."
        )
    classes, are_multi_hot = costs.shape[-1], not jnp.issubdtype(labels.dtype, jnp.integer)
    said = f"`labels` has shape {labels.shape} and dtype {labels.dtype}, but "
    if are_multi_hot:
        if labels.ndim < 2 or labels.shape[-1] != classes:
            raise ValueError(
                f"{said}of floating point it is `[..., M, {classes}]`: a number a class. If it holds the classes write "
                "`labels.astype(jnp.int32)`."
            )
        labels = _checks.floats("labels", labels)
    own = 2 if are_multi_hot else 1
    if labels.ndim < own:
        raise ValueError(f"{said}it is `[..., M]`: a class for each target. Write `labels[None]`.")
    try:
        jnp.broadcast_shapes(costs.shape[:-2], labels.shape[: labels.ndim - own])
    except ValueError:
        remedy = "" if are_multi_hot else " If it has a number a class write `labels.astype(jnp.float32)`."
        failed = f"{said}its leading axes do not broadcast with those of `costs`, {costs.shape[:-2]}.{remedy}"
    else:
        if not are_multi_hot:
            _check_range(labels, classes)
        given |= {"costs": costs, "labels": labels}
        return {}
    raise ValueError(failed)


def _check_range(labels: _checks.Array, classes: object) -> None:
    """Asserts that labels whose values are known are classes, or -1 or the number of classes, which pad."""
    if isinstance(labels, core.Tracer) or not isinstance(classes, int):
        return
    known = np.asarray(labels)
    if known.size and (known.min() < -1 or known.max() > classes):
        wrong = known[(known < -1) | (known > classes)].flat[0]
        raise ValueError(
            f"`labels` has {wrong}, but there are {classes} classes, from 0 on; -1 and {classes} are padding. If it is "
            f"padding too write `jnp.clip(labels, -1, {classes})`."
        )


@_checks.checked(_check_classes)
def class_costs(costs: jax.Array | np.ndarray, labels: jax.Array | np.ndarray) -> jax.Array:
    """The costs of the classes of the targets, from the costs of all classes.

    Args:
      costs: of each class for each prediction, `[..., N, K]`: `-jax.nn.softmax(logits)`, or `focal_costs(logits)`.
      labels: classes of the targets, whole numbers `[..., M]`; those of padding count as the nearest class, and known
        ones are refused below -1 and above K. Or of floating point, `[..., M, K]`: how much each class counts, 1 for
        each of several, or the tokens of a text over their number.

    Returns:
      Costs, `[..., N, M]`; leading axes broadcast.

    Raises:
      ValueError: if shapes do not fit, or a label is known to be none.

    References:
      Carion et al., 2020, https://arxiv.org/abs/2005.12872
    """
    if jnp.issubdtype(labels.dtype, jnp.integer):
        (costs,) = numerics.promote(costs)
        # The columns of matrices: an index of every pair would take as much as the result.
        return numerics.over_batch(_columns, (costs, jnp.asarray(labels)), own=(2, 1))
    costs, weights = numerics.promote(costs, labels)
    rank = max(costs.ndim, weights.ndim)
    costs, weights = (jnp.expand_dims(x, range(rank - x.ndim)) for x in (costs, weights))
    return jnp.matmul(costs, jnp.swapaxes(weights, -1, -2), precision=lax.Precision.HIGHEST)


def _columns(costs: jax.Array, classes: jax.Array) -> jax.Array:
    return jnp.take(costs, classes, axis=-1, mode="clip")  # padding counts as the nearest class


def _check_logits(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    logits = given["logits"] = _checks.floats("logits", given["logits"])
    if logits.ndim == 0:
        raise ValueError("`logits` has shape (), but the classes are its last axis. Write `logits[None]`.")
    for name, interval in {"alpha": SHARE, "gamma": FACTOR}.items():
        if name not in untouched:
            dtype = _checks.dtype_to_compute_in([logits])
            given[name] = _checks.option(name, given[name], interval, (), dtype)
    return {}


@_checks.checked(_check_logits)
def focal_costs(
    logits: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 0.25,
    gamma: float | jax.Array | np.ndarray = 2.0,
) -> jax.Array:
    """What Deformable DETR and its kin charge for a class: the focal loss if it is there, less that if it is not.

    `-alpha (1 - p)^gamma ln p + (1 - alpha) p^gamma ln(1 - p)`, where p is the sigmoid of a logit.

    Args:
      logits: one a class, `[..., K]`.
      alpha: weight of a class that is there; from 0 to 1, may be traced.
      gamma: how little counts what is classified well; from 0 to 1e15, may be traced.

    Returns:
      Costs, `[..., K]`, for `class_costs`.

    Raises:
      ValueError: if an option is outside its bounds.

    References:
      Zhu et al., 2020, https://arxiv.org/abs/2010.04159
    """
    (x,) = numerics.promote(logits)
    alpha, gamma = (jnp.asarray(option, x.dtype) for option in (alpha, gamma))
    softplus, opposite = numerics.softplus(x), numerics.softplus(-x)  # -ln(1 - p) and -ln p
    return alpha * jnp.exp(-gamma * softplus) * opposite - (1 - alpha) * jnp.exp(-gamma * opposite) * softplus


def __dir__() -> list[str]:
    return sorted(__all__)
