"""YOLO: detectors with a prediction at each cell of a grid, assigned by how good the predictions are.

Boxes are corners in pixels. Points and strides are those of `coders.grid_points`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import assigners, coders, costs, losses, matching, numerics, reductions, similarity
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

__all__ = ["yolo26_loss", "yolo26_obb_loss", "yolov8_loss", "yolox_loss"]

Terms = dict[str, jax.Array]
LEAST_SIDE = 16.0  # pixels, of a target when it is asked which points lie inside
LEAST_TARGET = 2.0  # pixels, of the sides of a turned target that is not left out
RAISED = 0.12  # square strides: a hundredth in the variances of ProbIoU, of sides squared over 12
LEAST_IOU = 1e-7  # that a cost tells apart
HEADS_OF_YOLO26 = {"candidates": 10}, {"candidates": 7, "keep": 1}


@checked_dense
def yolox_loss(
    logits: Array,
    objectness: Array,
    raw: Array,
    targets: Targets,
    points: Array,
    strides: Array,
    *,
    class_weight: float | Array = 1.0,
    iou_weight: float | Array = 5.0,
    objectness_weight: float | Array = 1.0,
    l1_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """YOLOX: binary cross-entropy of classes and objectness, squared IoU and L1, assigned by SimOTA.

    `class_weight BCE + iou_weight (1 - IoU^2) + objectness_weight BCE + l1_weight L1`, each divided by the number of
    cells that have a target, at least 1. The class is to tell the IoU.

    Args:
      logits: one a class, `[B, A, K]`.
      objectness: logits, `[B, A]`.
      raw: as of `coders.encode_grid` from the low corners of the cells, `[B, A, 4]`.
      targets: of the images, `[B, M]`.
      points: the centers of the cells in pixels, `[A, 2]`.
      strides: the sides of the cells in pixels, `[A]`.
      class_weight: weight of the classes, of the cells that have a target.
      iou_weight: weight of `losses.squared_iou_loss`.
      objectness_weight: weight of the objectness, of all cells.
      l1_weight: weight of the L1 of the raw numbers; YOLOX has it in its last epochs only, and 0 before.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `iou`, `objectness` and `l1`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: which target a cell has, and its IoU where the class is to tell it.

    References:
      Ge et al., 2021, https://arxiv.org/abs/2107.08430; mmdetection 3.3.0
    """
    logits, objectness, raw = numerics.promote(logits, objectness, raw)
    corners = points - strides[:, None] / 2
    predictions = coders.decode_grid(raw, corners, scale=strides)
    slots = _sim_ota(logits, objectness, predictions, targets, points, strides)
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
    scores = class_targets(logits, targets, slots) * held_quality(predictions, targets, slots)[..., None]
    of_classes = jnp.sum(binary_entropies(logits, scores), axis=-1)
    values = {
        "classes": jnp.where(matched, of_classes, 0),
        "iou": losses.squared_iou_loss(predictions, goals, where=matched),
        "objectness": binary_entropies(objectness, matched.astype(logits.dtype)),
        "l1": losses.l1_loss(raw, coders.encode_grid(goals, corners, scale=strides), where=matched),
    }
    count = count_of(matched, logits, axis_name=axis_name)
    terms = {name: reductions.weighted_sum(x, axis_name=axis_name) / count for name, x in values.items()}
    weights = {"classes": class_weight, "iou": iou_weight, "objectness": objectness_weight, "l1": l1_weight}
    return weighted_total(terms, weights), terms


def _sim_ota(
    logits: jax.Array, objectness: jax.Array, predictions: jax.Array, targets: Targets, points: Array, strides: Array
) -> jax.Array:
    """The slots of YOLOX, for costs of the class and of the IoU: near the center of a target first."""
    logits, objectness, predictions = lax.stop_gradient((logits, objectness, predictions))
    # The probability of a class is the root of a product of two. All is held constant, so that the maxima may be those
    # of jnp: the first one is for a probability that is 1 in float32.
    logarithms = (jax.nn.log_sigmoid(logits) + jax.nn.log_sigmoid(objectness)[..., None]) / 2
    against = -jnp.log(jnp.maximum(-jnp.expm1(logarithms), jnp.finfo(logits.dtype).tiny))
    ious = similarity.pairwise(similarity.iou)(predictions, targets.boxes)
    charges = jnp.sum(against, axis=-1, keepdims=True) - costs.class_costs(logarithms + against, targets.labels)
    charges -= 3 * jnp.log(jnp.maximum(ious, LEAST_IOU))
    inside = assigners.inside(points, targets.boxes, where=targets.where)
    near = assigners.near(points, targets.boxes, radius=2.5 * strides, where=targets.where)
    allowed = jnp.any(inside | near, axis=-1, keepdims=True)
    return assigners.sim_ota(charges, ious, allowed, inside & near, where=targets.where)


@checked_dense
def yolov8_loss(
    logits: Array,
    bins: Array,
    targets: Targets,
    points: Array,
    strides: Array,
    *,
    ciou_weight: float | Array = 7.5,
    class_weight: float | Array = 0.5,
    dfl_weight: float | Array = 1.5,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """YOLOv8 and YOLO11: classes that tell how well a cell fits its target, CIoU, and sides as distributions.

    `ciou_weight CIoU + class_weight BCE + dfl_weight DFL`, each divided by the sum of the scores of
    `assigners.task_aligned`, at least 1. CIoU and DFL are weighted by the scores, which the classes are to tell.
    Ultralytics multiplies the total by the number of images of a batch: `len(logits) * loss`.

    Args:
      logits: one a class, `[B, A, K]`.
      bins: logits of the bins of left, top, right and bottom, `[B, A, 4 bins]`; a bin is a stride.
      targets: of the images, `[B, M]`, in pixels.
      points: the centers of the cells in pixels, `[A, 2]`.
      strides: the sides of the cells in pixels, `[A]`.
      ciou_weight: weight of CIoU.
      class_weight: weight of the classes.
      dfl_weight: weight of the distribution focal loss, the mean over the four sides.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `ciou` and `dfl`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: which target a cell has, the scores, and the alpha of CIoU.

    References:
      Ultralytics 8.4.190; Feng et al., 2021, https://arxiv.org/abs/2108.07755
    """
    logits, bins = numerics.promote(logits, bins)
    sides = bins.reshape(*bins.shape[:-1], 4, -1)
    predictions = coders.decode_distances(coders.expected_bin(sides), points, scale=strides)
    slots, scores = _task_aligned(logits, predictions, targets, points)
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
    entropies = side_entropies(sides, goals, points, strides, matched, margin=0.01)
    terms = _aligned_terms(logits, predictions, targets, slots, scores, axis_name)
    terms["dfl"] = reductions.weighted_mean(entropies, scores, at_least=1, axis_name=axis_name)
    return weighted_total(terms, {"classes": class_weight, "ciou": ciou_weight, "dfl": dfl_weight}), terms


@checked_dense
def yolo26_loss(
    logits: Array,
    distances: Array,
    targets: Targets,
    points: Array,
    strides: Array,
    *,
    image_size: Sequence[float] | Array,
    many_weight: float | Array = 0.8,
    ciou_weight: float | Array = 7.5,
    class_weight: float | Array = 0.5,
    l1_weight: float | Array = 1.5,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """YOLO26: one head that gives a target many cells, and one that gives it a single one and needs no suppression.

    `many_weight` of the first head and `1 - many_weight` of the second, of
    `ciou_weight CIoU + class_weight BCE + l1_weight L1` each, divided by the sum of the scores of the head, at least 1.
    CIoU and L1 are weighted by the scores. Ultralytics multiplies the total by the number of images of a batch.

    Args:
      logits: one a class, `[2, B, A, K]`: of the head with many cells, then of that with one.
      distances: of left, top, right and bottom from the point in strides, `[2, B, A, 4]`.
      targets: of the images, `[B, M]`, in pixels.
      points: the centers of the cells in pixels, `[A, 2]`.
      strides: the sides of the cells in pixels, `[A]`.
      image_size: `(height, width)` in pixels, one for all images or one for each, `[B, 2]`; the unit of L1.
      many_weight: share of the first head; falls from 0.8 to 0.1 while YOLO26 is trained.
      ciou_weight: weight of CIoU.
      class_weight: weight of the classes.
      l1_weight: weight of L1, the mean over the four sides.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `ciou` and `l1`, one value a head, `[2]`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: which target a cell has, the scores, and the alpha of CIoU.

    References:
      Ultralytics 8.4.190
    """
    logits, distances = numerics.promote(logits, distances)
    unit = _stride_in_images(strides, image_size, logits.dtype)

    def of_head(logits: jax.Array, distances: jax.Array, **options: int) -> Terms:
        predictions = coders.decode_distances(distances, points, scale=strides)
        slots, scores = _task_aligned(logits, predictions, targets, points, **options)
        matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
        sides = lax.stop_gradient(coders.encode_distances(goals, points, scale=strides))
        apart = losses.l1_loss(unit * distances, unit * sides, where=matched) / 4
        terms = _aligned_terms(logits, predictions, targets, slots, scores, axis_name)
        return terms | {"l1": reductions.weighted_mean(apart, scores, at_least=1, axis_name=axis_name)}

    terms = _of_both_heads(of_head, logits, distances)
    shared = _shared(terms, many_weight)
    return weighted_total(shared, {"classes": class_weight, "ciou": ciou_weight, "l1": l1_weight}), terms


@checked_dense
def yolo26_obb_loss(
    logits: Array,
    distances: Array,
    angles: Array,
    targets: Targets,
    points: Array,
    strides: Array,
    *,
    image_size: Sequence[float] | Array,
    many_weight: float | Array = 0.8,
    probiou_weight: float | Array = 7.5,
    class_weight: float | Array = 0.5,
    l1_weight: float | Array = 1.5,
    angle_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """YOLO26 of turned boxes: as `yolo26_loss`, with ProbIoU in the place of CIoU, and a loss of the angle.

    `probiou_weight ProbIoU + class_weight BCE + l1_weight L1 + angle_weight angle`. ProbIoU is that of boxes in
    strides whose squared sides are larger by 0.12. A target with a side below 2 pixels is left out.

    Args:
      logits: one a class, `[2, B, A, K]`: of the head with many cells, then of that with one.
      distances: of left, top, right and bottom from the point in strides, as the box sees them, `[2, B, A, 4]`.
      angles: in radians, `[2, B, A]`.
      targets: turned boxes of the images in pixels, `[B, M, 5]`.
      points: the centers of the cells in pixels, `[A, 2]`.
      strides: the sides of the cells in pixels, `[A]`.
      image_size: `(height, width)` in pixels, one for all images or one for each, `[B, 2]`; the unit of L1.
      many_weight: share of the first head; falls from 0.8 to 0.1 while YOLO26 is trained.
      probiou_weight: weight of ProbIoU.
      class_weight: weight of the classes.
      l1_weight: weight of L1, the mean over the four sides.
      angle_weight: weight of `losses.angle_loss`.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `probiou`, `l1` and `angle`, one value a head, `[2]`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: which target a cell has, the scores, and the weight of the angle.

    References:
      Ultralytics 8.4.190
    """
    logits, distances, angles = numerics.promote(logits, distances, angles)
    unit = _stride_in_images(strides, image_size, logits.dtype)
    wide_enough = jnp.min(targets.boxes[..., 2:4], axis=-1) >= LEAST_TARGET
    targets = targets._replace(where=jnp.asarray(targets.where) & wide_enough)

    def of_head(logits: jax.Array, distances: jax.Array, angles: jax.Array, **options: int) -> Terms:
        predictions = coders.decode_rotated_distances(distances, angles, points, scale=strides)
        slots, scores = _task_aligned_turned(logits, predictions, targets, points, **options)
        matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
        sides = lax.stop_gradient(coders.encode_rotated_distances(goals, points, scale=strides))
        values = {
            "probiou": losses.probiou_loss(*(_raised(box, strides) for box in (predictions, goals)), where=matched),
            "l1": losses.l1_loss(unit * distances, unit * sides, where=matched) / 4,
            "angle": losses.angle_loss(predictions, goals, where=matched),
        }
        means = {
            name: reductions.weighted_mean(x, scores, at_least=1, axis_name=axis_name) for name, x in values.items()
        }
        return means | {"classes": _class_term(logits, targets, slots, scores, axis_name)}

    terms = _of_both_heads(of_head, logits, distances, angles)
    weights = {"classes": class_weight, "probiou": probiou_weight, "l1": l1_weight, "angle": angle_weight}
    return weighted_total(_shared(terms, many_weight), weights), terms


def _of_both_heads(of_head: Callable[..., Terms], *arrays: jax.Array) -> Terms:
    """The terms of the two heads of YOLO26, `[2]` each; the heads are the first axis of the arrays."""
    heads = zip(HEADS_OF_YOLO26, *map(jnp.unstack, arrays), strict=True)
    of_heads = [of_head(*head, **options) for options, *head in heads]
    return {name: jnp.stack([terms[name] for terms in of_heads]) for name in of_heads[0]}


def _shared(terms: Terms, many_weight: float | Array) -> Terms:
    """The terms of the two heads, times the share of each."""
    return {
        name: jnp.stack([jnp.asarray(many_weight, term.dtype), 1 - jnp.asarray(many_weight, term.dtype)]) * term
        for name, term in terms.items()
    }


def _stride_in_images(strides: Array, image_size: Sequence[float] | Array, dtype: jnp.dtype) -> jax.Array:
    """A stride as a share of width, height, width and height, `[B or 1, A, 4]`: distances times this are L1's."""
    ends = jnp.flip(jnp.asarray(image_size, dtype), axis=-1)
    ends = jnp.expand_dims(jnp.concatenate([ends, ends], axis=-1), range(3 - ends.ndim))
    return jnp.asarray(strides, dtype)[None, :, None] / ends


def _raised(turned: jax.Array, strides: Array) -> jax.Array:
    """Turned boxes in strides, with squared sides that are larger by `RAISED`."""
    center, sides, angle = jnp.split(turned, [2, 4], axis=-1)
    unit = jnp.asarray(strides, turned.dtype)[None, :, None]
    raised = numerics.square_root((sides / unit) ** 2 + RAISED)
    return jnp.concatenate([center / unit, raised, angle], axis=-1)


def _task_aligned(
    logits: jax.Array, predictions: jax.Array, targets: Targets, points: Array, **options: int
) -> tuple[jax.Array, jax.Array]:
    """The slots and scores of YOLO, by complete IoU."""
    logits, predictions = lax.stop_gradient((logits, predictions))
    overlaps = similarity.pairwise(similarity.ciou)(predictions, targets.boxes)
    inside = assigners.inside(points, targets.boxes, least_side=LEAST_SIDE, where=targets.where)
    known = jax.nn.sigmoid(logits), overlaps, inside, targets.labels
    return assigners.task_aligned(*known, where=targets.where, **options)


def _task_aligned_turned(
    logits: jax.Array, predictions: jax.Array, targets: Targets, points: Array, **options: int
) -> tuple[jax.Array, jax.Array]:
    """The slots and scores of YOLO for turned boxes, by ProbIoU."""
    logits, predictions = lax.stop_gradient((logits, predictions))
    overlaps = 1 - similarity.pairwise(losses.probiou_loss)(predictions, targets.boxes)
    inside = assigners.rotated_inside(points, targets.boxes, least_side=LEAST_SIDE, where=targets.where)
    known = jax.nn.sigmoid(logits), overlaps, inside, targets.labels
    return assigners.task_aligned(*known, where=targets.where, **options)


def _class_term(
    logits: jax.Array, targets: Targets, slots: jax.Array, scores: jax.Array, axis_name: Names
) -> jax.Array:
    """Binary cross-entropy of the classes, which are to tell the scores."""
    entropies = binary_entropies(logits, class_targets(logits, targets, slots) * scores[..., None])
    return reductions.weighted_sum(entropies, axis_name=axis_name) / sum_of(scores, axis_name=axis_name)


def _aligned_terms(
    logits: jax.Array,
    predictions: jax.Array,
    targets: Targets,
    slots: jax.Array,
    scores: jax.Array,
    axis_name: Names,
) -> Terms:
    """The term of the classes, and complete IoU weighted by the scores."""
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
    apart = losses.ciou_loss(predictions, goals, where=matched)
    return {
        "classes": _class_term(logits, targets, slots, scores, axis_name),
        "ciou": reductions.weighted_mean(apart, scores, at_least=1, axis_name=axis_name),
    }
