"""The table of the functions of turned boxes as normal distributions, and the programs that their tests share."""

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import gaussian, losses
from tests import gaussian_reference as reference
from tests.table import defaults

COUNT = 512
QUICKLY = {"xla_backend_optimization_level": 0}  # compiling is what takes the time


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A function of two turned boxes, the upper end of its range, and the options that it needs."""

    function: Callable[..., jax.Array]
    upper: float
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_symmetric: bool = True
    sees_centers: bool = True
    leads: bool = True  # descent brings boxes to their targets

    @property
    def name(self):
        return self.function.__name__

    @property
    def is_loss(self):
        return self.name.endswith("_loss")

    def __call__(self, predictions, targets, **options):
        return self.function(predictions, targets, **{**self.options, **options})

    def expected(self, predictions, targets, **options):
        return getattr(reference, self.name)(predictions, targets, **{**self.options, **options})


DISTANCES = [
    Row(gaussian.wasserstein, np.inf),
    Row(gaussian.kl, np.inf, is_symmetric=False),
    Row(gaussian.jeffreys, np.inf),
    Row(gaussian.bhattacharyya, np.inf),
]
LOSSES = [
    Row(losses.gwd_loss, 1),
    Row(losses.kld_loss, 1, is_symmetric=False),
    Row(losses.reverse_kld_loss, 1, is_symmetric=False),
    Row(losses.jeffreys_loss, 1),
    Row(losses.bhattacharyya_loss, 1),
    Row(losses.probiou_loss, 1, leads=False),
    Row(losses.kfiou_loss, 1, sees_centers=False, leads=False),
    Row(losses.rotated_nwd_loss, 1, {"constant": 2.0}),
    Row(losses.angle_loss, 1, is_symmetric=False, sees_centers=False, leads=False),
]


def rows(wanted=bool):
    chosen = [row for row in (*DISTANCES, *LOSSES) if wanted(row)]
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row.name)


every_function = rows()
every_loss = rows(lambda row: row.is_loss)
every_bent_loss = rows(lambda row: "tau" in defaults(row.function))


def along(function, a, b, tangent):
    return jax.jvp(function, (a, b), tuple(jnp.split(tangent, 2)))


TRANSFORMS = {
    "value and gradients": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "forward mode": lambda row: jax.vmap(partial(along, row)),
}


@functools.cache
def compiled(row, transform, dtype):
    """One program a function and transform; only the gradients in float32 are compiled as users have them."""
    quickly = None if (transform, dtype) == ("value and gradients", "float32") else QUICKLY
    return jax.jit(TRANSFORMS[transform](row), compiler_options=quickly)


def run(transform, row, *arrays, dtype="float32"):
    """Applies a transform to arrays `[count, k]`, in chunks of one shape; returns NumPy."""
    count = len(arrays[0])
    padded = [np.pad(np.asarray(x), [(0, -count % COUNT), (0, 0)]).astype(dtype) for x in arrays]
    chunks = [
        compiled(row, transform, dtype)(*(x[k : k + COUNT] for x in padded)) for k in range(0, len(padded[0]), COUNT)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *chunks)


def value_and_gradients(row, a, b, dtype="float32"):
    return run("value and gradients", row, a, b, dtype=dtype)


def in_every_direction(a, b):
    repeated = [np.repeat(x, 10, axis=0) for x in (a, b)]
    return *repeated, np.tile(np.eye(10), (len(a), 1))


def central_differences(function, x):
    step = 1e-6
    moves = step * np.eye(5)
    return np.stack([(function(x + move) - function(x - move)) / (2 * step) for move in moves], axis=-1)
