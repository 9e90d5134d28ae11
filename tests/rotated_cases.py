"""Pairs of turned boxes and of solids, and the programs of their losses, which tests share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import losses

COUNT = 500  # pairs of a batch, so that all tests of a loss share its programs


def columns(name):
    return 5 if name.startswith("rotated") else 7


@functools.cache
def program(name, *signature):
    """The loss of a batch, and its gradients with respect to both boxes."""
    del signature  # part of the key
    loss = getattr(losses, f"{name}_loss")

    def summed(a, b):
        values = loss(a, b)
        return jnp.sum(values), values

    def both(a, b):
        (_, values), gradients = jax.value_and_grad(summed, argnums=(0, 1), has_aux=True)(a, b)
        return values, *gradients

    return jax.jit(both)


def quickly(function):
    """Compiled without what takes most of the time, for what is asked within rounding."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def value_and_gradients(name, a, b, dtype=np.float32):
    """Of arrays of any length, `COUNT` pairs at a time; in NumPy."""
    rows = len(a)
    padded = [np.pad(np.asarray(x, dtype), [(0, -rows % COUNT), (0, 0)]) for x in (a, b)]
    chunks = [
        program(name, dtype)(*(x[start : start + COUNT] for x in padded)) for start in range(0, len(padded[0]), COUNT)
    ]
    return [np.concatenate(parts)[:rows] for parts in zip(*chunks, strict=True)]


def random_boxes(count, seed, spread=1.0):
    generator = np.random.default_rng(seed)
    centers = spread * generator.normal(size=(count, 2))
    sides = np.exp(0.7 * generator.normal(size=(count, 2))) + 0.05
    return np.concatenate([centers, sides, generator.uniform(-7, 7, (count, 1))], axis=-1)


def random_shapes(name, count, seed, spread=1.0):
    rectangles = random_boxes(count, seed, spread)
    if columns(name) == 5:
        return rectangles
    generator = np.random.default_rng(seed + 1000)
    rise, height = generator.normal(size=(count, 1)), np.exp(0.5 * generator.normal(size=(count, 1)))
    return np.concatenate([rectangles[:, :2], rise, rectangles[:, 2:4], height, rectangles[:, 4:]], axis=-1)


def random_pairs(name, count=COUNT, seed=0):
    """Half of them anywhere, half of them near each other."""
    a, b = random_shapes(name, count, seed), random_shapes(name, count, seed + 1, spread=1.5)
    near = b + 0.1 * np.random.default_rng(seed).normal(size=b.shape)
    return np.where(np.arange(count)[:, None] % 2, near, a), b


def with_angle(boxes, angle):
    return np.concatenate([boxes[..., :-1], np.broadcast_to(angle, boxes.shape[:-1])[..., None]], axis=-1)


def sides(boxes):
    """Where the sides of the rectangle begin."""
    return 2 if boxes.shape[-1] == 5 else 3


def swapped(boxes):
    first = sides(boxes)
    order = list(range(boxes.shape[-1]))
    order[first], order[first + 1] = order[first + 1], order[first]
    return boxes[..., order]


def up(boxes):
    """Upright boxes by their corners."""
    return np.concatenate([boxes[..., :2] - boxes[..., 2:4] / 2, boxes[..., :2] + boxes[..., 2:4] / 2], axis=-1)


def moved_together(a, b, angle, shift):
    """Both shapes turned about the origin, then shifted."""
    found = []
    for boxes in (a, b):
        x, y = boxes[:, 0], boxes[:, 1]
        turned = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=-1)
        found.append(with_angle(np.concatenate([turned + shift, boxes[:, 2:]], axis=-1), boxes[:, -1] + angle))
    return found


def other_numbers(a, b):
    """The same pairs in other words: their losses are the same ones."""
    return {
        "half a turn": (with_angle(a, a[:, -1] + np.pi), b),
        "a quarter": (with_angle(swapped(a), a[:, -1] + np.pi / 2), b),
        "a quarter of the target": (a, with_angle(swapped(b), b[:, -1] - np.pi / 2)),
        "the other way round": (b, a),
        "turned": moved_together(a, b, 0.8, 0),
        "shifted": moved_together(a, b, 0, 1.5),
    }
