"""Every similarity and loss in float64 NumPy, written from the papers for upright boxes that are not empty.

This module shares nothing with the package: the hull is a maximum minus a minimum, an angle is an arctangent of a
ratio. Each function takes boxes `[..., 2n]` and returns `[...]`. Where a paper holds a factor constant in the gradient,
the function takes `held`: the predictions at which that factor is computed. A difference quotient moves `predictions`
and leaves `held` alone.
"""

import functools

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


def center(boxes):
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
    return iou(a, b) - squared_length(center(a) - center(b)) / squared_length(high - low)


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


def balanced_l1_loss(predictions, targets, alpha=0.5, gamma=1.5, beta=1.0):
    error = np.abs(predictions - targets) / beta
    b = np.exp(gamma / alpha) - 1
    near = alpha / b * (b * error + 1) * np.log(b * error + 1) - alpha * error
    far = gamma * error + gamma / b - alpha
    return beta * np.sum(np.where(error < 1, near, far), axis=-1)


def log_cosh_loss(predictions, targets):
    return np.sum(np.log(np.cosh(predictions - targets)), axis=-1)


def sides(boxes):
    low, high = corners(boxes)
    return high - low


def offset(a, b):
    return center(a) - center(b)


def hull_sides(a, b):
    return sides(hull(a, b))


def distance(a, b):
    return squared_length(offset(a, b)) / squared_length(hull_sides(a, b))


def vacancy(a, b):
    return iou(a, b) - giou(a, b)


def squared_iou(a, b):
    return iou(a, b) ** 2


def eiou(a, b):
    return diou(a, b) - squared_length((sides(a) - sides(b)) / hull_sides(a, b))


def siou(a, b, theta=4.0):
    (x, y), (w, h) = np.moveaxis(offset(a, b), -1, 0), np.moveaxis(hull_sides(a, b), -1, 0)
    sine = np.abs(y) / np.hypot(x, y)
    gamma = 2 - (1 - 2 * np.sin(np.arcsin(sine) - np.pi / 4) ** 2)
    offset_cost = 2 - np.exp(-gamma * (x / w) ** 2) - np.exp(-gamma * (y / h) ** 2)
    change = np.abs(sides(a) - sides(b)) / np.maximum(sides(a), sides(b))
    shape_cost = np.sum((1 - np.exp(-change)) ** theta, axis=-1)
    return iou(a, b) - (offset_cost + shape_cost) / 2


def alpha_iou(a, b, alpha=3.0):
    return iou(a, b) ** alpha


def alpha_giou(a, b, alpha=3.0):
    return iou(a, b) ** alpha - vacancy(a, b) ** alpha


def alpha_diou(a, b, alpha=3.0):
    return iou(a, b) ** alpha - distance(a, b) ** alpha


def alpha_ciou(a, b, alpha=3.0, held=None):
    v = aspect(a if held is None else held, b)
    beta = v / (1 - iou(a if held is None else held, b) + v)
    return alpha_diou(a, b, alpha) - (beta * aspect(a, b)) ** alpha


def mgiou(a, b):
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    return np.mean((np.minimum(high_a, high_b) - np.maximum(low_a, low_b)) / hull_sides(a, b), axis=-1)


def mpdiou(a, b, image_size):
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    distances = squared_length(low_a - low_b) + squared_length(high_a - high_b)
    return iou(a, b) - distances / np.sum(np.square(image_size))


def inner_iou(a, b, ratio=0.7):
    def inner(boxes):
        return np.concatenate([center(boxes) - ratio * sides(boxes) / 2, center(boxes) + ratio * sides(boxes) / 2], -1)

    return iou(inner(a), inner(b))


def focaler_iou(a, b, lower=0.0, upper=0.95):
    return np.clip((iou(a, b) - lower) / (upper - lower), 0, 1)


def shape_iou(a, b, scale=0.0):
    (x, y), (w_star, h_star) = np.moveaxis(offset(a, b), -1, 0), np.moveaxis(sides(b), -1, 0)
    w, h = np.moveaxis(sides(a), -1, 0)
    ww = 2 * w_star**scale / (w_star**scale + h_star**scale)
    hh = 2 * h_star**scale / (w_star**scale + h_star**scale)
    away = (hh * x**2 + ww * y**2) / squared_length(hull_sides(a, b))
    change_w = hh * np.abs(w - w_star) / np.maximum(w, w_star)
    change_h = ww * np.abs(h - h_star) / np.maximum(h, h_star)
    return iou(a, b) - away - ((1 - np.exp(-change_w)) ** 4 + (1 - np.exp(-change_h)) ** 4) / 2


def powerful_penalty(a, b):
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    edges = (np.abs(low_a - low_b) + np.abs(high_a - high_b)) / sides(b)
    return np.sum(edges, axis=-1) / a.shape[-1]


def powerful_iou(a, b):
    return iou(a, b) - (1 - np.exp(-(powerful_penalty(a, b) ** 2)))


def nwd(a, b, constant):
    squared = squared_length(offset(a, b)) + squared_length(sides(a) - sides(b)) / 4
    return np.exp(-np.sqrt(squared) / constant)


def one_minus(similarity):
    @functools.wraps(similarity)
    def loss(predictions, targets, **options):
        return 1 - similarity(predictions, targets, **options)

    return loss


squared_iou_loss = one_minus(squared_iou)
eiou_loss = one_minus(eiou)
siou_loss = one_minus(siou)
alpha_iou_loss = one_minus(alpha_iou)
alpha_giou_loss = one_minus(alpha_giou)
alpha_diou_loss = one_minus(alpha_diou)
alpha_ciou_loss = one_minus(alpha_ciou)
mpdiou_loss = one_minus(mpdiou)
inner_iou_loss = one_minus(inner_iou)
focaler_iou_loss = one_minus(focaler_iou)
shape_iou_loss = one_minus(shape_iou)
powerful_iou_loss = one_minus(powerful_iou)
nwd_loss = one_minus(nwd)


def mgiou_loss(predictions, targets):
    return (1 - mgiou(predictions, targets)) / 2


def log_iou_loss(predictions, targets, floor=1e-6):
    return -np.log(np.maximum(iou(predictions, targets), floor))


def bounded_iou_loss(predictions, targets, beta=0.2):
    away = 2 * np.abs(offset(predictions, targets))
    w, w_star = sides(predictions), sides(targets)
    of_center = np.maximum(0, (w_star - away) / (w_star + away))
    of_side = np.minimum(w / w_star, w_star / w)
    return smooth_l1_loss(np.concatenate([of_center, of_side], axis=-1), 1.0, beta)


def focal_eiou_loss(predictions, targets, gamma=0.5, held=None):
    weight = iou(predictions if held is None else held, targets) ** gamma
    return weight * (1 - eiou(predictions, targets))


def extended_iou_loss(predictions, targets, smooth=0.1):
    (low_a, high_a), (low_b, high_b) = corners(predictions), corners(targets)
    origin = np.minimum(low_a, low_b)
    i1, i2 = np.maximum(low_a, low_b) - origin, np.minimum(high_a, high_b) - origin
    (i1x, i1y), (i2x, i2y) = np.moveaxis(i1, -1, 0), np.moveaxis(i2, -1, 0)
    (mx, my), (bx, by) = np.moveaxis(np.minimum(i1, i2), -1, 0), np.moveaxis(np.maximum(i1, i2), -1, 0)
    signed = i2x * i2y + mx * my - i1x * by - bx * i1y
    e = 1 - signed / (area(predictions) + area(targets) - signed)
    return np.where(e < smooth, e**2 / (2 * smooth), e - smooth / 2)


def wiou_loss(predictions, targets, held=None):
    diagonal = squared_length(hull_sides(predictions if held is None else held, targets))
    away = squared_length(offset(predictions, targets)) / diagonal
    return np.exp(away) * (1 - iou(predictions, targets))


def focused_wiou_loss(predictions, targets, mean_loss, alpha=1.9, delta=3.0, held=None):
    outlier = (1 - iou(predictions if held is None else held, targets)) / mean_loss
    return outlier / (delta * alpha ** (outlier - delta)) * wiou_loss(predictions, targets, held)


def focused_powerful_iou_loss(predictions, targets, focus=1.3):
    z = focus * np.exp(-powerful_penalty(predictions, targets))
    return 3 * z * np.exp(-(z**2)) * powerful_iou_loss(predictions, targets)


def uncertain_l1_loss(predictions, log_variance, targets):
    error = np.abs(predictions - targets)
    distance = np.where(error <= 1, error**2 / 2, error - 1 / 2)
    return np.sum(np.exp(-log_variance) * distance + log_variance / 2, axis=-1)


def distribution_focal_loss(logits, targets):
    logits = logits - np.max(logits, axis=-1, keepdims=True)
    log_probabilities = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    left = np.minimum(np.floor(targets), logits.shape[-1] - 2).astype(int)
    of_left = np.take_along_axis(log_probabilities, left[..., None], axis=-1)[..., 0]
    of_right = np.take_along_axis(log_probabilities, left[..., None] + 1, axis=-1)[..., 0]
    return -(left + 1 - targets) * of_left - (targets - left) * of_right


def gcd_loss(predictions, targets, floor=1e-6):
    """For sides above the floor."""
    offset, own, other = center(predictions) - center(targets), sides(predictions), sides(targets)
    assert np.min(own) > floor * np.max(np.abs(offset))
    of_centers = squared_length(offset / own) + squared_length(offset / other)
    of_sides = squared_length((own - other) / other) + squared_length((own - other) / own)
    return 1 - np.exp(-np.sqrt((of_centers + of_sides / 4) / 2))
