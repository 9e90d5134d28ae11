"""What is asserted about arrays: their dtype, and that their shapes fit."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # of JAX or NumPy
ONE_A_BOX = "one value a box"
Shape = tuple[Any, ...]  # of whole numbers, or of the symbols of `jax.export`


def array_of(name: str, value: object, dtype: str = "jnp.float32") -> Array:
    """The array that an argument is: itself, or what is inside a wrapper such as `nnx.Param`.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.
      dtype: what numbers of Python are to become.

    Returns:
      An array of JAX or NumPy.

    Raises:
      TypeError: if it is none.
    """
    value = unwrapped(value)
    if isinstance(value, (jax.Array, np.ndarray)):
        return value
    remedy = f" Write `jnp.asarray({name}, {dtype})`." if has_numbers(value) else ""
    raise TypeError(f"`{name}` is {kind(value)}, not an array.{remedy}")


def unwrapped(value: Array) -> Array:
    """A value without what wraps it: `boxes.Intervals`, or anything with `__jax_array__`."""
    if isinstance(value, (jax.Array, np.ndarray)) or not hasattr(value, "__jax_array__"):
        return value
    if is_interval(value):
        return unwrapped(value.ends)
    return value.__jax_array__()


def is_interval(value: object) -> bool:
    """Whether a last axis of 2 is meant: `boxes.Intervals` says so."""
    return getattr(value, "dimensions", None) == 1


def kind(value: object) -> str:
    """What a value is, for a message."""
    if value is None:
        return "None"
    if isinstance(value, (jax.Array, np.ndarray)):
        return f"an array of shape {value.shape}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def has_numbers(value: object) -> bool:
    """Whether a value that is no array could become one."""
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except (TypeError, ValueError):
        return False


def floats(name: str, value: object) -> Array:
    """The floating point array that an argument is.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.

    Returns:
      An array of JAX or NumPy.

    Raises:
      TypeError: if it is no array, or not of floating point.
    """
    array = array_of(name, value)
    if not is_floating(array.dtype):
        real = ".real" if array.dtype.kind == "c" else ""
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but only floating point has a gradient. "
            f"Write `{name}{real}.astype(jnp.float32)`."
        )
    if isinstance(array, np.ndarray) and array.dtype.itemsize >= 8:
        with np.errstate(over="ignore", under="ignore"):  # as JAX does, without NumPy's warning
            return array.astype(np.float64 if jax.config.read("jax_enable_x64") else np.float32)
    return array


@functools.cache
def is_floating(dtype: np.dtype) -> bool:
    """Whether a dtype is of floating point, half precision included."""
    return jnp.issubdtype(dtype, jnp.floating)


def assert_shape(holds: Callable[[], None], message: Callable[[], str]) -> None:
    """Asserts something about shapes with chex, in one sentence of our own.

    Args:
      holds: calls an assertion of chex.
      message: what to say if it fails.

    Raises:
      ValueError: if it fails.
    """
    try:
        holds()
    except AssertionError:
        failed = message()
    else:
        return
    raise ValueError(failed)


def assert_equal_shapes(arrays: Mapping[str, Array], remedy: Callable[[], str]) -> None:
    """Asserts that arrays have one shape: a loss does not broadcast.

    Args:
      arrays: by the names of the caller's arguments, which the message repeats.
      remedy: another way for arrays whose shapes do not broadcast either.

    Raises:
      ValueError: if two shapes differ.
    """

    def message() -> str:
        said = f"Got {_shapes(arrays)}, but a loss takes pairs and does not broadcast."
        names = list(arrays)
        try:
            common = jnp.broadcast_shapes(*(array.shape for array in arrays.values()))
        except (TypeError, ValueError):
            return said + remedy()
        whole = [name for name in names if arrays[name].shape == common]
        short = [name for name in names if arrays[name].shape != common]
        if not whole:
            return f"{said} If that is meant, write `jnp.broadcast_arrays({', '.join(names)})`." + remedy()
        return f"{said} If that is meant, write `jnp.broadcast_to({short[0]}, {whole[0]}.shape)`." + remedy()

    assert_shape(lambda: chex.assert_equal_shape(list(arrays.values())), message)


def assert_broadcast(arrays: Mapping[str, Array], wanted: Callable[[], str], *, own: int = 1) -> None:
    """Asserts that the leading axes of two arrays of boxes broadcast.

    Args:
      arrays: by the names of the caller's arguments, which the message repeats.
      wanted: how the message goes on.
      own: how many axes at the end are not among them.

    Raises:
      ValueError: if they do not.
    """
    shapes = [array.shape[:-own] for array in arrays.values()]

    def holds() -> None:
        for one, other in zip(*(shape[::-1] for shape in shapes), strict=False):
            if one != other and 1 not in (one, other):
                chex.assert_equal(one, other)

    assert_shape(holds, lambda: f"Got {_shapes(arrays)}, {wanted()}")


def assert_sets(sets: Mapping[str, Array]) -> None:
    """Asserts that two arrays hold sets of boxes, whose leading axes broadcast.

    Args:
      sets: by the names of the caller's arguments, which the message repeats.

    Raises:
      ValueError: if they do not.
    """
    assert_one_dimension(sets)
    wanted = "but sets of boxes are `[..., N, 2n]` and `[..., M, 2n]`, with leading axes that broadcast."
    for name, boxes in sets.items():
        if boxes.ndim < 2:
            raise ValueError(f"Got {_shapes(sets)}, {wanted} For a set of one box write `{name}[None]`.")
    assert_broadcast(sets, lambda: wanted, own=2)


def assert_one_dimension(arrays: Mapping[str, Array]) -> None:
    """Asserts that arrays of boxes have the same last axis.

    Args:
      arrays: by the names of the caller's arguments, which the message repeats.

    Raises:
      ValueError: if they do not.
    """
    if len({array.shape[-1] for array in arrays.values()}) > 1:
        raise ValueError(
            f"Got {_shapes(arrays)}, but boxes of different dimensions have nothing in common. Give all of them the "
            "same last axis."
        )


def _shapes(arrays: Mapping[str, Array]) -> str:
    return " and ".join(f"`{name}` of shape {array.shape}" for name, array in arrays.items())


def fitted(name: str, array: Array, leading: Shape, *, what: str = ONE_A_BOX) -> Array:
    """Asserts that an array has one value a box. Axes of length 1 are repeated.

    Args:
      name: of the argument, which the message repeats.
      array: the argument.
      leading: the shape of one value a box.
      what: what the message calls it.

    Returns:
      The array.

    Raises:
      ValueError: if the shape is another one.
    """

    def holds() -> None:
        axes = zip(array.shape, leading, strict=False)
        if array.ndim != len(leading) or any(length not in (1, wanted) for length, wanted in axes):
            chex.assert_equal(array.shape, leading)

    assert_shape(holds, lambda: _does_not_fit(name, array, leading, what))
    return array


def exactly(name: str, array: Array, leading: Shape) -> Array:
    """Asserts that an array has one value a box, without axes that would be repeated.

    Args:
      name: of the argument, which the message repeats.
      array: the argument.
      leading: the shape of one value a box.

    Returns:
      The array.

    Raises:
      ValueError: if the shape is another one.
    """

    def message() -> str:
        said = f"`{name}` has shape {array.shape}, but there is one value a box, {leading}."
        for missing in range(len(leading)):  # of axes at the end, which others may have the rows before
            try:
                repeated = jnp.broadcast_shapes((*array.shape, *(1,) * missing), leading)
            except (TypeError, ValueError):
                continue
            if repeated == leading:
                ends = f"[..., {', '.join(['None'] * missing)}]" * bool(missing)
                return f"{said} If that is meant, write `jnp.broadcast_to({name}{ends}, {leading})`."
        return _does_not_fit(name, array, leading, ONE_A_BOX)

    assert_shape(lambda: chex.assert_equal(array.shape, leading), message)
    return array


def _does_not_fit(name: str, array: Array, leading: Shape, what: str) -> str:
    shape = array.shape
    said = f"`{name}` has shape {shape}, but there is {what}, {leading}."
    if what != ONE_A_BOX and not leading:
        return said
    if shape[:-1] == leading:
        if shape[-1] == 1:
            return f"{said} Write `{name}[..., 0]`."
        join = "all" if array.dtype == bool else "mean"
        return f"{said} Write `jnp.{join}({name}, axis=-1)`, for example."
    missing = len(leading) - len(shape)
    if shape == leading[: len(shape)]:
        return f"{said} Write `{name}[..., {', '.join(['None'] * missing)}]`."
    if missing > 0 and all(length in (1, wanted) for length, wanted in zip(shape, leading[missing:], strict=True)):
        return f"{said} Write `jnp.broadcast_to({name}, {leading})`."
    if shape[::-1] == leading:
        return f"{said} Write `{name}.T`."
    return said


def mask(value: Array, leading: Shape, name: str = "where") -> Array:
    """The mask that an argument is, or None.

    Args:
      value: the argument.
      leading: the shape of one value a box.
      name: of the argument, which the message repeats.

    Returns:
      A boolean array of JAX or NumPy with as many axes, or None.

    Raises:
      TypeError: if it is not an array of booleans.
      ValueError: if it has another shape. Axes of length 1 are repeated.
    """
    if value is None:
        return None
    array: Array = unwrapped(value)
    if not isinstance(array, (jax.Array, np.ndarray)):
        remedy = f" Write `jnp.asarray({name}, bool)`." if has_numbers(value) else ""
        if np.ndim(value) == 0 and isinstance(value, (bool, int, np.generic)):
            remedy = f" Write `jnp.full({leading}, {name}, bool)`."
        raise TypeError(f"`{name}` is {kind(value)}, not an array.{remedy}")
    if array.dtype != bool:
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but a mask is boolean. Write `{name} != 0`; "
            "weights go into `reductions.weighted_mean`."
        )
    return fitted(name, array, leading)


def two_masks(where: object, leading: Shape, other_leading: Shape) -> tuple[Array, Array]:
    """The masks of the rows and of the columns that an argument holds, each of which may be None.

    Args:
      where: two masks, or None.
      leading: the shape of one value a row.
      other_leading: the shape of one value a column.

    Returns:
      Two boolean arrays of JAX or NumPy, or None.

    Raises:
      TypeError: if it is no pair, or one is not an array of booleans.
      ValueError: if one has another shape.
    """
    if where is None:
        return None, None
    if not (isinstance(where, (tuple, list)) and len(where) == 2):
        shape = getattr(where, "shape", None)
        remedy = " Write `where=(where, None)` for the rows alone." if shape == leading else ""
        if shape == other_leading != leading:
            remedy = " Write `where=(None, where)` for the columns alone."
        raise TypeError(
            f"`where` is {kind(where)}, but all pairs take two masks: one of `a`, {leading}, and one of "
            f"`b`, {other_leading}, or None.{remedy}"
        )
    return mask(where[0], leading, "where[0]"), mask(where[1], other_leading, "where[1]")


def expanded(name: str, array: Array, leading: Shape) -> Array:
    """Gives an array, one row an image or a box, the axes of the boxes that it has no value for.

    Its leading axes are the first ones of the boxes, so that `[images, k]` goes with `[images, boxes]`.

    Args:
      name: of the argument, which the message repeats.
      array: `[..., k]`.
      leading: the shape of one value a box.

    Returns:
      The array, `[k]` or with as many axes as the boxes have.

    Raises:
      ValueError: if its leading axes are not the first ones of the boxes.
    """
    shape = array.shape[:-1]
    if not shape:
        return array

    def holds() -> None:
        chex.assert_equal(len(shape) <= len(leading), True)
        for length, wanted in zip(shape, leading, strict=False):
            if length != 1:
                chex.assert_equal(length, wanted)

    def message() -> str:
        said = (
            f"`{name}` has shape {array.shape}, but with boxes of {leading} it is one for all, or one an image or a "
            "box, whose axes are the first ones of the boxes."
        )
        if shape == leading[len(leading) - len(shape) :]:
            return f"{said} Write `jnp.broadcast_to({name}, {(*leading, array.shape[-1])})`."
        return said

    assert_shape(holds, message)
    return array.reshape(*shape, *(1,) * (len(leading) - len(shape)), array.shape[-1])


def dtype_to_compute_in(arrays: Sequence[Any]) -> np.dtype:
    """float64 if any array has it and JAX may use it, else float32."""
    double = jax.config.read("jax_enable_x64") and any(array.dtype == np.float64 for array in arrays)
    return np.dtype(np.float64 if double else np.float32)
