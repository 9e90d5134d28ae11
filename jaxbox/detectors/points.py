"""Detectors with a prediction at each point of a grid, that know its target by where it lies: FCOS, GFL and TOOD.

Boxes are corners in pixels, or any other unit that points and targets share. Points and strides are those of
`coders.grid_points`.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import assigners, boxes, coders, losses, matching, numerics, reductions, similarity
from jaxbox.detectors.checks import checked_dense
from jaxbox.detectors.targets import Targets
from jaxbox.detectors.terms import (
    Array,
    Names,
    binary_entropies,
    class_targets,
    count_of,
    held_quality,
    side_entropies,
    sum_of,
    weighted_total,
)

__all__ = ["fcos_loss", "gfl_loss", "tood_loss"]

Terms = dict[str, jax.Array]


@checked_dense
def fcos_loss(
    logits: Array,
    distances: Array,
    centerness: Array,
    targets: Targets,
    points: Array,
    strides: Array,
    *,
    class_weight: float | Array = 1.0,
    giou_weight: float | Array = 1.0,
    centerness_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """FCOS: the focal loss of classes, GIoU, and how central a point is, of the smallest target around each point.

    `class_weight focal + giou_weight GIoU + centerness_weight BCE`, each divided by the number of points that have a
    target, at least 1. A point has the smallest target that it lies in whose center is nearer than 1.5 strides on each
    axis, and whose furthest side is between 4 and 8 strides away; nearer too on the level of the least stride, further
    too on that of the largest.

    Args:
      logits: one a class, `[B, A, K]`.
      distances: of left, top, right and bottom from the point in strides, not negative, `[B, A, 4]`.
      centerness: logits, `[B, A]`.
      targets: of the images, `[B, M]`.
      points: in the unit of the targets, `[A, 2]`.
      strides: of the level of each point, in the same unit, `[A]`.
      class_weight: weight of the focal loss.
      giou_weight: weight of GIoU.
      centerness_weight: weight of the binary cross-entropy of the centerness.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `giou` and `centerness`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: which target a point has, and its centerness.

    References:
      Tian et al., 2019, https://arxiv.org/abs/1904.01355; torchvision 0.29.1
    """
    logits, distances, centerness = numerics.promote(logits, distances, centerness)
    least = jnp.where(strides == jnp.min(strides), 0, 4 * strides)
    ranges = jnp.stack([least, jnp.where(strides == jnp.max(strides), jnp.inf, 8 * strides)], axis=-1)
    inside = {"ranges": ranges, "radius": 1.5 * strides, "where": targets.where}
    slots = assigners.smallest_inside(points, targets.boxes, **inside)
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
    predictions = coders.decode_distances(distances, points, scale=strides)
    sides = lax.stop_gradient(coders.encode_distances(goals, points, scale=strides))
    entropies = binary_entropies(centerness, _centerness(sides))
    values = {
        "classes": losses.focal_loss(logits, class_targets(logits, targets, slots)),
        "giou": losses.giou_loss(predictions, goals, where=matched),
        "centerness": jnp.where(matched, entropies, 0),
    }
    count = count_of(matched, logits, axis_name=axis_name)
    terms = {name: reductions.weighted_sum(x, axis_name=axis_name) / count for name, x in values.items()}
    return weighted_total(terms, {"classes": class_weight, "giou": giou_weight, "centerness": centerness_weight}), terms


def _centerness(sides: jax.Array) -> jax.Array:
    """How central a point is between sides at these distances, `[..., 4]`: from 0 to 1; 0 where it is not between."""
    ((left, top, right, bottom),) = numerics.coordinates(sides)
    lesser = numerics.minimum(left, right) * numerics.minimum(top, bottom)
    greater = numerics.maximum(left, right) * numerics.maximum(top, bottom)
    return numerics.square_root(numerics.clip(numerics.divide(lesser, greater), 0, 1))


@checked_dense
def gfl_loss(
    logits: Array,
    bins: Array,
    targets: Targets,
    anchors: Array,
    strides: Array,
    *,
    level_sizes: Sequence[int],
    candidates: int = 9,
    class_weight: float | Array = 1.0,
    giou_weight: float | Array = 2.0,
    dfl_weight: float | Array = 0.25,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """Generalized focal loss: classes that tell the IoU, GIoU, and sides as distributions, assigned by ATSS.

    `class_weight QFL + giou_weight GIoU + dfl_weight DFL`. QFL is divided by the number of anchors that have a target,
    each image counting 1 at least; the others are weighted by the largest probability of the anchor and divided by the
    sum of these weights, at least 1.

    Args:
      logits: one a class, `[B, A, K]`.
      bins: logits of the bins of left, top, right and bottom, `[B, A, 4 bins]`; a bin is a stride.
      targets: of the images, `[B, M]`.
      anchors: boxes in the unit of the targets, `[A, 4]`, level by level; sides are measured from their centers.
      strides: of the level of each anchor, in the same unit, `[A]`.
      level_sizes: how many anchors each level has.
      candidates: of `assigners.atss`.
      class_weight: weight of the quality focal loss.
      giou_weight: weight of GIoU.
      dfl_weight: weight of the distribution focal loss, the mean over the four sides.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `giou` and `dfl`.

    Raises:
      TypeError: if an array has a dtype that does not fit, or a number of anchors is none.
      ValueError: if a shape does not fit, a label is known to be no class, or the levels do not add up to A anchors.

    Gradient:
      Held constant: which target an anchor has, its IoU, and the weights.

    References:
      Li et al., 2020, https://arxiv.org/abs/2006.04388; mmdetection 3.3.0
    """
    logits, bins = numerics.promote(logits, bins)
    levels = {"level_sizes": level_sizes, "candidates": candidates}
    slots = assigners.atss(anchors, targets.boxes, where=targets.where, **levels)
    matched, goals, points = slots < targets.where.shape[-1], matching.take(targets.boxes, slots), boxes.center(anchors)
    sides = bins.reshape(*bins.shape[:-1], 4, -1)
    predictions = coders.decode_distances(coders.expected_bin(sides), points, scale=strides)
    quality = held_quality(predictions, targets, slots)
    classes = losses.quality_focal_loss(logits, class_targets(logits, targets, slots), quality)
    apart = losses.giou_loss(predictions, goals, where=matched)
    entropies = side_entropies(sides, goals, points, strides, matched, margin=0.1)
    weights = jnp.where(matched, lax.stop_gradient(jnp.max(jax.nn.sigmoid(logits), axis=-1)), 0)
    of_images = jnp.maximum(jnp.sum(matched, axis=-1), 1).astype(logits.dtype)
    terms = {
        "classes": reductions.weighted_sum(classes, axis_name=axis_name)
        / reductions.weighted_sum(of_images, axis_name=axis_name),
        "giou": reductions.weighted_mean(apart, weights, at_least=1, axis_name=axis_name),
        "dfl": reductions.weighted_mean(entropies, weights, at_least=1, axis_name=axis_name),
    }
    return weighted_total(terms, {"classes": class_weight, "giou": giou_weight, "dfl": dfl_weight}), terms


@checked_dense
def tood_loss(
    probabilities: Array,
    predictions: Array,
    targets: Targets,
    points: Array,
    *,
    class_weight: float | Array = 1.0,
    giou_weight: float | Array = 2.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """TOOD: classes that tell how well a prediction is aligned with its target, and GIoU weighted by it.

    `class_weight QFL + giou_weight GIoU`, both divided by the sum of the scores of `assigners.task_aligned_tood`, at
    least 1.

    Args:
      probabilities: of the classes, `[B, A, K]`, which the head makes of two logits each; 0 and 1 count as the nearest
        numbers between.
      predictions: boxes, `[B, A, 4]`, low corner, then high corner, in the unit of the targets.
      targets: of the images, `[B, M]`.
      points: in the same unit, `[A, 2]`.
      class_weight: weight of the quality focal loss.
      giou_weight: weight of GIoU.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes` and `giou`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: which target a point has, and the scores.

    References:
      Feng et al., 2021, https://arxiv.org/abs/2108.07755; mmdetection 3.3.0
    """
    probabilities, predictions = numerics.promote(probabilities, predictions)
    inside = assigners.inside(points, targets.boxes, where=targets.where)
    overlaps = similarity.pairwise(similarity.iou)(predictions, targets.boxes)
    aligned = assigners.task_aligned_tood(probabilities, overlaps, inside, targets.labels, where=targets.where)
    slots, scores = aligned[0], lax.stop_gradient(aligned[1])
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
    limits = jnp.finfo(probabilities.dtype)
    between = numerics.clip(probabilities, float(limits.tiny), 1 - float(limits.epsneg))
    logits = jnp.log(between) - jnp.log1p(-between)
    classes = losses.quality_focal_loss(logits, class_targets(logits, targets, slots), scores)
    apart = losses.giou_loss(predictions, goals, where=matched)
    terms = {
        "classes": reductions.weighted_sum(classes, axis_name=axis_name) / sum_of(scores, axis_name=axis_name),
        "giou": reductions.weighted_mean(apart, scores, at_least=1, axis_name=axis_name),
    }
    return weighted_total(terms, {"classes": class_weight, "giou": giou_weight}), terms
