"""Losses of dense detectors whose images are spread over eight devices, some of them without a target.

Run with eight host devices. Prints JSON: for each loss and way how far the loss, its terms and the gradient of a
parameter that all devices share lie from those of one batch on one device, of the largest number.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxbox import boxes, coders, detectors
from tests.everywhere import NEED_FOR_EXPLICIT_AXES, set_mesh

DEVICES, IMAGES, SLOTS, CLASSES, SIZE, STRIDES = 8, 16, 3, 5, (32, 32), (8, 16)
POINTS, SIDES = (np.asarray(x) for x in coders.grid_points(SIZE, STRIDES))
LEVELS = [int(np.sum(stride == SIDES)) for stride in STRIDES]
ANCHORS = np.concatenate([POINTS - SIDES[:, None], POINTS + SIDES[:, None]], axis=-1)
# Before, what is gathered for a batch loses its explicit axes.
HAS_EXPLICIT_AXES = jax.__version_info__ >= NEED_FOR_EXPLICIT_AXES["matching.take"]
WAYS = ["jit", "shard_map", *(["explicit"] if HAS_EXPLICIT_AXES else [])]
QUICKLY = {"xla_backend_optimization_level": 0}


def of(*shape, seed):
    return np.float32(np.random.default_rng(seed).normal(size=(IMAGES, len(POINTS), *shape)))


LOGITS, DELTAS, BINS, OBJECTNESS = of(CLASSES, seed=0), of(4, seed=1), of(4 * 5, seed=2), of(seed=3)
DISTANCES = np.abs(DELTAS) + np.float32(0.5)
PROPOSALS = np.float32(ANCHORS + 2 * np.tanh(DELTAS))
AT_POINTS = {"points": POINTS, "strides": SIDES}
# The arrays with a row an image, whose first one has the parameter; then what is the same for all images.
CASES = {
    "retinanet": (detectors.retinanet_loss, {"logits": LOGITS, "deltas": DELTAS}, {"anchors": ANCHORS}),
    "rpn": (detectors.rpn_loss, {"objectness": OBJECTNESS, "deltas": DELTAS}, {"anchors": ANCHORS}),
    "fast_rcnn": (
        detectors.fast_rcnn_loss,
        {"logits": LOGITS, "deltas": np.repeat(DELTAS[:, :, None], CLASSES, axis=2), "proposals": PROPOSALS},
        {},
    ),
    "fcos": (
        detectors.fcos_loss,
        {"logits": LOGITS, "distances": DISTANCES, "centerness": OBJECTNESS},
        AT_POINTS,
    ),
    "gfl": (
        functools.partial(detectors.gfl_loss, level_sizes=LEVELS),
        {"logits": LOGITS, "bins": BINS},
        {"anchors": ANCHORS, "strides": SIDES},
    ),
    "tood": (
        detectors.tood_loss,
        {"probabilities": np.float32(0.5) + np.tanh(LOGITS) / 3, "predictions": PROPOSALS},
        {"points": POINTS},
    ),
    "yolox": (detectors.yolox_loss, {"logits": LOGITS, "objectness": OBJECTNESS, "raw": DELTAS}, AT_POINTS),
    "yolov8": (detectors.yolov8_loss, {"logits": LOGITS, "bins": BINS}, AT_POINTS),
    "yolo26": (
        functools.partial(detectors.yolo26_loss, image_size=SIZE),
        {"logits": np.stack([LOGITS, LOGITS[::-1]]), "distances": np.stack([DISTANCES, DISTANCES[::-1]])},
        AT_POINTS,
    ),
    "yolo26_obb": (
        functools.partial(detectors.yolo26_obb_loss, image_size=SIZE),
        {
            "logits": np.stack([LOGITS, LOGITS[::-1]]),
            "distances": np.stack([DISTANCES, DISTANCES[::-1]]),
            "angles": np.stack([OBJECTNESS, OBJECTNESS[::-1]]),
        },
        AT_POINTS,
    ),
}


def targets_of(counts, turned):
    """Boxes that some proposals overlap; so many in the images, and NaN behind them."""
    where = np.arange(SLOTS) < counts[:, None]
    near = np.roll(PROPOSALS[:, 5 : 5 + SLOTS], 1, axis=0)
    if turned:
        angles = OBJECTNESS[:, 5 : 5 + SLOTS, None]
        near = np.concatenate([boxes.xyxy_to_cxcywh(near), angles], axis=-1)
    padded = np.where(where[..., None], near, np.float32(np.nan))
    return detectors.Targets(padded, np.random.default_rng(0).integers(1, CLASSES, (IMAGES, SLOTS)), where)


def step(loss, whole, shift, arrays, targets, **mapped):
    """Loss, terms and gradient of a number that is added to every number that is predicted."""

    def of_shift(shift):
        first, *others = arrays
        shifted = {first: arrays[first] + shift[0]} | {name: arrays[name] + shift[1] for name in others}
        return loss(**shifted, targets=targets, **whole, **mapped)

    (value, terms), gradient = jax.value_and_grad(of_shift, has_aux=True)(shift)
    return value, terms, gradient


def ways_of(name):
    """For each way a function of the parameter and the targets."""
    loss, arrays, whole = CASES[name]
    heads = (None,) if name.startswith("yolo26") else ()
    images, everywhere = PartitionSpec("data"), PartitionSpec()
    specs = dict.fromkeys(arrays, PartitionSpec(*heads, "data"))
    mesh = Mesh(np.array(jax.devices()), ("data",))
    explicit = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Explicit,))
    one = functools.partial(step, loss, whole)
    jitted = functools.partial(jax.jit, compiler_options=QUICKLY)
    alone, spread, on_explicit = jitted(one), jitted(one), jitted(one)
    mapped = jitted(
        jax.shard_map(
            functools.partial(one, axis_name="data"),
            mesh=mesh,
            in_specs=(everywhere, specs, images),
            out_specs=everywhere,
        )
    )

    def placed(on, targets):
        there = {key: jax.device_put(x, NamedSharding(on, specs[key])) for key, x in arrays.items()}
        return there, detectors.Targets(*(jax.device_put(x, NamedSharding(on, images)) for x in targets))

    def explicitly(shift, targets):
        with set_mesh(explicit):
            return on_explicit(shift, *placed(explicit, targets))

    return {
        "alone": lambda shift, targets: alone(shift, arrays, targets),
        "jit": lambda shift, targets: spread(shift, *placed(mesh, targets)),
        "shard_map": lambda shift, targets: mapped(shift, arrays, targets),
        "explicit": explicitly,
    }


def main():
    assert jax.device_count() == DEVICES
    shift = jnp.array([0.1, 0.01], jnp.float32)
    counts = {"many": np.arange(IMAGES) % 4, "three": (np.arange(IMAGES) == 5) * 3}
    results = {}
    for name in CASES:
        ways = ways_of(name)
        for kind, count in counts.items():
            targets = targets_of(count, turned=name == "yolo26_obb")
            wanted = ways["alone"](shift, targets)
            for way in WAYS:
                pairs = zip(jax.tree.leaves(ways[way](shift, targets)), jax.tree.leaves(wanted), strict=True)
                results[f"{name}, {kind}, {way}"] = max(
                    float(np.max(np.abs(one - other)) / max(1, np.max(np.abs(other)))) for one, other in pairs
                )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
