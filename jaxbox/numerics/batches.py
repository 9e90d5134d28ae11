"""Problems of a batch: each device its own, and leading axes that some arrays have and others have not."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import NamedSharding, PartitionSpec

__all__ = ["batchwise", "over_batch"]

_Result = TypeVar("_Result")


def over_batch(function: Callable[..., _Result], arrays: Sequence[jax.Array], own: Sequence[int]) -> _Result:
    """A function of arrays with axes of their own, for all that the axes in front, which broadcast, count.

    No array is repeated along an axis that it has not: on a mesh with explicit axes a repeated one would lie otherwise
    than the array that has it.

    Args:
      function: of one of each.
      arrays: with axes in front.
      own: how many axes each has at the end.

    Returns:
      The results, with the axes in front.
    """
    batch = jnp.broadcast_shapes(*(array.shape[: array.ndim - axes] for array, axes in zip(arrays, own, strict=True)))
    ranks = [len(batch) + axes for axes in own]
    arrays = [jnp.expand_dims(x, range(rank - x.ndim)) for x, rank in zip(arrays, ranks, strict=True)]
    repeated: list[list[int]] = [[] for _ in arrays]
    for axis in reversed(range(len(batch))):
        has = [array.shape[axis] == batch[axis] for array in arrays]
        function = jax.vmap(function, in_axes=tuple(0 if whole else None for whole in has))
        for axes, whole in zip(repeated, has, strict=True):
            axes += [] if whole else [axis]
    return function(*(jnp.squeeze(array, axes) for array, axes in zip(arrays, repeated, strict=True)))


Form = Callable[..., tuple[jax.Array, ...]]
KERNELS_SINCE = 0, 10  # version of JAX; with earlier ones there are no kernels
OLDEST_WITH_TRITON = 8.0  # compute capability


def batchwise(signature: str, *, cpu: Form, default: Form, cuda: Form | None = None, tpu: Form | None = None) -> Form:
    """Makes a function of many problems one that each device runs on its own problems.

    The leading axes of all arrays are those of the batch. Under `jax.vmap` there is one more of them, so that a loop in
    the function runs as long as it must for the batch, not in a batched form of itself. Where a compiler spreads a
    batch over devices it would gather what a loop reads onto all of them; here nothing crosses. (On a TPU it is left to
    the compiler, which has no means to be told there.) The result has no derivative.

    Args:
      signature: the axes that one problem has, such as `nm,n->m`: of the arguments, then of the results, which are
        indices and have axes of the first argument.
      cpu: the function, of arrays that all have the same leading axes; the form for a CPU.
      default: the form for everything else.
      cuda: the form for a GPU of NVIDIA, which may be a kernel.
      tpu: the form for a TPU on which nothing is spread, or within a `shard_map`; may be a kernel.

    Returns:
      The function.
    """
    arguments, results = ([names.strip() for names in side.split(",")] for side in signature.split("->"))

    def leading(array: jax.Array) -> int:
        return array.ndim - len(arguments[0])

    @custom_vmap
    def run(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        spread = _spread_axes(arrays[0])[: leading(arrays[0])]
        if any(name is not None for name in spread):
            specs = (PartitionSpec(*spread),)
            return jax.shard_map(alone, in_specs=specs * len(arguments), out_specs=specs * len(results))(
                *(_gathered(array, spread) for array in arrays)
            )
        return alone(*arrays) if _is_inside_shard_map() else on_its_device(*arrays)

    @run.def_vmap
    def _(
        size: int, is_batched: tuple[bool, ...], *arrays: jax.Array
    ) -> tuple[tuple[jax.Array, ...], tuple[bool, ...]]:
        batch = (
            array if batched else jnp.broadcast_to(array, (size, *array.shape))
            for array, batched in zip(arrays, is_batched, strict=True)
        )
        return run(*batch), (True,) * len(results)

    kernels = {"cuda": cuda, "tpu": tpu} if jax.__version_info__ >= KERNELS_SINCE else {}
    forms = {"cpu": cpu} | {platform: form for platform, form in kernels.items() if form is not None}

    def alone(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        if not kernels:
            return lax.platform_dependent(*arrays, cpu=cpu, default=default)
        blanks = (_blank(arrays[0], arguments[0], names) for names in results)
        chosen = {"results": len(results), "forms": tuple(forms.items()), "default": default}
        return tuple(_form_of_platform.bind(*arrays, *blanks, **chosen))

    def on_its_device(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        parted = _partitioned(leading(arrays[0]), tuple(arguments), tuple(results), alone)
        return lax.platform_dependent(*arrays, tpu=alone, default=parted)

    return run


# As `lax.platform_dependent`, but each form is lowered for its own platform alone, as a kernel has to be: that function
# lowers every branch for every platform of a program for several. The last operands are blanks, which have the types of
# the results.
_form_of_platform = Primitive("form_of_platform")
_form_of_platform.multiple_results = True
_form_of_platform.def_abstract_eval(lambda *types, results, **_: types[-results:])


@_form_of_platform.def_impl
def _form_of_platform_impl(*arrays, results, forms, default):
    with jax.disable_jit(False):
        chosen = {"results": results, "forms": forms, "default": default}
        return jax.jit(functools.partial(_form_of_platform.bind, **chosen))(*arrays)


def _lowering(platform):
    def lower(context, *arrays, results, forms, default):
        def lowered(form):
            return mlir.lower_fun(lambda *operands: form(*operands[:-results]))(context, *arrays)

        form = dict(forms).get(platform, default)
        # An export of what Triton makes of a kernel is refused by JAX, since later versions might not run it.
        is_exported = context.module_context.lowering_parameters.for_export
        if platform == "cuda" and (is_exported or not _all_have_triton(_gpus())):
            form = default
        try:
            with warnings.catch_warnings():  # what JAX will remove is not news to a user: `default` serves then
                warnings.filterwarnings("ignore", "The Pallas Triton backend", DeprecationWarning)
                return lowered(form)
        except RuntimeError:  # a kernel is refused: under a mesh on a TPU, or for a GPU that is not there
            return lowered(default)

    return lower


mlir.register_lowering(_form_of_platform, _lowering("default"))
for _platform in ("cpu", "cuda", "tpu"):
    mlir.register_lowering(_form_of_platform, _lowering(_platform), platform=_platform)


def _gpus():
    """The GPUs of NVIDIA that are here; none where a program is compiled for others."""
    try:
        return jax.local_devices(backend="cuda")
    except RuntimeError:
        return []


def _all_have_triton(gpus):
    """Whether XLA compiles what is written for Triton: it refuses to for GPUs before Ampere."""
    return all(float(gpu.compute_capability) >= OLDEST_WITH_TRITON for gpu in gpus)


def _blank(array, names, wanted):
    """Indices with the axes of an array that are wanted, and that vary over devices as it does."""
    without = tuple(axis - len(names) for axis, name in enumerate(names) if name not in wanted)
    return jnp.any(array != array, axis=without).astype(np.int32)


@functools.cache
def _partitioned(leading, arguments, results, function):
    """The function, which a compiler that spreads a batch calls for the part of each device."""
    whole = custom_partitioning(function)
    batch = tuple(f"batch{axis}" for axis in range(leading))
    rule = " -> ".join(", ".join(" ".join((*batch, *names)) for names in side) for side in (arguments, results))

    def shardings(mesh, arrays):
        spread = tuple(arrays[0].sharding.spec)[:leading]
        part = NamedSharding(mesh, PartitionSpec(*spread))
        return (part,) * len(results), (part,) * len(arguments)

    whole.def_partition(
        partition=lambda mesh, arrays, _: (mesh, function, *shardings(mesh, arrays)),
        infer_sharding_from_operands=lambda mesh, arrays, _: shardings(mesh, arrays)[0],
        sharding_rule=rule,
    )
    return whole


def _spread_axes(array):
    """For each axis the names of the axes of an explicit mesh that its type says it is spread over, or None."""
    spec = getattr(getattr(jax.typeof(array), "sharding", None), "spec", ())
    return (*spec, *(None,) * (array.ndim - len(spec)))


def _gathered(array, spread):
    """The array with the axes of one problem in one piece."""
    wanted = (*spread, *(None,) * (array.ndim - len(spread)))
    return array if _spread_axes(array) == wanted else jax.sharding.reshard(array, PartitionSpec(*wanted))


def _is_inside_shard_map():
    return bool(jax.sharding.get_abstract_mesh().manual_axes)
