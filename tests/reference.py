"""Every similarity and loss in float64 NumPy, written from the papers for upright boxes that are not empty.

This module shares nothing with the package: the hull is a maximum minus a minimum, an angle is an arctangent of a
ratio. Each function takes boxes `[..., 2n]` and returns `[...]`. Where a paper holds a factor constant in the gradient,
the function takes `held`: the predictions at which that factor is computed. A difference quotient moves `predictions`
and leaves `held` alone.
"""

import numpy as np


def corners(boxes):
    n = boxes.shape[-1] // 2
    return boxes[..., :n], boxes[..., n:]


def area(boxes):
    low, high = corners(boxes)
    return np.prod(high - low, axis=-1)


def intersection(a, b):
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    return np.prod(np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None), axis=-1)


def hull(a, b):
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    return np.concatenate([np.minimum(low_a, low_b), np.maximum(high_a, high_b)], axis=-1)


def centre(boxes):
    low, high = corners(boxes)
    return (low + high) / 2


def squared_length(vector):
    return np.sum(vector**2, axis=-1)


def iou(a, b):
    return intersection(a, b) / (area(a) + area(b) - intersection(a, b))


def ioa(a, b):
    return intersection(a, b) / area(a)


def giou(a, b):
    union = area(a) + area(b) - intersection(a, b)
    enclosing = area(hull(a, b))
    return iou(a, b) - (enclosing - union) / enclosing


def diou(a, b):
    low, high = corners(hull(a, b))
    return iou(a, b) - squared_length(centre(a) - centre(b)) / squared_length(high - low)


def aspect(a, b):
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    (w_a, h_a), (w_b, h_b) = np.moveaxis(high_a - low_a, -1, 0), np.moveaxis(high_b - low_b, -1, 0)
    return 4 / np.pi**2 * (np.arctan(w_b / h_b) - np.arctan(w_a / h_a)) ** 2


def ciou(a, b, held=None):
    v = aspect(a if held is None else held, b)
    alpha = v / (1 - iou(a if held is None else held, b) + v)
    return diou(a, b) - alpha * aspect(a, b)


def l1_loss(predictions, targets):
    return np.sum(np.abs(predictions - targets), axis=-1)


def l2_loss(predictions, targets):
    return np.sum((predictions - targets) ** 2, axis=-1) / 2


def smooth_l1_loss(predictions, targets, beta=1.0):
    error = np.abs(predictions - targets)
    return np.sum(np.where(error < beta, error**2 / (2 * beta), error - beta / 2), axis=-1)


def huber_loss(predictions, targets, delta=1.0):
    error = np.abs(predictions - targets)
    return np.sum(np.where(error < delta, error**2 / 2, delta * (error - delta / 2)), axis=-1)


def iou_loss(predictions, targets):
    return 1 - iou(predictions, targets)


def giou_loss(predictions, targets):
    return 1 - giou(predictions, targets)


def diou_loss(predictions, targets):
    return 1 - diou(predictions, targets)


def ciou_loss(predictions, targets, held=None):
    return 1 - ciou(predictions, targets, held)
