"""A small single-shot detector: each cell of a grid says what is centered near it, and where its box lies."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxbox import assigners, boxes, matching, similarity, suppression
from jaxbox.demo.scenes import Scenes

REACH = 0.999  # a cell answers for a box whose center is nearer than this on both axes, in cells: for four at most
SAME_OBJECT = 0.5  # overlap above which the lower of two scores of a class is dropped
THIN = 8  # the fewest channels of a layer


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a detector is built from, whatever its head.

    Attributes:
      classes: how many there are.
      size: pixels a side of the square canvas, a multiple of `stride`.
      channels: of an image: 1 for grey levels, 3 for colors.
      stride: pixels a side of a cell, a power of two from 2 on.
      width: channels of the features, a multiple of 4.
      dilations: of the layers behind the last stride: how many there are, and how many cells each looks around itself.
      typical_side: of a box, in units of the canvas side: what a raw output of 0 decodes to.
      queries: how many the head `queries` has.
      candidates: the highest scores an image that the other heads look at.
      dtype: what layers compute in, but for the last ones, which say classes and boxes; parameters, statistics of
        batches and losses are float32.
    """

    classes: int
    size: int
    channels: int
    stride: int
    width: int
    dilations: tuple[int, ...]
    typical_side: float
    queries: int
    candidates: int
    dtype: str = "float32"

    @property
    def grid(self) -> int:
        """The cells along a side."""
        return self.size // self.stride

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Architecture":
        """What `dataclasses.asdict` made, once JSON has made a list of each tuple."""
        return cls(**{**record, "dilations": tuple(record["dilations"])})


class Detections(NamedTuple):
    """Boxes found, best first.

    Attributes:
      boxes: `[batch, candidates, 4]`, `xyxy` in units of the canvas side, or turned boxes, `[batch, candidates, 5]`:
        center and sides in that unit, and an angle.
      classes: `[batch, candidates]`, from 0.
      scores: `[batch, candidates]`, in `[0, 1]`; 0 where there are fewer.
    """

    boxes: jax.Array
    classes: jax.Array
    scores: jax.Array


class Block(nnx.Module):
    """Convolution, batch normalization, ReLU; added to its input where the shapes allow."""

    def __init__(
        self, inputs: int, outputs: int, rngs: nnx.Rngs, *, dtype: str, stride: int = 1, dilation: int = 1
    ) -> None:
        options = {"strides": stride, "kernel_dilation": dilation, "use_bias": False, "dtype": jnp.dtype(dtype)}
        self.convolution = nnx.Conv(inputs, outputs, (3, 3), **options, rngs=rngs)
        self.norm = nnx.BatchNorm(outputs, momentum=0.9, dtype=jnp.dtype(dtype), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[batch, height, width, inputs]` to `[batch, height / stride, width / stride, outputs]`."""
        y = nnx.relu(self.norm(self.convolution(x)))
        return x + y if x.shape == y.shape else y


class Backbone(nnx.Module):
    """Images to features, a vector a cell."""

    def __init__(self, rngs: nnx.Rngs, architecture: Architecture) -> None:
        halvings, width, dtype = architecture.stride.bit_length() - 1, architecture.width, architecture.dtype
        widths = [max(width >> (halvings - i), THIN) for i in range(1, halvings)] + [width]
        ends = zip([architecture.channels, *widths], widths, strict=False)
        self.halve = nnx.Sequential(*(Block(*sizes, rngs, dtype=dtype, stride=2) for sizes in ends))
        looks = (Block(width, width, rngs, dtype=dtype, dilation=far) for far in architecture.dilations)
        self.look = nnx.Sequential(*looks)

    def __call__(self, images: jax.Array | np.ndarray) -> jax.Array:
        """Maps `[batch, size, size, channels]` to `[batch, grid, grid, width]`."""
        x = 1 - jnp.asarray(images)  # so that the zeros with which a convolution pads are blank
        return self.look(self.halve(x))


RARE = nnx.initializers.constant(-4.0)  # of a logit: most cells and queries are empty, and start by saying so


class Detector(nnx.Module):
    """Images to class logits and boxes, one of each a cell."""

    def __init__(self, rngs: nnx.Rngs, architecture: Architecture) -> None:
        self.architecture, width = architecture, architecture.width
        self.backbone = Backbone(rngs, architecture)
        self.classify = nnx.Conv(width, architecture.classes, (1, 1), bias_init=RARE, rngs=rngs)
        self.locate = nnx.Conv(width, 4, (1, 1), kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
        """Looks at images `[batch, size, size, channels]`.

        Returns:
          Class logits `[batch, cells, classes]` and boxes `[batch, cells, 4]`, `xyxy` in units of the canvas side.
        """
        grid, x = self.architecture.grid, self.backbone(images)
        logits = jnp.reshape(self.classify(x), (len(images), -1, self.architecture.classes))
        offsets, scales = jnp.split(jnp.reshape(self.locate(x), (len(images), -1, 4)), 2, axis=-1)
        centers = cell_centers(grid)[None] + offsets / grid
        sides = self.architecture.typical_side * jnp.exp(scales)
        return logits, boxes.cxcywh_to_xyxy(jnp.concatenate([centers, sides], axis=-1))


def cell_centers(grid: int) -> jax.Array:
    """Where the cells lie, `grid` along a side: `[cells, 2]`, x then y, in units of the canvas side."""
    line = (jnp.arange(grid, dtype=jnp.float32) + 0.5) / grid
    return jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)


def slots_of(scenes: Scenes, grid: int) -> jax.Array:
    """Gives each true box to the cells around its center: to four, or to fewer at the border.

    Args:
      scenes: images with their padded targets.
      grid: cells along a side.

    Returns:
      The slot of the box that each cell answers for, `[batch, cells]`; the number of slots where it answers for none.
    """
    points = cell_centers(grid)
    any_size = jnp.broadcast_to(jnp.array([0.0, jnp.inf]), points.shape)
    radius = jnp.full(len(points), REACH / grid)
    return assigners.smallest_inside(points, scenes.boxes, ranges=any_size, radius=radius, where=scenes.valid)


def detect(model: Detector, images: jax.Array | np.ndarray) -> Detections:
    """What is on images `[batch, size, size, channels]`: the best scores, less those that repeat a better one."""
    return without_duplicates(best(*model(images), model.architecture.candidates), similarity.iou)


def without_duplicates(found: Detections, alike: Callable[..., jax.Array]) -> Detections:
    """Drops what is too similar to a better score of its class, by a similarity such as `similarity.iou`."""
    options = {"threshold": SAME_OBJECT, "classes": found.classes, "similarity": alike}
    kept = suppression.nms(found.boxes, found.scores, outputs=found.scores.shape[-1], **options)
    kept_boxes, kept_classes = (matching.take(rows, kept.indices) for rows in (found.boxes, found.classes))
    return Detections(kept_boxes, kept_classes, kept.scores)


def best(logits: jax.Array, found: jax.Array, count: int) -> Detections:
    """The best scores of class logits `[batch, n, classes]` and boxes `[batch, n, 4]` or `[batch, n, 5]`."""
    batch, n, classes = logits.shape
    scores, index = jax.lax.top_k(jax.nn.sigmoid(logits).reshape(batch, -1), min(count, n * classes))
    places = (index // classes)[..., None]
    return Detections(jnp.take_along_axis(found, places, axis=1), index % classes, scores)
