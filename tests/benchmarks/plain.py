"""The losses as they are usually written in jax.numpy: columns by index, an epsilon in each quotient, autodiff."""

import jax
import jax.numpy as jnp

EPSILON = 1e-7


def corners(boxes):
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def overlap_and_union(predictions, targets, ratio=1.0):
    x1, y1, x2, y2 = scaled(predictions, ratio)
    x1_star, y1_star, x2_star, y2_star = scaled(targets, ratio)
    left, top = jnp.maximum(x1, x1_star), jnp.maximum(y1, y1_star)
    right, bottom = jnp.minimum(x2, x2_star), jnp.minimum(y2, y2_star)
    overlap = jnp.where((right > left) & (bottom > top), (right - left) * (bottom - top), 0.0)
    union = (x2 - x1) * (y2 - y1) + (x2_star - x1_star) * (y2_star - y1_star) - overlap
    return overlap, union


def scaled(boxes, ratio):
    if ratio == 1:
        return corners(boxes)
    x, y = centre(boxes)
    w, h = sides(boxes)
    return x - ratio * w / 2, y - ratio * h / 2, x + ratio * w / 2, y + ratio * h / 2


def centre(boxes):
    x1, y1, x2, y2 = corners(boxes)
    return (x1 + x2) / 2, (y1 + y2) / 2


def sides(boxes):
    x1, y1, x2, y2 = corners(boxes)
    return x2 - x1, y2 - y1


def hull(predictions, targets):
    x1, y1, x2, y2 = corners(predictions)
    x1_star, y1_star, x2_star, y2_star = corners(targets)
    width = jnp.maximum(x2, x2_star) - jnp.minimum(x1, x1_star)
    return width, jnp.maximum(y2, y2_star) - jnp.minimum(y1, y1_star)


def similarity(predictions, targets, ratio=1.0):
    overlap, union = overlap_and_union(predictions, targets, ratio)
    return overlap / (union + EPSILON)


def squared_distance(predictions, targets):
    (x, y), (x_star, y_star) = centre(predictions), centre(targets)
    return (x - x_star) ** 2 + (y - y_star) ** 2


def relative_distance(predictions, targets):
    width, height = hull(predictions, targets)
    return squared_distance(predictions, targets) / (width**2 + height**2 + EPSILON)


def l1_loss(predictions, targets):
    return jnp.sum(jnp.abs(predictions - targets), axis=-1)


def l2_loss(predictions, targets):
    return jnp.sum((predictions - targets) ** 2, axis=-1) / 2


def smooth_l1_loss(predictions, targets, beta=1.0):
    error = jnp.abs(predictions - targets)
    return jnp.sum(jnp.where(error < beta, error**2 / (2 * beta), error - beta / 2), axis=-1)


def huber_loss(predictions, targets, delta=1.0):
    error = jnp.abs(predictions - targets)
    return jnp.sum(jnp.where(error < delta, error**2 / 2, delta * (error - delta / 2)), axis=-1)


def log_cosh_loss(predictions, targets):
    return jnp.sum(jnp.log(jnp.cosh(predictions - targets)), axis=-1)


def iou_loss(predictions, targets):
    return 1 - similarity(predictions, targets)


def squared_iou_loss(predictions, targets):
    return 1 - similarity(predictions, targets) ** 2


def log_iou_loss(predictions, targets, floor=1e-6):
    return -jnp.log(jnp.clip(similarity(predictions, targets), floor))


def alpha_iou_loss(predictions, targets, alpha=3.0):
    return 1 - similarity(predictions, targets) ** alpha


def giou_loss(predictions, targets):
    overlap, union = overlap_and_union(predictions, targets)
    width, height = hull(predictions, targets)
    return 1 - overlap / (union + EPSILON) + (width * height - union) / (width * height + EPSILON)


def diou_loss(predictions, targets):
    return 1 - similarity(predictions, targets) + relative_distance(predictions, targets)


def ciou_loss(predictions, targets):
    iou = similarity(predictions, targets)
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    angle = jnp.arctan(w_star / (h_star + EPSILON)) - jnp.arctan(w / (h + EPSILON))
    v = 4 / jnp.pi**2 * angle**2
    alpha = jax.lax.stop_gradient(v / (1 - iou + v + EPSILON))
    return 1 - iou + relative_distance(predictions, targets) + alpha * v


def eiou_loss(predictions, targets):
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    width, height = hull(predictions, targets)
    by_side = (w - w_star) ** 2 / (width**2 + EPSILON) + (h - h_star) ** 2 / (height**2 + EPSILON)
    return diou_loss(predictions, targets) + by_side


def siou_loss(predictions, targets, theta=4.0):
    (x, y), (x_star, y_star) = centre(predictions), centre(targets)
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    width, height = hull(predictions, targets)
    rho = jnp.sqrt(squared_distance(predictions, targets) + EPSILON)
    sine = jnp.minimum(jnp.abs(x - x_star), jnp.abs(y - y_star)) / rho
    gamma = 2 - jnp.sin(2 * jnp.arcsin(jnp.clip(sine, 0, 1)))
    offset = 2 - jnp.exp(-gamma * ((x - x_star) / width) ** 2) - jnp.exp(-gamma * ((y - y_star) / height) ** 2)
    change_w = jnp.abs(w - w_star) / (jnp.maximum(w, w_star) + EPSILON)
    change_h = jnp.abs(h - h_star) / (jnp.maximum(h, h_star) + EPSILON)
    shape = (1 - jnp.exp(-change_w)) ** theta + (1 - jnp.exp(-change_h)) ** theta
    return 1 - similarity(predictions, targets) + (offset + shape) / 2


def wiou_loss(predictions, targets):
    width, height = map(jax.lax.stop_gradient, hull(predictions, targets))
    far = jnp.exp(squared_distance(predictions, targets) / (width**2 + height**2 + EPSILON))
    return far * iou_loss(predictions, targets)


def mpdiou_loss(predictions, targets, image_size=(1.0, 1.0)):
    squares = (predictions - targets) ** 2
    return 1 - similarity(predictions, targets) + jnp.sum(squares, axis=-1) / (image_size[0] ** 2 + image_size[1] ** 2)


def inner_iou_loss(predictions, targets, ratio=0.7):
    return 1 - similarity(predictions, targets, ratio)


def focaler_iou_loss(predictions, targets, lower=0.0, upper=0.95):
    return 1 - jnp.clip((similarity(predictions, targets) - lower) / (upper - lower), 0, 1)


def nwd_loss(predictions, targets, constant=1.0):
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    squared = squared_distance(predictions, targets) + ((w - w_star) ** 2 + (h - h_star) ** 2) / 4
    return 1 - jnp.exp(-jnp.sqrt(squared + EPSILON) / constant)
