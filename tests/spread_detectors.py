"""Losses of detectors whose images are spread over eight devices, some of them without a target.

Run with eight host devices. Prints JSON: for each loss and way how far the loss, its terms and the gradient of a
parameter that all devices share lie from those of one batch on one device, of the largest number.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxbox import detectors

DEVICES, IMAGES, QUERIES, SLOTS, CLASSES = 8, 16, 6, 3, 5
LOSSES = {
    "detr": detectors.detr_loss,
    "rf_detr": functools.partial(detectors.rf_detr_loss, groups=2),
    "owl_vit": detectors.owl_vit_loss,
}


def batch(counts):
    """Logits, predictions and targets of two layers; so many targets in the images, and NaN behind them."""
    rng = np.random.default_rng(0)
    middle, half = rng.uniform(0.3, 0.7, (2, IMAGES, QUERIES, 2)), rng.uniform(0.05, 0.15, (2, IMAGES, QUERIES, 2))
    predictions = np.float32(np.concatenate([middle - half, middle + half], axis=-1))
    logits = np.float32(rng.normal(size=(2, IMAGES, QUERIES, CLASSES)))
    where = np.arange(SLOTS) < counts[:, None]
    boxes = np.where(where[..., None], np.roll(predictions[0, :, :SLOTS], 1, axis=0), np.float32(np.nan))
    return logits, predictions, detectors.Targets(boxes, rng.integers(0, CLASSES - 1, (IMAGES, SLOTS)), where)


def step(loss, shift, logits, predictions, targets, **mapped):
    def of_shift(shift):
        return loss(logits + shift[0], predictions + shift[1], targets, **mapped)

    (value, terms), gradient = jax.value_and_grad(of_shift, has_aux=True)(shift)
    return value, terms, gradient


def main():
    assert jax.device_count() == DEVICES
    mesh = Mesh(np.array(jax.devices()), ("data",))
    layers, images, whole = PartitionSpec(None, "data"), PartitionSpec("data"), PartitionSpec()
    shift = jnp.array([0.1, 0.01], jnp.float32)
    results = {}
    for kind, counts in {"many": np.arange(IMAGES) % 4, "three": (np.arange(IMAGES) == 5) * 3}.items():
        logits, predictions, targets = batch(counts)
        for name, loss in LOSSES.items():
            wanted = jax.jit(functools.partial(step, loss))(shift, logits, predictions, targets)
            spread = [jax.device_put(x, NamedSharding(mesh, layers)) for x in (logits, predictions)]
            there = detectors.Targets(*(jax.device_put(x, NamedSharding(mesh, images)) for x in targets))
            mapped = jax.shard_map(
                functools.partial(step, loss, axis_name="data"),
                mesh=mesh,
                in_specs=(whole, layers, layers, images),
                out_specs=whole,
            )
            parts = [np.moveaxis(x.reshape(2, DEVICES, -1, *x.shape[2:]), 1, 0) for x in (logits, predictions)]
            local = detectors.Targets(*(x.reshape(DEVICES, -1, *x.shape[1:]) for x in targets))
            of_device = functools.partial(step, loss, axis_name="data")
            *found, gradient = jax.pmap(
                lambda *arrays, of_device=of_device: (lambda v, t, g: (v, t, lax.pmean(g, "data")))(
                    *of_device(*arrays)
                ),
                "data",
                in_axes=(None, 0, 0, 0),
                out_axes=None,
            )(shift, *parts, local)
            ways = {
                "jit": jax.jit(functools.partial(step, loss))(shift, *spread, there),
                "shard_map": jax.jit(mapped)(shift, logits, predictions, targets),
                "pmap": (*found, gradient),
            }
            for way, computed in ways.items():
                pairs = zip(jax.tree.leaves(computed), jax.tree.leaves(wanted), strict=True)
                results[f"{name}, {kind}, {way}"] = max(
                    float(np.max(np.abs(one - other)) / max(1, np.max(np.abs(other)))) for one, other in pairs
                )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
