"""What XLA is told: the dtype to compute in, coordinates apart, where a fusion ends, all pairs in chunks.

Nothing here changes a number. The forms are those that the compiled programs are fast with; `tests/test_compiled.py`
counts what they bring.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax

__all__ = [
    "all_pairs",
    "coordinates",
    "fusion_barrier",
    "in_chunks",
    "promote",
    "row_sums",
    "settled",
    "settled_for_slopes",
    "settled_slope",
    "share_of_the_first",
    "together",
]


def promote(*arrays: jax.Array | np.ndarray) -> tuple[jax.Array, ...]:
    """Gives arrays one dtype to compute in: float64 if any is float64, else float32.

    Half precision is for storage: bfloat16 has 8 bits, so a difference of two coordinates has lost most of them before
    it is taken. The cast transposes to a cast, so a gradient comes back in the dtype of its input.

    Args:
      *arrays: floating point arrays of any shapes.

    Returns:
      The same arrays, all float32 or all float64.
    """
    known = [jnp.asarray(array) for array in arrays]
    return tuple(array.astype(_dtype_of(known)) for array in known)


def _dtype_of(arrays):
    return jnp.float64 if any(array.dtype == jnp.float64 for array in arrays) else jnp.float32


def _by_platform(*operands, cpu, tpu, gpu):
    """The function of the platform that a program is lowered for, applied to the operands.

    Every choice by platform is made here. All three functions give the same numbers, so that a test can have each of
    them run on a CPU: it replaces this function.
    """
    forms = {"cpu": cpu} | ({} if tpu is gpu else {"tpu": tpu})  # each is traced
    return lax.platform_dependent(*operands, **forms, default=gpu)


TILE = 128  # rows of boxes that lie together on a TPU


def _apart(x):
    """The slices of the last axis, in the form that is fast on the platform."""
    *leading, length = x.shape
    places = range(length)

    def sliced(x: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(x[..., place] for place in places)

    if not leading or not all(isinstance(side, int) for side in x.shape) or _is_spread(x):
        return sliced(x)

    def in_tiles(x: jax.Array) -> tuple[jax.Array, ...]:
        tiles = x.reshape(-1, TILE, length)
        return tuple(tiles[..., place].reshape(leading) for place in places)

    def with_a_stride(x: jax.Array) -> tuple[jax.Array, ...]:
        flat = x.reshape(*leading[:-1], leading[-1] * length)
        return tuple(flat[..., place::length] for place in places)

    return _by_platform(x, cpu=sliced, tpu=in_tiles if _has_tiles(x) else sliced, gpu=with_a_stride)


def _has_tiles(x):
    """Whether the rows of a flat array are whole tiles, on each device as well."""
    return x.ndim == 2 and len(x) % 1024 == 0 and len(x) % (TILE * jax.device_count()) == 0


def _each_alone(dtype, dx):
    """What `_apart` gives, in a form whose transpose is one loop over the boxes."""
    *leading, length = dx.shape
    places = np.eye(length, dtype=bool)

    def summed(dx: jax.Array) -> tuple[jax.Array, ...]:
        dx = dx.astype(dtype)
        return tuple(jnp.sum(jnp.where(place, dx, 0), axis=-1) for place in places)

    def in_tiles(dx: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(part.reshape(leading) for part in summed(dx.reshape(-1, TILE, length)))

    def summed_in_its_own_dtype(dx: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jnp.sum(jnp.where(place, dx, 0), axis=-1).astype(dtype) for place in places)

    have_tiles = isinstance(dx.size, int) and not _is_spread(dx) and _has_tiles(dx)
    if dx.dtype == dtype and not have_tiles:
        return summed(dx)
    return _by_platform(dx, cpu=summed, tpu=in_tiles if have_tiles else summed, gpu=summed_in_its_own_dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _coordinates(dtype, x):
    return tuple(coordinate.astype(dtype) for coordinate in _apart(x))


@_coordinates.defjvp
def _coordinates_jvp(dtype, primals, tangents):
    (x,), (dx,) = primals, tangents
    return _coordinates(dtype, x), _each_alone(dtype, dx)


def coordinates(*arrays: jax.Array | np.ndarray) -> tuple[tuple[jax.Array, ...], ...]:
    """The coordinates along the last axis of each array as separate arrays, in the dtype that `promote` gives.

    A coordinate is a slice. Its tangent is written as a sum over the axis that keeps one term. It is that slice all the
    same, but its transpose chooses among the gradients of the coordinates, which XLA does for all of them in one loop
    over the boxes. The transpose of a slice would pad, or concatenate: a loop and a copy for every coordinate.

    On a GPU the slices are strided ones of rows laid end to end: those of a column keep an axis of length 1, between
    which and the other shape XLA cuts a kernel. On a TPU a column of a flat array fills an eighth of each register, so
    that whole tiles of rows become an axis first.

    Args:
      *arrays: floating point arrays, `[..., k]`.

    Returns:
      For each, `k` arrays `[...]`; all float32 or all float64.
    """
    known = [jnp.asarray(array) for array in arrays]
    return tuple(_coordinates(_dtype_of(known), array) for array in known)


def together(parts: Iterable[jax.Array]) -> jax.Array:
    """Arrays as the last axis of one, the inverse of `coordinates`.

    On a CPU a stack in front that is transposed is the faster one, elsewhere a stack at the end.

    Args:
      parts: `k` arrays `[...]` of one dtype.

    Returns:
      An array `[..., k]`.
    """

    def moved(*parts: jax.Array) -> jax.Array:
        return jnp.moveaxis(jnp.stack(parts), 0, -1)

    def stacked(*parts: jax.Array) -> jax.Array:
        return jnp.stack(parts, axis=-1)

    return _by_platform(*parts, cpu=moved, tpu=stacked, gpu=stacked)


def share_of_the_first(
    wins: jax.Array, x: jax.Array, y: jax.Array | np.ndarray, chosen: jax.Array | np.ndarray
) -> jax.Array:
    """How much of the derivative of a maximum or minimum is that of the first number: 1, or 1/2 for equal numbers.

    On a GPU it is told from the chosen number, which a fusion reads anyway: on an H100 the gradient of GIoU moved 4.7
    times the bytes of its limit, and moves 3.4 times these.

    Args:
      wins: whether the first number is chosen, and the second one is another.
      x: the first number.
      y: the second number.
      chosen: their maximum or minimum.

    Returns:
      0, 1/2 or 1, in the dtype of `x`.
    """
    none, half, all_of_it = (x.dtype.type(share) for share in (0, 0.5, 1))

    def by_comparison(wins: jax.Array, x: jax.Array, y: jax.Array, _: jax.Array) -> jax.Array:
        return jnp.where(wins, all_of_it, jnp.where(x == y, half, none))

    def by_choice(_: jax.Array, x: jax.Array, y: jax.Array, chosen: jax.Array) -> jax.Array:
        return jnp.where(x == chosen, jnp.where(y == chosen, half, all_of_it), none)

    return _by_platform(wins, x, y, chosen, cpu=by_comparison, tpu=by_comparison, gpu=by_choice)


PAIRS_AT_ONCE = 2**14, 2**18  # on a CPU: at least, and at most
PAIRS_AT_ONCE_ELSEWHERE = 2**24  # at most; with the chunks of a CPU an H100 took 5 to 11 times as long


def all_pairs(function: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Makes a function of two rows compare every row of one array with every row of another.

    A derivative in reverse mode keeps a dozen numbers a pair, or computes them again where they are needed. On a CPU
    this one computes them again, for a sixteenth of the rows at a time, within the bounds of `PAIRS_AT_ONCE`: it needs
    less than two numbers a pair, and stays in a cache. Fewer pairs than the lower bound are differentiated all at once,
    and so are those on other platforms, up to `PAIRS_AT_ONCE_ELSEWHERE`.

    Args:
      function: of two arrays `[k]`, with one number as its result. It may close over traced values.

    Returns:
      A function of arrays `[N, k]` and `[M, k]` that returns `[N, M]`.
    """

    def compare_all(a: jax.Array, b: jax.Array) -> jax.Array:
        # A number of rows that is a symbol, as in `jax.export`, cannot be divided into chunks.
        pairs = a.shape[0] * b.shape[0]
        if not isinstance(pairs, int) or pairs <= min(PAIRS_AT_ONCE) or (_is_spread(a) and _is_spread(b)):
            return _compare(function, a, b)
        if _is_spread(a):
            return all_pairs(lambda y, x: function(x, y))(b, a).T
        # With rows made of the arguments: zeros would not vary over the devices of a `shard_map`, as these do.
        of_rows, captured = _without_closure(function, jnp.sum(a, axis=0), jnp.sum(b, axis=0))
        return _compare_in_chunks(of_rows, a, b, *captured)

    return compare_all


def _without_closure(function, *examples):
    """A function whose captured values are arguments. `jax.closure_convert` leaves those that are not real numbers."""
    program = jax.make_jaxpr(function)(*examples)

    def of_rows(x, y, *captured):
        (value,) = core.eval_jaxpr(program.jaxpr, captured, x, y)
        return value

    return of_rows, program.consts


def _is_spread(rows):
    """Whether the type of an array says that its rows lie on several devices, so that they have no chunks."""
    return any(name is not None for name in jax.typeof(rows).sharding.spec)


def _compare(function, a, b, *captured):
    row = jax.vmap(lambda x, y: function(x, y, *captured), in_axes=(None, 0))
    return jax.vmap(row, in_axes=(0, None))(a, b)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _compare_in_chunks(of_rows, a, b, *captured):
    return _compare(of_rows, a, b, *captured)


@_compare_in_chunks.defjvp
def _compare_in_chunks_jvp(of_rows, primals, tangents):
    count, columns = (len(rows) for rows in primals[:2])
    fewest, most = PAIRS_AT_ONCE

    def one_by_one(pairs_at_once, a, *others):
        chunks = -(-count // max(1, pairs_at_once // columns))
        return _chunk_by_chunk(chunks, lambda some: _compare(of_rows, some, *others), a)

    def tangent(compare):
        return lambda: jax.jvp(compare, primals, tangents)[1]

    def elsewhere(*rows):
        at_once = count * columns <= PAIRS_AT_ONCE_ELSEWHERE
        return _compare(of_rows, *rows) if at_once else one_by_one(PAIRS_AT_ONCE_ELSEWHERE, *rows)

    on_cpu = functools.partial(one_by_one, min(max(count * columns // 16, fewest), most))
    others = tangent(elsewhere)
    return _compare_in_chunks(of_rows, *primals), _by_platform(cpu=tangent(on_cpu), tpu=others, gpu=others)


def _chunk_by_chunk(chunks, function, rows):
    """A function of rows that keeps none of what its derivative needs: it is computed again, for a chunk at a time."""
    count = len(jax.tree.leaves(rows)[0])
    at_once = -(-count // chunks)

    def split(x):
        # The last chunk is filled up with the last row, whose derivatives are counted 0 times.
        filled = jnp.pad(x, [(0, at_once * chunks - count), *[(0, 0)] * (x.ndim - 1)], mode="edge")
        return filled.reshape(chunks, at_once, *x.shape[1:])

    values = lax.map(jax.checkpoint(function, prevent_cse=False), jax.tree.map(split, rows))
    return values.reshape(-1, *values.shape[2:])[:count]


ROWS_AT_ONCE = 2**16  # on a CPU
_Loss = TypeVar("_Loss", bound=Callable[..., jax.Array])


def in_chunks(loss: _Loss) -> _Loss:
    """A loss whose derivative a CPU computes for some rows at a time, if there are many.

    A loss of turned boxes is cut into a dozen kernels, which hand each other 20 to 60 numbers a box. For a million
    boxes these are new memory at each call, which takes as much time as to compute them; in chunks they stay in place.
    Where the hull of a GIoU is searched for, that takes most of the time, and chunks bring nothing.

    Args:
      loss: of `predictions` and `targets`, `[..., k]`, of one shape, and of options by name, which are None, a number,
        or an array, `()` or of a shape that broadcasts against `[...]`. It returns `[...]`.

    Returns:
      The same function.
    """

    @functools.wraps(loss)
    def call(predictions: jax.Array, targets: jax.Array, **options: jax.Array | np.ndarray | float | None) -> jax.Array:
        leading = predictions.shape[:-1]
        # A symbol cannot be divided into chunks, and rows that lie on several devices would be gathered.
        is_whole = all(isinstance(side, int) for side in leading) and jax.device_count() == 1
        if not is_whole or _is_spread(predictions) or math.prod(leading) < 2 * ROWS_AT_ONCE:
            return loss(predictions, targets, **options)
        given = {name: value for name, value in options.items() if isinstance(value, (jax.Array, np.ndarray))}
        known = {name: value for name, value in options.items() if name not in given}
        of_rows = {name: jnp.broadcast_to(value, leading) for name, value in given.items() if value.ndim}
        arrays = {"predictions": predictions, "targets": targets} | of_rows
        flat = {name: array.reshape(-1, *array.shape[len(leading) :]) for name, array in arrays.items()}

        def of_some(rows: dict[str, jax.Array], scalars: dict[str, jax.Array]) -> jax.Array:
            return loss(**rows, **scalars, **known)

        scalars = {name: jnp.asarray(value) for name, value in given.items() if name not in of_rows}
        return _in_chunks(of_some, flat, scalars).reshape(leading)

    return cast(_Loss, call)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _in_chunks(function, rows, scalars):
    return function(rows, scalars)


@_in_chunks.defjvp
def _in_chunks_jvp(function, primals, tangents):
    def one_by_one(rows, scalars):
        chunks = -(-len(rows["predictions"]) // ROWS_AT_ONCE)
        return _chunk_by_chunk(chunks, lambda some: function(some, scalars), rows)

    def tangent(form):
        return lambda: jax.jvp(form, primals, tangents)[1]

    elsewhere = tangent(function)
    return _in_chunks(function, *primals), _by_platform(cpu=tangent(one_by_one), tpu=elsewhere, gpu=elsewhere)


def row_sums(x: jax.Array) -> jax.Array:
    """The sum along the last axis, which begins where `x` is complete: on CPU a long axis has the cliff of a mean.

    Args:
      x: floating point array, `[..., k]`.

    Returns:
      Sums, `[...]`.
    """
    return jnp.sum(_rounded(x) if x.shape[-1] != 1 else x, axis=-1)


# How many losses XLA lets a GPU sum up in the kernel of their gradients: what they are made of fits into a cache.
TOO_MANY_TO_SUM_WITH_GRADIENTS = 750_000


def _rounded(x):
    precision = jnp.finfo(x.dtype)
    return lax.reduce_precision(x, exponent_bits=precision.nexp, mantissa_bits=precision.nmant)


@jax.custom_jvp
def _fusion_barrier(x):
    return _rounded(x)


@_fusion_barrier.defjvp
def _fusion_barrier_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    few = not isinstance(x.size, int) or x.size < TOO_MANY_TO_SUM_WITH_GRADIENTS
    held = _fusion_barrier(x) if few else _by_platform(x, cpu=_rounded, tpu=_rounded, gpu=lax.optimization_barrier)
    return held, _rounded(dx)


def fusion_barrier(x: jax.Array) -> jax.Array:
    """`x`, which XLA computes completely before a reduction of it begins.

    On CPU, XLA takes the chain of elementwise operations before a sum into the kernel of the sum, which then computes a
    box at a time: `loss(...).mean()` was 30 to 65 times slower than `loss(...)`. Rounding to the precision that `x`
    already has changes no bit and ends the chain; `lax.optimization_barrier` does not, since it is removed before
    fusion.

    On a GPU there is no need, except beside the gradients of many boxes: a sum there that is not kept apart from them
    costs 3.0 to 3.7 times the bytes of their limit, and else 1.8 times.

    Args:
      x: floating point array.

    Returns:
      `x`, bit for bit.
    """
    return _fusion_barrier(x)


def _divided(x):
    return x / jnp.where(jnp.abs(x) < jnp.inf, jnp.ones((), x.dtype), jnp.full((), 2, x.dtype))


@jax.custom_jvp
def _settled(x):
    return _by_platform(x, cpu=_divided, tpu=lambda x: x, gpu=lambda x: x)


@_settled.defjvp
def _settled_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _settled(x), dx


def settled(x: jax.Array) -> jax.Array:
    """`x`, which XLA computes once on a CPU, however many kernels use it.

    XLA takes cheap operations into each kernel that uses their result, and with them what they are made of: the
    complete IoU of all pairs was computed for every kernel of an assignment, which took twice as long. A division is
    not repeated. This one is by 1, or by 2 where that changes nothing either, so that it cannot be left out.

    Args:
      x: floating point array.

    Returns:
      `x`, bit for bit, infinities and NaN too; a subnormal number may be 0.
    """
    return _settled(x)


@jax.custom_jvp
def _settled_for_slopes(*arrays):
    return arrays


@functools.partial(_settled_for_slopes.defjvp, symbolic_zeros=True)
def _settled_for_slopes_jvp(primals, tangents):
    return tuple(map(settled, primals)), tuple(tangents)


def settled_for_slopes(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Arrays that are `settled` where a derivative of any of them is taken: a value alone may be one kernel.

    Args:
      *arrays: floating point arrays of any shapes.

    Returns:
      The arrays, bit for bit.
    """
    return _settled_for_slopes(*arrays)


@jax.custom_jvp
def _settled_slope(x):
    return x


@_settled_slope.defjvp
def _settled_slope_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents

    def divided(x: jax.Array, dx: jax.Array) -> jax.Array:
        return dx / jnp.where(x == x, jnp.ones((), x.dtype), jnp.full((), 2, x.dtype))

    def as_it_is(_: jax.Array, dx: jax.Array) -> jax.Array:
        return dx

    return _settled_slope(x), _by_platform(x, dx, cpu=divided, tpu=as_it_is, gpu=as_it_is)


def settled_slope(x: jax.Array) -> jax.Array:
    """`x`, whose gradient XLA computes once on a CPU, as `settled` does for a number.

    The gradient of boxes is written by one kernel, for all columns of which it computes the gradients of all of them.

    Args:
      x: floating point array.

    Returns:
      `x`.
    """
    return _settled_slope(x)
