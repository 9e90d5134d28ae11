"""A small detector of a set: a decoder refines a few queries, each of which answers for one object or for none.

After RT-DETR (https://arxiv.org/abs/2304.08069): the queries begin as the best cells of a grid, whose boxes are their
first boxes, and every layer of the decoder corrects the boxes of the layer before. No duplicate is dropped afterwards:
the matching of the loss lets a single query answer for an object.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxbox import boxes, coders
from jaxbox.demo.models import detector

ATTENTION_HEADS = 4


class Head(nnx.Module):
    """Vectors to class logits, and to boxes that are corrections of reference boxes."""

    def __init__(self, rngs: nnx.Rngs, architecture: detector.Architecture) -> None:
        width = architecture.width
        self.classify = nnx.Linear(width, architecture.classes, bias_init=detector.RARE, rngs=rngs)
        self.hide = nnx.Linear(width, width, rngs=rngs)
        self.locate = nnx.Linear(width, 4, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: jax.Array, references: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps vectors `[batch, n, width]` and boxes `[batch, n, 4]` to logits and boxes, one of each a vector."""
        return self.classify(x), coders.decode_deltas(self.locate(nnx.relu(self.hide(x))), references)


class Layer(nnx.Module):
    """One layer of the decoder: queries look at each other, then at the image, then each thinks by itself."""

    def __init__(self, rngs: nnx.Rngs, architecture: detector.Architecture) -> None:
        width, dtype = architecture.width, jnp.dtype(architecture.dtype)
        self.norm_of_self, self.norm_of_cross, self.norm_of_mlp, self.norm_of_head = (
            nnx.LayerNorm(width, dtype=dtype, rngs=rngs) for _ in range(4)
        )
        self.attend_self, self.attend_cross = (
            nnx.MultiHeadAttention(ATTENTION_HEADS, width, decode=False, dtype=dtype, rngs=rngs) for _ in range(2)
        )
        self.widen = nnx.Linear(width, 2 * width, dtype=dtype, rngs=rngs)
        self.narrow = nnx.Linear(2 * width, width, dtype=dtype, rngs=rngs)
        self.head = Head(rngs, architecture)

    def __call__(
        self, x: jax.Array, places: jax.Array, features: jax.Array, keys: jax.Array, references: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Updates the queries and says what they have found.

        Args:
          x: queries, `[batch, queries, width]`.
          places: where they are, in vectors, likewise.
          features: of the image, `[batch, cells, width]`.
          keys: the features with their places.
          references: the boxes of the layer before, `[batch, queries, 4]`.

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

    def __init__(self, rngs: nnx.Rngs, architecture: detector.Architecture) -> None:
        self.architecture, width, dtype = architecture, architecture.width, jnp.dtype(architecture.dtype)
        self.backbone = detector.Backbone(rngs, architecture)
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.propose = Head(rngs, architecture)
        self.cell_places = nnx.Param(nnx.initializers.normal(0.5)(rngs.params(), (architecture.grid**2, width)))
        self.hide_place = nnx.Linear(4, width, dtype=dtype, rngs=rngs)
        self.place = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.first = Layer(rngs, architecture)
        self.second = Layer(rngs, architecture)

    def __call__(self, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
        """Looks at images `[batch, size, size, channels]`.

        Returns:
          Class logits `[3, batch, queries, classes]` and boxes `[3, batch, queries, 4]`, `xyxy` in units of the canvas
          side: of the proposals, then of the layers.
        """
        cells = self.architecture.grid**2
        features = self.norm(jnp.reshape(self.backbone(images), (len(images), cells, -1)))
        centers = detector.cell_centers(self.architecture.grid)
        typical = jnp.concatenate([centers, jnp.full_like(centers, self.architecture.typical_side)], axis=-1)
        logits, found = self.propose(features, jnp.broadcast_to(boxes.cxcywh_to_xyxy(typical), (len(images), cells, 4)))
        _, chosen = jax.lax.top_k(jnp.max(logits, axis=-1), self.architecture.queries)
        x, logits, found = (jnp.take_along_axis(rows, chosen[..., None], axis=1) for rows in (features, logits, found))

        stages = [(logits, found)]
        x, keys = jax.lax.stop_gradient(x), features + self.cell_places[...][None].astype(features.dtype)
        for layer in (self.first, self.second):
            references = jax.lax.stop_gradient(stages[-1][1])  # each layer learns its own correction
            places = self.place(nnx.relu(self.hide_place(boxes.xyxy_to_cxcywh(references))))
            x, logits, found = layer(x, places, features, keys, references)
            stages.append((logits, found))
        all_logits, all_found = zip(*stages, strict=True)
        return jnp.stack(all_logits), jnp.stack(all_found)


def detect(model: QueryDetector, images: jax.Array | np.ndarray) -> detector.Detections:
    """What is on images `[batch, size, size, channels]`: the best scores of the last layer."""
    logits, found = model(images)
    return detector.best(logits[-1], found[-1], model.architecture.candidates)
