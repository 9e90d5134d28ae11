"""Offsets of centers and logarithms of sides, as seen from anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import numerics
from jaxbox._checks import LOGARITHM, POSITIVE
from jaxbox.coders import preparation

__all__ = ["decode_deltas", "encode_deltas"]

LARGEST = math.log(1000 / 16)  # the side of a large image over that of a small anchor


@preparation.coder({"weights": POSITIVE}, boxes=preparation.BOX, anchors=preparation.BOX)
def encode_deltas(
    boxes: jax.Array | np.ndarray,
    anchors: jax.Array | np.ndarray,
    *,
    weights: float | Sequence[float] | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """Boxes as seen from anchors: R-CNN, RetinaNet and SSD.

    `weight (x - a) / A` for the center x of the box, that of the anchor a, and its side A; then `weight ln(B / A)` for
    the side B of the box.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in any unit of length.
      anchors: boxes in the same unit, `[..., 2n]`.
      weights: what the numbers are multiplied by; from 1e-15 to 1e15, one in all or `[2n]`, may be traced.

    Returns:
      Offsets of the center, then logarithms of sides, `[..., 2n]`. A side that is not positive, of the box or of the
      anchor, has 0, as has an offset from an anchor without that side.

    Raises:
      ValueError: if shapes do not fit, or a weight is outside these bounds.

    Gradient:
      That of the formula, and 0 where 0 was chosen.

    References:
      Girshick et al., 2013, https://arxiv.org/abs/1311.2524
    """
    (low, high), (anchor_low, anchor_high) = map(preparation.halves, preparation.apart(boxes, anchors))
    axes = list(zip(low, high, anchor_low, anchor_high, strict=True))
    # Center minus center would cancel far from the origin.
    offsets = [numerics.divide(((x - a) + (y - b)) / 2, b - a) for x, y, a, b in axes]
    logarithms = [numerics.logarithm(numerics.divide(y - x, b - a)) for x, y, a, b in axes]
    columns = preparation.columns(weights, 2 * len(axes))
    return preparation.together((weight * code for weight, code in zip(columns, offsets + logarithms, strict=True)), ())


@preparation.coder({"weights": POSITIVE, "largest": LOGARITHM}, deltas=preparation.CODE, anchors=preparation.BOX)
def decode_deltas(
    deltas: jax.Array | np.ndarray,
    anchors: jax.Array | np.ndarray,
    *,
    weights: float | Sequence[float] | jax.Array | np.ndarray = 1.0,
    largest: float | jax.Array | np.ndarray = LARGEST,
) -> jax.Array:
    """The boxes of `encode_deltas`.

    Args:
      deltas: offsets of the center, then logarithms of sides, `[..., 2n]`.
      anchors: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      weights: what the numbers were multiplied by; from 1e-15 to 1e15, one in all or `[2n]`, may be traced.
      largest: a logarithm, divided by its weight, counts as this at most; from 0 to 50, `()` or one a box, may be
        traced.

    Returns:
      Boxes in the unit of the anchors, `[..., 2n]`.

    Raises:
      ValueError: if shapes do not fit, or an option is outside its bounds.

    Gradient:
      That of the formula; 0 for a logarithm above `largest`, one half of it there.
    """
    codes, edges = preparation.apart(deltas, anchors)
    low, high = preparation.halves(edges)
    sides = [b - a for a, b in zip(low, high, strict=True)]
    scaled = [code / weight for code, weight in zip(codes, preparation.columns(weights, len(codes)), strict=True)]
    offsets, logarithms = preparation.halves(scaled)
    largest = preparation.aligned(largest, codes[0])
    centers = [(a + b) / 2 + x * side for a, b, x, side in zip(low, high, offsets, sides, strict=True)]
    grown = [jnp.exp(numerics.minimum(x, largest)) * side for x, side in zip(logarithms, sides, strict=True)]
    return preparation.box(centers, grown)
