"""Turned boxes and turned solids: what they are, and conversions from and to what others write.

A turned box is an array `[..., 5]`: the center x and y, the sides w and h, and the angle in radians, from the x axis
towards the y axis. Its corners are the center plus `[[cos, -sin], [sin, cos]] (+-w/2, +-h/2)`. In the axes of an image,
where y grows downwards, a positive angle reads clockwise. A turned solid is `[..., 7]`: the center x, y and z, the side
w along its own x axis, l along its own y axis and h along z, and the yaw, from the x axis towards the y axis.

`(w, h, t)`, `(h, w, t + pi/2)` and `(w, h, t + pi)` are one box, and every function takes any of them.
`canonical_quarter` and `canonical_long` choose one. Lengths are in any unit. Half precision is promoted to float32
everywhere. A side that is not positive is that of an empty box; conversions keep its sign.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics

__all__ = [
    "canonical_long",
    "canonical_quarter",
    "degrees_to_radians",
    "flip_horizontally",
    "flip_vertically",
    "from_corners",
    "from_kitti",
    "from_nuscenes",
    "from_polygon",
    "from_xyxy",
    "radians_to_degrees",
    "resize",
    "to_corners",
    "to_kitti",
    "to_nuscenes",
    "to_xyxy",
    "translate",
]

QUARTER, HALF, WHOLE = np.pi / 2, np.pi, 2 * np.pi  # turns: in each precision, doubles of one another to the last bit
SIGNS = (1, 1), (-1, 1), (-1, -1), (1, -1)  # of the corners
START = _checks.Interval("from -6.3 to 6.3", lambda x: (x >= -6.3) & (x <= 6.3), example=0.0)


def _of(layout: _checks.Layout, **intervals: _checks.Interval) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a public function of a formula that takes `boxes` of a layout, and perhaps options."""
    return _checks.checked(_checks.of_boxes("boxes", layout=layout, options=intervals))


def _of_columns(name: str, length: int, what: str) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a public function of a formula that takes an array with so many columns."""

    def check(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
        array = given[name] = _checks.floats(name, given[name])
        if array.shape[-1:] != (length,):
            raise ValueError(f"`{name}` has shape {array.shape}, but {what} is `[..., {length}]`.")
        return {}

    return _checks.checked(check)


def _check_corners(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    corners = given["corners"] = _checks.floats("corners", given["corners"])
    if corners.shape[-2:] != (4, 2):
        flat = " Write `corners.reshape(*corners.shape[:-1], 4, 2)`." if corners.shape[-1:] == (8,) else ""
        raise ValueError(f"`corners` has shape {corners.shape}, but four corners are `[..., 4, 2]`.{flat}")
    return {}


def _check_polygon(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    points = given["points"] = _checks.floats("points", given["points"])
    if points.ndim < 2 or points.shape[-1] != 2 or points.shape[-2] == 0:
        length = points.shape[-1] if points.ndim else 0
        in_a_row = length > 2 and length % 2 == 0
        flat = " Write `points.reshape(*points.shape[:-1], -1, 2)`." if in_a_row else ""
        raise ValueError(
            f"`points` has shape {points.shape}, but the points of a polygon are `[..., n, 2]`, one at least.{flat}"
        )
    if given["where"] is not None:
        where = _checks.mask(given["where"], jnp.shape(given["where"]))
        given["where"] = _checks.fitted("where", where, points.shape[:-1], what="one value a point")
    return {}


def _reduced(angle: jax.Array, start: float | jax.Array | np.ndarray, period: float) -> tuple[jax.Array, jax.Array]:
    """An angle less as many periods as bring it to `[start, start + period)`, with derivative 1, and how many."""
    start = jnp.asarray(start, angle.dtype)
    # The remainder is exact, so that there are few periods left and none is lost by rounding.
    angle = lax.rem(angle, jnp.full_like(angle, WHOLE))
    periods = jnp.floor((angle - start) / period)
    rest = angle - periods * period
    # One rounding may leave it at either end: at the high one it is a period further, at the low one it is that end.
    above = rest >= start + period
    rest = jnp.where(above, rest - period, rest)
    rest = rest + lax.stop_gradient(jnp.maximum(start - rest, 0))
    return rest, periods + jnp.where(above, 1, 0).astype(angle.dtype)


def _angle_of(x: jax.Array, y: jax.Array) -> jax.Array:
    """The angle of a vector of any length; 0, with derivative 0, for one of 0."""
    # In its own unit no square of it can leave the range of numbers, in a gradient neither. A power of two is held, so
    # that absolute value and maximum may be those of jnp.
    unit = numerics.power_of_two(jnp.maximum(jnp.abs(x), jnp.abs(y)))
    return numerics.angle_between(x / unit, y / unit, jnp.ones_like(x), jnp.zeros_like(x))


def _unless_rounding(*parts: jax.Array) -> list[jax.Array]:
    """A vector made of numbers of about 1, or 0 where it may be what rounding left of them."""
    is_rounding = functools.reduce(jnp.maximum, map(jnp.abs, parts)) < jnp.finfo(parts[0].dtype).eps
    return [jnp.where(is_rounding, 0, part) for part in parts]


@_of(_checks.TURNED)
def to_corners(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The corners of turned boxes.

    Args:
      boxes: `[..., 5]`: center, sides, angle.

    Returns:
      Corners in the unit of the boxes, `[..., 4, 2]`: those at `(+w, +h)/2`, `(-w, +h)/2`, `(-w, -h)/2` and
      `(+w, -h)/2` in the frame of the box, one after the other around it.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    cosine, sine = numerics.direction(angle)
    (ax, ay), (bx, by) = (cosine * w / 2, sine * w / 2), (-sine * h / 2, cosine * h / 2)
    return jnp.stack([numerics.together((x + (i * ax + j * bx), y + (i * ay + j * by))) for i, j in SIGNS], axis=-2)


@_checks.checked(_check_corners)
def from_corners(corners: jax.Array | np.ndarray) -> jax.Array:
    """The turned boxes whose corners are nearest to four points, by the sum of the squared distances.

    Args:
      corners: `[..., 4, 2]`, one after the other around a quadrilateral, either way around and from any of them.

    Returns:
      Boxes in the unit of the corners, `[..., 5]`; w is the side from the first corner to the second, and the angle is
      in `[-pi/2, pi/2]`. It is 0 where no direction is better than another, as for a point.

    Gradient:
      That of the formula; 0 for the angle where it is undefined, and for a side where it is 0.
    """
    ((x0, y0, x1, y1, x2, y2, x3, y3),) = numerics.coordinates(corners.reshape(*corners.shape[:-2], 8))
    center = ((x0 + x2) + (x1 + x3)) / 4, ((y0 + y2) + (y1 + y3)) / 4
    # The mean of two opposite edges, and that of the two others turned back by a right angle.
    edges = [((x0 - x1) + (x3 - x2)) / 2, ((y0 - y1) + (y3 - y2)) / 2]
    edges += [((y0 - y3) + (y1 - y2)) / 2, ((x3 - x0) + (x2 - x1)) / 2]
    unit = numerics.power_of_two(functools.reduce(jnp.maximum, map(jnp.abs, edges)))
    ax, ay, bx, by = (edge / unit for edge in edges)
    # Along the direction (cos t, sin t) the lengths are a.(cos t, sin t) and b.(cos t, sin t); the sum of their squares
    # is greatest where 2 t is the angle of this vector.
    along = (ax - ay) * (ax + ay) + (bx - by) * (bx + by)
    across = 2 * (ax * ay + bx * by)
    angle = _angle_of(*_unless_rounding(along, across)) / 2
    cosine, sine = numerics.direction(angle)
    w, h = (numerics.absolute(cosine * x + sine * y) * unit for x, y in ((ax, ay), (bx, by)))
    return numerics.together((*center, w, h, angle))


@_checks.checked(_check_polygon)
def from_polygon(points: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None) -> jax.Array:
    """The turned boxes of the smallest area around points.

    A side of it lies along an edge of the convex hull, and so along the line through two of the points. All these
    directions are tried: the work and the memory grow with `n^3`.

    Args:
      points: `[..., n, 2]`, in any order.
      where: boolean mask, `[..., n]`: points that are False do not count; or None.

    Returns:
      Boxes in the unit of the points, `[..., 5]`, with the angle in `[-pi/4, pi/4)`; 0 if no point counts.

    Gradient:
      That of the box along the line that was chosen, which is held: two of the points turn it, and those on its border
      move its sides. A point inside has 0, and the angle of points that are all one has 0.
    """
    ((x, y),) = numerics.coordinates(points)
    if where is not None:
        # A point that does not count becomes the first that does.
        where = jnp.broadcast_to(where, x.shape)
        first = where & (jnp.cumsum(where, axis=-1) == 1)
        x, y = (jnp.where(where, k, jnp.sum(jnp.where(first, k, 0), axis=-1, keepdims=True)) for k in (x, y))
    x0, y0 = x[..., :1], y[..., :1]
    dx, dy = x - x0, y - y0
    # A power of two is held, so that absolute value and maxima may be those of jnp.
    unit = numerics.power_of_two(jnp.max(jnp.maximum(jnp.abs(dx), jnp.abs(dy)), axis=-1, keepdims=True))
    dx, dy = dx / unit, dy / unit
    angle, _ = _reduced(_direction_of_the_smallest(dx, dy), -np.pi / 4, QUARTER)
    cosine, sine = (jnp.expand_dims(k, -1) for k in numerics.direction(angle))
    spans = cosine * dx + sine * dy, cosine * dy - sine * dx
    low, high = ([end(span, axis=-1, keepdims=True) for span in spans] for end in (jnp.min, jnp.max))
    u, v = ((a + b) / 2 for a, b in zip(low, high, strict=True))
    w, h = (b - a for a, b in zip(low, high, strict=True))
    center = x0 + (cosine * u - sine * v) * unit, y0 + (sine * u + cosine * v) * unit
    return numerics.together([*(k[..., 0] for k in (*center, w * unit, h * unit)), angle])


def _direction_of_the_smallest(x: jax.Array, y: jax.Array) -> jax.Array:
    """The angle of a side of the smallest box around points, `[..., n]` each and of about 1 in size."""

    def differences(x: jax.Array) -> jax.Array:
        *leading, n = x.shape
        return (x[..., None, :] - x[..., :, None]).reshape(*leading, n * n)

    ex, ey = differences(x), differences(y)
    held_x, held_y, px, py = (lax.stop_gradient(k) for k in (ex, ey, x[..., None, :], y[..., None, :]))
    # Two points that are one give the x axis: with no other pair it is as good as any.
    square = held_x * held_x + held_y * held_y
    is_one = numerics.is_zero(square)
    length = jnp.sqrt(jnp.where(is_one, 1, square))  # held, and not 0
    cosine = jnp.where(is_one, 1, held_x / length)[..., None]
    sine = jnp.where(is_one, 0, held_y / length)[..., None]
    area = jnp.ptp(cosine * px + sine * py, axis=-1) * jnp.ptp(cosine * py - sine * px, axis=-1)
    area = jnp.where(is_one, jnp.max(area, axis=-1, keepdims=True), area)
    # Of areas that are equal but for rounding, as those of the sides of a rectangle or of a triangle, the first.
    least = jnp.min(area, axis=-1, keepdims=True) * (1 + 8 * jnp.finfo(area.dtype).eps)
    fits = ~is_one & (area <= least)
    chosen = fits & (jnp.cumsum(fits, axis=-1) == 1)
    along, across = (jnp.sum(jnp.where(chosen, k, 0), axis=-1) for k in (ex, ey))
    return _angle_of(along, across)


@_of(_checks.TURNED)
def to_xyxy(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The smallest upright boxes around turned ones.

    Args:
      boxes: `[..., 5]`: center, sides, angle.

    Returns:
      Low corner, then high corner, `[..., 4]`: what the functions of `boxes`, `losses` and `similarity` take.

    Gradient:
      That of the formula; 0 for the angle at multiples of pi/2, where the box around grows either way.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    cosine, sine = map(numerics.absolute, numerics.direction(angle))
    right, below = (cosine * w + sine * h) / 2, (sine * w + cosine * h) / 2
    return numerics.together((x - right, y - below, x + right, y + below))


@_of(_checks.PLANE)
def from_xyxy(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Upright boxes as turned ones, with the angle 0.

    Args:
      boxes: `[..., 4]`, low corner, then high corner.

    Returns:
      Center, sides and angle, `[..., 5]`.
    """
    ((left, top, right, bottom),) = numerics.coordinates(boxes)
    center, sides = ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top)
    return numerics.together((*center, *sides, jnp.zeros_like(left)))


@_of(_checks.TURNED, start=START)
def canonical_quarter(
    boxes: jax.Array | np.ndarray, *, start: float | jax.Array | np.ndarray = -np.pi / 4
) -> jax.Array:
    """The same boxes with the angle within a quarter turn, and the sides swapped as needed.

    With `start=0` it is the "oc" of mmrotate but for the end that counts: there the angle is above 0, and pi/2 at most.

    Args:
      boxes: `[..., 5]`: center, sides, angle.
      start: the least angle, from -6.3 to 6.3, `()` or one a box, may be traced.

    Returns:
      Boxes of the same corners, `[..., 5]`, with the angle in `[start, start + pi/2)`.

    Raises:
      ValueError: if `start` is outside its bounds.

    Gradient:
      That of a permutation; 1 for the angle, and 0 for `start`.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    angle, turns = _reduced(angle, start, QUARTER)
    swapped = numerics.is_odd(turns)
    return numerics.together((x, y, jnp.where(swapped, h, w), jnp.where(swapped, w, h), angle))


@_of(_checks.TURNED, start=START)
def canonical_long(boxes: jax.Array | np.ndarray, *, start: float | jax.Array | np.ndarray = -np.pi / 2) -> jax.Array:
    """The same boxes with the longer side first, and its angle within half a turn.

    With `start=-pi/2` it is the "le90" of mmrotate, with `start=-pi/4` its "le135".

    Args:
      boxes: `[..., 5]`: center, sides, angle.
      start: the least angle, from -6.3 to 6.3, `()` or one a box, may be traced.

    Returns:
      Boxes of the same corners, `[..., 5]`, with `w >= h` and the angle in `[start, start + pi)`. The sides of a square
      are not swapped.

    Raises:
      ValueError: if `start` is outside its bounds.

    Gradient:
      That of a permutation; 1 for the angle, and 0 for `start`.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    is_high = w < h
    angle, _ = _reduced(jnp.where(is_high, angle + QUARTER, angle), start, HALF)
    return numerics.together((x, y, jnp.where(is_high, h, w), jnp.where(is_high, w, h), angle))


@_of(_checks.TURNED)
def flip_horizontally(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis) -> jax.Array:
    """Mirrors turned boxes along x with the image they are in: its left becomes its right, as by `image[:, ::-1]`.

    Args:
      boxes: `[..., 5]`: center, sides, angle; in the unit of `image_size`.
      image_size: `(height, width)` of the image, or of each of them, `[..., 2]`.

    Returns:
      Boxes of the same sides and of the opposite angle, `[..., 5]`.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    return numerics.together((jnp.asarray(image_size)[..., 1] - x, y, w, h, -angle))


@_of(_checks.TURNED)
def flip_vertically(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis) -> jax.Array:
    """Mirrors turned boxes along y with the image they are in: its top becomes its bottom, as by `image[::-1]`.

    Args:
      boxes: `[..., 5]`: center, sides, angle; in the unit of `image_size`.
      image_size: `(height, width)` of the image, or of each of them, `[..., 2]`.

    Returns:
      Boxes of the same sides and of the opposite angle, `[..., 5]`.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    return numerics.together((x, jnp.asarray(image_size)[..., 0] - y, w, h, -angle))


@_of(_checks.TURNED, factor=_checks.POSITIVE)
def resize(boxes: jax.Array | np.ndarray, factor: float | jax.Array | np.ndarray) -> jax.Array:
    """Takes turned boxes from an image to the same image in another size.

    Two factors make a parallelogram, of which the smallest box is `from_polygon(to_corners(boxes) * factors)`.

    Args:
      boxes: `[..., 5]`: center, sides, angle.
      factor: the new side of the image over the old one, from 1e-15 to 1e15, `()` or one a box, may be traced.

    Returns:
      Boxes of the same angle in the unit of the resized image, `[..., 5]`.
    """
    ((*lengths, angle),) = numerics.coordinates(boxes)
    return numerics.together((*(length * factor for length in lengths), angle))


@_of(_checks.TURNED)
def translate(boxes: jax.Array | np.ndarray, offset: _checks.PerAxis) -> jax.Array:
    """Moves turned boxes, as where an image is pasted into another one.

    Args:
      boxes: `[..., 5]`: center, sides, angle.
      offset: how far along x and along y, or that of each image, `[..., 2]`.

    Returns:
      Boxes of the same sides and angle, `[..., 5]`.
    """
    ((x, y, *others),) = numerics.coordinates(boxes)
    dx, dy = jnp.moveaxis(jnp.asarray(offset), -1, 0)
    return numerics.together((x + dx, y + dy, *others))


@_of(_checks.TURNED)
def degrees_to_radians(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Turned boxes whose angle is in degrees, as those of `cxcywhr` in torchvision, with the angle in radians.

    Args:
      boxes: `[..., 5]`: center, sides, and the angle in degrees from the x axis towards the y axis.

    Returns:
      Boxes `[..., 5]`; a multiple of 90 degrees is one of the rounded pi/2, so that the box is upright to the last bit.
    """
    return _with_angle(boxes, 90.0, QUARTER)


@_of(_checks.TURNED)
def radians_to_degrees(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Turned boxes with the angle in degrees: the inverse of `degrees_to_radians`.

    Args:
      boxes: `[..., 5]`: center, sides, angle in radians.

    Returns:
      Boxes with the angle in degrees, `[..., 5]`.
    """
    return _with_angle(boxes, QUARTER, 90.0)


def _with_angle(boxes: jax.Array | np.ndarray, quarter: float, quarter_wanted: float) -> jax.Array:
    """Turned boxes with the angle in another unit, given what a quarter turn is in both."""
    ((*others, angle),) = numerics.coordinates(boxes)
    turns = jnp.round(angle / quarter)
    rest = angle - turns * quarter
    return numerics.together((*others, turns * quarter_wanted + rest * (quarter_wanted / quarter)))


@_of_columns("labels", 7, "height, width, length, x, y, z and rotation_y of a label of KITTI")
def from_kitti(labels: jax.Array | np.ndarray) -> jax.Array:
    """The solids of labels of KITTI, in the camera's frame with z up: x to the right, y forward.

    KITTI's camera has x to the right, y down and z forward. A location is the middle of the bottom, and rotation_y
    turns about the axis that points down, from x away from z; the length lies along x where it is 0. So the solid has
    the center `(x, z, height/2 - y)`, the sides `(length, width, height)` and the yaw `-rotation_y`, the direction of
    its front.

    Args:
      labels: `[..., 7]`: height, width, length, x, y, z in meters and rotation_y in radians, the columns 9 to 15 of a
        label file in their order.

    Returns:
      Solids, `[..., 7]`.

    References:
      Geiger et al., 2012, `readme.txt` and `computeBox3D.m` of the object development kit,
      https://www.cvlibs.net/datasets/kitti/eval_object.php
    """
    ((height, width, length, x, y, z, rotation),) = numerics.coordinates(labels)
    return numerics.together((x, z, height / 2 - y, length, width, height, -rotation))


@_of(_checks.SOLID)
def to_kitti(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The labels of KITTI of solids: the inverse of `from_kitti`.

    Args:
      boxes: `[..., 7]` in the camera's frame with z up, whose side w lies along the direction of the front.

    Returns:
      Height, width, length, x, y, z and rotation_y, `[..., 7]`. rotation_y is `-yaw`, whatever the yaw.
    """
    ((x, y, z, length, width, height, yaw),) = numerics.coordinates(boxes)
    return numerics.together((height, width, length, x, height / 2 - z, y, -yaw))


@_of_columns("annotations", 10, "translation, size and rotation of an annotation of nuScenes")
def from_nuscenes(annotations: jax.Array | np.ndarray) -> jax.Array:
    """The solids of annotations or results of nuScenes, in their own frame, whose z points up.

    A translation is the center, a size is width, length and height, and a rotation is a quaternion `(w, x, y, z)`; the
    length lies along the x axis of the solid, the direction of its front. So the sides are `(length, width, height)`,
    and the yaw is the angle of that axis in the plane of x and y; a solid that is inclined is set upright.

    Args:
      annotations: `[..., 10]`: `translation`, `size` and `rotation` one after the other. A quaternion may have any
        length.

    Returns:
      Solids, `[..., 7]`, with the yaw in `[-pi, pi]`; 0 for a quaternion of 0, or where the axis is vertical.

    Gradient:
      That of the formula, and 0 for the yaw where it is undefined.

    References:
      Caesar et al., 2019, https://arxiv.org/abs/1903.11027; `Box.corners` and `quaternion_yaw` of
      https://github.com/nutonomy/nuscenes-devkit
    """
    ((*center, width, length, height, w, x, y, z),) = numerics.coordinates(annotations)
    unit = numerics.power_of_two(functools.reduce(jnp.maximum, map(jnp.abs, (w, x, y, z))))
    w, x, y, z = (k / unit for k in (w, x, y, z))
    along, across = (w * w + x * x) - (y * y + z * z), 2 * (w * z + x * y)
    yaw = _angle_of(*_unless_rounding(along, across))
    return numerics.together((*center, length, width, height, yaw))


@_of(_checks.SOLID)
def to_nuscenes(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The translation, size and rotation that nuScenes has for solids: the inverse of `from_nuscenes`.

    Args:
      boxes: `[..., 7]`, whose side w lies along the direction of the front.

    Returns:
      Center; width, length and height; and a quaternion `(w, x, y, z)` of length 1, `[..., 10]`.
    """
    ((*center, length, width, height, yaw),) = numerics.coordinates(boxes)
    cosine, sine = numerics.direction(yaw / 2)
    level = jnp.zeros_like(yaw)
    return numerics.together((*center, width, length, height, cosine, level, level, sine))


def __dir__() -> list[str]:
    return sorted(__all__)
