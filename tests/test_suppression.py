"""Suppression: what greedy loops keep, whatever padding holds; classes, similarities, batches, transforms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import similarity, suppression
from tests import dense_reference as reference

COUNTS = 1, 50, 257, 600


def detections(count, seed):
    """Boxes, scores with ties, classes and a mask; NaN where it is False."""
    rng = np.random.default_rng(seed)
    middle, half = rng.uniform(0, 1, (count, 2)), rng.uniform(0.02, 0.2, (count, 2))
    where = rng.uniform(size=count) < 0.8
    boxes = np.where(where[:, None], np.float32(np.concatenate([middle - half, middle + half], axis=-1)), np.nan)
    scores = np.where(where, np.float32(np.round(rng.uniform(size=count), 2)), np.nan)
    return np.float32(boxes), np.float32(scores), rng.integers(0, 3, count), where


@pytest.mark.parametrize("of_classes", [False, True])
@pytest.mark.parametrize("outputs", [10, 700])
@pytest.mark.parametrize("count", COUNTS)
def test_what_is_kept_is_what_a_greedy_loop_keeps(count, outputs, of_classes):
    for seed in range(4):
        boxes, scores, classes, where = detections(count, seed)
        options = {"classes": classes} if of_classes else {}
        kept = suppression.nms(boxes, scores, threshold=0.5, outputs=outputs, where=where, **options)
        alike = classes if of_classes else np.zeros_like(classes)
        wanted = reference.greedy(np.float64(boxes), scores, 0.5, outputs, alike, where)
        np.testing.assert_array_equal(kept.indices, wanted)
        np.testing.assert_array_equal(kept.scores, np.append(np.nan_to_num(scores), 0)[wanted])


@pytest.mark.parametrize("of_classes", [False, True])
@pytest.mark.parametrize("count", COUNTS[:3])
@pytest.mark.usefixtures("x64")
def test_soft_suppression_is_that_of_a_loop(count, of_classes):
    boxes, scores, classes, where = detections(count, 0)
    scores = np.float64(scores) + 1e-6 * np.random.default_rng(1).uniform(size=count)  # no ties
    options = {"classes": classes} if of_classes else {}
    kept = suppression.soft_nms(np.float64(boxes), scores, outputs=40, sigma=0.3, where=where, **options)
    alike = classes if of_classes else np.zeros_like(classes)
    index, score = reference.softly(np.float64(boxes), scores, 40, 0.3, 1e-3, alike, where)
    np.testing.assert_array_equal(kept.indices, index)
    np.testing.assert_allclose(kept.scores, score, rtol=1e-12)


def test_each_class_keeps_what_it_keeps_alone():
    boxes, scores, classes, where = detections(300, 3)
    kept = suppression.nms(boxes, scores, threshold=0.4, outputs=300, classes=classes, where=where)
    own = set(np.asarray(kept.indices)) - {300}
    for one in range(3):
        alone = suppression.nms(boxes, scores, threshold=0.4, outputs=300, where=where & (classes == one))
        assert {i for i in own if classes[i] == one} == set(np.asarray(alone.indices)) - {300}


def test_a_chain_longer_than_a_tile_is_settled():
    """Each box is too similar to the next one alone, so that every other one stays."""
    left = np.arange(700, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 2.2, 0 * left + 1], axis=-1)
    kept = suppression.nms(boxes, -left / 700, threshold=0.3, outputs=350)
    np.testing.assert_array_equal(kept.indices, np.arange(0, 700, 2))


def test_the_similarity_and_its_options_are_the_callers():
    boxes, scores, _, where = detections(100, 5)
    alike = functools.partial(similarity.nwd, constant=0.1)
    kept = suppression.nms(boxes, scores, threshold=0.6, outputs=100, where=where, similarity=alike)
    order = [int(i) for i in np.argsort(-scores, kind="stable") if where[i]]
    table = np.asarray(similarity.pairwise(alike)(jnp.nan_to_num(boxes), jnp.nan_to_num(boxes)))
    wanted = []
    for i in order:
        if all(table[i, j] <= 0.6 for j in wanted):
            wanted.append(i)
    np.testing.assert_array_equal(kept.indices[: len(wanted)], wanted)
    assert np.all(np.asarray(kept.indices[len(wanted) :]) == 100)


@pytest.mark.parametrize("function", [functools.partial(suppression.nms, threshold=0.5), suppression.soft_nms])
def test_leading_axes_are_images_each_by_itself(function):
    images = [detections(120, seed) for seed in range(3)]
    boxes, scores, classes, where = (np.stack(some) for some in zip(*images, strict=True))
    call = functools.partial(function, outputs=30)
    batched = call(boxes, scores, classes=classes, where=where)
    mapped = jax.jit(jax.vmap(lambda b, s, c, w: call(b, s, classes=c, where=w)))(boxes, scores, classes, where)
    for number, image in enumerate(images):
        alone = call(*image[:2], classes=image[2], where=image[3])
        for found in (batched, mapped):
            np.testing.assert_array_equal(found.indices[number], alone.indices)
            np.testing.assert_allclose(found.scores[number], alone.scores, rtol=1e-6)


@pytest.mark.parametrize("function", [functools.partial(suppression.nms, threshold=0.5), suppression.soft_nms])
def test_nothing_is_kept_of_nothing(function):
    kept = function(np.zeros((0, 4), np.float32), np.zeros((0,), np.float32), outputs=3)
    np.testing.assert_array_equal(kept.indices, [0, 0, 0])
    np.testing.assert_array_equal(kept.scores, [0, 0, 0])
    boxes, scores, *_ = detections(20, 0)
    kept = function(boxes, scores, outputs=3, where=np.zeros(20, bool))
    np.testing.assert_array_equal(kept.indices, [20, 20, 20])


def test_what_is_kept_has_no_gradient():
    boxes, scores, *_ = detections(40, 0)

    def total(boxes, scores):
        return jnp.sum(suppression.nms(boxes, scores, threshold=0.5, outputs=10).scores)

    for gradient in jax.grad(total, (0, 1))(jnp.nan_to_num(boxes), jnp.nan_to_num(scores)):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_half_precision_is_computed_in_float32():
    boxes, scores, _, where = detections(60, 2)
    half = jnp.asarray(boxes, jnp.bfloat16), jnp.asarray(scores, jnp.bfloat16)
    kept = suppression.nms(*half, threshold=0.5, outputs=60, where=where)
    wide = suppression.nms(*(x.astype(jnp.float32) for x in half), threshold=0.5, outputs=60, where=where)
    np.testing.assert_array_equal(kept.indices, wide.indices)
    assert kept.scores.dtype == jnp.float32
