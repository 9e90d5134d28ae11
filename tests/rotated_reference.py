"""Every similarity and loss of turned boxes in float64 NumPy, written from the papers for boxes that are not empty.

This module shares nothing with the package: polygons of corners are clipped one half plane at a time (Sutherland and
Hodgman, 1974), the hull is turned along every edge of the convex hull of the corners, and shadows are those of corners.
Each function takes boxes `[..., 5]` or solids `[..., 7]` and returns `[...]`.
"""

import numpy as np


def corners(boxes):
    """Corners `[..., 4, 2]` of boxes, in the order of a walk around them."""
    x, y, w, h, angle = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * w[..., None] / 2
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=-1) * h[..., None] / 2
    center = np.stack([x, y], axis=-1)
    return np.stack([center + i * along + j * across for i, j in [(1, 1), (-1, 1), (-1, -1), (1, -1)]], axis=-2)


def cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def shoelace(vertices):
    around = vertices - vertices[..., :1, :]  # an origin near by
    return np.sum(cross(around, np.roll(around, -1, axis=-2)), axis=-1) / 2


def clipped(vertices, point, direction):
    """Polygons `[..., m, 2]` as far as they lie to the left of a line: `[..., 2m, 2]`, with vertices repeated."""
    following = np.roll(vertices, -1, axis=-2)
    inside = cross(direction[..., None, :], vertices - point[..., None, :])
    inside_following = np.roll(inside, -1, axis=-1)
    crosses = (inside >= 0) != (inside_following >= 0)
    share = inside / np.where(crosses, inside - inside_following, 1)
    crossing = vertices + share[..., None] * (following - vertices)
    found = np.stack([vertices, crossing], axis=-2).reshape(*vertices.shape[:-2], -1, 2)
    kept = np.stack([inside >= 0, crosses], axis=-1).reshape(*vertices.shape[:-2], -1)
    # In place of one that is cut off stands the one before it.
    place = np.maximum.accumulate(np.where(kept, np.arange(kept.shape[-1]), -1), axis=-1)
    place = np.where(place < 0, place[..., -1:], place)
    return np.where(place[..., None] < 0, 0, np.take_along_axis(found, np.maximum(place, 0)[..., None], axis=-2))


def intersection(a, b):
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    origin = np.concatenate([b[..., :2], np.zeros_like(b[..., 2:])], axis=-1)
    polygon, other = corners(a - origin), corners(b - origin)
    for i in range(4):
        polygon = clipped(polygon, other[..., i, :], other[..., (i + 1) % 4, :] - other[..., i, :])
    return shoelace(polygon)


def area(boxes):
    return boxes[..., 2] * boxes[..., 3]


def sides_along(a, b, direction):
    """Sides `[..., 2]` of the rectangle around two boxes that has one side along a direction `[..., 2]`."""
    points = np.concatenate(np.broadcast_arrays(corners(a), corners(b)), axis=-2)
    points = points - points[..., :1, :]
    across = np.stack([-direction[..., 1], direction[..., 0]], axis=-1)
    shadows = [np.sum(points * axis[..., None, :], axis=-1) for axis in (direction, across)]
    return np.stack([np.ptp(shadow, axis=-1) for shadow in shadows], axis=-1)


def direction_of(boxes):
    return np.stack([np.cos(boxes[..., 4]), np.sin(boxes[..., 4])], axis=-1)


def hull_sides(a, b):
    """Sides `[..., 2]` of the smallest rectangle around two boxes, by calipers turned along the edges of the hull."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    points = np.concatenate([corners(a), corners(b)], axis=-2)
    size = np.max(np.ptp(points, axis=-2), axis=-1)
    smallest = np.full((*a.shape[:-1], 2), np.inf)
    for i in range(8):
        for j in range(8):
            edge = points[..., j, :] - points[..., i, :]
            length = np.hypot(edge[..., 0], edge[..., 1])
            direction = edge / np.where(length > 0, length, 1)[..., None]
            left = cross(direction[..., None, :], points - points[..., i, None, :])
            # A line that is an edge but for rounding bears a rectangle around both as well.
            is_edge = (length > 1e-12 * size) & np.all(left > -1e-9 * size[..., None], axis=-1)
            sides = sides_along(a, b, direction)
            better = is_edge & (np.prod(sides, axis=-1) < np.prod(smallest, axis=-1))
            smallest = np.where(better[..., None], sides, smallest)
    return smallest


def hull(a, b):
    return np.prod(hull_sides(a, b), axis=-1)


def squared_diagonal(a, b):
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    along_each = [np.sum(sides_along(a, b, direction_of(boxes)) ** 2, axis=-1) for boxes in (a, b)]
    return np.minimum(*along_each)


def rotated_iou(a, b):
    overlap = intersection(a, b)
    return overlap / (area(a) + area(b) - overlap)


def rotated_giou(a, b):
    union, enclosing = area(a) + area(b) - intersection(a, b), hull(a, b)
    return rotated_iou(a, b) - (enclosing - union) / enclosing


def rotated_diou(a, b):
    distance = np.sum((a[..., :2] - b[..., :2]) ** 2, axis=-1)
    return rotated_iou(a, b) - distance / squared_diagonal(a, b)


def interval_giou(low_a, high_a, low_b, high_b):
    """The GIoU of intervals: what they have in common, or less than 0 what lies between, over what is around both."""
    return (np.minimum(high_a, high_b) - np.maximum(low_a, low_b)) / (
        np.maximum(high_a, high_b) - np.minimum(low_a, low_b)
    )


def shadows(a, b):
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    origin = np.concatenate([b[..., :2], np.zeros_like(b[..., 2:])], axis=-1)
    points = [corners(boxes - origin) for boxes in (a, b)]
    found = []
    for boxes in (a, b):
        x, y = np.moveaxis(direction_of(boxes), -1, 0)
        for normal in (np.stack([x, y], axis=-1), np.stack([-y, x], axis=-1)):
            on_a, on_b = (np.sum(vertices * normal[..., None, :], axis=-1) for vertices in points)
            found.append(interval_giou(on_a.min(-1), on_a.max(-1), on_b.min(-1), on_b.max(-1)))
    return found


def rotated_mgiou(a, b):
    return np.mean(shadows(a, b), axis=0)


# Solids: x, y, z, w, l, h, yaw.


def footprint(solids):
    return solids[..., [0, 1, 3, 4, 6]]


def vertical(solids):
    return solids[..., 2] - solids[..., 5] / 2, solids[..., 2] + solids[..., 5] / 2


def heights(a, b):
    """What two solids have in common along the vertical, and the height around both."""
    (low_a, high_a), (low_b, high_b) = vertical(a), vertical(b)
    common = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None)
    return common, np.maximum(high_a, high_b) - np.minimum(low_a, low_b)


def volumes(a, b):
    """Volume of the intersection, and of the union."""
    common, _ = heights(a, b)
    both = intersection(footprint(a), footprint(b)) * common
    return both, np.prod(a[..., 3:6], axis=-1) + np.prod(b[..., 3:6], axis=-1) - both


def solid_iou(a, b):
    both, union = volumes(a, b)
    return both / union


def solid_giou(a, b):
    _, union = volumes(a, b)
    enclosing = hull(footprint(a), footprint(b)) * heights(a, b)[1]
    return solid_iou(a, b) - (enclosing - union) / enclosing


def solid_diou(a, b):
    distance = np.sum((a[..., :3] - b[..., :3]) ** 2, axis=-1)
    diagonal = squared_diagonal(footprint(a), footprint(b)) + heights(a, b)[1] ** 2
    return solid_iou(a, b) - distance / diagonal


def solid_mgiou(a, b):
    return np.mean([*shadows(footprint(a), footprint(b)), interval_giou(*vertical(a), *vertical(b))], axis=0)


# Losses.


def rotated_iou_loss(predictions, targets):
    return 1 - rotated_iou(predictions, targets)


def rotated_giou_loss(predictions, targets):
    return 1 - rotated_giou(predictions, targets)


def rotated_diou_loss(predictions, targets):
    return 1 - rotated_diou(predictions, targets)


def rotated_mgiou_loss(predictions, targets):
    return (1 - rotated_mgiou(predictions, targets)) / 2


def solid_iou_loss(predictions, targets):
    return 1 - solid_iou(predictions, targets)


def solid_giou_loss(predictions, targets):
    return 1 - solid_giou(predictions, targets)


def solid_diou_loss(predictions, targets):
    return 1 - solid_diou(predictions, targets)


def solid_mgiou_loss(predictions, targets):
    return (1 - solid_mgiou(predictions, targets)) / 2


# What other codes put in the place of hull and diagonal, so that a port of them can be recognised.


def aligned_hull(a, b):
    """Area of the upright rectangle around two boxes."""
    return np.prod(sides_along(a, b, np.broadcast_to([1.0, 0.0], (*a.shape[:-1], 2))), axis=-1)


def aligned_squared_diagonal(a, b):
    """Squared diagonal of the upright rectangle around two boxes."""
    return np.sum(sides_along(a, b, np.broadcast_to([1.0, 0.0], (*a.shape[:-1], 2))) ** 2, axis=-1)


def squared_diagonal_of_hull(a, b):
    """Squared diagonal of the rectangle around two boxes that has the smallest area."""
    return np.sum(hull_sides(a, b) ** 2, axis=-1)
