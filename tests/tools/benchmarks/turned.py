"""Losses of turned boxes against GIoU of upright ones, and the exact overlap against shapely in a loop."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import losses, similarity
from tests.tools.benchmarks.timing import measure
from tests.turned_cases import random_turned

TURNED = (
    "rotated_mgiou",
    "rotated_iou",
    "rotated_giou",
    "rotated_diou",
    "gwd",
    "kld",
    "bhattacharyya",
    "probiou",
    "kfiou",
)
COUNTS = 10_000, 1_000_000


def mean_and_gradient(loss):
    return jax.jit(jax.value_and_grad(lambda predictions, targets: jnp.mean(loss(predictions, targets))))


def pairs_of(count):
    """Turned boxes that partly overlap, and upright ones with the same centers and sides."""
    turned = [random_turned(count, seed) for seed in (0, 1)]
    upright = [np.concatenate([x[:, :2] - x[:, 2:4] / 2, x[:, :2] + x[:, 2:4] / 2], axis=-1) for x in turned]
    return [jnp.asarray(x, jnp.float32) for x in turned], [jnp.asarray(x, jnp.float32) for x in upright]


def by_shapely(a, b):
    """The intersection over union of pairs, one after the other."""
    import shapely.affinity  # type: ignore[reportMissingModuleSource]

    polygons = []
    for boxes in (a, b):
        rectangles = (shapely.box(-w / 2, -h / 2, w / 2, h / 2) for w, h in boxes[:, 2:4])
        polygons.append(
            [
                shapely.affinity.translate(shapely.affinity.rotate(one, angle, (0, 0), use_radians=True), x, y)
                for one, (x, y, _, _, angle) in zip(rectangles, boxes, strict=True)
            ]
        )
    return [one.intersection(other).area / one.union(other).area for one, other in zip(*polygons, strict=True)]


def of_turned(effort, counts=COUNTS):
    """Value and gradient of the mean, and the value alone, of each loss."""
    for count in counts:
        turned, upright = pairs_of(count)
        for name in TURNED:
            loss = getattr(losses, f"{name}_loss")
            candidates = {
                "gradients": functools.partial(mean_and_gradient(loss), *turned),
                "gradients of giou": functools.partial(mean_and_gradient(losses.giou_loss), *upright),
                "forward": functools.partial(jax.jit(loss), *turned),
                "forward of giou": functools.partial(jax.jit(losses.giou_loss), *upright),
            }
            if name == "rotated_iou" and count == min(counts) and importlib.util.find_spec("shapely"):
                few = [np.float64(x[:1000]) for x in turned]
                candidates["ten times a thousand by shapely"] = lambda few=few: [by_shapely(*few) for _ in range(10)]
                candidates["similarity"] = functools.partial(jax.jit(similarity.rotated_iou), *turned)
            yield {"loss": f"{name}_loss", "boxes": count}, measure(candidates, effort.less())
