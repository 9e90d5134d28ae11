"""Run with eight host devices: `weighted_mean` and its gradient by every way of spreading a batch over devices.

Prints JSON: for each way the loss and the gradient of one shared parameter, beside those of one device. The masks are
uneven, and two devices hold no box at all.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxbox import losses, reductions
from tests import cases

DEVICES = 8


def loss(shift, predictions, targets, where, axis_name=None):
    values = losses.giou_loss(predictions + shift, targets, where=where)
    return reductions.weighted_mean(values, where=where, axis_name=axis_name)


def main():
    assert jax.device_count() == DEVICES
    predictions, targets = (np.float32(x).reshape(DEVICES, 4, 4) for x in cases.random_pairs(4 * DEVICES, seed=0))
    counts = np.array([4, 0, 1, 3, 2, 0, 4, 1])
    where = np.arange(4) < counts[:, None]
    predictions[~where] = np.nan
    shift = jnp.array([0.1, -0.2, 0.3, 0.1])
    batch = (predictions, targets, where)
    mesh = jax.make_mesh((DEVICES,), ("data",))
    split, whole = PartitionSpec("data"), PartitionSpec()

    sharded = [jax.device_put(x, NamedSharding(mesh, split)) for x in batch]
    replicated = jax.device_put(shift, NamedSharding(mesh, whole))

    def local(shift, *block):
        return jax.value_and_grad(loss)(shift, *block, axis_name="data")

    def mapped(shift, *block):
        value, gradient = jax.value_and_grad(loss)(shift, *block, axis_name="data")
        return value, lax.pmean(gradient, "data")

    def over_the_mesh(function, **options):
        return jax.shard_map(
            function, mesh=mesh, in_specs=(whole, split, split, split), out_specs=(whole, whole), **options
        )

    ways = {
        "one device": jax.jit(jax.value_and_grad(loss))(shift, *batch),
        "jit": jax.jit(jax.value_and_grad(loss))(replicated, *sharded),
        "shard_map": jax.jit(over_the_mesh(local))(replicated, *sharded),
        "shard_map, check_vma=False": jax.jit(over_the_mesh(mapped, check_vma=False))(replicated, *sharded),
        "pmap": jax.tree.map(lambda x: x[0], jax.pmap(mapped, "data", in_axes=(None, 0, 0, 0))(shift, *batch)),
    }
    json.dump({way: [np.asarray(x).tolist() for x in result] for way, result in ways.items()}, sys.stdout)


if __name__ == "__main__":
    main()
