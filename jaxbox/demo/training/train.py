"""Training a detector: the whole losses, the train step, the optimizer, and the devices it runs on."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxbox import assigners, detectors, matching
from jaxbox.demo.models import detector, queries, turned
from jaxbox.demo.scenes import Scenes
from jaxbox.reductions import weighted_mean

PEAK_LEARNING_RATE = 6e-3

Values = dict[str, jax.Array]
TotalLoss = Callable[[Any, Scenes], tuple[jax.Array, Values]]  # of a model and a batch; the values are scalars
TrainStep = Callable[[nnx.Module, nnx.Optimizer, Scenes], Values]


def loss_of_cells(
    weighted_losses: list[tuple[float, Callable[..., jax.Array]]],
    slots_of: Callable[[Scenes, int], jax.Array] = detector.slots_of,
    inside: Callable[..., jax.Array] = assigners.inside,
) -> TotalLoss:
    """The whole loss of a detector that has a box a cell.

    Args:
      weighted_losses: pairs of a weight and a loss that is called as `loss(predictions, targets, where=mask)`.
      slots_of: the slot of the true box that each cell answers for, from a batch and the cells along a side.
      inside: which points lie in which boxes, `inside(points, boxes, where=mask)`.

    Returns:
      A function of model and batch; its values are `loss`, `box loss` and `class loss`.
    """

    def total_loss(model: detector.Detector | turned.TurnedDetector, batch: Scenes) -> tuple[jax.Array, Values]:
        logits, predictions = model(batch.images)
        grid = model.architecture.grid
        slots = slots_of(batch, grid)
        assigned, goals = slots < batch.boxes.shape[-2], matching.take(batch.boxes, slots)

        # The mean over the cells that answer for a box; the others, and the padding of the targets, count nothing.
        box_loss = jnp.zeros(())
        for weight, loss in weighted_losses:
            values = loss(predictions, goals, where=assigned)
            box_loss += weight * weighted_mean(values, where=assigned)

        truth = jax.nn.one_hot(matching.take(batch.classes, slots, fill=-1), logits.shape[-1])
        in_crowd = jnp.any(inside(detector.cell_centers(grid), batch.boxes, where=batch.crowd), axis=-1)
        counts = (assigned | ~in_crowd)[..., None]
        class_losses = jnp.where(counts, optax.losses.sigmoid_binary_cross_entropy(logits, truth), 0)
        class_loss = jnp.sum(class_losses) / jnp.maximum(jnp.sum(assigned, dtype=jnp.float32), 1)

        loss = box_loss + class_loss
        return loss, {"loss": loss, "box loss": box_loss, "class loss": class_loss}

    return total_loss


def loss_of_queries(l1_weight: float, giou_weight: float) -> TotalLoss:
    """The whole loss of a detector that has a box a query: that of RT-DETR, which matches them to the objects.

    Args:
      l1_weight: of the L1 of centers and sides.
      giou_weight: of GIoU.

    Returns:
      A function of model and batch; its values are `loss`, `box loss` and `class loss`, sums over the layers.
    """

    def total_loss(model: queries.QueryDetector, batch: Scenes) -> tuple[jax.Array, Values]:
        logits, predictions = model(batch.images)
        targets = detectors.Targets(batch.boxes, batch.classes, batch.valid)
        loss, terms = detectors.rt_detr_loss(logits, predictions, targets, l1_weight=l1_weight, giou_weight=giou_weight)
        class_loss = jnp.sum(terms["classes"])
        return loss, {"loss": loss, "box loss": loss - class_loss, "class loss": class_loss}

    return total_loss


def make_train_step(total_loss: TotalLoss) -> TrainStep:
    """The jitted update of a model and its optimizer, in place, by one batch.

    Args:
      total_loss: of model and batch.

    Returns:
      A function of model, optimizer and batch that returns the values of the loss.
    """

    @nnx.jit
    def train_step(model: nnx.Module, optimizer: nnx.Optimizer, batch: Scenes) -> Values:
        gradients, values = nnx.grad(total_loss, has_aux=True)(model, batch)
        optimizer.update(model, gradients)
        return values

    return train_step


def learning_rate(steps: int) -> optax.Schedule:
    """The learning rate of each step: it rises for a tenth of the steps, then falls to 0 along a cosine."""
    return optax.warmup_cosine_decay_schedule(0.0, PEAK_LEARNING_RATE, max(steps // 10, 1), max(steps, 2))


def make_optimizer(model: nnx.Module, steps: int) -> nnx.Optimizer:
    """AdamW with the learning rate of so many steps."""
    transform = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(learning_rate(steps), weight_decay=1e-3))
    return nnx.Optimizer(model, transform, wrt=nnx.Param)


def fit(
    model: nnx.Module,
    train_step: TrainStep,
    batches: Iterable[Scenes],
    steps: int,
    mesh: Mesh,
    optimizer: nnx.Optimizer | None = None,
) -> Iterator[Values]:
    """Trains a model in place, a step at each value asked for.

    Args:
      model: a detector, of any head.
      train_step: from `make_train_step`.
      batches: at least as many as steps are left, of which this process has its part; their size is a multiple of the
        devices.
      steps: how long the learning rate takes to reach 0.
      mesh: the devices, along one axis.
      optimizer: from `make_optimizer`, which has made some of the steps; by default a new one.

    Yields:
      The losses of each step that is left, still being computed: they wait when they are read.
    """
    optimizer = optimizer or make_optimizer(model, steps)
    made = int(optimizer.step[...])
    replicate(model, mesh)
    replicate(optimizer, mesh)
    model.train()
    for _, batch in zip(range(made, steps), batches, strict=False):
        yield train_step(model, optimizer, shard(batch, mesh))


def shard(batch: Scenes, mesh: Mesh) -> Scenes:
    """Splits the first axis of every array of a batch among the devices, which must divide it.

    Every process has a part of the batch, for its own devices; the parts follow each other in the order of processes.
    """
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), batch)


def replicate(module: nnx.Module | nnx.Optimizer, mesh: Mesh) -> None:
    """Puts a whole copy of a module's state on every device, in place. All processes must have the same state."""
    nnx.update(module, jax.device_put(nnx.state(module), NamedSharding(mesh, PartitionSpec())))


def bring_home(module: nnx.Module) -> None:
    """Takes a module's state from the devices of all processes, each of which holds a whole copy, to this process."""
    nnx.update(module, jax.tree.map(jnp.asarray, jax.device_get(nnx.state(module))))
