"""A small single-shot detector of turned boxes: the cells of `detector`, each of which predicts an angle too."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxbox import coders, numerics, rotated, similarity
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes

SLIGHT = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")  # boxes are nearly squares at first


class TurnedDetector(nnx.Module):
    """Images to class logits and turned boxes, one of each a cell."""

    def __init__(self, rngs: nnx.Rngs, architecture: detector.Architecture) -> None:
        self.architecture, width = architecture, architecture.width
        self.backbone = detector.Backbone(rngs, architecture)
        self.classify = nnx.Conv(width, architecture.classes, (1, 1), bias_init=detector.RARE, rngs=rngs)
        self.locate = nnx.Conv(width, 3, (1, 1), kernel_init=nnx.initializers.zeros, rngs=rngs)
        # Not zeros: three equal phases have no angle, and no gradient.
        self.turn = nnx.Conv(width, 3, (1, 1), kernel_init=SLIGHT, rngs=rngs)

    def __call__(self, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
        """Looks at images `[batch, size, size, channels]`.

        Returns:
          Class logits `[batch, cells, classes]` and boxes `[batch, cells, 5]`: center and sides in units of the canvas
          side, and an angle.
        """
        x = self.backbone(images)
        logits, places, phases = (
            jnp.reshape(layer(x), (len(images), self.architecture.grid**2, -1))
            for layer in (self.classify, self.locate, self.turn)
        )
        return logits, decode(places, phases, self.architecture)


def decode(places: jax.Array, phases: jax.Array, architecture: detector.Architecture) -> jax.Array:
    """The boxes that cells predict.

    Three phases say along which way a box is long, by `coders.decode_phases`, and by how far they differ how slim it
    is. So one box has one code, without a jump where it is the same again half a turn further; a square has no angle.

    Args:
      places: offsets of the center from that of the cell, in cells, and the logarithm of the size, `[batch, cells, 3]`.
      phases: `[batch, cells, 3]`.
      architecture: of the detector: its grid, and the size that a raw 0 stands for.

    Returns:
      Center and sides in units of the canvas side, the longer side first, and an angle, `[batch, cells, 5]`.
    """
    offsets, size = places[..., :2], places[..., 2:]
    differences = phases - jnp.mean(phases, axis=-1, keepdims=True)
    slimness = numerics.square_root(jnp.sum(differences * differences, axis=-1, keepdims=True))
    centers = detector.cell_centers(architecture.grid)[None] + offsets / architecture.grid
    sides = architecture.typical_side * jnp.exp(jnp.concatenate([size + slimness, size - slimness], axis=-1))
    return jnp.concatenate([centers, sides, coders.decode_phases(phases)[..., None]], axis=-1)


def slots_of(scenes: Scenes, grid: int) -> jax.Array:
    """Gives each true box to the cells around its center, as `detector.slots_of` does."""
    return detector.slots_of(scenes._replace(boxes=rotated.to_xyxy(scenes.boxes)), grid)


def detect(model: TurnedDetector, images: jax.Array | np.ndarray) -> detector.Detections:
    """What is on images `[batch, size, size, channels]`: the best scores, less those that repeat a better one."""
    found = detector.best(*model(images), model.architecture.candidates)
    return detector.without_duplicates(found, similarity.rotated_iou)
