"""Turned boxes in float64 NumPy, by complex numbers and exact fractions: one box at a time, from the definitions."""

from fractions import Fraction

import numpy as np

LARGEST = float(np.log(1000 / 16))


def corners(box):
    """The corners ++, -+, --, +- of a turned box, `[4, 2]`."""
    x, y, w, h, angle = box
    around = np.array([w + h * 1j, -w + h * 1j, -w - h * 1j, w - h * 1j]) / 2
    points = x + y * 1j + np.exp(1j * angle) * around
    return np.stack([points.real, points.imag], axis=-1)


def _signed_area(polygon):
    return sum(
        polygon[i - 1][0] * polygon[i][1] - polygon[i - 1][1] * polygon[i][0] for i in range(len(polygon))
    ) / Fraction(2)


def _exact(box):
    polygon = [(Fraction(float(x)), Fraction(float(y))) for x, y in corners(box)]
    return polygon if _signed_area(polygon) >= 0 else polygon[::-1]


def iou(one, other):
    """Intersection over union of two turned boxes: one clipped by the edges of the other, in fractions."""
    one, other = _exact(one), _exact(other)
    clipped = one
    for k in range(4):
        (ax, ay), (bx, by) = other[k - 1], other[k]

        def side(point, ax=ax, ay=ay, bx=bx, by=by):
            return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)

        rest = []
        for i in range(len(clipped)):
            first, second = clipped[i - 1], clipped[i]
            s, t = side(first), side(second)
            if (s >= 0) != (t >= 0):
                rest.append(tuple(a + (b - a) * s / (s - t) for a, b in zip(first, second, strict=True)))
            if t >= 0:
                rest.append(second)
        clipped = rest
    common = _signed_area(clipped) if clipped else 0
    return common / (_signed_area(one) + _signed_area(other) - common)


def smallest_area(points):
    """The area of the smallest box around points: one side lies along an edge of their convex hull."""
    ordered = sorted(map(tuple, points))
    hull = []
    for run in (ordered, ordered[::-1]):
        chain = []
        for x, y in run:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                    break
                chain.pop()
            chain.append((x, y))
        hull += chain[:-1]
    numbers = np.array(hull) @ [1, 1j]
    turned = numbers[None] * np.exp(-1j * np.angle(np.roll(numbers, -1) - numbers))[:, None]
    return np.min(np.ptp(np.real(turned), axis=1) * np.ptp(np.imag(turned), axis=1))


def least_squares(quad, steps=200_000):
    """The least sum of squared distances from the corners of a box to a quadrilateral: all angles are tried."""
    points = (quad - np.mean(quad, axis=0)) @ [1, 1j]
    turned = points[None] * np.exp(-1j * np.linspace(0, np.pi, steps))[:, None]
    sides = [np.array([1, -1, -1, 1]), np.array([1, 1, -1, -1])]
    half = [np.mean(part * signs, axis=1) for part, signs in zip((turned.real, turned.imag), sides, strict=True)]
    return np.min(np.sum(np.abs(points) ** 2) - 4 * (half[0] ** 2 + half[1] ** 2))


def around(box):
    """The low and the high corner of the upright box around a turned one."""
    points = corners(box)
    return np.concatenate([np.min(points, axis=0), np.max(points, axis=0)])


def forms(box, quarters=40):
    """Every way to write a turned box, within so many quarter turns of the given one."""
    x, y, w, h, angle = box
    for k in range(-quarters, quarters + 1):
        yield np.array([x, y, *((w, h) if k % 2 == 0 else (h, w)), angle + k * np.pi / 2])


def solid_corners(center, sides, rotation):
    """The corners of a solid whose sides lie along the columns of a rotation, in no particular order, `[8, 3]`."""
    signs = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), axis=-1).reshape(8, 3)
    return center + signs * sides @ np.transpose(rotation)


def turned_solid_corners(solid):
    """Those of `[7]`: x, y, z, w, l, h, yaw."""
    c, s = np.cos(solid[6]), np.sin(solid[6])
    return solid_corners(solid[:3], solid[3:6], [[c, -s, 0], [s, c, 0], [0, 0, 1]])


def kitti_corners(label):
    """Those of a label in the camera's frame, as `computeBox3D.m` of the object development kit has them."""
    h, w, length, *location, rotation_y = label
    c, s = np.cos(rotation_y), np.sin(rotation_y)
    x = np.array([1, 1, -1, -1, 1, 1, -1, -1]) * length / 2
    y = np.array([0, 0, 0, 0, -1, -1, -1, -1]) * h
    z = np.array([1, -1, -1, 1, 1, -1, -1, 1]) * w / 2
    return np.array(location) + (np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ [x, y, z]).T


def rotation_of(quaternion):
    """The matrix of a quaternion (w, x, y, z)."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def nuscenes_corners(annotation):
    """Those of an annotation, as `Box.corners` of the nuScenes development kit has them: x is the front."""
    width, length, height = annotation[3:6]
    return solid_corners(annotation[:3], np.array([length, width, height]), rotation_of(annotation[6:]))


# Coders, of boxes that are not empty.


def encode_rotated_deltas(box, anchor, weights=1.0):
    x, y, w, h, angle = anchor
    candidates = [form for form in forms(box) if -np.pi / 4 <= form[4] - angle < np.pi / 4]
    ((cx, cy, a, b, turn),) = candidates
    offset = ((cx - x) + (cy - y) * 1j) * np.exp(-1j * angle)
    code = [offset.real / w, offset.imag / h, np.log(a / w), np.log(b / h), (turn - angle) / np.pi]
    return np.array(code) * weights


def decode_rotated_deltas(deltas, anchor, weights=1.0, largest=LARGEST):
    x, y, w, h, angle = anchor
    u, v, a, b, turn = deltas / weights
    center = x + y * 1j + (u * w + v * h * 1j) * np.exp(1j * angle)
    sides = np.exp(np.minimum([a, b], largest)) * [w, h]
    return np.array([center.real, center.imag, *sides, angle + np.pi * turn])


def encode_phases(angle):
    return np.array([np.cos(2 * angle + 2 * np.pi * k / 3) for k in range(3)])


def decode_phases(phases):
    shifts = 2 * np.pi * np.arange(3) / 3
    return -np.arctan2(np.sum(phases * np.sin(shifts)), np.sum(phases * np.cos(shifts))) / 2
