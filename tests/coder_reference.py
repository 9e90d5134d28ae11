"""The coders in float64 NumPy, written from the papers for boxes that are not empty."""

import numpy as np

LARGEST = float(np.log(1000 / 16))


def corners(boxes):
    n = boxes.shape[-1] // 2
    return boxes[..., :n], boxes[..., n:]


def as_boxes(centers, sides):
    return np.concatenate([centers - sides / 2, centers + sides / 2], axis=-1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def encode_deltas(boxes, anchors, weights=1.0):
    (low, high), (first, last) = corners(boxes), corners(anchors)
    offsets = ((low + high) / 2 - (first + last) / 2) / (last - first)
    return weights * np.concatenate([offsets, np.log((high - low) / (last - first))], axis=-1)


def decode_deltas(deltas, anchors, weights=1.0, largest=LARGEST):
    (offsets, logarithms), (first, last) = corners(deltas / weights), corners(anchors)
    sides = np.exp(np.minimum(logarithms, largest)) * (last - first)
    return as_boxes((first + last) / 2 + offsets * (last - first), sides)


def encode_distances(boxes, points, scale=1.0):
    low, high = corners(boxes)
    return np.concatenate([points - low, high - points], axis=-1) / np.asarray(scale)[..., None]


def decode_distances(distances, points, scale=1.0):
    before, after = corners(distances * np.asarray(scale)[..., None])
    return np.concatenate([points - before, points + after], axis=-1)


def encode_fine(boxes, references, curvature=4.0):
    (low, high), (first, last) = corners(boxes), corners(references)
    middle, part = (first + last) / 2, (last - first) / curvature
    return np.concatenate([(middle - low) / part, (high - middle) / part], axis=-1) - curvature / 2


def decode_fine(distances, references, curvature=4.0):
    (before, after), (first, last) = corners(distances + curvature / 2), corners(references)
    middle, part = (first + last) / 2, (last - first) / curvature
    return np.concatenate([middle - before * part, middle + after * part], axis=-1)


def encode_grid(boxes, points, scale):
    low, high = corners(boxes)
    scale = np.asarray(scale)[..., None]
    return np.concatenate([((low + high) / 2 - points) / scale, np.log((high - low) / scale)], axis=-1)


def decode_grid(raw, points, scale):
    offsets, logarithms = corners(raw)
    scale = np.asarray(scale)[..., None]
    return as_boxes(points + offsets * scale, np.exp(logarithms) * scale)


def decode_yolo(raw, cells, anchor_sizes, stride, sensitivity=1.0):
    offsets, logarithms = corners(raw)
    inside = sensitivity * sigmoid(offsets) - (sensitivity - 1) / 2
    return as_boxes((cells + inside) * np.asarray(stride)[..., None], anchor_sizes * np.exp(logarithms))


def decode_yolov5(raw, cells, anchor_sizes, stride):
    offsets, factors = corners(sigmoid(raw))
    centers = (2 * offsets - 0.5 + cells) * np.asarray(stride)[..., None]
    return as_boxes(centers, anchor_sizes * (2 * factors) ** 2)
