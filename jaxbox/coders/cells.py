"""Cells of a grid: their points, and boxes as seen from them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import numerics
from jaxbox._checks import FROM_1, POSITIVE
from jaxbox.coders import preparation

__all__ = ["decode_grid", "decode_yolo", "decode_yolov5", "encode_grid", "grid_points"]


@preparation.coder({"scale": POSITIVE}, boxes=preparation.BOX, points=preparation.POINT)
def encode_grid(
    boxes: jax.Array | np.ndarray,
    points: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray,
) -> jax.Array:
    """The center of a box as seen from a point, and its sides, in strides: YOLOX.

    `(x - p) / scale` for the center x, then `ln(side / scale)`.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in any unit of length.
      points: `[..., n]`, in the same unit; those of YOLOX are `grid_points(..., offset=0)`.
      scale: the unit, such as the stride; from 1e-15 to 1e15, one in all or one a point, may be traced.

    Returns:
      Offsets of the center, then logarithms of sides, `[..., 2n]`. A side that is not positive has 0.

    Raises:
      ValueError: if shapes do not fit, or `scale` is outside these bounds.

    References:
      Ge et al., 2021, https://arxiv.org/abs/2107.08430
    """
    edges, place = preparation.apart(boxes, points)
    low, high = preparation.halves(edges)
    scale = preparation.aligned(scale, edges[0])
    axes = list(zip(low, high, place, strict=True))
    return preparation.together(
        (((x - p) + (y - p)) / 2 / scale for x, y, p in axes), (numerics.logarithm((y - x) / scale) for x, y, _ in axes)
    )


@preparation.coder({"scale": POSITIVE}, raw=preparation.CODE, points=preparation.POINT)
def decode_grid(
    raw: jax.Array | np.ndarray,
    points: jax.Array | np.ndarray,
    *,
    scale: float | jax.Array | np.ndarray,
) -> jax.Array:
    """The boxes of `encode_grid`.

    Args:
      raw: offsets of the center, then logarithms of sides, `[..., 2n]`. A logarithm above 50 counts as 50.
      points: `[..., n]`, in any unit of length.
      scale: the unit of the numbers, such as the stride; from 1e-15 to 1e15, one in all or one a point, may be traced.

    Returns:
      Boxes in the unit of the points, `[..., 2n]`.

    Raises:
      ValueError: if shapes do not fit, or `scale` is outside these bounds.
    """
    codes, place = preparation.apart(raw, points)
    offsets, logarithms = preparation.halves(codes)
    scale = preparation.aligned(scale, codes[0])
    centers = [p + x * scale for p, x in zip(place, offsets, strict=True)]
    return preparation.box(centers, [jnp.exp(numerics.minimum(x, preparation.LARGEST)) * scale for x in logarithms])


@preparation.coder(
    {"stride": POSITIVE, "sensitivity": FROM_1},
    raw=preparation.CODE,
    cells=preparation.POINT,
    anchor_sizes=preparation.POINT,
)
def decode_yolo(
    raw: jax.Array | np.ndarray,
    cells: jax.Array | np.ndarray,
    anchor_sizes: jax.Array | np.ndarray,
    *,
    stride: float | jax.Array | np.ndarray,
    sensitivity: float | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """The boxes of YOLO 3 and 4, whose centers lie in their cells.

    `(cell + sensitivity (sigmoid(x) - 1/2) + 1/2) stride` is the center, and `anchor exp(x)` a side.

    Args:
      raw: what the network predicts of the center, then of the sides, `[..., 2n]`. Of a side above 50 counts as 50.
      cells: indices of the cells, with x first, `[..., n]`.
      anchor_sizes: sides of the anchors, `[..., n]`, in any unit of length.
      stride: side of a cell in that unit; from 1e-15 to 1e15, one in all or one a cell, may be traced.
      sensitivity: how wide the range of the center is, in cells; from 1 to 1e15, one in all or one a cell, may be
        traced. YOLO 3 has 1, YOLO 4 has 1.05 to 1.2.

    Returns:
      Boxes in the unit of the anchors, `[..., 2n]`.

    Raises:
      ValueError: if shapes do not fit, or an option is outside its bounds.

    References:
      Redmon and Farhadi, 2018, https://arxiv.org/abs/1804.02767
    """
    codes, place, sizes = preparation.apart(raw, cells, anchor_sizes)
    offsets, logarithms = preparation.halves(codes)
    stride, sensitivity = (preparation.aligned(option, codes[0]) for option in (stride, sensitivity))
    inside = [sensitivity * (jax.nn.sigmoid(x) - 0.5) + 0.5 for x in offsets]
    centers = [(cell + x) * stride for cell, x in zip(place, inside, strict=True)]
    factors = [jnp.exp(numerics.minimum(x, preparation.LARGEST)) for x in logarithms]
    return preparation.box(centers, [size * factor for size, factor in zip(sizes, factors, strict=True)])


@preparation.coder({"stride": POSITIVE}, raw=preparation.CODE, cells=preparation.POINT, anchor_sizes=preparation.POINT)
def decode_yolov5(
    raw: jax.Array | np.ndarray,
    cells: jax.Array | np.ndarray,
    anchor_sizes: jax.Array | np.ndarray,
    *,
    stride: float | jax.Array | np.ndarray,
) -> jax.Array:
    """The boxes of YOLOv5 and YOLOv7, whose sides are bounded.

    `(cell + 2 sigmoid(x) - 1/2) stride` is the center, and `anchor (2 sigmoid(x))^2` a side.

    Args:
      raw: what the network predicts of the center, then of the sides, `[..., 2n]`.
      cells: indices of the cells, with x first, `[..., n]`.
      anchor_sizes: sides of the anchors, `[..., n]`, in any unit of length.
      stride: side of a cell in that unit; from 1e-15 to 1e15, one in all or one a cell, may be traced.

    Returns:
      Boxes in the unit of the anchors, `[..., 2n]`.

    Raises:
      ValueError: if shapes do not fit, or `stride` is outside these bounds.

    References:
      Wang et al., 2022, https://arxiv.org/abs/2207.02696
    """
    codes, place, sizes = preparation.apart(raw, cells, anchor_sizes)
    offsets, factors = preparation.halves([2 * jax.nn.sigmoid(x) for x in codes])
    stride = preparation.aligned(stride, codes[0])
    centers = [(cell + x - 0.5) * stride for cell, x in zip(place, offsets, strict=True)]
    return preparation.box(centers, [size * factor * factor for size, factor in zip(sizes, factors, strict=True)])


def grid_points(
    image_size: Sequence[int], strides: Sequence[int], *, offset: float = 0.5
) -> tuple[jax.Array, jax.Array]:
    """The points of the cells of feature maps, level by level, row by row.

    >>> points, strides = grid_points((4, 8), (2, 4))
    >>> print(points[:5].tolist(), strides.astype(int))
    [[1.0, 1.0], [3.0, 1.0], [5.0, 1.0], [7.0, 1.0], [1.0, 3.0]] [2 2 2 2 2 2 2 2 4 4]

    Args:
      image_size: the shape of the image without channels, `(height, width)`: `n` whole numbers, the last one along x.
      strides: the side of a cell in pixels, a whole number a level. A last cell may reach beyond the image.
      offset: where the point of a cell is, in cells: 0.5 is its center, 0 its low corner.

    Returns:
      Points in pixels with x first, `[A, n]`, and the strides of their levels, `[A]`; both in float32.

    Raises:
      ValueError: if a size or a stride is no whole number above 0.
    """
    for name, numbers in (("image_size", image_size), ("strides", strides)):
        if not isinstance(numbers, (tuple, list, np.ndarray)) or not all(_is_count(number) for number in numbers):
            raise ValueError(f"`{name}` is {numbers!r}, but it holds whole numbers above 0. Write `{name}=(32, 64)`.")
    levels = [np.indices([-(-size // stride) for size in image_size])[::-1] for stride in strides]
    cells = [np.moveaxis(level, 0, -1).reshape(-1, len(image_size)) for level in levels]
    points = [(level + offset) * stride for level, stride in zip(cells, strides, strict=True)]
    counts = [len(level) for level in cells]
    return (
        jnp.asarray(np.concatenate(points), jnp.float32),
        jnp.asarray(np.repeat(np.asarray(strides), counts), jnp.float32),
    )


def _is_count(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool) and int(number) > 0
