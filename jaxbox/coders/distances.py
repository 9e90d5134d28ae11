"""Distances of the sides of a box, from a point or from the sides of another box."""

from __future__ import annotations

import jax
import numpy as np

from jaxbox import numerics
from jaxbox._checks import POSITIVE
from jaxbox.coders import preparation

__all__ = ["decode_distances", "decode_fine", "encode_distances", "encode_fine"]


@preparation.coder({"scale": POSITIVE}, boxes=preparation.BOX, points=preparation.POINT)
def encode_distances(
    boxes: jax.Array | np.ndarray,
    points: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """How far a point is from each side of a box, in strides: FCOS, GFL and YOLOv8.

    `(p - low) / scale`, then `(high - p) / scale`; negative outside of the box.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in any unit of length.
      points: `[..., n]`, in the same unit.
      scale: the unit of the distances, such as the stride; from 1e-15 to 1e15, one in all or one a point, may be
        traced.

    Returns:
      Left and top, then right and bottom, `[..., 2n]`.

    Raises:
      ValueError: if shapes do not fit, or `scale` is outside these bounds.

    References:
      Tian et al., 2019, https://arxiv.org/abs/1904.01355
    """
    edges, place = preparation.apart(boxes, points)
    low, high = preparation.halves(edges)
    scale = preparation.aligned(scale, edges[0])
    return preparation.together(
        ((p - x) / scale for p, x in zip(place, low, strict=True)),
        ((x - p) / scale for p, x in zip(place, high, strict=True)),
    )


@preparation.coder({"scale": POSITIVE}, distances=preparation.CODE, points=preparation.POINT)
def decode_distances(
    distances: jax.Array | np.ndarray,
    points: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """The boxes of `encode_distances`.

    Args:
      distances: left and top, then right and bottom, `[..., 2n]`.
      points: `[..., n]`, in any unit of length.
      scale: the unit of the distances, such as the stride; from 1e-15 to 1e15, one in all or one a point, may be
        traced.

    Returns:
      Boxes in the unit of the points, `[..., 2n]`; flipped where two distances add up to less than 0.

    Raises:
      ValueError: if shapes do not fit, or `scale` is outside these bounds.
    """
    codes, place = preparation.apart(distances, points)
    before, after = preparation.halves(codes)
    scale = preparation.aligned(scale, codes[0])
    return preparation.together(
        (p - x * scale for p, x in zip(place, before, strict=True)),
        (p + x * scale for p, x in zip(place, after, strict=True)),
    )


@preparation.coder({"curvature": POSITIVE}, boxes=preparation.BOX, references=preparation.BOX)
def encode_fine(
    boxes: jax.Array | np.ndarray,
    references: jax.Array | np.ndarray,
    *,
    curvature: float | jax.Array | np.ndarray = 4.0,
) -> jax.Array:
    """How far each side of a box lies beyond that of a reference, in parts of its sides: D-FINE.

    `curvature (a - low) / (b - a)`, then `curvature (high - b) / (b - a)` for the edges a and b of the reference: 0 for
    equal boxes, and negative for an edge inside the reference.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in any unit of length.
      references: boxes in the same unit, `[..., 2n]`.
      curvature: how many parts a side has; from 1e-15 to 1e15, one in all or one a box, may be traced.

    Returns:
      Left and top, then right and bottom, `[..., 2n]`; 0 where the reference has no side.

    Raises:
      ValueError: if shapes do not fit, or `curvature` is outside these bounds.

    References:
      Peng et al., 2024, https://arxiv.org/abs/2410.13842
    """
    (low, high), (first, last) = map(preparation.halves, preparation.apart(boxes, references))
    curvature = preparation.aligned(curvature, low[0])
    axes = list(zip(low, high, first, last, strict=True))
    before = [curvature * numerics.divide(a - x, b - a) for x, _, a, b in axes]
    after = [curvature * numerics.divide(y - b, b - a) for _, y, a, b in axes]
    return preparation.together(before, after)


@preparation.coder({"curvature": POSITIVE}, distances=preparation.CODE, references=preparation.BOX)
def decode_fine(
    distances: jax.Array | np.ndarray,
    references: jax.Array | np.ndarray,
    *,
    curvature: float | jax.Array | np.ndarray = 4.0,
) -> jax.Array:
    """The boxes of `encode_fine`: the distances are `expected_bin(logits, fine_bins())`.

    Args:
      distances: left and top, then right and bottom, `[..., 2n]`; 0 for the reference itself.
      references: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      curvature: how many parts a side has; from 1e-15 to 1e15, one in all or one a box, may be traced.

    Returns:
      Boxes in the unit of the references, `[..., 2n]`.

    Raises:
      ValueError: if shapes do not fit, or `curvature` is outside these bounds.
    """
    codes, edges = preparation.apart(distances, references)
    (before, after), (first, last) = map(preparation.halves, (codes, edges))
    parts = [(b - a) / preparation.aligned(curvature, codes[0]) for a, b in zip(first, last, strict=True)]
    return preparation.together(
        (a - x * part for a, x, part in zip(first, before, parts, strict=True)),
        (b + x * part for b, x, part in zip(last, after, parts, strict=True)),
    )
