"""Detectors that know a target by how much an anchor or a proposal overlaps it: RetinaNet and Faster R-CNN.

Boxes are corners in pixels, or any other unit that anchors and targets share. What a head predicts of them are the
numbers of `coders.encode_deltas`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxbox import coders, losses, matching, numerics, reductions
from jaxbox import similarity as similarities
from jaxbox.detectors.checks import checked_dense
from jaxbox.detectors.targets import Targets
from jaxbox.detectors.terms import Array, Names, binary_entropies, class_targets, count_of, weighted_total

__all__ = ["anchor_slots", "fast_rcnn_loss", "retinanet_loss", "rpn_loss"]

Terms = dict[str, jax.Array]
BETA = 1 / 9  # where the parabola of the smooth L1 ends, in Faster R-CNN
WEIGHTS = 10.0, 10.0, 5.0, 5.0  # of the numbers that Fast R-CNN predicts of a box


@checked_dense
def anchor_slots(
    targets: Targets, anchors: Array, *, low: float | Array = 0.4, high: float | Array = 0.5
) -> tuple[jax.Array, jax.Array]:
    """The target of each anchor by its IoU, as in RetinaNet and in the region proposal network.

    An anchor answers for the target that it overlaps most, if their IoU is at least `high`; between `low` and `high` it
    is ignored. The best anchors of a target answer even below, each for the target that it overlaps most itself. A
    target that overlaps nothing has none.

    Args:
      targets: of the images, `[B, M]`; their labels are not read.
      anchors: boxes in the unit of the targets, `[A, 4]`.
      low: below it an anchor is background; at most `high`, may be traced.
      high: from it on an anchor answers for a target; may be traced.

    Returns:
      The slot of the target of each anchor, `[B, A]`, int32, M where it has none, and whether it is ignored, boolean.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or `low` is above `high`.

    Gradient:
      None: boxes are held constant.
    """
    ious = similarities.pairwise(similarities.iou)(anchors, targets.boxes)
    slots, ignored = matching.threshold_assignment(ious, low=low, high=high, column_where=targets.where)
    slots = matching.rescue_targets(slots, ious, column_where=targets.where)
    return slots, ignored & (slots == targets.where.shape[-1])


@checked_dense
def retinanet_loss(
    logits: Array,
    deltas: Array,
    targets: Targets,
    anchors: Array,
    *,
    low: float | Array = 0.4,
    high: float | Array = 0.5,
    similarity: Callable[..., jax.Array] | None = None,
    class_weight: float | Array = 1.0,
    box_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """RetinaNet: the focal loss of the classes of all anchors, and L1 of the deltas of those with a target.

    `class_weight focal + box_weight L1`, each the mean over the images of the sum over an image, divided by the number
    of its anchors that have a target, at least 1.

    Args:
      logits: one a class, `[B, A, K]`.
      deltas: as of `coders.encode_deltas`, `[B, A, 4]`.
      targets: of the images, `[B, M]`.
      anchors: boxes in the unit of the targets, `[A, 4]`.
      low: of `anchor_slots`.
      high: of `anchor_slots`.
      similarity: instead of L1 of the deltas, 1 minus this of the decoded boxes and the targets, such as
        `similarity.giou`.
      class_weight: weight of the focal loss.
      box_weight: weight of the boxes.
      axis_name: names of the mapped axes to average over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes` and `boxes`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, a label is known to be no class, or `low` is above `high`.

    Gradient:
      Held constant: which target an anchor has.

    References:
      Lin et al., 2017, https://arxiv.org/abs/1708.02002; torchvision 0.29.1
    """
    logits, deltas = numerics.promote(logits, deltas)
    slots, ignored = anchor_slots(targets, anchors, low=low, high=high)
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots)
    classes = losses.focal_loss(logits, class_targets(logits, targets, slots), where=~ignored)
    if similarity is None:
        apart = losses.l1_loss(deltas, coders.encode_deltas(goals, anchors), where=matched)
    else:
        apart = jnp.where(matched, 1 - similarity(coders.decode_deltas(deltas, anchors), goals), 0)
    positives = jnp.maximum(jnp.sum(matched, axis=-1), 1).astype(logits.dtype)
    of_images = {name: jnp.sum(x, axis=-1) / positives for name, x in {"classes": classes, "boxes": apart}.items()}
    terms = {name: reductions.weighted_mean(x, axis_name=axis_name) for name, x in of_images.items()}
    return weighted_total(terms, {"classes": class_weight, "boxes": box_weight}), terms


@checked_dense
def rpn_loss(
    objectness: Array,
    deltas: Array,
    targets: Targets,
    anchors: Array,
    *,
    low: float | Array = 0.3,
    high: float | Array = 0.7,
    sampled: Array | None = None,
    objectness_weight: float | Array = 1.0,
    l1_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """Region proposal network: whether an anchor has a target, and smooth L1 of the deltas of those that have one.

    `objectness_weight BCE + l1_weight L1`, both divided by the number of sampled anchors of the batch, at least 1.

    Args:
      objectness: logits, `[B, A]`.
      deltas: as of `coders.encode_deltas`, `[B, A, 4]`.
      targets: of the images, `[B, M]`; their labels are not read.
      anchors: boxes in the unit of the targets, `[A, 4]`.
      low: of `anchor_slots`.
      high: of `anchor_slots`.
      sampled: which anchors count, boolean, `[B, A]`, such as 256 of an image drawn from what `anchor_slots` gives; all
        without it. What is ignored never counts.
      objectness_weight: weight of the binary cross-entropy.
      l1_weight: weight of the smooth L1.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `objectness` and `l1`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or `low` is above `high`.

    Gradient:
      Held constant: which target an anchor has.

    References:
      Ren et al., 2015, https://arxiv.org/abs/1506.01497; torchvision 0.29.1
    """
    objectness, deltas = numerics.promote(objectness, deltas)
    slots, ignored = anchor_slots(targets, anchors, low=low, high=high)
    counted = ~ignored if sampled is None else ~ignored & sampled
    matched = counted & (slots < targets.where.shape[-1])
    entropies = binary_entropies(objectness, matched.astype(objectness.dtype))
    goals = coders.encode_deltas(matching.take(targets.boxes, slots), anchors)
    apart = losses.smooth_l1_loss(deltas, goals, beta=BETA, where=matched)
    count = count_of(counted, deltas, axis_name=axis_name)
    terms = {
        "objectness": reductions.weighted_sum(entropies, where=counted, axis_name=axis_name) / count,
        "l1": reductions.weighted_sum(apart, axis_name=axis_name) / count,
    }
    return weighted_total(terms, {"objectness": objectness_weight, "l1": l1_weight}), terms


@checked_dense
def fast_rcnn_loss(
    logits: Array,
    deltas: Array,
    targets: Targets,
    proposals: Array,
    *,
    where: Array | None = None,
    threshold: float | Array = 0.5,
    background: int = 0,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """Fast R-CNN: the class of each proposal, and smooth L1 of the deltas that are predicted for its class.

    `class_weight CE + l1_weight L1`, both divided by the number of proposals of the batch, at least 1. A proposal
    answers for the target that it overlaps most, if their IoU is at least the threshold, and else is background.

    Args:
      logits: of the classes and the background, `[B, P, K]`.
      deltas: as of `coders.encode_deltas` with weights 10, 10, 5 and 5, `[B, P, K, 4]`: a box for each logit, or for
        each but the background, `[B, P, K - 1, 4]`, or one for all, `[B, P, 1, 4]`.
      targets: of the images, `[B, M]`; labels are the places of the classes among the logits.
      proposals: boxes in the unit of the targets, `[B, P, 4]`, as they were sampled; often with the targets among them.
      where: which proposals count, boolean, `[B, P]`.
      threshold: least IoU of a proposal with its target; may be traced.
      background: the place of the background among the logits: 0 as in torchvision, -1 as in detectron2.
      class_weight: weight of the cross-entropy.
      l1_weight: weight of the smooth L1.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes` and `l1`.

    Raises:
      TypeError: if an array has a dtype that does not fit, or `background` is no whole number.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: proposals, and which target each has.

    References:
      Girshick, 2015, https://arxiv.org/abs/1504.08083; torchvision 0.29.1
    """
    logits, deltas = numerics.promote(logits, deltas)
    classes, proposals = logits.shape[-1], lax.stop_gradient(proposals)
    background %= classes
    counted = jnp.ones(logits.shape[:-1], bool) if where is None else jnp.broadcast_to(where, logits.shape[:-1])
    ious = similarities.pairwise(similarities.iou)(proposals, targets.boxes)
    masks = {"row_where": counted, "column_where": targets.where}
    slots, _ = matching.threshold_assignment(ious, low=threshold, high=threshold, **masks)
    labels = matching.take(jnp.clip(targets.labels, 0, classes - 1), slots, fill=background)
    entropies = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    is_behind = (labels > background).astype(labels.dtype)
    places = labels - is_behind if deltas.shape[-2] == classes - 1 else labels
    places = jnp.clip(places, 0, deltas.shape[-2] - 1)
    own = jnp.squeeze(jnp.take_along_axis(deltas, places[..., None, None], axis=-2), -2)
    goals = coders.encode_deltas(matching.take(targets.boxes, slots), proposals, weights=jnp.asarray(WEIGHTS))
    apart = losses.smooth_l1_loss(own, goals, beta=BETA, where=slots < targets.where.shape[-1])
    count = count_of(counted, logits, axis_name=axis_name)
    terms = {
        "classes": reductions.weighted_sum(entropies, where=counted, axis_name=axis_name) / count,
        "l1": reductions.weighted_sum(apart, axis_name=axis_name) / count,
    }
    return weighted_total(terms, {"classes": class_weight, "l1": l1_weight}), terms
