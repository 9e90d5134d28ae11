"""Calls that are refused, of what a detector's loss is made of beside the losses of boxes."""

import jax.numpy as jnp
import numpy as np


def box(*shape):
    """Boxes that are upright in every layout: ascending numbers."""
    return jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape) / 10


FOCAL = "losses.focal_loss(logits, onehot)"
VARIFOCAL = "losses.varifocal_loss(logits, logits, quality)"
DISTILLATION = "losses.distillation_loss(student, student, weights)"
SCALED = "coders.decode_distances(distances, points, scale=scale)"
NMS = "suppression.nms(boxes, scores, threshold=0.5, outputs=outputs)"
INSIDE = "assigners.inside(points, targets)"
ATSS = "assigners.atss(anchors, targets, level_sizes=sizes)"
SMALLEST = "assigners.smallest_inside(points, targets, ranges=ranges, radius=radius)"
ALIGNED = "assigners.task_aligned(scores, overlaps, inside, labels=labels, candidates=candidates)"
SIM_OTA = "assigners.sim_ota(costs_, costs_, allowed, preferred=preferred)"
FRACTIONAL = "coders.fractional_bin(jnp.ones(3), values)"
OF_CLASSES = "costs.class_costs(costs_, labels)"

OVERLAPS = {"scores": box(5, 8), "overlaps": box(5, 3), "inside": np.ones((5, 3), bool), "labels": np.zeros(3, int)}
TAKEN = {"costs_": box(5, 3), "preferred": np.ones((5, 1), bool)}
OVERLAPS |= {"points": box(5, 2), "targets": box(3, 4)}

# As in `test_messages.py`: a call, its variables, a part of the message, and all that it says to write.
OF_DETECTORS = [
    ("coders.expected_bin(logits)", {"logits": box(1)[0]}, "the bins are its last axis", "logits[None]"),
    # Classes.
    (FOCAL, {"logits": box(1)[0], "onehot": box(1)}, "`logits` has shape ()", "logits[None]"),
    (FOCAL, {"logits": box(3, 8), "onehot": np.zeros(3, int)}, "for each class", "jax.nn.one_hot(onehot, 8)"),
    (FOCAL, {"logits": box(3, 8), "onehot": np.zeros((3, 8), int)}, "has dtype int64", "onehot.astype(jnp.float32)"),
    (FOCAL, {"logits": box(3, 8), "onehot": box(8)}, "not broadcast", "jnp.broadcast_to(onehot, logits.shape)"),
    (VARIFOCAL, {"logits": box(3, 8), "quality": box(3, 8)}, "`quality` has shape", "jnp.mean(quality, axis=-1)"),
    (VARIFOCAL, {"logits": box(3, 8), "quality": box(3, 1)}, "`quality` has shape (3, 1)", "quality[..., 0]"),
    (VARIFOCAL, {"logits": box(3, 8), "quality": box(1)}, "`quality` has shape", "jnp.broadcast_to(quality, (3,))"),
    (
        DISTILLATION,
        {"student": box(2, 4, 9), "weights": box(2)},
        "`weights` has shape (2,)",
        "jnp.broadcast_to(weights[..., None], (2, 4))",
    ),
    # Coders.
    ("coders.decode_deltas(deltas, anchors)", {"deltas": box(3, 5), "anchors": box(3, 4)}, "as many numbers as a box"),
    ("coders.decode_deltas(deltas, anchors)", {"deltas": box(3, 6), "anchors": box(3, 4)}, "for one n"),
    ("coders.decode_distances(distances, points)", {"distances": box(3, 4), "points": box(2, 2)}, "do not broadcast"),
    (SCALED, {"distances": box(3, 4), "points": box(3, 2), "scale": box(2)}, "one number in all, or (3,)"),
    (
        SCALED,
        {"distances": box(3, 4), "points": box(3, 2), "scale": 0.0},
        "`scale` is 0.0",
        "scale=1.0",
    ),
    (FRACTIONAL, {"values": box(2, 3)}, "one number a bin"),
    (FRACTIONAL, {"values": box(1)}, "at least 2 bins"),
    (FRACTIONAL, {"values": box(3)[::-1]}, "each above the one before", "jnp.unique(values)"),
    ("coders.expected_bin(logits, values)", {"logits": box(3, 8), "values": box(9)}, "have 8 bins"),
    ("coders.fine_bins(bins)", {"bins": 32}, "an odd number"),
    (
        "coders.grid_points(image_size=image_size, strides=(8,))",
        {"image_size": 64.0},
        "whole numbers above 0",
        "image_size=(32, 64)",
    ),
    # Costs.
    (
        "costs.box_costs(a, b, similarity=function)",
        {"a": box(3, 4), "b": box(2, 4)} | {"function": "giou"},
        "it is a function of two boxes",
        "similarity=similarity.giou",
    ),
    (OF_CLASSES, {"costs_": box(8), "labels": np.zeros(2, int)}, "`costs` has shape (8,)"),
    (OF_CLASSES, {"costs_": box(3, 8), "labels": np.zeros(2)}, "of floating point", "labels.astype(jnp.int32)"),
    (OF_CLASSES, {"costs_": box(3, 8), "labels": jnp.zeros((), int)}, "a class for each", "labels[None]"),
    (
        OF_CLASSES,
        {"costs_": box(2, 3, 8), "labels": np.ones((2, 5, 8), int)},
        "leading axes",
        "labels.astype(jnp.float32)",
    ),
    (OF_CLASSES, {"costs_": box(3, 8), "labels": [1, 2]}, "`labels` is a list", "jnp.asarray(labels, jnp.int32)"),
    (OF_CLASSES, {"costs_": box(3, 8), "labels": np.array([255, 1])}, "has 255", "jnp.clip(labels, -1, 8)"),
    ("costs.focal_costs(logits)", {"logits": box(1)[0]}, "the classes are its last axis", "logits[None]"),
    ("reductions.normalizer(counts)", {"counts": 3}, "is an int, not an array", "jnp.asarray(counts, jnp.float32)"),
    ("reductions.normalizer(counts, axis=axis)", {"counts": box(3), "axis": 1}, "the axes 0 to 0", "axis=None"),
    # Suppression.
    (NMS, {"boxes": box(4), "scores": box(1)[0], "outputs": 3}, "is `[..., N, 4]`", "boxes[None]"),
    (NMS, {"boxes": box(3, 4), "scores": box(3), "outputs": 0}, "at most", "outputs=100"),
    (
        "suppression.nms(boxes, scores, threshold=0.5, outputs=3, similarity=function)",
        {"boxes": box(3, 4), "scores": box(3), "function": 0.5},
        "it is a function of two boxes",
        "similarity=similarity.iou",
    ),
    # Assigners.
    (INSIDE, {"points": box(2, 5, 2), "targets": box(3, 4)}, "the same for all images", "points[0]"),
    (INSIDE, {"points": box(5, 2), "targets": box(4)}, "is `[..., M, 4]`", "targets[None]"),
    (INSIDE, {"points": box(5, 2), "targets": box(3, 6)}, "two numbers for each of a point"),
    (ATSS, {"anchors": box(2, 5, 4), "targets": box(3, 4), "sizes": [5]}, "the same for all images", "anchors[0]"),
    (ATSS, {"anchors": box(5, 4), "targets": box(3, 4), "sizes": 5}, "of each level", "level_sizes=[5]"),
    (ATSS, {"anchors": box(5, 4), "targets": box(3, 4), "sizes": [5, 1]}, "6 in all", "level_sizes=[5]"),
    (
        SMALLEST,
        {"points": box(5, 2), "targets": box(3, 4), "ranges": box(2), "radius": box(5)},
        "least and greatest for each point",
        "jnp.broadcast_to(ranges, (5, 2))",
    ),
    (
        ALIGNED,
        OVERLAPS | {"scores": box(6, 8), "candidates": 3},
        "one row of K probabilities for each anchor",
    ),
    (ALIGNED, OVERLAPS | {"inside": box(5, 3), "candidates": 3}, "whether the one lies inside", f"inside={INSIDE}"),
    (ALIGNED, OVERLAPS | {"candidates": 2.5}, "a whole number from 1 on", "candidates=10"),
    (SIM_OTA, TAKEN | {"allowed": np.ones(5, bool)}, "(5, 1) where", "allowed=jnp.ones((5, 3), bool)"),
]
