"""What is timed, besides the losses: their boxes, the mean of a loss, its gradient, the matrix of all pairs."""

import jax
import jax.numpy as jnp
import numpy as np


def random_boxes(count, seed):
    """Boxes in the unit square of sides 0.05 to 0.5, `[count, 4]`."""
    rng = np.random.default_rng(seed)
    middle, sides = rng.uniform(0, 1, (count, 2)), rng.uniform(0.05, 0.5, (count, 2))
    return np.concatenate([middle - sides / 2, middle + sides / 2], axis=-1).astype(np.float32)


def mean_of(function):
    return lambda *arrays: jnp.mean(function(*arrays))


def value_and_grad(function, places=(0,)):
    return jax.value_and_grad(mean_of(function), places)


def broadcasting(function):
    return lambda a, b: function(a[:, None], b[None])


def weighted_gradients(compare):
    """The gradients for both sets of the weighted sum of a matrix."""
    return jax.grad(lambda a, b, weights: jnp.sum(compare(a, b) * weights), (0, 1))
