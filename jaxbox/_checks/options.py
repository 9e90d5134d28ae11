"""What is asserted about options: the numbers that a formula takes beside its boxes."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import core

from jaxbox._checks.arrays import Array, Shape, expanded, fitted, has_numbers, is_floating, kind, unwrapped


@dataclasses.dataclass(frozen=True)
class Interval:
    """The numbers that an option may be.

    Attributes:
      wanted: the words for them.
      holds: tells which numbers of an array are among them; NaN is never.
      example: one of them, or None.
      is_exponent: whether the formula gains if a whole number is known while it is traced.
    """

    wanted: str
    holds: Callable[[np.ndarray], np.ndarray]
    example: float | None = 1.0
    is_exponent: bool = False


# Numbers that are multiplied and divided by keep within what law 6 promises of lengths, so that nothing overflows.
POSITIVE = Interval("from 1e-15 to 1e15", lambda x: (x >= 1e-15) & (x <= 1e15))
LENGTH = dataclasses.replace(POSITIVE, example=None)
POSITIVE_OR_INFINITE = Interval("above 0", lambda x: x > 0)
NOT_NEGATIVE = Interval("0 or above", lambda x: x >= 0)
EXPONENT = Interval("above 0", lambda x: x > 0, example=2.0, is_exponent=True)
FINITE = Interval("finite", np.isfinite)
FROM_1 = Interval("from 1 to 1e15", lambda x: (x >= 1) & (x <= 1e15), example=1.5)
FACTOR = Interval("from 0 to 1e15", lambda x: (x >= 0) & (x <= 1e15))
SHARE = Interval("from 0 to 1", lambda x: (x >= 0) & (x <= 1), example=0.5)
LOGARITHM = Interval("from 0 to 50", lambda x: (x >= 0) & (x <= 50), example=4.0)  # of a factor of a side
BETWEEN_0_AND_1 = Interval("above 0 and below 1", lambda x: (x > 0) & (x < 1), example=0.5)
FLOOR = Interval("from 1e-30 on, and below 1", lambda x: (x >= 1e-30) & (x < 1), example=1e-6)
# Of the longest length of a pair, below which a side is raised. Half precision rounds 1e-6 to less than that.
SHARE_OF_LENGTH = Interval("from 9e-7 on, and below 1", lambda x: (x >= 9e-7) & (x < 1), example=1e-6)
LEAST_WIDTH = 1e-6  # of an interval of IoU that is stretched
LOWER_IOU = Interval(f"from 0 to 1 - {LEAST_WIDTH}", lambda x: (x >= 0) & (x <= 1 - LEAST_WIDTH), example=0.0)
UPPER_IOU = Interval(f"from {LEAST_WIDTH} to 1", lambda x: (x >= LEAST_WIDTH) & (x <= 1))


def option(name: str, value: object, interval: Interval, leading: Shape, dtype: np.dtype) -> Array:
    """The number, or the array of one number a box, that an option is.

    What is traced has no value yet, and passes.

    Args:
      name: of the option, which the message repeats.
      value: the option.
      interval: what it may be, once it is rounded to the dtype.
      leading: the shape of one value a box.
      dtype: what is computed in.

    Returns:
      A number or an array of NumPy, or what is traced, in that dtype.

    Raises:
      TypeError: if it is no number.
      ValueError: if it has another shape, or another value.
    """
    value = unwrapped(value)
    if type(value) is int:
        value = _within_reach(value)
    if isinstance(value, (float, int, np.ndarray, np.generic)):
        numbers: Array = np.asarray(float(value) if type(value) is int else value)
    elif isinstance(value, jax.Array):
        numbers = value
    else:
        remedy = "" if interval.example is None else _as_number(name, value)
        raise TypeError(f"`{name}` is {value!r}, {kind(value)}, but it is a number.{remedy}")
    if not (is_floating(numbers.dtype) or jnp.issubdtype(numbers.dtype, jnp.integer)):
        remedy = "" if interval.example is None else f" Write `{name}={interval.example}`."
        raise TypeError(f"`{name}` has dtype {numbers.dtype}, but it is a number.{remedy}")
    if numbers.shape:
        fitted(name, numbers, leading, what="one number in all, or one a box" if leading else "one number in all")
    if isinstance(numbers, core.Tracer):
        return numbers.astype(dtype)
    with np.errstate(over="ignore", under="ignore"):  # as JAX does, without NumPy's warning
        known = np.asarray(numbers).astype(dtype)
    fine = interval.holds(known)
    if not np.all(fine):
        raise ValueError(_bad_value(name, value, known, fine, interval))
    return known


def thresholds(low: object, high: object, dtype: np.dtype) -> tuple[Array, Array]:
    """Below which a pair is none, and from which on it is one.

    Args:
      low: at most `high`.
      high: a number.
      dtype: what is computed in.

    Returns:
      Numbers of NumPy, or what is traced, in that dtype.

    Raises:
      TypeError: if one is no number.
      ValueError: if one is not finite, or `low` is known to be above `high`.
    """
    found = tuple(option(name, value, FINITE, (), dtype) for name, value in (("low", low), ("high", high)))
    known = all(not isinstance(number, core.Tracer) for number in found)
    if known and not np.asarray(found[0]) <= np.asarray(found[1]):
        raise ValueError(
            f"`low` is {low}, but it is at most `high`, which is {high}: what is below `low` answers for no target, "
            "and what is between is ignored. Write `low=high` if nothing is."
        )
    return found


def _within_reach(value: int) -> float:
    """A whole number, or infinity if no number of floating point is as large."""
    try:
        float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value


def _as_number(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            return f" Write `{name}={float(value)}`."
        except ValueError:
            return ""
    return f" Write `{name}=jnp.asarray({value})`." if has_numbers(value) else ""


def _bad_value(name: str, value: object, known: np.ndarray, fine: np.ndarray, interval: Interval) -> str:
    shown = f"is {value}"
    if np.ndim(known) and np.size(known) > 8:
        place = tuple(int(i) for i in np.argwhere(~fine)[0])
        shown = f"is {known[place]} at {list(place)}"
    elif not np.ndim(known) and interval.holds(np.asarray(value, np.float64)):
        shown = f"is {value}, which is {known} in {known.dtype}"
    remedy = "" if interval.example is None else f" Write `{name}={interval.example}`, for example."
    return f"`{name}` {shown}, but it must be {interval.wanted}.{remedy}"


SIZE = LENGTH, "the last one along x", ": the shape of the image without its channels"
ALONG_AXES = {
    "image_size": SIZE,
    "new_size": SIZE,
    "offset": (dataclasses.replace(FINITE, example=None), "the first one along x", ""),
}  # options with a number for each axis of space: what each may be, and in which order

PerAxis = jax.Array | np.ndarray | Sequence[float | jax.Array | np.ndarray]  # a number for each axis of space


def along_axes(name: str, value: object, length: int, leading: Shape, dtype: np.dtype) -> Array:
    """What an option of `ALONG_AXES` says of each axis of space, for all boxes or for each image.

    Args:
      name: of the option.
      value: `n` numbers, or an array `[..., n]` whose leading axes are the first ones of the boxes.
      length: numbers of a box, at least two for each of its n axes.
      leading: the shape of one value a box.
      dtype: what is computed in.

    Returns:
      An array of NumPy or JAX, `[n]` or `[..., n]` with as many axes as the boxes have.

    Raises:
      TypeError: if it holds no numbers.
      ValueError: if there are not `n`, or one is not what it may be.
    """
    interval, order, remark = ALONG_AXES[name]
    n = length // 2
    value = unwrapped(value)
    if isinstance(value, (tuple, list)):
        numbers = [option(name, number, interval, leading, dtype) for number in value]
        count = len(numbers)
        size: Array = numbers
    elif isinstance(value, (jax.Array, np.ndarray)) and value.ndim:
        count = value.shape[-1]
        size = value
    else:
        example = f" Write `{name}={(value,) * n}`." if isinstance(value, (int, float)) else ""
        raise TypeError(f"`{name}` is {value!r}, but boxes of {length} numbers need {n} numbers, {order}.{example}")
    if count != n:
        raise ValueError(
            f"`{name}` is {value}, but boxes of {length} numbers need {n} numbers, {order}{remark}."
            f"{_other_length(name, value, count, n)}"
        )
    if isinstance(size, list):
        library = jnp if any(isinstance(number, jax.Array) for number in size) else np
        return library.stack(library.broadcast_arrays(*size), axis=-1)
    size = option(name, size, interval, size.shape, dtype)
    return expanded(name, size, leading)


def _other_length(name: str, value: Array, count: int, n: int) -> str:
    """What to write instead of `count` numbers, one of which may be that of the channels of an image."""
    if count < n:
        return f" Write `{name}={tuple(value) * n}`." if is_plain(value) and count == 1 else ""
    if ALONG_AXES[name] is not SIZE:
        return ""
    if not isinstance(value, (tuple, list)):
        return f" If they come first write `{name}[..., :{n}]`."
    if not is_plain(value):
        return ""
    some = value[-n:] if value[0] in (1, 3, 4) else value[:n]
    return f" Write `{name}={tuple(some)}`."


def is_plain(value: object) -> bool:
    """Whether a value is several numbers of Python."""
    return isinstance(value, (tuple, list)) and all(isinstance(number, (int, float)) for number in value)
