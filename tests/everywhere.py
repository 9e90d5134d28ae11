"""Every public function, with its gradient, by every way of spreading its rows over eight devices.

Run with eight host devices. Prints JSON: for each way the functions that raise or whose numbers are not those of one
device, with the reason.
"""

import functools
import json
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tests.calls import CALLS, total

DEVICES = 8
SPLIT, WHOLE = PartitionSpec("data"), PartitionSpec()
COUNTS = {False: 16, True: DEVICES * 136}  # rows; a matrix has above 16,384 pairs on each device
set_mesh: Any = getattr(jax, "set_mesh", getattr(jax.sharding, "use_mesh", None))  # the second one before jax 0.8


def specs(call):
    """How the arrays and the result of a function are spread."""
    first, *others = (SPLIT for _ in call.shapes)
    return (first, *([WHOLE] if call.is_matrix else others)), WHOLE if call.is_reduction else SPLIT


def both(call):
    """The result and the gradients of a function; of a check, which returns nothing, that it ran."""

    def run(*arrays, **mapped):
        if not call.has_gradient:
            result = call.function(*arrays, **mapped)
            return (jnp.zeros(arrays[0].shape[:1]) if result is None else result,)
        every = tuple(range(len(call.shapes)))
        return call.function(*arrays, **mapped), jax.grad(partial(total(call.function), **mapped), every)(*arrays)

    return run


def on_mesh(call, arrays, axis_type):
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(axis_type,))
    put = [jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(arrays, specs(call)[0], strict=True)]
    with set_mesh(mesh):
        return jax.jit(both(call))(*put)


def in_shard_map(call, arrays):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread, result = specs(call)
    mapped = {"axis_name": "data"} if call.is_reduction else {}
    results = (result, spread) if call.has_gradient else (result,)
    return jax.jit(jax.shard_map(partial(both(call), **mapped), mesh=mesh, in_specs=spread, out_specs=results))(*arrays)


WAYS = {
    "explicit mesh": partial(on_mesh, axis_type=AxisType.Explicit),
    "automatic mesh": partial(on_mesh, axis_type=AxisType.Auto),
    "shard_map": in_shard_map,
}


# By version of JAX before which a function cannot have explicit axes, since they get lost on the way.
IN_GATHERS = {
    "matching": ["threshold_assignment", "rescue_targets", "majority", "take"],
    "assigners": ["atss", "smallest_inside", "task_aligned", "task_aligned, one kept", "task_aligned_tood", "sim_ota"],
    "suppression": ["nms", "nms, of turned boxes", "soft_nms"],
}
NEED_FOR_EXPLICIT_AXES = {
    "boxes.check": (0, 8),
    **dict.fromkeys(["costs.class_costs", "costs.class_costs, of images"], (0, 7)),
    **{f"{module}.{name}": (0, 7, 2) for module, names in IN_GATHERS.items() for name in names},
}


@functools.cache
def on_one_device(call):
    """The arrays of a function, and its result and gradients on one device."""
    arrays = call.arrays(COUNTS[call.is_matrix])
    if call.is_matrix:
        arrays[1] = arrays[1][:128]
    return arrays, jax.tree.leaves(jax.jit(both(call))(*arrays))


def fault(call, way):
    """What is wrong with a function spread in some way, or None."""
    if way == "explicit mesh" and jax.__version_info__ < NEED_FOR_EXPLICIT_AXES.get(call.name, ()):
        return None
    arrays, wanted = on_one_device(call)
    try:
        found = WAYS[way](call, arrays)
    except Exception as error:  # whatever it is, the test tells it
        return f"{type(error).__name__}: {error}"
    for one, other in zip(jax.tree.leaves(found), wanted, strict=True):
        scale = np.max(np.abs(np.asarray(other, np.float32)), initial=1)
        difference = np.max(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)), initial=0)
        if not difference <= 2e-5 * scale:
            return f"differs by {difference} of {scale}"
    return None


def main():
    assert jax.device_count() == DEVICES
    calls = [call for call in CALLS if call.name.startswith(tuple(sys.argv[1:]) or "")]
    faults = {way: {call.name: fault(call, way) for call in calls} for way in WAYS}
    print(json.dumps({way: {name: why for name, why in found.items() if why} for way, found in faults.items()}))


if __name__ == "__main__":
    main()
