"""A small detector of a set: a decoder refines a few queries, each of which answers for one digit or for none.

After RT-DETR (https://arxiv.org/abs/2304.08069): the queries begin as the best cells of a grid, whose boxes are their
first boxes, and every layer of the decoder corrects the boxes of the layer before. No duplicate is dropped afterwards:
the matching of the loss lets a single query answer for a digit.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxbox import boxes, coders
from jaxbox.demo import detector, digits

CELLS = detector.GRID**2
QUERIES = 12  # an image; three times the digits that one holds
ATTENTION_HEADS = 4


class Head(nnx.Module):
    """Vectors to class logits, and to boxes that are corrections of reference boxes."""

    def __init__(self, rngs: nnx.Rngs, width: int) -> None:
        self.classify = nnx.Linear(width, digits.CLASSES, bias_init=detector.RARE, rngs=rngs)
        self.hide = nnx.Linear(width, width, rngs=rngs)
        self.locate = nnx.Linear(width, 4, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: jax.Array, references: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps vectors `[batch, n, width]` and boxes `[batch, n, 4]` to logits and boxes, one of each a vector."""
        return self.classify(x), coders.decode_deltas(self.locate(nnx.relu(self.hide(x))), references)


class Layer(nnx.Module):
    """One layer of the decoder: queries look at each other, then at the image, then each thinks by itself."""

    def __init__(self, rngs: nnx.Rngs, width: int) -> None:
        self.norm_of_self, self.norm_of_cross, self.norm_of_mlp, self.norm_of_head = (
            nnx.LayerNorm(width, rngs=rngs) for _ in range(4)
        )
        self.attend_self, self.attend_cross = (
            nnx.MultiHeadAttention(ATTENTION_HEADS, width, decode=False, rngs=rngs) for _ in range(2)
        )
        self.widen = nnx.Linear(width, 2 * width, rngs=rngs)
        self.narrow = nnx.Linear(2 * width, width, rngs=rngs)
        self.head = Head(rngs, width)

    def __call__(
        self, x: jax.Array, places: jax.Array, features: jax.Array, keys: jax.Array, references: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Updates the queries and says what they have found.

        Args:
          x: queries, `[batch, QUERIES, width]`.
          places: where they are, in vectors, likewise.
          features: of the image, `[batch, CELLS, width]`.
          keys: the features with their places.
          references: the boxes of the layer before, `[batch, QUERIES, 4]`.

        Returns:
          Queries, class logits, and boxes.
        """
        y = self.norm_of_self(x)
        x = x + self.attend_self(y + places, y + places, y)
        x = x + self.attend_cross(self.norm_of_cross(x) + places, keys, features)
        x = x + self.narrow(nnx.relu(self.widen(self.norm_of_mlp(x))))
        return x, *self.head(self.norm_of_head(x), references)


class QueryDetector(nnx.Module):
    """Images to class logits and boxes, one of each a query: of the proposals, and of each layer of the decoder."""

    def __init__(self, rngs: nnx.Rngs, width: int = 64) -> None:
        self.backbone = detector.Backbone(rngs, width)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.propose = Head(rngs, width)
        self.cell_places = nnx.Param(nnx.initializers.normal(0.5)(rngs.params(), (CELLS, width)))
        self.hide_place = nnx.Linear(4, width, rngs=rngs)
        self.place = nnx.Linear(width, width, rngs=rngs)
        self.first = Layer(rngs, width)
        self.second = Layer(rngs, width)

    def __call__(self, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
        """Looks at images `[batch, CANVAS, CANVAS, 1]`.

        Returns:
          Class logits `[3, batch, QUERIES, CLASSES]` and boxes `[3, batch, QUERIES, 4]`, `xyxy` in units of the canvas
          side: of the proposals, then of the layers.
        """
        features = self.norm(jnp.reshape(self.backbone(images), (len(images), CELLS, -1)))
        centers = detector.cell_centers()
        typical = jnp.concatenate([centers, jnp.full_like(centers, detector.TYPICAL_SIDE)], axis=-1)
        logits, found = self.propose(features, jnp.broadcast_to(boxes.cxcywh_to_xyxy(typical), (len(images), CELLS, 4)))
        _, chosen = jax.lax.top_k(jnp.max(logits, axis=-1), QUERIES)
        x, logits, found = (jnp.take_along_axis(rows, chosen[..., None], axis=1) for rows in (features, logits, found))

        stages = [(logits, found)]
        x, keys = jax.lax.stop_gradient(x), features + self.cell_places[...][None]
        for layer in (self.first, self.second):
            references = jax.lax.stop_gradient(stages[-1][1])  # each layer learns its own correction
            places = self.place(nnx.relu(self.hide_place(boxes.xyxy_to_cxcywh(references))))
            x, logits, found = layer(x, places, features, keys, references)
            stages.append((logits, found))
        all_logits, all_found = zip(*stages, strict=True)
        return jnp.stack(all_logits), jnp.stack(all_found)


def detect(model: QueryDetector, images: jax.Array | np.ndarray) -> detector.Detections:
    """Finds the digits on images `[batch, CANVAS, CANVAS, 1]`: the best scores of the last layer."""
    logits, found = model(images)
    return detector.best(logits[-1], found[-1])
