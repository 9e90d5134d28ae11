"""A small single-shot detector: each cell of a grid says which digit is centered near it, and where its box lies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxbox import boxes, similarity
from jaxbox.demo import digits

STRIDE = 4  # pixels of the canvas a cell
GRID = digits.CANVAS // STRIDE  # cells a side
TYPICAL_SIDE = 0.33  # of a digit, in units of the canvas side: what a raw output of 0 decodes to
REACH = 1.0  # a cell answers for a digit whose center is nearer than this on both axes, in cells
CANDIDATES = 32  # highest scores an image that are looked at
SAME_OBJECT = 0.5  # overlap above which the lower of two scores of a class is dropped


class Targets(NamedTuple):
    """What the cells should say.

    Attributes:
      boxes: `[batch, cells, 4]`, `xyxy` in units of the canvas side; to be masked where not assigned.
      classes: `[batch, cells]`, 0 to 9, or -1 where not assigned.
      assigned: `[batch, cells]`, True for the cells that answer for a digit.
    """

    boxes: jax.Array
    classes: jax.Array
    assigned: jax.Array


class Detections(NamedTuple):
    """Boxes found, best first.

    Attributes:
      boxes: `[batch, CANDIDATES, 4]`, `xyxy` in units of the canvas side.
      classes: `[batch, CANDIDATES]`, 0 to 9.
      scores: `[batch, CANDIDATES]`, in `[0, 1]`; 0 for what is dropped as a duplicate of a better one.
    """

    boxes: jax.Array
    classes: jax.Array
    scores: jax.Array


class Block(nnx.Module):
    """Convolution, batch normalization, ReLU; added to its input where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs) -> None:
        self.convolution = nnx.Conv(inputs, outputs, (3, 3), strides=stride, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[batch, height, width, inputs]` to `[batch, height / stride, width / stride, outputs]`."""
        y = nnx.relu(self.norm(self.convolution(x)))
        return x + y if x.shape == y.shape else y


class Backbone(nnx.Module):
    """Images to features, a vector a cell."""

    def __init__(self, rngs: nnx.Rngs, width: int) -> None:
        self.halve = Block(1, width // 2, 2, rngs)
        self.quarter = Block(width // 2, width, 2, rngs)
        self.near = Block(width, width, 1, rngs)
        self.further = Block(width, width, 1, rngs)
        self.furthest = Block(width, width, 1, rngs)

    def __call__(self, images: jax.Array | np.ndarray) -> jax.Array:
        """Maps `[batch, CANVAS, CANVAS, 1]` to `[batch, GRID, GRID, width]`."""
        x = 1 - jnp.asarray(images)  # ink, so that the zeros with which a convolution pads are blank paper
        for block in (self.halve, self.quarter, self.near, self.further, self.furthest):
            x = block(x)
        return x


RARE = nnx.initializers.constant(-4.0)  # of a logit: most cells and queries are empty, and start by saying so


class Detector(nnx.Module):
    """Images to class logits and boxes, one of each a cell."""

    def __init__(self, rngs: nnx.Rngs, width: int = 64) -> None:
        self.backbone = Backbone(rngs, width)
        self.classify = nnx.Conv(width, digits.CLASSES, (1, 1), bias_init=RARE, rngs=rngs)
        self.locate = nnx.Conv(width, 4, (1, 1), kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
        """Looks at images `[batch, CANVAS, CANVAS, 1]`.

        Returns:
          Class logits `[batch, cells, CLASSES]` and boxes `[batch, cells, 4]`, `xyxy` in units of the canvas side.
        """
        x = self.backbone(images)
        logits = jnp.reshape(self.classify(x), (len(images), -1, digits.CLASSES))
        offsets, scales = jnp.split(jnp.reshape(self.locate(x), (len(images), -1, 4)), 2, axis=-1)
        centers = cell_centers()[None] + offsets / GRID
        sides = TYPICAL_SIDE * jnp.exp(scales)
        return logits, boxes.cxcywh_to_xyxy(jnp.concatenate([centers, sides], axis=-1))


def cell_centers() -> jax.Array:
    """Where the cells lie: `[cells, 2]`, x then y, in units of the canvas side."""
    line = (jnp.arange(GRID, dtype=jnp.float32) + 0.5) / GRID
    return jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)


def assign(scenes: digits.Scenes) -> Targets:
    """Gives each true box to the cells around its center: to four, or to fewer at the border.

    Args:
      scenes: images with their padded targets.

    Returns:
      A target a cell.
    """
    centers = boxes.xyxy_to_cxcywh(scenes.boxes)[..., :2]
    distance = (
        jnp.max(jnp.abs(cell_centers()[None, :, None] - centers[:, None]), axis=-1) * GRID
    )  # [batch, cells, SLOTS]
    distance = jnp.where(scenes.valid[:, None], distance, jnp.inf)
    nearest = jnp.argmin(distance, axis=-1)
    assigned = jnp.min(distance, axis=-1) < REACH
    return Targets(
        boxes=jnp.take_along_axis(scenes.boxes, nearest[..., None], axis=1),
        classes=jnp.where(assigned, jnp.take_along_axis(scenes.classes, nearest, axis=1), -1),
        assigned=assigned,
    )


def detect(model: Detector, images: jax.Array | np.ndarray) -> Detections:
    """Finds the digits on images `[batch, CANVAS, CANVAS, 1]`: the best scores, less those that repeat a better one."""
    found = best(*model(images))
    return found._replace(scores=jnp.where(jax.vmap(first_of_kind)(found.boxes, found.classes), found.scores, 0))


def best(logits: jax.Array, found: jax.Array) -> Detections:
    """The best scores of class logits `[batch, n, CLASSES]` and boxes `[batch, n, 4]`."""
    scores, index = jax.lax.top_k(jax.nn.sigmoid(logits).reshape(len(logits), -1), CANDIDATES)
    places = (index // digits.CLASSES)[..., None]
    return Detections(jnp.take_along_axis(found, places, axis=1), index % digits.CLASSES, scores)


def first_of_kind(found: jax.Array, classes: jax.Array) -> jax.Array:
    """Which boxes overlap no better box of their class that is kept: greedy non-maximum suppression.

    Args:
      found: boxes, best first, `[n, 4]`.
      classes: their classes, `[n]`.

    Returns:
      A mask, `[n]`.
    """
    repeats = (similarity.pairwise(similarity.iou)(found, found) > SAME_OBJECT) & (classes[:, None] == classes[None])
    rank = jnp.arange(len(found))

    def drop_repeats(i: jax.Array, kept: jax.Array) -> jax.Array:
        return kept & ~(kept[i] & repeats[i] & (rank > i))

    return jax.lax.fori_loop(0, len(found), drop_repeats, jnp.ones_like(rank, bool))
