"""`weighted_mean`, a detector's loss, their gradients and `update_mean`, by every way of spreading a batch.

Over eight devices, of one process or of two with four each, which the environment tells.
`python -m tests.spread FILE` writes JSON: for each case and way the two losses, their gradients of a shared parameter,
the gradient of the boxes, and the running mean. A file, since JAX's collectives print from threads of their own.
"""

import json
import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxbox import detectors, losses, reductions
from jaxbox.demo import processes
from tests import cases

DEVICES, IMAGES = 8, 4  # images a device, of one box each
BOXES = {  # how many boxes each device holds that are not masked
    "uneven": [4, 0, 1, 3, 2, 0, 4, 1],
    "none in the second half": [4, 0, 1, 3, 0, 0, 0, 0],
    "none at all": [0] * DEVICES,
}


def step(shift, predictions, targets, weights, where, axis_name=None):
    def loss(shift, predictions):
        values = losses.giou_loss(predictions + shift, targets, where=where)
        return reductions.weighted_mean(values, weights, where=where, axis_name=axis_name)

    def detector_loss(shift):
        queries, boxes = (x.reshape(-1, IMAGES, 4) for x in (targets, predictions))  # NaN is where no target is
        there = detectors.Targets(boxes, jnp.zeros(boxes.shape[:-1], jnp.int32), where.reshape(-1, IMAGES))
        return detectors.detr_loss(queries[..., :3] + shift[:3], queries + shift, there, axis_name=axis_name)[0]

    value, (of_shift, of_boxes) = jax.value_and_grad(loss, (0, 1))(shift, predictions)
    whole_loss, of_whole = jax.value_and_grad(detector_loss)(shift)
    values = losses.iou_loss(predictions, targets, where=where)
    mean = reductions.update_mean(0.7, values, momentum=0.25, where=where, axis_name=axis_name)
    return jnp.stack([value, whole_loss]), jnp.stack([of_shift, of_whole]), of_boxes, mean


def local(*arguments):
    return step(*arguments, axis_name="data")


def corrected(*arguments):
    """Where `psum` transposes to `psum`."""
    value, of_shift, of_boxes, mean = step(*arguments, axis_name="data")
    return value, lax.pmean(of_shift, "data"), of_boxes / DEVICES, mean


def batch_of(counts):
    predictions, targets = (
        np.float32(x).reshape(DEVICES, IMAGES, 4) for x in cases.random_pairs(DEVICES * IMAGES, seed=0)
    )
    weights = np.random.default_rng(0).uniform(0.2, 3, size=(DEVICES, IMAGES)).astype(np.float32)
    where = np.arange(IMAGES) < np.array(counts)[:, None]
    predictions[~where] = np.nan
    return predictions, targets, weights, where


def compute():
    assert jax.device_count() == DEVICES
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split, whole = PartitionSpec("data"), PartitionSpec()

    def over_the_mesh(function, **options):
        specs = {"in_specs": (whole, split, split, split, split), "out_specs": (whole, whole, split, whole)}
        return jax.jit(jax.shard_map(function, mesh=mesh, **specs, **options))

    def put(array, spec):
        return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])

    one_device, over_mesh = jax.jit(step), jax.jit(step)
    mapped, unchecked = over_the_mesh(local), over_the_mesh(corrected, check_vma=False)
    stacked = jax.pmap(corrected, "data", in_axes=(None, 0, 0, 0, 0), out_axes=(None, None, 0, None))
    here = slice(jax.process_index() * jax.local_device_count(), (jax.process_index() + 1) * jax.local_device_count())
    shift = np.array([0.1, -0.2, 0.3, 0.1], np.float32)
    results = {}
    for name, counts in BOXES.items():
        batch = batch_of(counts)
        arguments = put(shift, whole), *(put(array, split) for array in batch)
        value, of_shift, of_boxes, mean = stacked(shift, *(array[here] for array in batch))
        of_boxes = jnp.asarray(multihost_utils.process_allgather(of_boxes, tiled=True))
        results[name] = {
            "one device": one_device(shift, *batch),
            "jit": over_mesh(*arguments),
            "shard_map": mapped(*arguments),
            "shard_map, check_vma=False": unchecked(*arguments),
            "pmap": (value, of_shift, of_boxes, mean),
        }
    copy = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, whole))
    return jax.tree.map(lambda x: np.asarray(x if x.is_fully_addressable else copy(x)).tolist(), results)


if __name__ == "__main__":
    with processes.joined(processes.launch(os.environ)):
        pathlib.Path(sys.argv[1]).write_text(json.dumps(compute()))
