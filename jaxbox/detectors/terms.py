"""The terms of predictions whose targets are known, summed over images and predictions, one value a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import boxes as layouts
from jaxbox import coders, losses, matching, numerics, reductions, similarity
from jaxbox.detectors.targets import Targets

__all__ = ["box_terms", "class_targets", "count_of", "fine_terms", "focal_terms", "quality_terms", "weighted_total"]

Array = jax.Array | np.ndarray
Names = str | tuple[str, ...] | None


def count_of(
    where: Array, like: Array, *, groups: int | Array = 1, least: float = 1.0, axis_name: Names = None
) -> jax.Array:
    """How many there are in all images of all devices: what terms are divided by.

    Args:
      where: a mask of targets, or of predictions.
      like: an array of the dtype that the terms are computed of.
      groups: how often each is counted.
      least: the least result.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      A number of floating point.
    """
    ones = jnp.ones(where.shape, like.dtype)
    return jnp.maximum(groups * reductions.weighted_sum(ones, where=where, axis_name=axis_name), least)


def sum_of(scores: jax.Array, *, axis_name: Names = None) -> jax.Array:
    """The sum of scores, which are held constant, over all images of all devices, at least 1."""
    return jnp.maximum(reductions.weighted_sum(scores, axis_name=axis_name), 1)


def class_targets(logits: Array, targets: Targets, slots: Array) -> jax.Array:
    """1 for the class of the target of each prediction, and 0 for the others: all 0 for a prediction without one.

    Args:
      logits: `[..., B, N, K]`, which say how many classes there are.
      targets: of the images; a class that is none, in a program, counts as the nearest one.
      slots: of the predictions, `[..., B, N]`.

    Returns:
      `[..., B, N, K]`, in the dtype of the logits; of several classes a target, several 1.
    """
    classes = logits.shape[-1]
    if jnp.issubdtype(targets.labels.dtype, jnp.floating):
        return matching.take(targets.labels, slots, tail=1).astype(logits.dtype)
    labels = matching.take(jnp.clip(targets.labels, 0, classes - 1), slots, tail=0, fill=-1)
    return jax.nn.one_hot(labels, classes, dtype=logits.dtype)


def box_terms(
    predictions: Array, targets: Targets, slots: Array, count: Array, *, axis_name: Names = None
) -> dict[str, jax.Array]:
    """L1 of centers and sides, and generalized IoU, of the predictions that answer for a target.

    Args:
      predictions: boxes, `[..., B, N, 2n]`, low corner, then high corner, in units of the image.
      targets: of the images.
      slots: of the predictions, `[..., B, N]`, integers; M for none.
      count: what the sums are divided by.
      axis_name: names of the mapped axes to sum over as well, inside `shard_map` or `pmap`.

    Returns:
      `l1` and `giou`, one value a layer, `[...]`.
    """
    predictions, goals = numerics.promote(predictions, matching.take(targets.boxes, slots, tail=1))
    matched, centers = slots < targets.where.shape[-1], map(layouts.xyxy_to_cxcywh, (predictions, goals))
    values = {
        "l1": losses.l1_loss(*centers, where=matched),
        "giou": losses.giou_loss(predictions, goals, where=matched),
    }
    return {name: _summed(value, count, axis_name) for name, value in values.items()}


def focal_terms(
    logits: Array,
    predictions: Array,
    targets: Targets,
    slots: Array,
    count: Array,
    *,
    alpha: float | Array = 0.25,
    gamma: float | Array = 2.0,
    axis_name: Names = None,
) -> dict[str, jax.Array]:
    """The focal loss of the classes of all predictions, and `box_terms`.

    Args:
      logits: one a class, `[..., B, N, K]`.
      predictions: boxes, `[..., B, N, 2n]`.
      targets: of the images.
      slots: of the predictions, `[..., B, N]`, integers; M for none.
      count: what the sums are divided by.
      alpha: of `losses.focal_loss`.
      gamma: of `losses.focal_loss`.
      axis_name: names of the mapped axes to sum over as well, inside `shard_map` or `pmap`.

    Returns:
      `classes`, `l1` and `giou`, one value a layer, `[...]`.
    """
    classes = losses.focal_loss(logits, class_targets(logits, targets, slots), alpha=alpha, gamma=gamma)
    terms = {"classes": _summed(classes, count, axis_name)}
    return terms | box_terms(predictions, targets, slots, count, axis_name=axis_name)


def quality_terms(
    class_loss: Callable[..., jax.Array],
    logits: Array,
    predictions: Array,
    targets: Targets,
    slots: Array,
    count: Array,
    *,
    axis_name: Names = None,
) -> dict[str, jax.Array]:
    """A class loss that knows how good each box is, by its IoU, of all predictions; and `box_terms`.

    Args:
      class_loss: `losses.varifocal_loss`, `losses.iou_aware_loss` or `losses.matchability_loss`.
      logits: one a class, `[..., B, N, K]`.
      predictions: boxes, `[..., B, N, 2n]`; what they say of the quality is held constant.
      targets: of the images.
      slots: of the predictions, `[..., B, N]`, integers; M for none.
      count: what the sums are divided by.
      axis_name: names of the mapped axes to sum over as well, inside `shard_map` or `pmap`.

    Returns:
      `classes`, `l1` and `giou`, one value a layer, `[...]`.
    """
    classes = class_loss(logits, class_targets(logits, targets, slots), held_quality(predictions, targets, slots))
    terms = {"classes": _summed(classes, count, axis_name)}
    return terms | box_terms(predictions, targets, slots, count, axis_name=axis_name)


def fine_terms(
    class_loss: Callable[..., jax.Array],
    targets: Targets,
    shares: tuple[Array, Array],
    slots: Array,
    union: Array,
    count: Array,
    union_count: Array,
    logits: Array,
    predictions: Array,
    corners: Array,
    references: Array,
    *,
    axis_name: Names = None,
) -> dict[str, jax.Array]:
    """`quality_terms`, and the terms of the sides as distributions over bins: D-FINE's FGL and DDF.

    The terms of boxes and sides are of another set of matches than that of the classes. The last layer that has
    distributions teaches the others.

    Args:
      class_loss: as in `quality_terms`.
      targets: of the images.
      shares: how much what is learned from the teacher counts with a target and without one.
      slots: for the classes, `[S, B, N]`, integers; M for none.
      union: for boxes and sides, `[B, N]`, integers; M for none.
      count: what the sums of the classes are divided by.
      union_count: what those of boxes and sides are divided by.
      logits: one a class, `[S, B, N, K]`: of the layers first, then of other sets.
      predictions: boxes, `[S, B, N, 4]`.
      corners: logits of bins of left, top, right and bottom, `[layers, B, N, 4 bins]`.
      references: the boxes from which the sides are predicted, `[B, N, 4]`, low corner, then high corner.
      axis_name: names of the mapped axes to sum over as well, inside `shard_map` or `pmap`.

    Returns:
      `classes`, `l1` and `giou` of each set, `[S]`; `fgl` of each layer, `[layers]`; `ddf` of each but the last.
    """
    layers, matched = corners.shape[0], union < targets.where.shape[-1]
    everywhere, mask = jnp.broadcast_to(union, slots.shape), jnp.broadcast_to(matched, corners.shape[:-1])
    terms = quality_terms(class_loss, logits, predictions, targets, slots, count, axis_name=axis_name)
    terms |= box_terms(predictions, targets, everywhere, union_count, axis_name=axis_name)
    sides = corners.reshape(*corners.shape[:-1], 4, -1)
    goals = coders.encode_fine(matching.take(targets.boxes, union, tail=1), references)
    places = coders.fractional_bin(goals, coders.fine_bins(sides.shape[-1]).astype(goals.dtype))
    entropies = losses.distribution_focal_loss(sides, jnp.broadcast_to(places, sides.shape[:-1]))
    ious = held_quality(predictions[:layers], targets, everywhere[:layers])
    terms["fgl"] = _summed(ious * jnp.sum(entropies, axis=-1), union_count, axis_name)
    scores = lax.stop_gradient(jnp.max(jax.nn.sigmoid(logits[layers - 1]), axis=-1))
    weights = jnp.where(mask, ious, scores[None].astype(ious.dtype))[:-1, ..., None]
    teacher = jnp.broadcast_to(sides[-1:], sides[:-1].shape)
    learned = losses.distillation_loss(sides[:-1], teacher, jnp.broadcast_to(weights, teacher.shape[:-1]))
    means = [
        reductions.weighted_mean(jnp.mean(learned, axis=-1), where=which, axis=(-2, -1), axis_name=axis_name)
        for which in (mask[:-1], ~mask[:-1])
    ]
    with_target, without = map(jnp.asarray, shares)
    terms["ddf"] = (with_target * means[0] + without * means[1]) / (with_target + without)
    return terms


def weighted_total(terms: dict[str, jax.Array], weights: Mapping[str, float | Array]) -> jax.Array:
    """The sum over terms and layers.

    Args:
      terms: by name, one value a layer.
      weights: by name.

    Returns:
      A number.
    """
    return numerics.total(jnp.asarray(weights[name], term.dtype) * jnp.sum(term) for name, term in terms.items())


def held_quality(predictions: Array, targets: Targets, slots: Array) -> jax.Array:
    """The IoU of each prediction with its target, held constant; 0 without one."""
    ious = similarity.iou(predictions, matching.take(targets.boxes, slots, tail=1))
    return lax.stop_gradient(jnp.where(slots < targets.where.shape[-1], ious, 0))


def binary_entropies(logits: jax.Array, shares: jax.Array) -> jax.Array:
    """The binary cross-entropy of probabilities against shares in `[0, 1]`, one value a logit, in `[0, inf)`."""
    return shares * numerics.softplus(-logits) + (1 - shares) * numerics.softplus(logits)


def side_entropies(
    sides: jax.Array, goals: jax.Array, points: Array, strides: Array, matched: jax.Array, *, margin: float
) -> jax.Array:
    """The distribution focal loss of left, top, right and bottom, `[..., 4, bins]`, the mean over the four of them.

    A side further away than the last bin counts as a margin before it, as in the original code.
    """
    distances = lax.stop_gradient(coders.encode_distances(goals, points, scale=strides))
    distances = jnp.clip(distances, 0, sides.shape[-1] - 1 - margin)
    return jnp.mean(losses.distribution_focal_loss(sides, distances, where=matched[..., None]), axis=-1)


def _summed(values: jax.Array, count: Array, axis_name: Names) -> jax.Array:
    return reductions.weighted_sum(values, axis=(-2, -1), axis_name=axis_name) / jnp.asarray(count)
