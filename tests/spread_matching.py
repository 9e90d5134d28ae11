"""The matching step of a DETR, layers in front, with images that are spread over eight devices in every way.

Run with eight host devices. Prints JSON: for each way whether the pairs differ from those of one device, what crosses
between devices in the compiled program, and whether the same program for TPUs has a kernel.
"""

import json
import re

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxbox import costs, matching
from tests.everywhere import NEED_FOR_EXPLICIT_AXES, set_mesh

COLLECTIVE = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
LAYERS, IMAGES, QUERIES, SLOTS, CLASSES = 3, 16, 30, 12, 6


def match(logits, predictions, targets, labels, where):
    charges = costs.box_costs(predictions, targets) + costs.class_costs(-jax.nn.softmax(logits), labels)
    return matching.linear_assignment(charges, column_where=where)


def boxes_of(rng, *shape):
    middle, half = rng.uniform(0.3, 0.7, (*shape, 2)), rng.uniform(0.05, 0.2, (*shape, 2))
    return np.float32(np.concatenate([middle - half, middle + half], axis=-1))


def batch():
    """Queries that are nearly alike, so that many paths are needed, and padding that holds NaN."""
    rng = np.random.default_rng(0)
    logits = np.float32(0.1 * rng.normal(size=(LAYERS, IMAGES, QUERIES, CLASSES)))
    predictions = np.float32([0.3, 0.3, 0.7, 0.7] + 0.02 * rng.normal(size=(LAYERS, IMAGES, QUERIES, 4)))
    where = rng.uniform(size=(IMAGES, SLOTS)) < 0.7
    targets = np.where(where[..., None], boxes_of(rng, IMAGES, SLOTS), np.float32(np.nan))
    return logits, predictions, targets, rng.integers(0, CLASSES - 1, (IMAGES, SLOTS)), where


def ways(arrays):
    """For each way the program and its arguments, spread over the images."""
    of_layers, of_images = PartitionSpec(None, "data"), PartitionSpec("data")
    specs = (of_layers, of_layers, of_images, of_images, of_images)
    kinds = AxisType.Auto, AxisType.Explicit
    automatic, explicit = (jax.make_mesh((8,), ("data",), axis_types=(kind,)) for kind in kinds)

    def put(mesh):
        return [jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(arrays, specs, strict=True)]

    def mapped(**check):
        return jax.shard_map(match, mesh=automatic, in_specs=specs, out_specs=of_layers, **check)

    of_one_layer = jax.vmap(jax.vmap(match), in_axes=(0, 0, None, None, None))
    yield "jit", match, put(automatic), automatic
    yield "vmap", of_one_layer, put(automatic), automatic
    if jax.__version_info__ >= NEED_FOR_EXPLICIT_AXES["costs.class_costs"]:
        yield "explicit mesh", match, put(explicit), explicit
    yield "shard_map", mapped(), put(automatic), automatic
    yield "shard_map, check_vma=False", mapped(check_vma=False), put(automatic), automatic


def main():
    assert jax.device_count() == 8
    arrays = batch()
    wanted = jax.jit(match)(*arrays)
    results = {}

    def record(way, found, text="", for_tpu=""):
        differs = any(np.any(np.asarray(one) != other) for one, other in zip(found, wanted, strict=True))
        results[way] = {"differs": differs, "collectives": sorted(set(re.findall(COLLECTIVE, text)))}
        results[way]["kernels for a TPU"] = for_tpu.count("@tpu_custom_call")

    for way, function, arguments, mesh in ways(arrays):
        with set_mesh(mesh):
            program = jax.jit(function).lower(*arguments).compile()
            for_tpu = jax.jit(function).trace(*arguments).lower(lowering_platforms=("tpu",)).as_text()
            record(way, program(*arguments), program.as_text(), for_tpu)
    parts = [np.moveaxis(x.reshape(LAYERS, 8, 2, *x.shape[2:]), 1, 0) for x in arrays[:2]]
    parts += [x.reshape(8, 2, *x.shape[1:]) for x in arrays[2:]]
    found = [np.moveaxis(np.asarray(side), 0, 1) for side in jax.pmap(match)(*parts)]
    record("pmap", [side.reshape(LAYERS, IMAGES, -1) for side in found])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
