"""One step of the published experiment of the DIoU paper in vectorised NumPy, to compare `jaxbox.simulation` with.

Written from the formulas with one array a coordinate, and no others: what a careful NumPy user would write.
"""

import numpy as np


def step(name, boxes, targets, rate):
    """The boxes after one step of a loss, `iou` or `giou` or `diou` or `ciou`, and the sum of their errors."""
    (x, y, w, h), (x_star, y_star, w_star, h_star) = boxes, targets
    left, right, top, bottom = x - w / 2, x + w / 2, y - h / 2, y + h / 2
    left_star, right_star = x_star - w_star / 2, x_star + w_star / 2
    top_star, bottom_star = y_star - h_star / 2, y_star + h_star / 2
    width = np.minimum(right, right_star) - np.maximum(left, left_star)
    height = np.minimum(bottom, bottom_star) - np.maximum(top, top_star)
    overlap = width * height
    union = w * h + w_star * h_star - overlap
    overlapping = (width > 0) & (height > 0)
    edges = [left > left_star, right < right_star, top > top_star, bottom < bottom_star]
    a, b, c, d = (edge.astype(x.dtype) for edge in edges)
    of_overlap = height * (b - a), width * (d - c), height * (b + a), width * (d + c)
    of_union = -of_overlap[0], -of_overlap[1], 2 * h - of_overlap[2], 2 * w - of_overlap[3]
    scale = 1 / (union * union)
    pairs = zip(of_overlap, of_union, strict=True)
    direction = [np.where(overlapping, (union * o - overlap * u) * scale, 0) for o, u in pairs]
    iou = np.where(overlapping, overlap / union, 0)
    if name != "iou":
        width = np.maximum(right, right_star) - np.minimum(left, left_star)
        height = np.maximum(bottom, bottom_star) - np.minimum(top, top_star)
        edges = [left < left_star, right > right_star, top < top_star, bottom > bottom_star]
        a, b, c, d = (edge.astype(x.dtype) for edge in edges)
    if name == "giou":
        hull = width * height
        scale = 1 / (hull * hull)
        of_hull = height * (b - a), width * (d - c), height * (b + a), width * (d + c)
        parts = zip(direction, of_union, of_hull, strict=True)
        direction = [part + (hull * u - union * v) * scale for part, u, v in parts]
    elif name in ("diou", "ciou"):
        square = width * width + height * height
        scale = 1 / (square * square)
        distance = (x - x_star) ** 2 + (y - y_star) ** 2
        shift = 2 * (width + height) * distance
        own_x, own_y = np.where(a + b == 2, -1, (a + b) / 2), np.where(c + d == 2, -1, (c + d) / 2)
        penalty = [
            (2 * (x_star - x) * square - shift * (b - a)) * scale,
            (2 * (y_star - y) * square - shift * (d - c)) * scale,
            2 * (width * own_x + height * (a + b) / 2) * distance * scale,
            2 * (width * (c + d) / 2 + height * own_y) * distance * scale,
        ]
        direction = [part + more for part, more in zip(direction, penalty, strict=True)]
    if name == "ciou":
        angle = np.arctan2(w_star * h - w * h_star, h_star * h + w_star * w)
        v = (x.dtype.type(2 / np.pi) * angle) ** 2
        pull = x.dtype.type(8 / np.pi**2) * v / (1 - iou + v + x.dtype.type(1e-7)) * angle
        direction[2] = direction[2] + pull * h
        direction[3] = direction[3] - pull * w
    rate = x.dtype.type(rate) * (2 - iou)
    boxes = [number + rate * part for number, part in zip(boxes, direction, strict=True)]
    return boxes, sum(np.sum(np.abs(box - target)) for box, target in zip(boxes, targets, strict=True))
