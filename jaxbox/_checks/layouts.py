"""What the last axis of an array of boxes holds."""

import dataclasses

from jaxbox._checks.arrays import Array, Shape, floats, is_interval


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the last axis of an array of boxes may hold."""

    lengths: tuple[int, ...]


BOXES = Layout((4, 6))
PLANE = Layout((4,))
TURNED = Layout((5,))
SOLID = Layout((7,))
COORDINATES = Layout(())


def laid_out(name: str, value: object, layout: Layout) -> Array:
    """The array of boxes, or of coordinates, that an argument is.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.
      layout: what its last axis may hold.

    Returns:
      An array of JAX or NumPy, `[..., k]`.

    Raises:
      TypeError: if it is no array, or not of floating point.
      ValueError: if its last axis holds something else.
    """
    array = floats(name, value)
    length = array.shape[-1] if array.ndim else 0
    if layout is COORDINATES:
        if length == 0:
            raise ValueError(f"`{name}` has shape {array.shape}, but its last axis must hold coordinates.")
    elif layout in (TURNED, SOLID):
        if length not in layout.lengths or is_interval(value):
            raise ValueError(_not_turned(name, array.shape, length, layout))
    elif is_interval(value) and length != 2:
        raise ValueError(f"`{name}` are intervals of shape {array.shape}, but an interval is `[..., 2]`: two ends.")
    elif length == 2 and layout is PLANE and array.shape[-2:] != (2, 2):
        raise ValueError(_no_plane(name, array.shape))
    elif length == 2 and is_interval(value) and layout is not PLANE:
        return array
    elif length not in BOXES.lengths:
        raise ValueError(_no_box(name, array.shape, length, layout))
    elif length not in layout.lengths:
        raise ValueError(_no_plane(name, array.shape))
    return array


def _no_plane(name: str, shape: Shape) -> str:
    return (
        f"`{name}` has shape {shape}, but this takes boxes in the plane, `[..., 4]`. For intervals and solids take a "
        "function without angles, such as `similarity.diou` or `losses.diou_loss`."
    )


TURNED_BOX = "a turned box is `[..., 5]`: center, width, height, and an angle in radians."
TURNED_SOLID = "a solid with a yaw is `[..., 7]`: center, sides, and an angle in radians."


def _not_turned(name: str, shape: Shape, length: int, layout: Layout) -> str:
    said = f"`{name}` has shape {shape}, but {TURNED_BOX if layout is TURNED else TURNED_SOLID}"
    (wanted,) = layout.lengths
    if len(shape) > 1 and shape[-2] == wanted:
        return f"{said} If the numbers come before the boxes write `jnp.swapaxes({name}, -1, -2)`."
    if layout is TURNED and length == 4:
        return f"{said} Of upright boxes write `rotated.from_xyxy({name})`, or take a function such as `giou_loss`."
    if layout is TURNED and shape[-2:] == (4, 2):
        return f"{said} Of four corners write `rotated.from_corners({name})`."
    if layout is TURNED and length == 8:
        return f"{said} Of four corners write `rotated.from_corners({name}.reshape(*{name}.shape[:-1], 4, 2))`."
    other = {5: "`rotated_giou_loss`", 6: "`giou_loss`", 7: "`solid_giou_loss`"}.get(length)
    if other:
        return f"{said} For boxes of {length} numbers take a function such as {other}."
    if length > wanted:
        return f"{said} If these are the first columns write `{name}[..., :{wanted}]`."
    return said


def _no_box(name: str, shape: Shape, length: int, layout: Layout) -> str:
    said = (
        f"`{name}` has shape {shape}, but a box is `[..., 2n]`, the low corner and then the high corner: "
        "4 numbers, or 6 for a solid."
    )
    wrap = f"{'jaxbox.' * (name == 'boxes')}boxes.Intervals({name})"
    if shape[-2:] == (2, 2):
        intervals = "" if layout is PLANE else f"; for intervals write `{wrap}`"
        return f"{said} For two corners in axes of their own write `{name}.reshape(*{name}.shape[:-2], 4)`{intervals}."
    if length == 2:
        return f"{said} For intervals, whose last axis has 2, write `{wrap}`."
    if length == 1 and len(shape) > 1 and shape[-2] in BOXES.lengths:
        return f"{said} Write `{name}[..., 0]`."
    if len(shape) > 1 and shape[-2] == 4 and length not in (5, 7):
        return f"{said} If the coordinates come before the boxes write `jnp.swapaxes({name}, -1, -2)`."
    if length in (5, 7):
        return (
            f"{said} A box with an angle, `[..., {length}]`, is no upright box, and its first columns are none either: "
            f"take a function such as `{'rotated' if length == 5 else 'solid'}_giou_loss`. "
            f"If they are the corners, and a score or a class follows, write `{name}[..., :{length - 1}]`."
        )
    if length in (0, 1, 3):
        return said
    if length % 4 == 0:
        return f"{said} If there are {length // 4} boxes in a row write `{name}.reshape(*{name}.shape[:-1], -1, 4)`."
    return f"{said} If the first 4 columns are the corners write `{name}[..., :4]`."


def window_of(name: str, value: object, boxes: Array) -> Array:
    """The windows of boxes that an argument is.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.
      boxes: `[..., 2n]`.

    Returns:
      An array of JAX or NumPy, `[..., 2n]`.

    Raises:
      TypeError: if it is no array, or not of floating point.
      ValueError: if its last axis holds no box.
    """
    array = floats(name, value)
    if array.ndim and 2 * array.shape[-1] == boxes.shape[-1]:
        raise ValueError(
            f"`{name}` has shape {array.shape}, but a window is a box `[..., {boxes.shape[-1]}]`, the low corner and "
            "then the high corner. Of a window from the origin write "
            f"`jnp.concatenate([jnp.zeros_like({name}), {name}], axis=-1)`."
        )
    return laid_out(name, value, BOXES)
