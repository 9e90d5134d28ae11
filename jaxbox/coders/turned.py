"""Turned boxes as seen from anchors, and angles as numbers without a jump."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import _checks, numerics, rotated
from jaxbox._checks import LOGARITHM, POSITIVE
from jaxbox.coders import preparation
from jaxbox.coders.deltas import LARGEST

__all__ = [
    "decode_phases",
    "decode_rotated_deltas",
    "decode_rotated_distances",
    "encode_phases",
    "encode_rotated_deltas",
    "encode_rotated_distances",
]

SLANT = math.sqrt(3) / 2  # the sine of a third of a turn


@preparation.coder({"weights": POSITIVE}, boxes=preparation.TURNED, anchors=preparation.TURNED)
def encode_rotated_deltas(
    boxes: jax.Array | np.ndarray,
    anchors: jax.Array | np.ndarray,
    *,
    weights: float | Sequence[float] | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """Turned boxes as seen from turned anchors: R-CNN and RetinaNet with angles.

    The offset of the center in the frame of the anchor, over its sides; the logarithms of the sides over those of the
    anchor; and the difference of the angles over pi; each times its weight.

    Of the ways to write a box the one is taken that is turned the least against the anchor: the difference is in
    `[-pi/4, pi/4)`, and the sides are swapped as needed. So one box has one code, however it is written. mmrotate has
    this coder with `edge_swap=True`, `proj_xy=True` and `norm_factor=1`.

    Args:
      boxes: `[..., 5]`: center, sides, angle; in any unit of length.
      anchors: boxes in the same unit, `[..., 5]`.
      weights: what the numbers are multiplied by; from 1e-15 to 1e15, one in all or `[5]`, may be traced.

    Returns:
      Offsets of the center, logarithms of sides, difference of angles, `[..., 5]`. A side that is not positive, of the
      box or of the anchor, has 0, as has an offset along a side of 0 of the anchor.

    Raises:
      ValueError: if shapes do not fit, or a weight is outside these bounds.

    Gradient:
      That of the formula, and 0 where 0 was chosen; the swap of the sides is held.

    References:
      Ding et al., 2018, https://arxiv.org/abs/1812.00155
    """
    (x, y, w, h, angle), (x_star, y_star, w_star, h_star, angle_star) = preparation.apart(boxes, anchors)
    (cosine, sine), dx, dy = numerics.direction(angle_star), x - x_star, y - y_star
    center = cosine * dx + sine * dy, cosine * dy - sine * dx
    seen = rotated.canonical_quarter(preparation.together(center, (w, h, angle - angle_star)))
    ((u, v, along, across, turn),) = numerics.coordinates(seen)
    offsets = [numerics.divide(u, w_star), numerics.divide(v, h_star)]
    logarithms = [numerics.logarithm(numerics.divide(a, b)) for a, b in ((along, w_star), (across, h_star))]
    code = [*offsets, *logarithms, turn / np.pi]
    return preparation.together((a * b for a, b in zip(preparation.columns(weights, 5), code, strict=True)), ())


@preparation.coder(
    {"weights": POSITIVE, "largest": LOGARITHM}, deltas=preparation.TURNED_CODE, anchors=preparation.TURNED
)
def decode_rotated_deltas(
    deltas: jax.Array | np.ndarray,
    anchors: jax.Array | np.ndarray,
    *,
    weights: float | Sequence[float] | jax.Array | np.ndarray = 1.0,
    largest: float | jax.Array | np.ndarray = LARGEST,
) -> jax.Array:
    """The boxes of `encode_rotated_deltas`.

    Args:
      deltas: offsets of the center, logarithms of sides, difference of angles, `[..., 5]`.
      anchors: boxes, `[..., 5]`: center, sides, angle; in any unit of length.
      weights: what the numbers were multiplied by; from 1e-15 to 1e15, one in all or `[5]`, may be traced.
      largest: a logarithm, divided by its weight, counts as this at most; from 0 to 50, `()` or one a box, may be
        traced.

    Returns:
      Boxes in the unit of the anchors, `[..., 5]`, with the angle of the anchor plus pi times the difference.

    Raises:
      ValueError: if shapes do not fit, or an option is outside its bounds.

    Gradient:
      That of the formula; 0 for a logarithm above `largest`, one half of it there.
    """
    code, (x, y, w, h, angle) = preparation.apart(deltas, anchors)
    u, v, *logarithms, turn = (a / b for a, b in zip(code, preparation.columns(weights, 5), strict=True))
    largest = preparation.aligned(largest, x)
    (cosine, sine), u, v = numerics.direction(angle), u * w, v * h
    center = x + (cosine * u - sine * v), y + (sine * u + cosine * v)
    sides = [jnp.exp(numerics.minimum(a, largest)) * side for a, side in zip(logarithms, (w, h), strict=True)]
    return preparation.together((*center, *sides), (angle + np.pi * turn,))


@preparation.coder({"scale": POSITIVE}, boxes=preparation.TURNED, points=preparation.POINT)
def encode_rotated_distances(
    boxes: jax.Array | np.ndarray,
    points: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """How far a point is from each side of a turned box, in strides: YOLO's oriented boxes.

    `(w / 2 + x) / scale`, `(h / 2 + y) / scale`, `(w / 2 - x) / scale`, `(h / 2 - y) / scale`, for the offset (x, y) of
    the point from the center along the axes of the box.

    Args:
      boxes: `[..., 5]`: center, sides, and an angle in radians, in any unit of length.
      points: `[..., 2]`, in the same unit.
      scale: the unit of the distances, such as the stride; from 1e-15 to 1e15, one in all or one a point, may be
        traced.

    Returns:
      Left and top, then right and bottom, as the box sees them, `[..., 4]`.

    Raises:
      ValueError: if shapes do not fit, or `scale` is outside these bounds.

    References:
      Ultralytics 8.4.190
    """
    (center_x, center_y, *sides, angle), (x, y) = preparation.apart(boxes, points)
    cosine, sine = numerics.direction(angle)
    dx, dy = x - center_x, y - center_y
    offsets = [dx * cosine + dy * sine, dy * cosine - dx * sine]
    scale = preparation.aligned(scale, angle)
    return preparation.together(
        ((side / 2 + offset) / scale for side, offset in zip(sides, offsets, strict=True)),
        ((side / 2 - offset) / scale for side, offset in zip(sides, offsets, strict=True)),
    )


@preparation.coder({"scale": POSITIVE}, distances=preparation.CODE, angles=preparation.ANGLE, points=preparation.POINT)
def decode_rotated_distances(
    distances: jax.Array | np.ndarray,
    angles: jax.Array | np.ndarray,
    points: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """The turned boxes of `encode_rotated_distances`, whose angles are predicted beside.

    Args:
      distances: left and top, then right and bottom, as the box sees them, `[..., 4]`.
      angles: of the boxes in radians, `[...]`.
      points: `[..., 2]`, in any unit of length.
      scale: the unit of the distances, such as the stride; from 1e-15 to 1e15, one in all or one a point, may be
        traced.

    Returns:
      Turned boxes in the unit of the points, `[..., 5]`, with these angles; a side is negative where two distances add
      up to less than 0.

    Raises:
      ValueError: if shapes do not fit, or `scale` is outside these bounds.
    """
    codes, (x, y), (angle,) = preparation.apart(distances, points, jnp.expand_dims(angles, -1))
    (left, top), (right, bottom) = preparation.halves(codes)
    scale = preparation.aligned(scale, left)
    cosine, sine = numerics.direction(angle)
    along, across = (right - left) / 2 * scale, (bottom - top) / 2 * scale
    centers = x + along * cosine - across * sine, y + along * sine + across * cosine
    return preparation.together(centers, ((left + right) * scale, (top + bottom) * scale, angle))


def _check_angles(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    given["angles"] = _checks.floats("angles", given["angles"])
    return {}


def _check_phases(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    phases = given["phases"] = _checks.floats("phases", given["phases"])
    if phases.shape[-1:] != (3,):
        raise ValueError(f"`phases` has shape {phases.shape}, but an angle has three, `[..., 3]`.")
    return {}


@_checks.checked(_check_angles)
def encode_phases(angles: jax.Array | np.ndarray) -> jax.Array:
    """Angles as three numbers that do not jump where an angle and the one half a turn further are the same box: PSC.

    `cos(2 t + 2 pi k / 3)` for k = 0, 1, 2.

    A square is the same box a quarter turn further. For it the paper has phases of the double angle too, which are
    `encode_phases(2 * angles)`.

    Args:
      angles: radians, `[...]`, of boxes whose sides keep their order, such as those of `rotated.canonical_long`.

    Returns:
      Phases, `[..., 3]`, in `[-1, 1]`.

    References:
      Yu and Da, 2022, https://arxiv.org/abs/2211.06368
    """
    (angles,) = numerics.promote(angles)
    cosine, sine = numerics.direction(2 * angles)
    return numerics.together((cosine, -cosine / 2 - SLANT * sine, -cosine / 2 + SLANT * sine))


@_checks.checked(_check_phases)
def decode_phases(phases: jax.Array | np.ndarray) -> jax.Array:
    """The angles of `encode_phases`.

    `-atan2(sum x_k sin(2 pi k / 3), sum x_k cos(2 pi k / 3)) / 2` for the phases x. A number that is added to all three
    does not change it, nor does a factor above 0.

    Args:
      phases: three an angle, `[..., 3]`, such as a network predicts.

    Returns:
      Radians, `[...]`, in `[-pi/2, pi/2]`; 0 for three equal phases, which have no angle.

    Gradient:
      That of the formula, and 0 for three equal phases.

    References:
      Yu and Da, 2022, https://arxiv.org/abs/2211.06368
    """
    ((first, second, third),) = numerics.coordinates(phases)
    along, across = ((first - second) + (first - third)) / 2, SLANT * (third - second)
    return numerics.angle_between(along, across, jnp.ones_like(along), jnp.zeros_like(along)) / 2
