"""What is asserted about arguments and options, and what to write instead.

`checked` makes a public function of a formula. Every call is checked; then the formula runs, in an eager call as one
compiled program, inside a `jax.jit` as part of that. Shapes are asserted by chex, and a program that calls
`chex.disable_asserts()` turns these assertions off. What is no assertion about a shape, the dtype, the layout and the
values of options, is checked here and stays.

An error says what was passed, what is wanted and what to write. What it puts in backquotes runs where the function was
called.
"""

import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import core

Function = TypeVar("Function", bound=Callable[..., Any])
Shape = tuple[Any, ...]  # of whole numbers, or of the symbols of `jax.export`
Given = dict[str, Any]  # arguments by name

_inside = contextvars.ContextVar("inside a checked function", default=False)


Check = Callable[[str, Given, Given], Given]


def checked(check: Check) -> Callable[[Function], Function]:
    """Makes a formula a public function, whose calls are checked and whose eager calls are one compiled program.

    Formulas call each other without being checked again.

    Args:
      check: takes the name of the function, its arguments by name, and those options that have their default. It
        replaces the arguments by what the formula computes with, and returns those that the formula knows while it is
        traced; they must be hashable.

    Returns:
      A decorator of the formula.
    """

    def decorate(formula: Function) -> Function:
        signature = inspect.signature(formula)
        name = f"{formula.__module__.split('.')[1]}.{formula.__name__}"
        defaults = {
            parameter.name: parameter.default
            for parameter in signature.parameters.values()
            if isinstance(parameter.default, float)
        }

        def program(known: tuple[tuple[str, Any], ...], debugs: bool, given: Given) -> Any:  # noqa: ANN401
            del debugs  # part of the key: `numerics.divide` is another one then
            token = _inside.set(True)
            try:
                return formula(**dict(known), **given)
            finally:
                _inside.reset(token)

        program.__name__ = program.__qualname__ = formula.__name__
        compiled = jax.jit(program, static_argnums=(0, 1), inline=True)

        @functools.wraps(formula)
        def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401
            if _inside.get():
                return formula(*args, **kwargs)
            try:
                arguments = signature.bind(*args, **kwargs)
            except TypeError as error:
                said = f"{name}: {error}. Its arguments are {_without_types(signature)}."
            else:
                arguments.apply_defaults()
                given = arguments.arguments
                untouched = {option: value for option, value in defaults.items() if given[option] is value}
                known = check(name, given, untouched) | untouched
                rest = {key: given[key] for key in given if key not in known}
                return compiled(tuple(known.items()), jax.config.jax_debug_infs, rest)
            raise TypeError(said)

        call.layout = getattr(check, "layout", COORDINATES)  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def _without_types(signature: inspect.Signature) -> str:
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def from_outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that somebody handed to the package: what it calls is checked, even inside a formula."""

    def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401
        token = _inside.set(False)
        try:
            return function(*args, **kwargs)
        finally:
            _inside.reset(token)

    return call


# Arrays.


def array_of(name: str, value: object) -> Any:  # noqa: ANN401
    """The array that an argument is: itself, or what is inside a wrapper such as `nnx.Param`.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.

    Returns:
      An array of JAX or NumPy.

    Raises:
      TypeError: if it is none.
    """
    value = _unwrapped(value)
    if isinstance(value, (jax.Array, np.ndarray)):
        return value
    kind = "None" if value is None else f"a {type(value).__name__}"
    remedy = f" Write `jnp.asarray({name}, jnp.float32)`." if _has_numbers(value) else ""
    raise TypeError(f"`{name}` is {kind}, not an array.{remedy}")


def _unwrapped(value: object) -> object:
    if isinstance(value, (jax.Array, np.ndarray)) or not hasattr(value, "__jax_array__"):
        return value
    return value.__jax_array__()


def _has_numbers(value: object) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except (TypeError, ValueError):
        return False


def floats(name: str, value: object) -> Any:  # noqa: ANN401
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
    if not _is_floating(array.dtype):
        real = ".real" if array.dtype.kind == "c" else ""
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but only floating point has a gradient. "
            f"Write `{name}{real}.astype(jnp.float32)`."
        )
    if isinstance(array, np.ndarray) and array.dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        with np.errstate(over="ignore", under="ignore"):  # as JAX does, without NumPy's warning
            return array.astype(np.float32)
    return array


@functools.cache
def _is_floating(dtype: np.dtype) -> bool:
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


# Layouts: what the last axis holds.


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the last axis of an array of boxes may hold."""

    lengths: tuple[int, ...]


BOXES = Layout((4, 6))
PLANE = Layout((4,))
COORDINATES = Layout(())


def laid_out(name: str, value: object, layout: Layout) -> Any:  # noqa: ANN401
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
            raise ValueError(
                f"`{name}` has shape {array.shape}, but its last axis must hold coordinates."
                + (f" Write `{name}[..., None]`." if array.ndim == 0 or array.size else "")
            )
    elif length == 2 and layout is PLANE and array.shape[-2:] != (2, 2):
        raise ValueError(_no_plane(name, array.shape))
    elif length == 2 and is_interval(value) and layout is not PLANE:
        return array
    elif length not in BOXES.lengths:
        raise ValueError(_no_box(name, array.shape))
    elif length not in layout.lengths:
        raise ValueError(_no_plane(name, array.shape))
    return array


def is_interval(value: object) -> bool:
    """Whether a last axis of 2 is meant: `boxes.Intervals` says so."""
    return getattr(value, "dimensions", None) == 1


def _no_plane(name: str, shape: Shape) -> str:
    return (
        f"`{name}` has shape {shape}, but this takes boxes in the plane, `[..., 4]`. For intervals and solids take a "
        "function without angles, such as `similarity.diou` or `losses.diou_loss`."
    )


def _no_box(name: str, shape: Shape) -> str:
    length = shape[-1] if shape else 0
    said = (
        f"`{name}` has shape {shape}, but a box is `[..., 2n]`, the low corner and then the high corner: "
        "4 numbers, or 6 for a solid."
    )
    if shape[-2:] == (2, 2):
        return (
            f"{said} For two corners in axes of their own write `{name}.reshape(*{name}.shape[:-2], 4)`; "
            f"for intervals write `boxes.Intervals({name})`."
        )
    if length == 2:
        return f"{said} For intervals, whose last axis has 2, write `boxes.Intervals({name})`."
    if len(shape) > 1 and shape[-2] == 4 and length not in (5, 7):
        return f"{said} With the coordinates last it is `jnp.swapaxes({name}, -1, -2)`."
    if length in (5, 7):
        return (
            f"{said} A box with an angle, `[..., {length}]`, is no upright box, and its first columns are none either. "
            f"If they are the corners, and a score or a class follows, write `{name}[..., :{length - 1}]`."
        )
    if length > 7 and length % 4 == 0:
        return f"{said} If there are {length // 4} boxes in a row write `{name}.reshape(*{name}.shape[:-1], -1, 4)`."
    if length == 1 and len(shape) > 1 and shape[-2] in BOXES.lengths:
        return f"{said} Write `{name}[..., 0]`."
    if length > 7:
        return f"{said} If the first 4 columns are the corners write `{name}[..., :4]`."
    return said


def assert_equal_shapes(arrays: Mapping[str, Any], remedy: Callable[[], str]) -> None:
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
            common = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        except ValueError:
            return said + remedy()
        whole = [name for name in names if arrays[name].shape == common]
        short = [name for name in names if arrays[name].shape != common]
        if not whole:
            return f"{said} If that is meant, write `jnp.broadcast_arrays({', '.join(names)})`." + remedy()
        return f"{said} If that is meant, write `jnp.broadcast_to({short[0]}, {whole[0]}.shape)`." + remedy()

    assert_shape(lambda: chex.assert_equal_shape(list(arrays.values())), message)


def assert_broadcast(arrays: Mapping[str, Any], remedy: Callable[[], str], *, own: int = 1) -> None:
    """Asserts that the leading axes of two arrays of boxes broadcast.

    Args:
      arrays: by the names of the caller's arguments, which the message repeats.
      remedy: what to write instead.
      own: how many axes at the end are not among them.

    Raises:
      ValueError: if they do not.
    """
    shapes = [array.shape[:-own] for array in arrays.values()]
    if shapes[0] == shapes[1] or () in shapes:
        return

    def holds() -> None:
        first, second = (shape[::-1] for shape in shapes)
        for one, other in zip(first, second, strict=False):
            if one != 1 and other != 1:
                chex.assert_equal(one, other)

    assert_shape(holds, lambda: f"Got {_shapes(arrays)}, whose leading axes do not broadcast.{remedy()}")


def assert_sets(sets: Mapping[str, Any]) -> None:
    """Asserts that two arrays hold sets of boxes, whose leading axes broadcast.

    Args:
      sets: by the names of the caller's arguments, which the message repeats.

    Raises:
      ValueError: if they do not.
    """
    assert_one_dimension(sets)
    said = f"Got {_shapes(sets)}, but sets of boxes are `[..., N, 2n]` and `[..., M, 2n]`"
    for name, boxes in sets.items():
        if boxes.ndim < 2:
            raise ValueError(f"{said}. For a set of one box write `{name}[None]`.")
    assert_broadcast(sets, lambda: f" {said}, with leading axes that broadcast.", own=2)


def assert_one_dimension(arrays: Mapping[str, Any]) -> None:
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


def _shapes(arrays: Mapping[str, Any]) -> str:
    return " and ".join(f"`{name}` of shape {array.shape}" for name, array in arrays.items())


def fitted(name: str, array: Any, leading: Shape, *, what: str = "one value a box") -> Any:  # noqa: ANN401
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
    if array.shape == leading:
        return array

    def holds() -> None:
        chex.assert_equal(len(array.shape), len(leading))
        for length, wanted in zip(array.shape, leading, strict=True):
            if length != 1:
                chex.assert_equal(length, wanted)

    assert_shape(holds, lambda: _does_not_fit(name, array, leading, what))
    return array


def _does_not_fit(name: str, array: Any, leading: Shape, what: str) -> str:  # noqa: ANN401
    shape = array.shape
    said = f"`{name}` has shape {shape}, but there is {what}, {leading}."
    if shape[:-1] == leading and shape:
        if shape[-1] == 1:
            return f"{said} Write `{name}[..., 0]`."
        join = "all" if array.dtype == bool else "mean"
        return f"{said} Write `jnp.{join}({name}, axis=-1)`, for example."
    missing = len(leading) - len(shape)
    if missing > 0 and shape == leading[: len(shape)]:
        return f"{said} Write `{name}[..., {', '.join(['None'] * missing)}]`."
    if missing > 0 and shape == leading[missing:]:
        return f"{said} Write `jnp.broadcast_to({name}, {leading})`."
    if len(shape) > 1 and shape[::-1] == leading:
        return f"{said} Write `{name}.T`."
    return said


def mask(value: object, leading: Shape, name: str = "where") -> Any:  # noqa: ANN401
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
    array: Any = _unwrapped(value)
    if not isinstance(array, (jax.Array, np.ndarray)):
        remedy = f" Write `jnp.asarray({name}, bool)`." if _has_numbers(value) else ""
        raise TypeError(f"`{name}` is a {type(value).__name__}, not an array.{remedy}")
    if array.dtype != bool:
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but a mask is boolean. Write `{name} != 0`; "
            "weights go into `reductions.weighted_mean`."
        )
    return fitted(name, array, leading)


def two_masks(where: object, leading: Shape, other_leading: Shape) -> tuple[Any, Any]:
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
        remedy = " Write `where=(where, None)` for the rows alone."
        if getattr(where, "shape", None) == other_leading != leading:
            remedy = " Write `where=(None, where)` for the columns alone."
        raise TypeError(
            f"`where` is a {type(where).__name__}, but all pairs take two masks: one of `a`, {leading}, and one of `b`, "
            f"{other_leading}, or None.{remedy}"
        )
    return mask(where[0], leading, "where[0]"), mask(where[1], other_leading, "where[1]")


# Options: numbers that a formula takes beside its boxes.


@dataclasses.dataclass(frozen=True)
class Interval:
    """The numbers that an option may be.

    Attributes:
      wanted: the words for them.
      holds: tells which numbers of an array are among them; NaN is never.
      example: one of them.
      is_exponent: whether the formula gains if a whole number is known while it is traced.
    """

    wanted: str
    holds: Callable[[np.ndarray], np.ndarray]
    example: float = 1.0
    is_exponent: bool = False


# Numbers that are multiplied and divided by keep within what law 6 promises of lengths, so that nothing overflows.
POSITIVE = Interval("from 1e-15 to 1e15", lambda x: (x >= 1e-15) & (x <= 1e15))
POSITIVE_OR_INFINITE = Interval("above 0", lambda x: x > 0)
NOT_NEGATIVE = Interval("0 or above", lambda x: x >= 0)
EXPONENT = Interval("above 0", lambda x: x > 0, example=2.0, is_exponent=True)
FINITE = Interval("finite", np.isfinite)
FROM_1 = Interval("from 1 to 1e15", lambda x: (x >= 1) & (x <= 1e15), example=1.5)
BETWEEN_0_AND_1 = Interval("above 0 and below 1", lambda x: (x > 0) & (x < 1), example=0.5)
FLOOR = Interval("from 1e-30 on, and below 1", lambda x: (x >= 1e-30) & (x < 1), example=1e-6)
LEAST_WIDTH = 1e-6  # of an interval of IoU that is stretched
LOWER_IOU = Interval(f"from 0 to 1 - {LEAST_WIDTH}", lambda x: (x >= 0) & (x <= 1 - LEAST_WIDTH), example=0.0)
UPPER_IOU = Interval(f"from {LEAST_WIDTH} to 1", lambda x: (x >= LEAST_WIDTH) & (x <= 1))


def option(name: str, value: object, interval: Interval, leading: Shape, dtype: np.dtype) -> Any:  # noqa: ANN401
    """The number, or the array of one number a box, that an option is.

    What is traced has no value yet, and passes.

    Args:
      name: of the option, which the message repeats.
      value: the option.
      interval: what it may be, once it is rounded to the dtype.
      leading: the shape of one value a box.
      dtype: what is computed in.

    Returns:
      A number or an array of NumPy, or an array of JAX, in that dtype.

    Raises:
      TypeError: if it is no number.
      ValueError: if it has another shape, or another value.
    """
    value = _unwrapped(value)
    if isinstance(value, jax.Array):
        numbers = value
    elif isinstance(value, (float, int, np.ndarray, np.generic)):
        with np.errstate(over="ignore", under="ignore"):
            numbers = np.asarray(value)
            numbers = numbers.astype(dtype) if numbers.dtype.kind in "fiuV" else numbers
    else:
        raise TypeError(
            f"`{name}` is {value!r}, a {type(value).__name__}, but it is a number.{_as_number(name, value)}"
        )
    if not (_is_floating(numbers.dtype) or jnp.issubdtype(numbers.dtype, jnp.integer)):
        raise TypeError(f"`{name}` has dtype {numbers.dtype}, but it is a number. Write `{name}={interval.example}`.")
    if numbers.shape:
        fitted(name, numbers, leading, what="one number in all, or one a box")
    if not isinstance(value, core.Tracer):
        if isinstance(numbers, jax.Array):
            with np.errstate(over="ignore", under="ignore"):
                known = np.asarray(numbers).astype(dtype)
        else:
            known = numbers
        fine = interval.holds(known)
        if not np.all(fine):
            raise ValueError(_bad_value(name, value, known, fine, interval))
    return numbers if numbers.dtype == dtype else numbers.astype(dtype)


def _as_number(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            return f" Write `{name}={float(value)}`."
        except ValueError:
            return ""
    return f" Write `{name}=jnp.asarray({value})`." if _has_numbers(value) else ""


def _bad_value(name: str, value: object, known: np.ndarray, fine: np.ndarray, interval: Interval) -> str:
    shown = f"is {value}"
    if np.ndim(known) and np.size(known) > 8:
        place = tuple(int(i) for i in np.argwhere(~fine)[0])
        shown = f"is {known[place]} at {list(place)}"
    elif not np.ndim(known) and interval.holds(np.asarray(value, np.float64)):
        shown = f"is {value}, which is {known} in {known.dtype}"
    return f"`{name}` {shown}, but it must be {interval.wanted}. Write `{name}={interval.example}`, for example."


def size_of_image(value: object, n: int, leading: Shape, dtype: np.dtype) -> Any:  # noqa: ANN401
    """The sizes of the images that boxes are in, one for all boxes or one an image.

    Args:
      value: `n` numbers, or an array `[..., n]` whose leading axes are the first ones of the boxes.
      n: dimensions of the boxes.
      leading: the shape of one value a box.
      dtype: what is computed in.

    Returns:
      An array of NumPy or JAX, `[n]` or `[..., n]` with as many axes as the boxes have.

    Raises:
      TypeError: if it holds no numbers.
      ValueError: if there are not `n`, or one is not positive.
    """
    name = "image_size"
    value = _unwrapped(value)
    if isinstance(value, (tuple, list)):
        numbers = [option(name, length, POSITIVE, leading, dtype) for length in value]
        count = len(numbers)
        size: Any = numbers
    elif isinstance(value, (jax.Array, np.ndarray)) and value.ndim:
        count = value.shape[-1]
        size = value
    else:
        example = f" Write `image_size={(value,) * n}`." if isinstance(value, (int, float)) else ""
        raise TypeError(
            f"`image_size` is {value!r}, but boxes of {2 * n} numbers need {n} numbers, the last one along x.{example}"
        )
    if count != n:
        cut = ""
        if count > n:
            cut = (
                f" Write `image_size={tuple(value[:n])}`."
                if isinstance(size, list)
                else " Write `image_size[..., :%d]`." % n
            )
        elif count == 1 and isinstance(size, list):
            cut = f" Write `image_size={tuple(value) * n}`."
        raise ValueError(
            f"`image_size` is {value}, but boxes of {2 * n} numbers need {n} numbers, the last one along x: the shape of the "
            f"image without its channels.{cut}"
        )
    if isinstance(size, list):
        if all(isinstance(number, (np.ndarray, np.generic)) and not np.ndim(number) for number in size):
            return np.stack(size)
        return jnp.stack(jnp.broadcast_arrays(*size), axis=-1)
    size = option(name, size, POSITIVE, size.shape, dtype)
    return expanded(name, size, leading)


def expanded(name: str, array: Any, leading: Shape) -> Any:  # noqa: ANN401
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


# The checks of most functions.


def pairs(layout: Layout, **arrays: object) -> tuple[Any, ...]:
    """Two arrays of one shape, as a loss takes them.

    Args:
      layout: what their last axes hold.
      **arrays: arguments of the caller under their own names, which the message repeats.

    Returns:
      Arrays of JAX or NumPy.

    Raises:
      TypeError: if one is not an array, or not of floating point.
      ValueError: if a last axis is another one, or the shapes differ.
    """
    checked_arrays = {name: laid_out(name, array, layout) for name, array in arrays.items()}
    assert_equal_shapes(checked_arrays, lambda: "")
    return tuple(checked_arrays.values())


def of_boxes(
    *names: str,
    layout: Layout = BOXES,
    equal: bool = False,
    window: str | None = None,
    ordered: Sequence[str] = (),
    **intervals: Interval,
) -> Check:
    """The check of a function of boxes.

    Args:
      *names: its arrays.
      layout: what their last axes hold.
      equal: whether they must have one shape, as the arrays of a loss, or broadcast.
      window: the name of an argument that is one box for all, or one an image, or None.
      ordered: two options, of which the first must be below the second, by `LEAST_WIDTH`.
      **intervals: what its options may be.

    Returns:
      A check for `checked`.
    """

    def check(function: str, given: Given, untouched: Given) -> Given:
        arrays = {name: laid_out(name, given[name], layout) for name in names}
        windows = {}
        if window is not None and given[window] is not None:
            windows = {window: laid_out(window, given[window], layout)}
        if layout is not COORDINATES:
            assert_one_dimension(arrays | windows)

        def remedy() -> str:
            return _all_with_all(function, given, intervals, arrays)

        if equal:
            assert_equal_shapes(arrays, remedy)
        elif len(names) == 2:
            assert_broadcast(arrays, remedy)
        leading = jnp.broadcast_shapes(*(array.shape[:-1] for array in arrays.values()))
        if "where" in given:
            given["where"] = mask(given["where"], leading)
        known = _options(given, untouched, list(arrays.values()), leading, intervals, ordered)
        given |= arrays | {name: expanded(name, array, leading) for name, array in windows.items()}
        return known

    check.layout = layout  # type: ignore[attr-defined]
    return check


def _all_with_all(function: str, given: Given, intervals: Mapping[str, Interval], arrays: Mapping[str, Any]) -> str:
    first, second = arrays
    if min(array.ndim for array in arrays.values()) < 2:
        return ""
    options = {
        name: given[name] for name in (*intervals, "image_size") if isinstance(given.get(name), (int, float, tuple))
    }
    called = function
    if options:
        called = f"functools.partial({function}, {', '.join(f'{name}={value}' for name, value in options.items())})"
    return f" To compare all with all write `similarity.pairwise({called})({first}, {second})`."


def _options(
    given: Given,
    untouched: Given,
    arrays: Sequence[Any],
    leading: Shape,
    intervals: Mapping[str, Interval],
    ordered: Sequence[str],
) -> Given:
    """Replaces options by numbers, and returns those that the formula may know."""
    dtype = dtype_to_compute_in(arrays)
    known = {}
    asked = [given[name] for name in ordered]
    for name, interval in intervals.items():
        value = given[name]
        if name in untouched:
            continue
        given[name] = option(name, value, interval, leading, dtype)
        if interval.is_exponent and isinstance(value, (int, float)) and value in (1, 2, 3, 4):
            known[name] = int(value)
    if "image_size" in given:
        given["image_size"] = size_of_image(given["image_size"], arrays[0].shape[-1] // 2, leading, dtype)
    if ordered:
        lower, upper = (given[name] for name in ordered)
        if not any(isinstance(bound, core.Tracer) for bound in (lower, upper)) and not np.all(
            lower + LEAST_WIDTH <= upper
        ):
            raise ValueError(
                f"`{ordered[0]}` is {asked[0]}, but it must be below `{ordered[1]}`, which is {asked[1]}, by "
                f"{LEAST_WIDTH} at least. "
                f"Write `{ordered[0]}=0.0`, for example."
            )
    return known
