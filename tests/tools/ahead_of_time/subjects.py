"""The programs that are compiled: name, function, arguments and the bytes that they cannot do without.

`subjects` lists them all, and each says for how many targets it is compiled by default. To add some, write a function
that yields subjects, and name it in `EVERY`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxbox import boxes, detectors, losses, matching, similarity, suppression
from jaxbox._assignment import in_step, sides
from tests.tools.benchmarks.subjects import mean_of, value_and_grad, weighted_gradients


@dataclasses.dataclass(frozen=True)
class Subject:
    """A program.

    Attributes:
      function: whose program it is.
      program: what is done with it.
      size: of its arrays, for a reader.
      compute: of the arguments.
      arguments: their shapes.
      least: bytes that are read or written at least.
      targets: how many of the targets have it by default: 0, 1, or all of them, which is 3.
    """

    function: str
    program: str
    size: str
    compute: Callable[..., Any]
    arguments: tuple[jax.ShapeDtypeStruct, ...]
    least: int
    targets: int = 3

    @property
    def key(self) -> str:
        """Its name in the stored figures."""
        return f"{self.function}, {self.program}, {self.size}"


SHAPES = (1_048_576, 4), (1_000_000, 4), (64, 8400, 4), (16, 100, 4)
FLAT, UNEVEN, BATCH, FEW = SHAPES
NAMES = "iou", "giou", "diou", "ciou", "siou", "mgiou"
SETS = (8400, 100), (20_000, 500)
BASIC = "forward", "value and gradient"
FULL = "giou"  # of which every program is compiled by default


def array(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """An array that is not there."""
    return jax.ShapeDtypeStruct(shape, dtype)


def of_losses() -> Iterator[Subject]:
    """Each program of each loss of overlap at each shape."""
    for name in NAMES:
        loss = getattr(losses, f"{name}_loss")
        for shape in SHAPES:
            yield from _of_loss(name, loss, shape)


def _of_loss(name: str, loss: Callable[..., jax.Array], shape: tuple[int, ...]) -> Iterator[Subject]:
    two = (array(*shape),) * 2
    half = (array(*shape, dtype=jnp.bfloat16),) * 2
    where = array(*shape[:-1], dtype=jnp.bool_)
    count = math.prod(shape[:-1])

    def of_centers(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        return loss(boxes.cxcywh_to_xyxy(predictions), targets)

    def masked(predictions: jax.Array, targets: jax.Array, where: jax.Array) -> jax.Array:
        return jnp.sum(loss(predictions, targets, where=where)) / jnp.sum(where)

    programs = {
        "forward": (loss, two, 36),
        "mean": (mean_of(loss), two, 32),
        "value and gradient": (value_and_grad(loss), two, 48),
        "masked": (jax.value_and_grad(masked), (*two, where), 49),
        "in bfloat16": (value_and_grad(loss), half, 24),
        "of centers and sides": (value_and_grad(of_centers), two, 48),
    }
    for program, (compute, arguments, bytes_a_box) in programs.items():
        size = " x ".join(map(str, shape[:-1]))
        least = bytes_a_box * count
        yield Subject(name, program, size, compute, arguments, least, _targets_of(name, program, shape))


def _targets_of(name: str, program: str, shape: tuple[int, ...]) -> int:
    """So that the command takes two minutes: all of it takes fifteen."""
    if shape in (FLAT, BATCH) and program in BASIC:
        return 3 if name in (FULL, "ciou") else 1
    if name != FULL:
        return 0
    if shape in (FLAT, BATCH):
        return 3 if program in ("masked", "in bfloat16") and shape == FLAT else 1
    return 1 if program in BASIC else 0


def of_turned() -> Iterator[Subject]:
    """Losses of turned boxes of a batch: five numbers a box and one loss a pair."""
    two = (array(64, 8400, 5),) * 2
    for name in ("rotated_mgiou", "rotated_iou", "rotated_giou", "rotated_diou", "gwd", "kld"):
        loss = getattr(losses, f"{name}_loss")
        make = functools.partial(Subject, name, size="64 x 8400", arguments=two, targets=1)
        yield make("forward", compute=loss, least=44 * 64 * 8400)
        yield make("value and gradient", compute=value_and_grad(loss), least=60 * 64 * 8400)


def of_conversions() -> Iterator[Subject]:
    """A conversion alone."""
    for shape in (FLAT, BATCH):
        count = math.prod(shape[:-1])
        size = " x ".join(map(str, shape[:-1]))
        yield Subject("cxcywh_to_xyxy", "forward", size, boxes.cxcywh_to_xyxy, (array(*shape),), 32 * count, 1)


def of_pairs() -> Iterator[Subject]:
    """All pairs of two sets, and the gradients for both of a weighted sum."""
    for rows, columns in SETS:
        sets, of_sets, of_matrix = (array(rows, 4), array(columns, 4)), 16 * (rows + columns), 4 * rows * columns
        weights = array(rows, columns)
        for name in ("iou", FULL, "ciou"):
            compare = similarity.pairwise(getattr(similarity, name))
            make = functools.partial(Subject, name, size=f"{rows} x {columns}", targets=int(name == FULL))
            yield make("pairwise", compute=compare, arguments=sets, least=of_sets + of_matrix)
            gradients = weighted_gradients(compare)
            arguments = (*sets, weights)
            yield make("pairwise gradients", compute=gradients, arguments=arguments, least=2 * of_sets + of_matrix)


MATCHED = (208, 300, 100), (16, 100, 20)  # images, predictions, slots


def of_matching() -> Iterator[Subject]:
    """Matching as each platform does it, with its kernel, and without one: in step, whose loop counts once."""

    def match(costs: jax.Array, where: jax.Array) -> tuple[jax.Array, ...]:
        return matching.linear_assignment(costs, column_where=where)

    def in_step_by_xla(costs: jax.Array, where: jax.Array) -> tuple[jax.Array, ...]:
        return sides._match(in_step.solve, costs, None, where)

    for images, rows, columns in MATCHED:
        arguments = array(images, rows, columns), array(images, columns, dtype=jnp.bool_)
        least = images * (4 * rows * columns + columns + 4 * (rows + columns))
        size = f"{images} x {rows} x {columns}"
        for program, compute in (("kernel", match), ("in step", in_step_by_xla)):
            yield Subject("linear_assignment", program, size, compute, arguments, least, 2)


CELLS, CLASSES, BINS = 8400, 80, 16  # of YOLOv8 at 640 by 640


def of_cells() -> Iterator[Subject]:
    """The whole loss of YOLOv8 and what is kept of the boxes that it finds."""
    images, slots, outputs = 8, 50, 100

    def loss(
        logits: jax.Array, bins: jax.Array, goals: jax.Array, labels: jax.Array, where: jax.Array, points: jax.Array
    ) -> jax.Array:
        strides = points[:, 0] + 8
        targets = detectors.Targets(goals, labels, where)
        return detectors.yolov8_loss(logits, bins, targets, points, strides)[0]

    def keep(found: jax.Array, scores: jax.Array) -> tuple[jax.Array, ...]:
        return suppression.nms(found, scores, threshold=0.5, outputs=outputs)

    predicted = array(images, CELLS, CLASSES), array(images, CELLS, 4 * BINS)
    held = array(images, slots, 4), array(images, slots, dtype=jnp.int32), array(images, slots, dtype=jnp.bool_)
    arguments = (*predicted, *held, array(CELLS, 2))
    least = 8 * images * CELLS * (CLASSES + 4 * BINS)
    size = f"{images} x {CELLS} x {slots}"
    # For a GPU it takes minutes.
    yield Subject("yolov8_loss", "value and gradient", size, jax.value_and_grad(loss, (0, 1)), arguments, least, 0)
    boxes_and_scores = array(images, CELLS, 4), array(images, CELLS)
    least = images * (20 * CELLS + 8 * outputs)
    yield Subject("nms", "forward", f"{images} x {outputs} of {CELLS}", keep, boxes_and_scores, least, 1)


EVERY = of_losses, of_turned, of_conversions, of_pairs, of_matching, of_cells


def subjects() -> list[Subject]:
    """All of them."""
    return [subject for some in EVERY for subject in some()]
