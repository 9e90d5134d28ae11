"""Matching against what people do instead: a loop over scipy on the host, a callback to it, optax under `vmap`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import optimize

from jaxbox import boxes, matching
from tests.tools.benchmarks.timing import measure

CLASSES = 80
PROBLEMS = [  # images, predictions, slots, the most targets of an image or None for all slots, and what the costs are
    (16, 100, 20, None, "random"),
    (16, 300, 50, None, "random"),
    (4, 900, 100, None, "random"),
    (16, 100, 20, None, "trained"),
    (16, 300, 50, None, "trained"),
    (16, 100, 20, None, "first steps"),
    (16, 300, 50, None, "first steps"),
    (16, 100, 100, 20, "trained"),
    (16, 300, 100, 30, "trained"),
    (16, 100, 100, 20, "first steps"),
    (16, 300, 100, 30, "first steps"),
]


def overlap_costs(predictions, targets):
    """Five times the L1 distance minus twice the GIoU of all pairs, of `[N, 4]` and `[M, 4]`, centers and sides."""
    distances = np.abs(predictions[:, None] - targets).sum(-1)
    (a, b) = (np.asarray(boxes.cxcywh_to_xyxy(jnp.asarray(x))) for x in (predictions, targets))
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    hull = np.prod(np.maximum(a[:, None, 2:], b[:, 2:]) - np.minimum(a[:, None, :2], b[:, :2]), axis=-1)
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(predictions[:, 2:], axis=-1)[:, None] + np.prod(targets[:, 2:], axis=-1) - shared
    return 5 * distances - 2 * (shared / union - 1 + union / hull)


def image_costs(rng, predictions, slots, kind):
    """The costs of DETR for an image of random targets, `[predictions, slots]`.

    After training each target has a query at its place, and the others are elsewhere; in the first steps all queries
    say nearly the same, so that every target wants the same ones.
    """
    if kind == "random":
        return rng.uniform(size=(predictions, slots))
    targets = np.concatenate([rng.uniform(0.2, 0.8, (slots, 2)), rng.uniform(0.05, 0.3, (slots, 2))], axis=-1)
    labels = rng.integers(0, CLASSES, slots)
    if kind == "first steps":
        queries = np.array([0.5, 0.5, 0.4, 0.4]) + rng.normal(0, 0.03, (predictions, 4))
        logits = rng.normal(0, 0.1, (predictions, CLASSES))
    else:
        queries = np.concatenate(
            [rng.uniform(0.1, 0.9, (predictions, 2)), rng.uniform(0.05, 0.3, (predictions, 2))], -1
        )
        logits = rng.normal(0, 1, (predictions, CLASSES))
        near = rng.permutation(predictions)[: min(predictions, slots)]
        queries[near] = targets[: len(near)] + rng.normal(0, 0.01, (len(near), 4))
        logits[near, labels[: len(near)]] += 5
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return overlap_costs(np.float32(queries), np.float32(targets)) - probabilities[:, labels]


def problems(images, predictions, slots, most, kind):
    """Costs `[images, predictions, slots]`, NaN where they are padding, and which slots hold targets."""
    rng = np.random.default_rng(0)
    costs = np.float32([image_costs(rng, predictions, slots, kind) for _ in range(images)])
    counts = np.full(images, slots) if most is None else rng.integers(1, most + 1, images)
    where = rng.permuted(np.arange(slots) < counts[:, None], axis=1)
    return np.where(where[:, None], costs, np.float32(np.nan)), where


def on_the_host(costs, where):
    """The prediction of each slot by scipy, image by image."""
    rows = np.full(where.shape, costs.shape[1], np.int32)
    for number, (image, real) in enumerate(zip(costs, where, strict=True)):
        places, columns = optimize.linear_sum_assignment(image[:, real])
        rows[number, np.flatnonzero(real)[columns]] = places
    return rows


def by_callback(costs, where):
    """The same from inside a program."""
    shape = jax.ShapeDtypeStruct(where.shape, jnp.int32)
    return jax.pure_callback(lambda *arrays: on_the_host(*map(np.asarray, arrays)), shape, costs, where)


def by_optax(costs, where):
    """Padding costs as much as the worst pair, since it has no mask."""
    padded = jnp.where(where[:, None], costs, jnp.nanmax(costs, axis=(1, 2), keepdims=True))
    rows, columns = jax.vmap(optax.assignment.hungarian_algorithm)(padded)
    return jax.vmap(lambda rows, columns: jnp.zeros_like(rows).at[columns].set(rows))(rows, columns)


def ours(costs, where):
    return matching.linear_assignment(costs, column_where=where).row_of_column


def of_matching(effort, sizes=PROBLEMS):
    """Every batch of problems: ours, a loop over scipy, a callback to it, optax under `vmap`."""
    for images, predictions, slots, most, kind in sizes:
        costs, where = problems(images, predictions, slots, most, kind)
        arrays = jnp.asarray(costs), jnp.asarray(where)
        no_mask = most is None
        run = functools.partial(jax.jit(ours), *arrays)
        if no_mask:
            run = functools.partial(jax.jit(lambda costs: matching.linear_assignment(costs).row_of_column), arrays[0])
        candidates = {
            "jaxbox": run,
            "scipy": functools.partial(on_the_host, costs, where),
            "callback": functools.partial(jax.jit(by_callback), *arrays),
            "optax": functools.partial(jax.jit(by_optax), *arrays),
        }
        of = {"costs": kind, "images": images, "predictions": predictions, "slots": slots}
        yield of | {"targets": "all" if no_mask else f"1 to {most}"}, measure(candidates, effort.less())
