"""Training the detector under any sum of box losses: the train step, the optimizer, and the devices it runs on."""

from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxbox.demo import detector, digits
from jaxbox.reductions import weighted_mean

PEAK_LEARNING_RATE = 6e-3

Values = dict[str, jax.Array]
TrainStep = Callable[[detector.Detector, nnx.Optimizer, digits.Scenes], Values]


def make_train_step(weighted_losses: list[tuple[float, Callable[..., jax.Array]]]) -> TrainStep:
    """The jitted update of a model and its optimizer, in place, by one batch.

    Args:
      weighted_losses: pairs of a weight and a loss that is called as `loss(predictions, targets, where=mask)`.

    Returns:
      A function of model, optimizer and batch that returns the scalars `loss`, `box loss` and `class loss`.
    """

    def total_loss(model: detector.Detector, batch: digits.Scenes) -> tuple[jax.Array, Values]:
        logits, predictions = model(batch.images)
        targets = detector.assign(batch)

        # The mean over the cells that answer for a box; the others, and the padding of the targets, count nothing.
        box_loss = jnp.zeros(())
        for weight, loss in weighted_losses:
            values = loss(predictions, targets.boxes, where=targets.assigned)
            box_loss += weight * weighted_mean(values, where=targets.assigned)

        truth = jax.nn.one_hot(targets.classes, digits.CLASSES)
        class_losses = optax.losses.sigmoid_binary_cross_entropy(logits, truth)
        class_loss = jnp.sum(class_losses) / jnp.maximum(jnp.sum(targets.assigned, dtype=jnp.float32), 1)

        loss = box_loss + class_loss
        return loss, {"loss": loss, "box loss": box_loss, "class loss": class_loss}

    @nnx.jit
    def train_step(model: detector.Detector, optimizer: nnx.Optimizer, batch: digits.Scenes) -> Values:
        gradients, values = nnx.grad(total_loss, has_aux=True)(model, batch)
        optimizer.update(model, gradients)
        return values

    return train_step


def make_optimizer(model: detector.Detector, steps: int) -> nnx.Optimizer:
    """AdamW with a learning rate that rises for a tenth of the steps, then falls to 0 along a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, PEAK_LEARNING_RATE, max(steps // 10, 1), max(steps, 2))
    transform = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(schedule, weight_decay=1e-3))
    return nnx.Optimizer(model, transform, wrt=nnx.Param)


def fit(
    model: detector.Detector, train_step: TrainStep, batches: Iterable[digits.Scenes], steps: int, mesh: Mesh
) -> Iterator[Values]:
    """Trains a model in place, a step at each value asked for.

    Args:
      model: a detector.
      train_step: from `make_train_step`.
      batches: at least as many as `steps`; their size is a multiple of the devices.
      steps: how long the learning rate takes to reach 0.
      mesh: the devices, along one axis.

    Yields:
      The losses of each step, still being computed: they wait when they are read.
    """
    optimizer = make_optimizer(model, steps)
    replicate(model, mesh)
    replicate(optimizer, mesh)
    model.train()
    for _, batch in zip(range(steps), batches, strict=False):
        yield train_step(model, optimizer, shard(batch, mesh))


def shard(batch: digits.Scenes, mesh: Mesh) -> digits.Scenes:
    """Splits the first axis of every array of a batch among the devices, which must divide it.

    Every process has the whole batch, and puts the parts of its own devices there.
    """
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.tree.map(lambda array: jax.make_array_from_callback(array.shape, sharding, array.__getitem__), batch)


def replicate(module: nnx.Module | nnx.Optimizer, mesh: Mesh) -> None:
    """Puts a whole copy of a module's state on every device, in place. All processes must have the same state."""
    nnx.update(module, jax.device_put(nnx.state(module), NamedSharding(mesh, PartitionSpec())))


def bring_home(module: nnx.Module) -> None:
    """Takes a module's state from the devices of all processes, each of which holds a whole copy, to this process."""
    nnx.update(module, jax.tree.map(jnp.asarray, jax.device_get(nnx.state(module))))
