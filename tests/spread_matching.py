"""Matching with layers in front of a batch that is spread over eight devices, by every way of spreading it.

Run with eight host devices. Prints JSON: for each way whether the pairs differ from those of one device, what crosses
between devices in the compiled program, and whether the same program for TPUs has a kernel.
"""

import json
import re

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxbox import matching
from tests.everywhere import set_mesh

COLLECTIVE = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"


def match(costs, where):
    return matching.linear_assignment(costs, column_where=where)


def batch():
    rng = np.random.default_rng(0)
    costs = rng.uniform(size=(3, 16, 1, 12)) + 0.05 * rng.normal(size=(3, 16, 30, 12))
    where = rng.uniform(size=(3, 16, 12)) < 0.7
    return np.where(where[:, :, None], np.float32(costs), np.float32(np.nan)), where


def ways(costs, where):
    """For each way the program and its arguments, spread over the second axis."""
    images = PartitionSpec(None, "data")
    automatic, explicit = (
        jax.make_mesh((8,), ("data",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit)
    )

    def put(mesh):
        return [jax.device_put(array, NamedSharding(mesh, images)) for array in (costs, where)]

    def mapped(**check):
        return jax.shard_map(match, mesh=automatic, in_specs=images, out_specs=images, **check)

    yield "jit", match, put(automatic), automatic
    yield "vmap", jax.vmap(jax.vmap(match)), put(automatic), automatic
    yield "explicit mesh", match, put(explicit), explicit
    yield "shard_map", mapped(), put(automatic), automatic
    yield "shard_map, check_vma=False", mapped(check_vma=False), put(automatic), automatic


def main():
    assert jax.device_count() == 8
    costs, where = batch()
    wanted = jax.jit(match)(costs, where)
    results = {}

    def record(way, found, text="", for_tpu=""):
        differs = any(np.any(np.asarray(one) != other) for one, other in zip(found, wanted, strict=True))
        results[way] = {"differs": differs, "collectives": sorted(set(re.findall(COLLECTIVE, text)))}
        results[way]["kernels for a TPU"] = for_tpu.count("@tpu_custom_call")

    for way, function, arguments, mesh in ways(costs, where):
        with set_mesh(mesh):
            program = jax.jit(function).lower(*arguments).compile()
            for_tpu = jax.jit(function).trace(*arguments).lower(lowering_platforms=("tpu",)).as_text()
            record(way, program(*arguments), program.as_text(), for_tpu)
    parts = [np.moveaxis(array.reshape(3, 8, 2, *array.shape[2:]), 1, 0) for array in (costs, where)]
    found = [np.moveaxis(np.asarray(side), 0, 1) for side in jax.pmap(match)(*parts)]
    record("pmap", [side.reshape(3, 16, -1) for side in found])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
