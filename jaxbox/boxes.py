"""What a box is: layouts and conversions, sides, area, center, scale, clip, and moves with an image.

A box is an array `[..., 2n]`: the low corner, then the high corner. `n` is 2 for a box in an image (`xyxy`), 1 for an
interval and 3 for an upright solid. Functions named after a layout convert at the edge of a program; all others take
corners. Coordinates are in any unit of length. Half precision is promoted to float32 everywhere.

A flipped box, whose high corner is below its low one, is empty: its area is 0. Its sides keep their sign.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import checkify

from jaxbox import _checks, numerics

__all__ = [
    "Intervals",
    "absolute_to_normalized",
    "area",
    "canonicalize",
    "center",
    "check",
    "clip",
    "cxcywh_to_xyxy",
    "flip_horizontally",
    "flip_vertically",
    "is_valid",
    "normalized_to_absolute",
    "resize",
    "scale",
    "sides",
    "translate",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
    "xyxy_to_yxyx",
    "yxyx_to_xyxy",
]


# For a type checker intervals are an array, since every function of boxes takes them.
_Array = jax.Array if TYPE_CHECKING else object


@functools.partial(jax.tree_util.register_dataclass, data_fields=["ends"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Intervals(_Array):
    """Intervals, whose last axis of 2 is meant: the low end, then the high end.

    Every function of boxes takes them, `losses.giou_loss(Intervals(predictions), Intervals(targets))`, and returns
    arrays. A plain array with a last axis of 2 is refused, as it may hold the corners `[..., 2, 2]` of boxes.

    Attributes:
      ends: `[..., 2]`.
    """

    ends: jax.Array | np.ndarray

    dimensions = 1  # of the boxes

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the ends."""
        return self.ends.shape

    def __jax_array__(self) -> jax.Array:
        """The ends as an array."""
        return jnp.asarray(self.ends)


def _of_boxes(
    *, window: str | None = None, **intervals: _checks.Interval
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a public function of a formula that takes `boxes`, and perhaps a window and options."""
    return _checks.checked(_checks.of_boxes("boxes", window=window, options=intervals))


def _split(boxes: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The two halves of the last axis, in float32 or float64, as `[n, ...]`: XLA likes a short axis best in front."""
    (coordinates,) = numerics.coordinates(boxes)
    n = len(coordinates) // 2
    return jnp.stack(coordinates[:n]), jnp.stack(coordinates[n:])


def _axes(boxes: jax.Array | np.ndarray) -> list[tuple[jax.Array, jax.Array]]:
    """For each axis of space its number of the first half and that of the second one, in float32 or float64."""
    (coordinates,) = numerics.coordinates(boxes)
    n = len(coordinates) // 2
    return list(zip(coordinates[:n], coordinates[n:], strict=True))


def _join(axes: Iterable[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Boxes of two numbers an axis of space: the inverse of `_axes`."""
    first, second = zip(*axes, strict=True)
    return numerics.together((*first, *second))


@_of_boxes()
def xywh_to_xyxy(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Converts low corner and sides to corners. COCO annotations are in this layout.

    Args:
      boxes: `[..., 2n]`, the low corner, then the sides.

    Returns:
      Low corner, then high corner, `[..., 2n]`.
    """
    return _join((low, low + side) for low, side in _axes(boxes))


@_of_boxes()
def xyxy_to_xywh(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Converts corners to low corner and sides.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Low corner, then sides, `[..., 2n]`.
    """
    return _join((low, high - low) for low, high in _axes(boxes))


@_of_boxes()
def cxcywh_to_xyxy(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Converts center and sides to corners. DETR and YOLO heads predict this layout.

    Args:
      boxes: `[..., 2n]`, the center, then the sides.

    Returns:
      Low corner, then high corner, `[..., 2n]`.
    """
    return _join((middle - side / 2, middle + side / 2) for middle, side in _axes(boxes))


@_of_boxes()
def xyxy_to_cxcywh(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Converts corners to center and sides.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Center, then sides, `[..., 2n]`.
    """
    return _join(((low + high) / 2, high - low) for low, high in _axes(boxes))


@_of_boxes()
def yxyx_to_xyxy(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Reverses the order of the axes in each corner. TensorFlow boxes often start with y.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, each with its last axis first.

    Returns:
      The same corners with their first axis first, `[..., 2n]`.
    """
    return _join(reversed(_axes(boxes)))


@_of_boxes()
def xyxy_to_yxyx(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Reverses the order of the axes in each corner: the inverse of `yxyx_to_xyxy`, which is the same function.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      The same corners, each with its last axis first, `[..., 2n]`.
    """
    return yxyx_to_xyxy(boxes)


@_of_boxes()
def normalized_to_absolute(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis) -> jax.Array:
    """Multiplies boxes in units of the image by its size in pixels.

    Args:
      boxes: `[..., 2n]`, with coordinates in `[0, 1]` inside the image.
      image_size: the shape of the image without channels, `(height, width)`: `n` numbers, the last one along x. An
        array `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.

    Returns:
      Boxes in pixels, `[..., 2n]`.

    Raises:
      ValueError: if `image_size` does not have `n` numbers.
    """
    sizes = _along_axes(image_size)
    return _join((low * size, high * size) for (low, high), size in zip(_axes(boxes), sizes, strict=True))


@_of_boxes()
def absolute_to_normalized(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis) -> jax.Array:
    """Divides boxes in pixels by the size of the image.

    Args:
      boxes: `[..., 2n]`, in pixels.
      image_size: the shape of the image without channels, `(height, width)`: `n` numbers, the last one along x. An
        array `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.

    Returns:
      Boxes in units of the image, with coordinates in `[0, 1]` inside it, `[..., 2n]`.

    Raises:
      ValueError: if `image_size` does not have `n` numbers.
    """
    sizes = _along_axes(image_size)
    return _join((low / size, high / size) for (low, high), size in zip(_axes(boxes), sizes, strict=True))


def _along_axes(image_size: _checks.PerAxis) -> list[jax.Array]:
    """The size of images along each axis of space, `()` or one an image."""
    return list(jnp.moveaxis(jnp.asarray(image_size), -1, 0))[::-1]


@_of_boxes()
def resize(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis, new_size: _checks.PerAxis) -> jax.Array:
    """Takes boxes from an image to the same image in another size.

    >>> resize(jnp.array([8.0, 6, 16, 12]), image_size=(480, 640), new_size=(240, 640))
    Array([ 8.,  3., 16.,  6.], dtype=float32)

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in the unit of `image_size`.
      image_size: `(height, width)` of the image or of each, as for `normalized_to_absolute`.
      new_size: the same of the resized image.

    Returns:
      Boxes in the unit of `new_size`, `[..., 2n]`.

    Raises:
      ValueError: if a size does not have `n` numbers.
    """
    factors = [new / old for old, new in zip(_along_axes(image_size), _along_axes(new_size), strict=True)]
    return _join((low * factor, high * factor) for (low, high), factor in zip(_axes(boxes), factors, strict=True))


@_of_boxes()
def translate(boxes: jax.Array | np.ndarray, offset: _checks.PerAxis) -> jax.Array:
    """Moves boxes, as where an image is pasted into another one.

    >>> translate(jnp.array([8.0, 6, 16, 12]), offset=(2, -1))
    Array([10.,  5., 18., 11.], dtype=float32)

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      offset: how far along each axis in the unit of the boxes: `n` numbers, the first one along x. An array `[..., n]`
        holds one an image, and its leading axes are the first ones of the boxes.

    Returns:
      Boxes of the same sides, `[..., 2n]`.
    """
    offsets = jnp.moveaxis(jnp.asarray(offset), -1, 0)
    return _join((low + by, high + by) for (low, high), by in zip(_axes(boxes), offsets, strict=True))


@_of_boxes()
def flip_horizontally(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis) -> jax.Array:
    """Mirrors boxes along x with the image they are in: its left becomes its right, as by `image[:, ::-1]`.

    >>> flip_horizontally(jnp.array([8.0, 6, 16, 12]), image_size=(480, 640))
    Array([624.,   6., 632.,  12.], dtype=float32)

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in the unit of `image_size`.
      image_size: `(height, width)` of the image or of each, as for `normalized_to_absolute`.

    Returns:
      Boxes of the same sides, `[..., 2n]`, low corner, then high corner.

    Raises:
      ValueError: if `image_size` does not have `n` numbers.
    """
    return _mirrored(boxes, image_size, axis=0)


@_of_boxes()
def flip_vertically(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis) -> jax.Array:
    """Mirrors boxes along y with the image they are in: its top becomes its bottom, as by `image[::-1]`.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner, in the unit of `image_size`; `n` is 2 at least.
      image_size: `(height, width)` of the image or of each, as for `normalized_to_absolute`.

    Returns:
      Boxes of the same sides, `[..., 2n]`, low corner, then high corner.

    Raises:
      ValueError: if `image_size` does not have `n` numbers, or the boxes are intervals.
    """
    if boxes.shape[-1] == 2:
        raise ValueError("`boxes` are intervals, which have no y: take `flip_horizontally`.")
    return _mirrored(boxes, image_size, axis=1)


def _mirrored(boxes: jax.Array | np.ndarray, image_size: _checks.PerAxis, axis: int) -> jax.Array:
    """Boxes mirrored within an image along one axis of space."""
    axes, size = _axes(boxes), _along_axes(image_size)[axis]
    low, high = axes[axis]
    axes[axis] = size - high, size - low
    return _join(axes)


@_of_boxes()
def sides(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The sides of boxes, negative where a box is flipped.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Lengths in the unit of the boxes, `[..., n]`.
    """
    return numerics.together(high - low for low, high in _axes(boxes))


@_of_boxes()
def area(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The area of boxes; the length of intervals, the volume of solids. A flipped box is empty.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      The area in the squared unit of the boxes, `[...]`, not negative.

    Gradient:
      That of the product of the sides; a side of exactly 0 can grow, a negative one has derivative 0.
    """
    return numerics.product(numerics.positive_part(high - low) for low, high in _axes(boxes))


@_of_boxes()
def center(boxes: jax.Array | np.ndarray) -> jax.Array:
    """The center of boxes.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      Points in the unit of the boxes, `[..., n]`.
    """
    return numerics.together((low + high) / 2 for low, high in _axes(boxes))


@_of_boxes(factor=_checks.FINITE)
def scale(boxes: jax.Array | np.ndarray, factor: float | jax.Array | np.ndarray) -> jax.Array:
    """Scales boxes about their own centers.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      factor: what the sides are multiplied by; finite, `()` or one a box, may be traced.

    Returns:
      Boxes with the same centers, `[..., 2n]`.
    """
    axes = _axes(boxes)
    factor = jnp.asarray(factor, axes[0][0].dtype)
    margins = [(high - low) * (factor - 1) / 2 for low, high in axes]
    return _join((low - margin, high + margin) for (low, high), margin in zip(axes, margins, strict=True))


@_of_boxes(window="window")
def clip(boxes: jax.Array | np.ndarray, window: jax.Array | np.ndarray) -> jax.Array:
    """Clips boxes to a window. A box outside collapses onto the nearest edge of the window.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      window: `[2n]`, one box in the same unit, which all boxes are clipped to. `[..., 2n]` is one an image or a box,
        and its leading axes are the first ones of the boxes.

    Returns:
      Boxes inside the window, `[..., 2n]`.

    Gradient:
      1 for a coordinate inside the window, 0 outside, 1/2 on its edge.
    """
    boxes, window = numerics.promote(boxes, window)
    limits = _axes(window)
    return _join(
        (jnp.clip(low, *ends), jnp.clip(high, *ends)) for (low, high), ends in zip(_axes(boxes), limits, strict=True)
    )


@_of_boxes()
def canonicalize(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Sorts the corners of boxes, so that none is flipped.

    Args:
      boxes: `[..., 2n]`, two opposite corners in any order.

    Returns:
      Low corner, then high corner, `[..., 2n]`.

    Gradient:
      That of a permutation; one half each where two coordinates coincide.
    """
    return _join((numerics.minimum(first, second), numerics.maximum(first, second)) for first, second in _axes(boxes))


@_of_boxes()
def is_valid(boxes: jax.Array | np.ndarray) -> jax.Array:
    """Tells which boxes are finite and not flipped. A side may be 0.

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.

    Returns:
      A boolean array `[...]`, fit for the `where` of a loss.
    """
    low, high = _split(boxes)
    return jnp.all(jnp.isfinite(low) & jnp.isfinite(high) & (high >= low), axis=0)


@_of_boxes(window="window")
def check(
    boxes: jax.Array | np.ndarray,
    *,
    window: jax.Array | np.ndarray | None = None,
    where: jax.Array | np.ndarray | None = None,
) -> None:
    """Checks the values of boxes inside a compiled function, for debugging: finite, not flipped, inside a window.

    It does nothing, and costs nothing, unless the function that calls it is wrapped in
    `jax.experimental.checkify.checkify` or in `chex.chexify`. (On a mesh with explicit axes it works with jax 0.10.2
    and 0.12, and not with 0.6.2.)

    >>> from jax.experimental import checkify
    >>> @jax.jit
    ... def step(boxes):
    ...     check(boxes)
    ...     return area(boxes)
    >>> broken = jnp.array([[0.0, 0, 1, 1], [2, 2, 1, 3]])
    >>> step(broken)
    Array([1., 0.], dtype=float32)
    >>> error, _ = checkify.checkify(step)(broken)
    >>> print(error.get().splitlines()[0])
    box [1], [2. 2. 1. 3.], is flipped: a high coordinate is below its low one (`check` failed)

    Args:
      boxes: `[..., 2n]`, low corner, then high corner.
      window: `[2n]`, one box in the same unit, such as the whole image, or one an image as for `clip`, or None.
      where: boolean mask, `[...]`: rows that are False are not checked; or None.

    Raises:
      JaxRuntimeError: from `error.throw()` of checkify, or from the function that chexify made. It names the first box
        that is at fault, its place and its values.
    """
    promoted = numerics.promote(boxes)[0]
    low, high = _split(promoted)
    faults = {
        "is not finite": ~jnp.all(jnp.isfinite(promoted), axis=-1),
        "is flipped: a high coordinate is below its low one": jnp.any(high < low, axis=0),
    }
    if window is not None:
        faults["is not inside the window {window}"] = jnp.any(clip(boxes, window) != promoted, axis=-1)
    for fault, found in faults.items():
        if where is not None:
            found = found & where
        if found.size == 0:
            continue
        first, place = _first(found)
        index = ", ".join(f"{{{axis}}}" for axis in range(found.ndim))
        box = jnp.sum(jnp.where(jnp.expand_dims(first, -1), promoted, 0), axis=tuple(range(found.ndim)))
        checkify.debug_check(~jnp.any(found), f"box [{index}], {{box}}, {fault}", *place, box=box, window=window)


def _first(found: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """The first place of a boolean array that is True: as such an array, and by its indices.

    By arithmetic, since an array whose rows are spread over devices has no slice of one row.
    """
    number = jnp.zeros(found.shape, jnp.int32)
    for axis, length in enumerate(found.shape):
        number = number * length + lax.broadcasted_iota(jnp.int32, found.shape, axis)
    rest = first = jnp.min(jnp.where(found, number, found.size))
    place = []
    for length in reversed(found.shape):
        place.append(rest % length)
        rest = rest // length
    return number == first, place[::-1]


def __dir__() -> list[str]:
    return sorted(__all__)
