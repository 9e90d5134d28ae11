"""What a train step moves between 256 devices, read from the program that XLA compiles for them. Nothing is run.

`uv run python -m tests.tools.pod_plan` prints a table; `--json` prints the record that the test reads. The devices are
host devices, of which there can be any number: a program for one of them is compiled, with its collective operations.
"""

import json
import math
import re
import sys
import time
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxbox import losses, reductions
from jaxbox.demo import command
from jaxbox.demo.data import digits
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import heads, train

DEVICES = 256
SIZES = [(1, digits.SLOTS), (2, 2 * digits.SLOTS)]  # images a device, boxes an image
FEATURES = 16  # of the linear model
COLLECTIVE = re.compile(
    r" = (\(.*?\)|\S+) ((?:all-reduce|all-gather|(?:ragged-)?all-to-all|reduce-scatter|collective-[a-z]+)(?:-start)?)\("
)
ARRAY = re.compile(r"([a-z]+)(\d*)\[([\d,]*)\]")  # such as f32[3,3]
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}  # after the collectives are set


def crossing(program):
    """The operation, bits a number and shape of every array that a collective operation of a program returns."""
    for result, operation in COLLECTIVE.findall(program):
        for _, bits, shape in ARRAY.findall(result):
            yield operation, int(bits or 8), tuple(int(side) for side in shape.split(",") if side)


def placed(tree, mesh, *axes):
    """The shapes of a tree's arrays, split over the axes of a mesh or whole on each device."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def scenes(images, slots):
    shape = (images, digits.CANVAS, digits.CANVAS, 1)
    dtypes = [((images, slots, 4), np.float32), ((images, slots), np.int32), *[((images, slots), np.bool_)] * 2]
    return Scenes(*(jax.ShapeDtypeStruct(*array) for array in [(shape, np.float32), *dtypes]))


def detector_step(mesh, images, slots):
    """The train step of `jaxbox train`."""

    head = heads.HEADS[command.HEADS[0]]

    def create():
        model = head.model(nnx.Rngs(0), head.architecture)
        model.train()
        return model, train.make_optimizer(model, command.FULL["steps"])

    model, optimizer = nnx.eval_shape(create)
    for module in (model, optimizer):
        nnx.update(module, placed(nnx.state(module), mesh))
    step: Any = train.make_train_step(head.total_loss(command.DEFAULT_LOSSES[command.HEADS[0]]))
    parameters = [array.shape for array in jax.tree.leaves(nnx.state(model, nnx.Param))]
    return step.lower(model, optimizer, placed(scenes(images, slots), mesh, "batch")), parameters


def linear_step(mesh, images, slots):
    """A linear model, a box from the features of each slot, and gradient descent."""

    @jax.jit
    def step(parameters, features, targets, where):
        def loss_of(parameters):
            predictions = features @ parameters["kernel"] + parameters["bias"]
            return reductions.weighted_mean(losses.giou_loss(predictions, targets, where=where), where=where)

        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        return jax.tree.map(lambda parameter, gradient: parameter - 0.1 * gradient, parameters, gradients), loss

    parameters = {"kernel": jnp.zeros((FEATURES, 4)), "bias": jnp.zeros((1, 1, 4))}
    features = jax.ShapeDtypeStruct((images, slots, FEATURES), np.float32)
    batch = placed((features, *scenes(images, slots)[1::2]), mesh, "batch")
    return step.lower(placed(parameters, mesh), *batch), [array.shape for array in parameters.values()]


def sort_step(mesh, images, slots):
    """For contrast, what does grow with the boxes: a ranking of all of them."""
    values = jax.ShapeDtypeStruct((images * slots,), np.float32)
    return jax.jit(jnp.sort).lower(placed(values, mesh, "batch")), []


def unordered(shape):
    """XLA may reduce an array transposed, and leave out sides of 1."""
    return tuple(sorted(side for side in shape if side > 1))


def plan(lower, mesh, images, slots):
    """What crosses in one step: gradients, one array a parameter, and what else."""
    lowered, parameters = lower(mesh, images * mesh.size, slots)
    began = time.perf_counter()
    compiled = lowered.compile(QUICK)
    seconds = time.perf_counter() - began
    arrays = list(crossing(compiled.as_text()))
    shapes, gradients = (Counter(map(unordered, shapes)) for shapes in ([shape for _, _, shape in arrays], parameters))
    others = shapes - gradients
    return {
        "operations": sorted({operation for operation, _, _ in arrays}),
        "gradients": sum(map(math.prod, (gradients & shapes).elements())),
        "parameters": sum(map(math.prod, parameters)),
        "vectors": sum(map(math.prod, filter(None, others.elements()))),
        "scalars": others[()],
        "bytes": sum(bits * math.prod(shape) for _, bits, shape in arrays) // 8,
        "state is whole": all(sharding.is_fully_replicated for sharding in jax.tree.leaves(compiled.output_shardings)),
        "seconds": seconds,
    }


def plans():
    """The plan of each step at each size."""
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    steps = {"detector": detector_step, "linear model": linear_step, "sort": sort_step}
    return [
        {"step": name, "images": images * mesh.size, "slots": slots} | plan(lower, mesh, images, slots)
        for name, lower in steps.items()
        for images, slots in SIZES
    ]


def main():
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    records = plans()
    if "--json" in sys.argv[1:]:
        print(json.dumps(records))
        return
    print(f"{DEVICES} devices, numbers that cross in a step\n")
    print("| step | images | boxes an image | by | gradients | other arrays | scalars | bytes | to compile |")
    print("|---|---|---|---|---|---|---|---|---|")
    for record in records:
        size = f"{record['images']} | {record['slots']} | {', '.join(record['operations'])}"
        numbers = " | ".join(f"{record[name]:,}" for name in ("gradients", "vectors", "scalars", "bytes"))
        print(f"| {record['step']} | {size} | {numbers} | {record['seconds']:.1f} s |")


if __name__ == "__main__":
    main()
