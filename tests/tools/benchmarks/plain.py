"""Every loss, and `ioa`, as usually written in jax.numpy: columns by index, an epsilon in each quotient, autodiff."""

import jax
import jax.numpy as jnp
import optax

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
    x, y = center(boxes)
    w, h = sides(boxes)
    return x - ratio * w / 2, y - ratio * h / 2, x + ratio * w / 2, y + ratio * h / 2


def center(boxes):
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
    (x, y), (x_star, y_star) = center(predictions), center(targets)
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


def aspect(predictions, targets):
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    return 4 / jnp.pi**2 * (jnp.arctan(w_star / (h_star + EPSILON)) - jnp.arctan(w / (h + EPSILON))) ** 2


def ciou_loss(predictions, targets):
    iou, v = similarity(predictions, targets), aspect(predictions, targets)
    alpha = jax.lax.stop_gradient(v / (1 - iou + v + EPSILON))
    return 1 - iou + relative_distance(predictions, targets) + alpha * v


def eiou_loss(predictions, targets):
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    width, height = hull(predictions, targets)
    by_side = (w - w_star) ** 2 / (width**2 + EPSILON) + (h - h_star) ** 2 / (height**2 + EPSILON)
    return diou_loss(predictions, targets) + by_side


def siou_loss(predictions, targets, theta=4.0):
    (x, y), (x_star, y_star) = center(predictions), center(targets)
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


def balanced_l1_loss(predictions, targets, alpha=0.5, gamma=1.5, beta=1.0):
    error = jnp.abs(predictions - targets)
    b = jnp.exp(gamma / alpha) - 1
    near = alpha / b * (b * error + 1) * jnp.log(b * error / beta + 1) - alpha * error
    return jnp.sum(jnp.where(error < beta, near, gamma * error + gamma / b - alpha * beta), axis=-1)


def bounded_iou_loss(predictions, targets, beta=0.2):
    targets = jax.lax.stop_gradient(targets)
    (x, y), (x_star, y_star) = center(predictions), center(targets)
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    dx, dy = 2 * jnp.abs(x - x_star), 2 * jnp.abs(y - y_star)
    bounds = [
        jnp.maximum((w_star - dx) / (w_star + dx + EPSILON), 0),
        jnp.maximum((h_star - dy) / (h_star + dy + EPSILON), 0),
        jnp.minimum(w_star / (w + EPSILON), w / (w_star + EPSILON)),
        jnp.minimum(h_star / (h + EPSILON), h / (h_star + EPSILON)),
    ]
    return smooth_l1_loss(jnp.stack(bounds, axis=-1), 1.0, beta)


def focal_eiou_loss(predictions, targets, gamma=0.5):
    return jax.lax.stop_gradient(similarity(predictions, targets) ** gamma) * eiou_loss(predictions, targets)


def extended_iou_loss(predictions, targets, smooth=0.1):
    x1, y1, x2, y2 = corners(predictions)
    x1_star, y1_star, x2_star, y2_star = corners(targets)
    origin_x, origin_y = jnp.minimum(x1, x1_star), jnp.minimum(y1, y1_star)
    left, top = jnp.maximum(x1, x1_star), jnp.maximum(y1, y1_star)
    right, bottom = jnp.minimum(x2, x2_star), jnp.minimum(y2, y2_star)
    x_min, y_min = jnp.minimum(left, right), jnp.minimum(top, bottom)
    x_max, y_max = jnp.maximum(left, right), jnp.maximum(top, bottom)
    overlap = (
        (right - origin_x) * (bottom - origin_y)
        + (x_min - origin_x) * (y_min - origin_y)
        - (left - origin_x) * (y_max - origin_y)
        - (x_max - origin_x) * (top - origin_y)
    )
    union = (x2 - x1) * (y2 - y1) + (x2_star - x1_star) * (y2_star - y1_star) - overlap
    error = 1 - overlap / (union + EPSILON)
    return jnp.where(error < smooth, error**2 / (2 * smooth), error - smooth / 2)


def focused_wiou_loss(predictions, targets, mean_loss=0.5, alpha=1.9, delta=3.0):
    outlier = jax.lax.stop_gradient(iou_loss(predictions, targets)) / mean_loss
    return outlier / (delta * alpha ** (outlier - delta)) * wiou_loss(predictions, targets)


def alpha_giou_loss(predictions, targets, alpha=3.0):
    overlap, union = overlap_and_union(predictions, targets)
    width, height = hull(predictions, targets)
    vacancy = (width * height - union) / (width * height + EPSILON)
    return 1 - (overlap / (union + EPSILON)) ** alpha + vacancy**alpha


def alpha_diou_loss(predictions, targets, alpha=3.0):
    return 1 - similarity(predictions, targets) ** alpha + relative_distance(predictions, targets) ** alpha


def alpha_ciou_loss(predictions, targets, alpha=3.0):
    iou, v = similarity(predictions, targets), aspect(predictions, targets)
    beta = jax.lax.stop_gradient(v / (1 - iou + v + EPSILON))
    return alpha_diou_loss(predictions, targets, alpha) + (beta * v) ** alpha


def shape_iou_loss(predictions, targets, scale=0.0):
    (x, y), (x_star, y_star) = center(predictions), center(targets)
    (w, h), (w_star, h_star) = sides(predictions), sides(targets)
    width, height = hull(predictions, targets)
    ww = 2 * w_star**scale / (w_star**scale + h_star**scale)
    hh = 2 * h_star**scale / (w_star**scale + h_star**scale)
    distance = (hh * (x - x_star) ** 2 + ww * (y - y_star) ** 2) / (width**2 + height**2 + EPSILON)
    change_w = hh * jnp.abs(w - w_star) / (jnp.maximum(w, w_star) + EPSILON)
    change_h = ww * jnp.abs(h - h_star) / (jnp.maximum(h, h_star) + EPSILON)
    shape = (1 - jnp.exp(-change_w)) ** 4 + (1 - jnp.exp(-change_h)) ** 4
    return 1 - similarity(predictions, targets) + distance + shape / 2


def edge_error(predictions, targets):
    w_star, h_star = sides(targets)
    left, top, right, bottom = corners(jnp.abs(predictions - targets))
    return ((left + right) / (w_star + EPSILON) + (top + bottom) / (h_star + EPSILON)) / 4


def powerful_iou_loss(predictions, targets):
    return 2 - similarity(predictions, targets) - jnp.exp(-(edge_error(predictions, targets) ** 2))


def focused_powerful_iou_loss(predictions, targets, focus=1.3):
    z = focus * jnp.exp(-edge_error(predictions, targets))
    return 3 * z * jnp.exp(-(z**2)) * powerful_iou_loss(predictions, targets)


def distribution_focal_loss(logits, targets):
    left = jnp.floor(targets)

    def cross_entropy(bins):
        return optax.softmax_cross_entropy_with_integer_labels(logits, bins.astype(jnp.int32))

    return (left + 1 - targets) * cross_entropy(left) + (targets - left) * cross_entropy(left + 1)


def uncertain_l1_loss(predictions, log_variance, targets):
    error = jnp.abs(predictions - targets)
    distance = jnp.where(error <= 1, error**2 / 2, error - 1 / 2)
    return jnp.sum(jnp.exp(-log_variance) * distance + log_variance / 2, axis=-1)


def ioa(a, b):
    overlap, _ = overlap_and_union(a, b)
    w, h = sides(a)
    return overlap / (w * h + EPSILON)
