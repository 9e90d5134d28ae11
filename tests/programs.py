"""The compiled programs of a loss, which all laws share: compiling is what takes the time."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tests.table import EVERY

CHUNK = 512

# Whether XLA fuses a multiplication and an addition, and rounds once, depends on what else is in the kernel: two forms
# have the same bits where that was measured, with jax 0.10.2 and 0.12, and elsewhere the same numbers but for rounding.
ROUNDING = 0 if jax.__version_info__ >= (0, 10) else 1e-6


def along(function, predictions, targets, tangent):
    """The value of a function of two boxes and its derivative along one direction, in forward mode."""
    return jax.jvp(function, (predictions, targets), tuple(jnp.split(tangent, 2)))


def masked(row, predictions, targets, keep):
    values = row(predictions, targets, where=keep)
    return jnp.sum(values), values


TRANSFORMS = {
    "value": jax.vmap,
    "value and gradients": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "value and gradients, not optimized": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "value and gradients in half precision": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "forward mode": lambda row: jax.vmap(partial(along, row)),
    "second derivative": lambda row: jax.vmap(partial(along, jax.grad(row))),
    "masked": lambda row: jax.value_and_grad(partial(masked, row), argnums=(0, 1), has_aux=True),
}


@functools.cache
def compiled(name: str, transform: str, *signature: object):
    """One compiled program a loss and transform, which all tests share: compiling is what takes the time."""
    del signature  # part of the key: each has a program of its own
    row = next(row for row in EVERY if row.name == name)
    # Values and gradients are compiled as users have them. The others would take most of the time to compile; what is
    # asked of them is a value within rounding, finiteness, or that one program gives the same bits twice.
    quickly = None if transform == "value and gradients" else {"xla_backend_optimization_level": 0}
    return jax.jit(TRANSFORMS[transform](row), compiler_options=quickly)


def run(transform, row, *arrays, dtype="float32"):
    """Applies a transform of a loss to arrays `[count, ...]`, in chunks of one shape; returns NumPy."""
    count, width = len(arrays[0]), arrays[0].shape[-1]
    padded = [np.pad(np.asarray(x), [(0, -count % CHUNK), (0, 0)]).astype(dtype) for x in arrays]
    function = compiled(row.name, transform, dtype, width)
    chunks = [function(*(x[k : k + CHUNK] for x in padded)) for k in range(0, len(padded[0]), CHUNK)]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *chunks)


def value_and_gradients(row, predictions, targets, dtype="float32"):
    return run("value and gradients", row, predictions, targets, dtype=dtype)


def in_every_direction(predictions, targets):
    """Each pair once for each of its coordinates, and the directions, `[count, 2 width]`."""
    width = 2 * predictions.shape[-1]
    repeated = [np.repeat(x, width, axis=0) for x in (predictions, targets)]
    return *repeated, np.tile(np.eye(width), (len(predictions), 1))


def expected(row, predictions, targets, held=None):
    extra = {"held": held} if row.holds_predictions and held is not None else {}
    return row.reference(predictions, targets, **row.options, **extra)


def central_differences(function, x):
    step = 2e-7
    moves = step * np.eye(x.shape[-1])
    return np.stack([(function(x + move) - function(x - move)) / (2 * step) for move in moves], axis=-1)


def float32_errors(row, offset, count=100_000):
    """How far float32 is from float64 over random pairs, for boxes with the same rounded coordinates.

    Args:
      row: a row of the table.
      offset: 0 for boxes inside `[0, 1]`; else added to the coordinates of boxes with sides from 0.3 to 3.
      count: how many pairs.

    Returns:
      The worst error of the value against the reference, relative where that is above 1. The worst error of a
      derivative, relative to the largest one of the pair, or to 1 a side of the target where that is larger; of a row
      with `ties`, without the worst of 10,000 pairs each.
    """
    shape, ordinary = row.shape, row.shape.random_pairs(count, seed=70)
    pairs = [shape.moved(x, offset) if offset else shape.scaled(shape.moved(x, 2.5), 0.2) for x in ordinary]
    single = [x.astype(np.float32) for x in pairs]
    double = [x.astype(np.float64) for x in single]
    value, gradients = value_and_gradients(row, *single)
    _, exact_gradients = value_and_gradients(row, *double, dtype="float64")
    exact = expected(row, *double)
    error = np.abs(value - exact) / np.maximum(np.abs(exact), 1)
    gradient, exact_gradient = (np.concatenate(x, axis=-1) for x in (gradients, exact_gradients))
    a_side = 1 / np.min(shape.sides(double[1]), axis=-1)
    scale = np.maximum(np.max(np.abs(exact_gradient), axis=-1), a_side)
    of_pairs = np.sort(np.max(np.abs(gradient - exact_gradient), axis=-1) / scale)
    return np.max(error), of_pairs[-1 - (count // 10_000 if row.ties else 0)]


def faults(row, pairs, transform="value and gradients"):
    """The pairs, with their values, for which a loss is out of range or not finite, or a derivative is not finite."""
    value, gradients = run(transform, row, *pairs)
    upright = np.all([row.shape.sides(x) >= 0 for x in pairs], axis=(0, 2))
    upper = np.where(upright, row.upper, row.upper_if_flipped or row.upper)
    fine = (value >= -1e-6) & (value <= upper + 1e-6) & np.isfinite(value) & np.all(np.isfinite(gradients), axis=(0, 2))
    return [(*(x[wrong].tolist() for x in pairs), float(value[wrong])) for wrong in np.flatnonzero(~fine)]
