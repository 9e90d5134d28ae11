"""Calls that are refused, of what a detector's loss is made of beside the losses of boxes."""

import jax.numpy as jnp
import numpy as np

from jaxbox import boxes


def box(*shape):
    """Boxes that are upright in every layout: ascending numbers."""
    return jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape) / 10


FOCAL = "losses.focal_loss(logits, onehot)"
VARIFOCAL = "losses.varifocal_loss(logits, logits, quality)"
DISTILLATION = "losses.distillation_loss(student, student, weights)"
SCALED = "coders.decode_distances(distances, points, scale=scale)"
NMS = "suppression.nms(boxes, scores, threshold=0.5, outputs=outputs)"
INSIDE = "assigners.inside(points, targets)"
ROTATED_INSIDE = "assigners.rotated_inside(points, targets)"
ATSS = "assigners.atss(anchors, targets, level_sizes=sizes)"
NEAR = "assigners.near(points, targets, radius=radius)"
SMALLEST = "assigners.smallest_inside(points, targets, ranges=ranges, radius=radius)"
ALIGNED = "assigners.task_aligned(scores, overlaps, inside, labels=labels, candidates=candidates)"
SIM_OTA = "assigners.sim_ota(costs_, costs_, allowed, preferred=preferred)"
FRACTIONAL = "coders.fractional_bin(jnp.ones(3), values)"
RESIZED = "resize(boxes, image_size=(4, 4), new_size=new_size)"
MOVED = "translate(boxes, offset=offset)"
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
    ("coders.decode_rotated_deltas(deltas, anchors)", {"deltas": box(3, 4), "anchors": box(3, 5)}, "is `[..., 5]`"),
    ("coders.decode_phases(phases)", {"phases": box(3, 4)}, "an angle has three"),
    # Turned boxes.
    (
        "rotated.to_corners(boxes)",
        {"boxes": box(3, 4)},
        "a turned box is `[..., 5]`",
        "rotated.from_xyxy(boxes)",
    ),
    ("rotated.to_kitti(boxes)", {"boxes": box(3, 5)}, "a solid with a yaw is `[..., 7]`"),
    ("rotated.from_kitti(labels)", {"labels": box(3, 8)}, "of a label of KITTI is `[..., 7]`"),
    ("rotated.from_nuscenes(annotations)", {"annotations": box(3, 7)}, "of an annotation of nuScenes is `[..., 10]`"),
    (
        "rotated.from_corners(corners)",
        {"corners": box(3, 8)},
        "four corners are `[..., 4, 2]`",
        "corners.reshape(*corners.shape[:-1], 4, 2)",
    ),
    ("rotated.from_corners(corners)", {"corners": box(3, 2)}, "`corners` has shape (3, 2)"),
    (
        "rotated.from_polygon(points)",
        {"points": box(3, 12)},
        "points of a polygon are `[..., n, 2]`",
        "points.reshape(*points.shape[:-1], -1, 2)",
    ),
    ("rotated.from_polygon(points)", {"points": box(2)}, "`points` has shape (2,)"),
    (
        "rotated.from_polygon(points, where=where)",
        {"points": box(3, 6, 2), "where": np.ones(3, bool)},
        "one value a point, (3, 6)",
        "where[..., None]",
    ),
    (
        "rotated.canonical_long(boxes, start=start)",
        {"boxes": box(3, 5), "start": -90.0},
        "from -6.3 to 6.3",
        "start=0.0",
    ),
    # Boxes that move with their image.
    (
        "flip_vertically(boxes, image_size)",
        {"boxes": boxes.Intervals(box(3, 2)), "image_size": (4.0,)},
        "which have no y",
    ),
    (
        "rotated.flip_vertically(boxes, image_size=image_size)",
        {"boxes": box(3, 5), "image_size": 48},
        "boxes of 5 numbers need 2 numbers",
        "image_size=(48, 48)",
    ),
    (RESIZED, {"boxes": box(3, 4), "new_size": (48, 64, 3)}, "`new_size` is (48, 64, 3)", "new_size=(48, 64)"),
    (RESIZED, {"boxes": box(3, 4), "new_size": (48, 0)}, "`new_size` is 0"),
    (MOVED, {"boxes": box(3, 4), "offset": (1,)}, "need 2 numbers, the first one along x", "offset=(1, 1)"),
    (MOVED, {"boxes": box(3, 4), "offset": (1, 2, 3)}, "need 2 numbers, the first one along x."),
    (MOVED, {"boxes": box(3, 4), "offset": (1, np.inf)}, "`offset` is inf, but it must be finite."),
    ("rotated.translate(boxes, offset=offset)", {"boxes": box(3, 5), "offset": 3.0}, "is 3.0", "offset=(3.0, 3.0)"),
    ("rotated.resize(boxes, factor=factor)", {"boxes": box(3, 5), "factor": 0.0}, "from 1e-15 to 1e15", "factor=1.0"),
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
    (ROTATED_INSIDE, {"points": box(5, 3), "targets": box(3, 5)}, "turned boxes lie in the plane", "points[:, :2]"),
    (ROTATED_INSIDE, {"points": box(5, 2), "targets": box(5)}, "is `[..., M, 5]`", "targets[None]"),
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
        "matching.threshold_assignment(overlaps, low=low, high=high)",
        {"overlaps": box(5, 3), "low": 0.6, "high": 0.5},
        "it is at most `high`, which is 0.5",
        "low=high",
    ),
    (
        NEAR,
        {"points": box(5, 2), "targets": box(3, 4), "radius": box(1)},
        "one number for each point",
        "jnp.broadcast_to(radius, (5,))",
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

TURNED = "losses.rotated_giou_loss(predictions, targets)"
STANDING = "losses.solid_iou_loss(predictions, targets)"
ALL_TURNED = "similarity.pairwise(similarity.rotated_iou)(a, b)"

OF_TURNED = [
    (TURNED, {"predictions": box(3, 6), "targets": box(3, 6)}, "numbers take a function such as `giou_loss`"),
    (
        TURNED,
        {"predictions": box(5, 3), "targets": box(5, 3)},
        "a turned box is `[..., 5]`",
        "jnp.swapaxes(predictions, -1, -2)",
    ),
    (
        STANDING,
        {"predictions": box(3, 9), "targets": box(3, 9)},
        "a solid with a yaw is `[..., 7]`",
        "predictions[..., :7]",
    ),
    (
        TURNED,
        {"predictions": box(3, 5), "targets": box(2, 5)},
        "does not broadcast",
        "similarity.pairwise(losses.rotated_giou_loss)(predictions, targets)",
    ),
    (ALL_TURNED, {"a": box(3, 7), "b": box(2, 7)}, "take a function such as `solid_giou_loss`"),
]
