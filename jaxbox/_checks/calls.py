"""How a formula becomes a public function: what is checked at each call, and how it then runs."""

import contextvars
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import core

from jaxbox._checks.arrays import (
    BOXES,
    COORDINATES,
    Array,
    Layout,
    Shape,
    assert_broadcast,
    assert_equal_shapes,
    assert_one_dimension,
    dtype_to_compute_in,
    expanded,
    laid_out,
    mask,
)
from jaxbox._checks.options import LEAST_WIDTH, Interval, option, size_of_image

Function = TypeVar("Function", bound=Callable[..., Any])
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

        def program(known: tuple[tuple[str, Any], ...], debugs: bool, given: Given) -> Array:
            del debugs  # part of the key: `numerics.divide` is another one then
            token = _inside.set(True)
            try:
                return formula(**dict(known), **given)
            finally:
                _inside.reset(token)

        program.__name__ = program.__qualname__ = formula.__name__
        compiled = jax.jit(program, static_argnums=(0, 1), inline=True)

        @functools.wraps(formula)
        def call(*args: object, **kwargs: object) -> Array:
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
                return compiled(tuple(known.items()), jax.config.jax_debug_infs, rest)  # type: ignore[attr-defined]
            raise TypeError(said)

        call.layout = getattr(check, "layout", COORDINATES)  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def _without_types(signature: inspect.Signature) -> str:
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def from_outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that somebody handed to the package: what it calls is checked, even inside a formula."""

    def call(*args: object, **kwargs: object) -> Array:
        token = _inside.set(False)
        try:
            return function(*args, **kwargs)
        finally:
            _inside.reset(token)

    return call


# The checks of most functions.


def pairs(layout: Layout, **arrays: object) -> tuple[Array, ...]:
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
    options: Mapping[str, Interval] | None = None,
) -> Check:
    """The check of a function of boxes.

    Args:
      *names: its arrays.
      layout: what their last axes hold.
      equal: whether they must have one shape, as the arrays of a loss, or broadcast.
      window: the name of an argument that is one box for all, or one an image, or None.
      ordered: two options, of which the first must be below the second, by `LEAST_WIDTH`.
      options: what its options may be.

    Returns:
      A check for `checked`.
    """
    check = functools.partial(_check_boxes, names, layout, equal, window, ordered, options or {})
    check.layout = layout  # type: ignore[attr-defined]
    return check


def _check_boxes(
    names: Sequence[str],
    layout: Layout,
    equal: bool,
    window: str | None,
    ordered: Sequence[str],
    intervals: Mapping[str, Interval],
    function: str,
    given: Given,
    untouched: Given,
) -> Given:
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


def _all_with_all(function: str, given: Given, intervals: Mapping[str, Interval], arrays: Mapping[str, Array]) -> str:
    first, second = arrays
    try:
        jnp.broadcast_shapes(*(array.shape[:-2] for array in arrays.values()))
    except ValueError:
        return ""
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
    arrays: Sequence[Array],
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
