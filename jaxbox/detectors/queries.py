"""Detectors that match queries to targets, one to one: DETR and its kin.

Predictions are boxes in corners: convert what a head predicts, `boxes.cxcywh_to_xyxy(outputs)`. Axes in front of the
images are layers of the decoder, each of which is matched by itself; the proposals of an encoder are one more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from jaxbox import boxes, costs, losses, matching, numerics, reductions
from jaxbox.detectors.checks import checked
from jaxbox.detectors.targets import Denoising, Targets
from jaxbox.detectors.terms import (
    Array,
    Names,
    box_terms,
    class_targets,
    count_of,
    fine_terms,
    focal_terms,
    quality_terms,
    weighted_total,
)

__all__ = [
    "d_fine_loss",
    "deformable_detr_loss",
    "deim_loss",
    "detr_loss",
    "dino_loss",
    "owl_vit_loss",
    "rf_detr_loss",
    "rt_detr_loss",
]

Terms = dict[str, jax.Array]


@checked
def detr_loss(
    logits: Array,
    predictions: Array,
    targets: Targets,
    *,
    background_weight: float | Array = 0.1,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 5.0,
    giou_weight: float | Array = 2.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """DETR: softmax over the classes and a background, L1 and GIoU of a matching.

    `class_weight CE + l1_weight L1 + giou_weight GIoU`, summed over layers. CE is the weighted mean over all queries;
    the others are divided by the number of targets.

    Args:
      logits: of K classes, then of the background, `[..., B, N, K + 1]`; axes in front of the images are layers.
      predictions: boxes, `[..., B, N, 4]`, low corner, then high corner, in units of the image.
      targets: of the images, `[B, M]`.
      background_weight: weight of a query without a target in CE.
      class_weight: weight of CE, and of the probability of the class in the costs.
      l1_weight: weight of L1 of centers and sides, there and there.
      giou_weight: weight of GIoU, there and there.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `l1` and `giou`, one value a layer.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: the matching.

    References:
      Carion et al., 2020, https://arxiv.org/abs/2005.12872
    """
    logits, predictions = numerics.promote(logits, predictions)
    background, slot_count = logits.shape[-1] - 1, targets.where.shape[-1]
    charges = costs.box_costs(predictions, targets.boxes, l1_weight=l1_weight, giou_weight=giou_weight)
    charges += class_weight * costs.class_costs(-jax.nn.softmax(logits), targets.labels)
    slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    labels = matching.take(jnp.clip(targets.labels, 0, background - 1), slots, tail=0, fill=background)
    entropies = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    weights = jnp.where(slots < slot_count, 1, jnp.asarray(background_weight, logits.dtype))
    count = count_of(targets.where, logits, axis_name=axis_name)
    terms = {"classes": reductions.weighted_mean(entropies, weights, axis=(-2, -1), axis_name=axis_name)}
    terms |= box_terms(predictions, targets, slots, count, axis_name=axis_name)
    return weighted_total(terms, {"classes": class_weight, "l1": l1_weight, "giou": giou_weight}), terms


@checked
def deformable_detr_loss(
    logits: Array,
    predictions: Array,
    targets: Targets,
    *,
    class_cost: float | Array = 2.0,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 5.0,
    giou_weight: float | Array = 2.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """Deformable DETR: the focal loss of classes without a background, L1 and GIoU of a matching.

    `class_weight focal + l1_weight L1 + giou_weight GIoU`, summed over layers, each divided by the number of targets.

    Args:
      logits: one a class, `[..., B, N, K]`; axes in front of the images are layers.
      predictions: boxes, `[..., B, N, 4]`, low corner, then high corner, in units of the image.
      targets: of the images, `[B, M]`.
      class_cost: weight of the class in the costs; transformers has 1, the paper's code and DINO have 2.
      class_weight: weight of the focal loss; Deformable DETR's code has 2.
      l1_weight: weight of L1 of centers and sides, in the loss and in the costs.
      giou_weight: weight of GIoU, in the loss and in the costs.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `l1` and `giou`, one value a layer.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: the matching.

    References:
      Zhu et al., 2020, https://arxiv.org/abs/2010.04159
    """
    logits, predictions = numerics.promote(logits, predictions)
    charges = costs.box_costs(predictions, targets.boxes, l1_weight=l1_weight, giou_weight=giou_weight)
    charges += class_cost * costs.class_costs(costs.focal_costs(logits), targets.labels)
    slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    count = count_of(targets.where, logits, axis_name=axis_name)
    terms = focal_terms(logits, predictions, targets, slots, count, axis_name=axis_name)
    return weighted_total(terms, {"classes": class_weight, "l1": l1_weight, "giou": giou_weight}), terms


@checked
def dino_loss(
    logits: Array,
    predictions: Array,
    targets: Targets,
    *,
    denoising: Denoising | None = None,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 5.0,
    giou_weight: float | Array = 2.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """DINO: the loss of Deformable DETR, and the same of noised queries whose targets are known.

    `class_weight focal + l1_weight L1 + giou_weight GIoU`, summed over layers, each divided by the number of targets,
    and for noised queries by the number of groups as well.

    Args:
      logits: one a class, `[..., B, N, K]`; axes in front of the images are layers, the encoder's proposals one more.
      predictions: boxes, `[..., B, N, 4]`, low corner, then high corner, in units of the image.
      targets: of the images, `[B, M]`.
      denoising: the noised queries; none without it.
      class_weight: weight of the focal loss; the cost of a class has weight 2.
      l1_weight: weight of L1 of centers and sides, in the loss and in the costs.
      giou_weight: weight of GIoU, in the loss and in the costs.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `l1` and `giou`, one value a layer; those of noised queries end in
      `_denoising`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: the matching.

    References:
      Zhang et al., 2022, https://arxiv.org/abs/2203.03605
    """
    logits, predictions = numerics.promote(logits, predictions)
    weights = {"classes": class_weight, "l1": l1_weight, "giou": giou_weight}
    charges = costs.box_costs(predictions, targets.boxes, l1_weight=l1_weight, giou_weight=giou_weight)
    charges += 2 * costs.class_costs(costs.focal_costs(logits), targets.labels)
    slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    count = count_of(targets.where, logits, axis_name=axis_name)
    terms = focal_terms(logits, predictions, targets, slots, count, axis_name=axis_name)
    loss = weighted_total(terms, weights)
    if denoising is None:
        return loss, terms
    noised = denoising.logits, denoising.predictions, targets, _in_layers(denoising)
    known = focal_terms(*noised, count * denoising.groups, axis_name=axis_name)
    return loss + weighted_total(known, weights), terms | _named(known)


@checked
def rt_detr_loss(
    logits: Array,
    predictions: Array,
    targets: Targets,
    *,
    denoising: Denoising | None = None,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 5.0,
    giou_weight: float | Array = 2.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """RT-DETR: the varifocal loss of classes, L1 and GIoU of a matching; and of noised queries.

    `class_weight VFL + l1_weight L1 + giou_weight GIoU`, summed over layers, each divided by the number of targets, and
    for noised queries by the number of groups as well.

    Args:
      logits: one a class, `[..., B, N, K]`; axes in front of the images are layers, the encoder's proposals one more.
      predictions: boxes, `[..., B, N, 4]`, low corner, then high corner, in units of the image.
      targets: of the images, `[B, M]`.
      denoising: the noised queries; none without it.
      class_weight: weight of the varifocal loss; the cost of a class has weight 2.
      l1_weight: weight of L1 of centers and sides, in the loss and in the costs.
      giou_weight: weight of GIoU, in the loss and in the costs.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `l1` and `giou`, one value a layer; those of noised queries end in
      `_denoising`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: the matching, and the quality and the weights of the varifocal loss.

    References:
      Zhao et al., 2023, https://arxiv.org/abs/2304.08069
    """
    logits, predictions = numerics.promote(logits, predictions)
    weights = {"classes": class_weight, "l1": l1_weight, "giou": giou_weight}
    charges = costs.box_costs(predictions, targets.boxes, l1_weight=l1_weight, giou_weight=giou_weight)
    charges += 2 * costs.class_costs(costs.focal_costs(logits), targets.labels)
    slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    count, of = count_of(targets.where, logits, axis_name=axis_name), losses.varifocal_loss
    terms = quality_terms(of, logits, predictions, targets, slots, count, axis_name=axis_name)
    loss = weighted_total(terms, weights)
    if denoising is None:
        return loss, terms
    noised = denoising.logits, denoising.predictions, targets, _in_layers(denoising)
    known = quality_terms(of, *noised, count * denoising.groups, axis_name=axis_name)
    return loss + weighted_total(known, weights), terms | _named(known)


@checked
def rf_detr_loss(
    logits: Array,
    predictions: Array,
    targets: Targets,
    *,
    groups: int = 13,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 5.0,
    giou_weight: float | Array = 2.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """RF-DETR and LW-DETR: the IoU-aware loss of classes, L1 and GIoU, with each group of queries matched by itself.

    `class_weight IA-BCE + l1_weight L1 + giou_weight GIoU`, summed over layers, each divided by the number of targets
    times that of groups.

    Args:
      logits: one a class, `[..., B, N, K]`; axes in front of the images are layers, the encoder's proposals one more.
      predictions: boxes, `[..., B, N, 4]`, low corner, then high corner, in units of the image.
      targets: of the images, `[B, M]`.
      groups: into how many groups the queries are cut, one after the other; 13 in training, 1 in evaluation.
      class_weight: weight of the IoU-aware loss; the cost of a class has weight 2.
      l1_weight: weight of L1 of centers and sides, in the loss and in the costs.
      giou_weight: weight of GIoU, in the loss and in the costs.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `l1` and `giou`, one value a layer.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, the groups do not divide the queries, or a label is known to be no class.

    Gradient:
      Held constant: the matching, and the quality in the IoU-aware loss.

    References:
      Chen et al., 2024, https://arxiv.org/abs/2406.03459
    """
    logits, predictions = numerics.promote(logits, predictions)
    charges = costs.box_costs(predictions, targets.boxes, l1_weight=l1_weight, giou_weight=giou_weight)
    charges += 2 * costs.class_costs(costs.focal_costs(logits), targets.labels)
    queries = charges.shape[-2]
    grouped = charges.reshape(*charges.shape[:-2], groups, queries // groups, charges.shape[-1])
    found = matching.linear_assignment(grouped, column_where=targets.where[..., None, :])
    slots = found.column_of_row.reshape(charges.shape[:-1])
    count = count_of(targets.where, logits, groups=groups, axis_name=axis_name)
    terms = quality_terms(losses.iou_aware_loss, logits, predictions, targets, slots, count, axis_name=axis_name)
    return weighted_total(terms, {"classes": class_weight, "l1": l1_weight, "giou": giou_weight}), terms


@checked
def d_fine_loss(
    logits: Array,
    predictions: Array,
    corners: Array,
    references: Array,
    targets: Targets,
    *,
    slots: Array | None = None,
    denoising: Denoising | None = None,
    class_loss: Callable[..., jax.Array] = losses.varifocal_loss,
    weights: Mapping[str, float] | None = None,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """D-FINE: the loss of RT-DETR, the sides as distributions, and what the layers learn from the last one.

    `VFL + 5 L1 + 2 GIoU + 0.15 FGL + 1.5 DDF`, summed over sets. Each set is matched by itself, and the classes are of
    these matches. Boxes and sides are of the target that most sets give a query, and divided by the number of queries
    that have one.

    Args:
      logits: one a class, `[S, B, N, K]`, of the layers of the decoder, then of other sets: the first plain head, the
        encoder's proposals.
      predictions: boxes, `[S, B, N, 4]`, low corner, then high corner, in units of the image.
      corners: logits of bins of left, top, right and bottom, `[layers, B, N, 4 bins]`.
      references: the boxes from which the sides are predicted, `[B, N, 4]`, low corner, then high corner.
      targets: of the images, `[B, M]`.
      slots: the matching of each set, `[S, B, N]`, if it is another than that of RT-DETR.
      denoising: the noised queries of the layers and of the first plain head, with corners and references.
      class_loss: a loss of logits, classes and quality.
      weights: of the terms, by name, that are not those above.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms: `classes`, `l1` and `giou` of each set, `fgl` of each layer, `ddf` of each but the last;
      those of noised queries end in `_denoising`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: the matching, the quality, the weights of the classes and of FGL, and what is learned from.

    References:
      Peng et al., 2024, https://arxiv.org/abs/2410.13842
    """
    logits, predictions = numerics.promote(logits, predictions)
    weights = {"classes": 1.0, "l1": 5.0, "giou": 2.0, "fgl": 0.15, "ddf": 1.5} | dict(weights or {})
    if slots is None:
        charges = costs.box_costs(predictions, targets.boxes)
        charges += 2 * costs.class_costs(costs.focal_costs(logits), targets.labels)
        slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    union = matching.majority(slots, columns=targets.where.shape[-1])
    matched, count = union < targets.where.shape[-1], count_of(targets.where, logits, axis_name=axis_name)
    with_target, without = (count_of(which, logits, least=0.0, axis_name=axis_name) for which in (matched, ~matched))
    # Counts have no gradient, so that the slope of the root at 0 is never asked for.
    shares = jnp.sqrt(with_target), jnp.sqrt(without)
    terms_of = functools.partial(fine_terms, class_loss, targets, shares, axis_name=axis_name)
    own = count, jnp.maximum(with_target, 1)
    terms = terms_of(slots, union, *own, logits, predictions, corners, references)
    loss = weighted_total(terms, weights)
    if denoising is None:
        return loss, terms
    noised, count = denoising, count * denoising.groups
    places = _in_layers(noised), noised.slots, count, count
    known = terms_of(*places, noised.logits, noised.predictions, noised.corners, noised.references)
    return loss + weighted_total(known, weights), terms | _named(known)


@checked
def deim_loss(
    logits: Array,
    predictions: Array,
    corners: Array,
    references: Array,
    targets: Targets,
    *,
    slots: Array | None = None,
    denoising: Denoising | None = None,
    weights: Mapping[str, float] | None = None,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """DEIM: the loss of D-FINE with the matchability-aware loss of classes.

    `MAL + 5 L1 + 2 GIoU + 0.15 FGL + 1.5 DDF`, summed over sets.

    Args:
      logits: as in `d_fine_loss`.
      predictions: as in `d_fine_loss`.
      corners: as in `d_fine_loss`.
      references: as in `d_fine_loss`.
      targets: of the images, `[B, M]`.
      slots: the matching of each set, `[S, B, N]`, if it is another than that of RT-DETR. The late matching of DEIM is
        that of the costs `-p IoU^4`.
      denoising: as in `d_fine_loss`.
      weights: of the terms, by name, that are not those above.
      axis_name: names of the mapped axes to sum over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms, as `d_fine_loss`.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: as in `d_fine_loss`.

    References:
      Huang et al., 2024, https://arxiv.org/abs/2412.04234
    """
    sets, options = (logits, predictions, corners, references, targets), {"slots": slots, "denoising": denoising}
    return d_fine_loss(*sets, class_loss=losses.matchability_loss, weights=weights, axis_name=axis_name, **options)


@checked
def owl_vit_loss(
    logits: Array,
    predictions: Array,
    targets: Targets,
    *,
    image_weights: Array | None = None,
    class_weight: float | Array = 1.0,
    l1_weight: float | Array = 1.0,
    giou_weight: float | Array = 1.0,
    axis_name: Names = None,
) -> tuple[jax.Array, Terms]:
    """OWL-ViT: the focal loss of several labels a box, L1 and GIoU of a matching, and a weight for each image.

    `class_weight focal + l1_weight L1 + giou_weight GIoU`, summed over layers. Each term of an image is divided by its
    number of targets, at least 1; then the weighted mean over the images is taken.

    Args:
      logits: one a class, such as a text that was asked for, `[..., B, N, K]`; axes in front of the images are layers.
      predictions: boxes, `[..., B, N, 4]`, low corner, then high corner, in units of the image.
      targets: of the images, `[B, M]`; labels may be `[B, M, K]`, 1 for each of several.
      image_weights: how much each image counts, `[B]`, not negative; 1 without them.
      class_weight: weight of the focal loss, and of the class in the costs.
      l1_weight: weight of L1 of centers and sides, there and there.
      giou_weight: weight of GIoU, there and there.
      axis_name: names of the mapped axes to average over, inside `shard_map` or `pmap`.

    Returns:
      The loss, and its terms `classes`, `l1` and `giou`, one value a layer.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit, or a label is known to be no class.

    Gradient:
      Held constant: the matching.

    References:
      Minderer et al., 2022, https://arxiv.org/abs/2205.06230
    """
    logits, predictions = numerics.promote(logits, predictions)
    charges = costs.box_costs(predictions, targets.boxes, l1_weight=l1_weight, giou_weight=giou_weight)
    charges += class_weight * costs.class_costs(costs.focal_costs(logits), targets.labels)
    slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    matched, goals = slots < targets.where.shape[-1], matching.take(targets.boxes, slots, tail=1)
    centers = map(boxes.xyxy_to_cxcywh, numerics.promote(predictions, goals))
    values = {
        "classes": losses.focal_loss(logits, class_targets(logits, targets, slots)),
        "l1": losses.l1_loss(*centers, where=matched),
        "giou": losses.giou_loss(predictions, goals, where=matched),
    }
    counts = jnp.maximum(jnp.sum(targets.where, axis=-1), 1).astype(predictions.dtype)
    counts = jnp.broadcast_to(counts, slots.shape[:-1])
    weights = None if image_weights is None else jnp.broadcast_to(image_weights, counts.shape)
    terms = {
        name: reductions.weighted_mean(jnp.sum(value, axis=-1) / counts, weights, axis=-1, axis_name=axis_name)
        for name, value in values.items()
    }
    return weighted_total(terms, {"classes": class_weight, "l1": l1_weight, "giou": giou_weight}), terms


def _in_layers(denoising: Denoising) -> jax.Array:
    return jnp.broadcast_to(denoising.slots, denoising.logits.shape[:-1])


def _named(terms: Terms) -> Terms:
    return {f"{name}_denoising": term for name, term in terms.items()}
