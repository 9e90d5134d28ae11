"""How a formula becomes a public function: what is checked at each call, and how it then runs."""

import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import core

from jaxbox._checks.arrays import (
    Array,
    Shape,
    assert_broadcast,
    assert_equal_shapes,
    assert_one_dimension,
    dtype_to_compute_in,
    expanded,
    kind,
    mask,
)
from jaxbox._checks.layouts import BOXES, COORDINATES, Layout, laid_out, window_of
from jaxbox._checks.options import ALONG_AXES, LEAST_WIDTH, Interval, along_axes, is_plain, option

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
            del debugs  # a part of the key: `looks_for_infinities`
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
                untouched = {
                    option: value
                    for option, value in defaults.items()
                    if type(given[option]) is float and given[option] == value
                }
                known = check(name, given, untouched) | untouched
                rest = {key: given[key] for key in given if key not in known}
                return compiled(tuple(known.items()), looks_for_infinities(), rest)
            raise TypeError(said)

        vars(call).update(check=check, defaults=defaults)  # for `options_of_rows`
        return cast(Function, call)

    return decorate


def looks_for_infinities() -> bool:
    """Whether JAX looks for infinities: a part of the key of a program, as `numerics.divide` is another one then."""
    return jax.config.jax_debug_infs  # type: ignore[attr-defined]  # the flags of JAX are not in its types


def _without_types(signature: inspect.Signature) -> str:
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


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
    options: Mapping[str, Interval],
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
    return BoxCheck(names, layout, equal, window, ordered, options)


@dataclasses.dataclass(frozen=True)
class BoxCheck:
    """The check of a function of boxes; the attributes are the arguments of `of_boxes`."""

    names: Sequence[str]
    layout: Layout
    equal: bool
    window: str | None
    ordered: Sequence[str]
    options: Mapping[str, Interval]

    def __call__(self, function: str, given: Given, untouched: Given) -> Given:
        """Checks the arguments of a call, as `checked` wants it."""
        arrays = {name: laid_out(name, given[name], self.layout) for name in self.names}
        windows = {}
        if self.window is not None and given[self.window] is not None:
            windows = {self.window: window_of(self.window, given[self.window], arrays[self.names[0]])}
        if self.layout is not COORDINATES:
            assert_one_dimension(arrays | windows)

        def remedy() -> str:
            passed = {name: given[name] for name in (*self.options, *ALONG_AXES) if name in given}
            return _all_with_all(function, {name: passed[name] for name in passed if name not in untouched}, arrays)

        if self.equal:
            assert_equal_shapes(arrays, remedy)
        elif len(self.names) == 2:
            assert_broadcast(arrays, lambda: f"whose leading axes do not broadcast.{remedy()}")
        leading = jnp.broadcast_shapes(*(array.shape[:-1] for array in arrays.values()))
        if "where" in given:
            given["where"] = mask(given["where"], leading)
        known = self.check_options(given, untouched, list(arrays.values()), leading)
        given |= arrays | {name: expanded(name, array, leading) for name, array in windows.items()}
        return known

    def check_options(self, given: Given, untouched: Given, arrays: Sequence[Array], leading: Shape) -> Given:
        """Replaces options by numbers, and returns those that the formula may know."""
        dtype = dtype_to_compute_in(arrays)
        known = {}
        asked = [given.get(name) for name in self.ordered]
        for name, interval in self.options.items():
            if name in untouched or name not in given:
                continue
            value = given[name]
            given[name] = option(name, value, interval, leading, dtype)
            if interval.is_exponent and isinstance(value, (int, float)) and value in (2, 3, 4):
                known[name] = int(value)
        for name in ALONG_AXES:
            if name in given:
                given[name] = along_axes(name, given[name], arrays[0].shape[-1], leading, dtype)
        if self.ordered and not _are_ordered(*(given[name] for name in self.ordered)):
            lower, upper = self.ordered
            raise ValueError(
                f"`{lower}` is {asked[0]}, but it must be below `{upper}`, which is {asked[1]}, by {LEAST_WIDTH} at "
                f"least. Write `{lower}=0.0`, for example."
            )
        return known


def _are_ordered(lower: Array, upper: Array) -> bool:
    """Whether one bound is below the other, as far as their values are known."""
    if isinstance(lower, core.Tracer) or isinstance(upper, core.Tracer):
        return True
    return bool(np.all(np.asarray(lower) + LEAST_WIDTH <= np.asarray(upper)))


def options_of_rows(function: Callable[..., Any], options: Given, arrays: Sequence[Array]) -> Given:
    """The options of a function of two boxes that all pairs have, checked as a call of it checks them.

    Args:
      function: if it is none of `checked`, its options stay what they are.
      options: by name.
      arrays: the boxes.

    Returns:
      Numbers, by name.
    """
    check = getattr(function, "check", None)
    if not isinstance(check, BoxCheck):
        return options
    defaults: Given = vars(function)["defaults"]
    given = defaults | options
    check.check_options(given, {name: defaults[name] for name in defaults.keys() - options.keys()}, arrays, ())
    return {name: given[name] for name in options}


def layout_of_rows(function: Callable[..., Any]) -> Layout:
    """What a function of two boxes takes: one that is none of `checked` may take anything.

    Args:
      function: or a `functools.partial` of one.

    Returns:
      A layout.
    """
    while isinstance(function, functools.partial):
        function = function.func
    check = getattr(function, "check", None)
    return check.layout if isinstance(check, BoxCheck) else COORDINATES


def similarity_of(value: object, arrays: Sequence[Array], example: str) -> jax.tree_util.Partial:
    """The similarity that an argument is, with its options: a tree of arrays, so that these may be traced.

    Args:
      value: the argument.
      arrays: the boxes that it will be called with.
      example: the name of one, which the message says to write.

    Raises:
      TypeError: if it is no function.
    """
    if not callable(value):
        raise TypeError(
            f"`similarity` is {kind(value)}, but it is a function of two boxes. Write "
            f"`similarity=similarity.{example}`."
        )
    function, options = value, {}
    if isinstance(value, functools.partial) and not value.args:
        function, options = value.func, value.keywords
    return jax.tree_util.Partial(function, **options_of_rows(function, options, arrays))


def _all_with_all(function: str, options: Given, arrays: Mapping[str, Array]) -> str:
    first, second = arrays
    try:
        jnp.broadcast_shapes(*(array.shape[:-2] for array in arrays.values()))
    except ValueError:
        return ""
    if min(array.ndim for array in arrays.values()) < 2:
        return ""
    called = function
    if options:
        written = ", ".join(f"{name}={_as_code(name, value)}" for name, value in options.items())
        called = f"functools.partial({function}, {written})"
    return f" To compare all with all write `similarity.pairwise({called})({first}, {second})`."


def _as_code(name: str, value: object) -> str:
    """How to write an option: as a number, or by its name if it is an array."""
    if isinstance(value, (int, float)):
        return repr(float(value)) if np.isfinite(value) else f'float("{value}")'
    return repr(value) if is_plain(value) else name
