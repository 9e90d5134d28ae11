"""What is particular to similarities: they broadcast, and compare all with all. The laws of losses cover the rest."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses, similarity
from tests import cases, reference

SIMILARITIES = [similarity.iou, similarity.ioa, similarity.giou, similarity.diou, similarity.ciou]
LOWEST = {"iou": 0, "ioa": 0, "giou": -1, "diou": -1, "ciou": -2}

every_similarity = pytest.mark.parametrize("alike", SIMILARITIES, ids=lambda alike: alike.__name__)


def test_every_public_similarity_is_tested_here():
    public = dict(inspect.getmembers(similarity, inspect.isfunction))
    own = {name for name, function in public.items() if function.__module__ == similarity.__name__ and name[0] != "_"}
    assert own - {"pairwise"} == {alike.__name__ for alike in SIMILARITIES}


@every_similarity
@pytest.mark.usefixtures("x64")
def test_the_value_is_that_of_the_reference(alike):
    for n in (2,) if alike is similarity.ciou else (1, 2, 3):
        a, b = cases.random_pairs(300, seed=n, n=n)
        np.testing.assert_allclose(alike(a, b), getattr(reference, alike.__name__)(a, b), rtol=1e-12, atol=1e-12)


@every_similarity
def test_pairwise_is_broadcasting_by_name(alike):
    a, b = (jnp.float32(x) for x in (cases.random_boxes(5, seed=10), cases.random_boxes(7, seed=11)))
    matrix = similarity.pairwise(alike)(a, b)
    assert matrix.shape == (5, 7)
    np.testing.assert_allclose(alike(a[:, None], b), matrix, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(alike(a[2], b[3]), matrix[2, 3], rtol=1e-6, atol=1e-7)


def test_pairwise_takes_losses_options_and_leading_axes():
    a, b = (jnp.float32(cases.random_boxes(24, seed=seed).reshape(2, 3, 4, 4)) for seed in (20, 21))
    loss = functools.partial(losses.smooth_l1_loss, beta=0.1)
    costs = jax.jit(similarity.pairwise(loss))(a, b[:, :, :2])
    assert costs.shape == (2, 3, 4, 2)
    np.testing.assert_allclose(costs[1, 2, 3, 1], loss(a[1, 2, 3], b[1, 2, 1]), rtol=1e-6)


@pytest.mark.parametrize(("a", "b"), [((4,), (3, 4)), ((2, 3, 4), (3, 4)), ((2, 3, 4), (1, 3, 4))])
def test_pairwise_refuses_what_are_not_two_sets(a, b):
    with pytest.raises(ValueError, match="but sets of boxes are") as caught:
        similarity.pairwise(similarity.iou)(jnp.zeros(a), jnp.zeros(b))
    assert f"Got `a` of shape {a} and `b` of shape {b}" in str(caught.value)


@every_similarity
def test_the_range_is_kept_and_equal_boxes_have_1(alike):
    a, b = (jnp.float32(x) for x in cases.stacked(cases.AWKWARD))
    value = alike(a, b)
    assert jnp.all((value >= LOWEST[alike.__name__] - 1e-6) & (value <= 1 + 1e-6))
    upright = a[jnp.all(a[:, 2:] >= a[:, :2], axis=-1)]
    np.testing.assert_array_equal(alike(upright, upright), 1)


@every_similarity
def test_value_and_gradients_are_finite_everywhere(alike):
    pairs = map(np.float32, cases.stacked(cases.AWKWARD))
    value, gradients = jax.jit(jax.vmap(jax.value_and_grad(alike, (0, 1))))(*pairs)
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(gradients))


@every_similarity
def test_what_is_no_box_is_refused(alike):
    with pytest.raises(ValueError, match=r"`b` has shape \(5,\), but a box is"):
        alike(jnp.zeros(4), jnp.zeros(5))
    with pytest.raises(TypeError, match="`a` has dtype int32"):
        alike(jnp.zeros(4, int), jnp.zeros(4))


def test_ioa_is_the_covered_share_of_the_first_box():
    crowd, box = jnp.array([0.0, 0, 100, 100]), jnp.array([90.0, 0, 110, 10])
    assert similarity.ioa(box, crowd) == 0.5
    np.testing.assert_allclose(similarity.ioa(crowd, box), 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("equal points", (1, 1, 1, 1)),
        ("equal segments", (1, 1, 1, 1)),
        ("points apart", (0, -1, -1, -1)),
        ("segments on one line", (0, -1, 0, 0)),
        ("zero width inside", (0, 0, None, None)),
        ("target of zero area", (0, None, None, None)),
    ],
)
def test_empty_boxes_have_the_limits_that_were_decided(kind, expected):
    a, b = (jnp.float32(x) for x in cases.AWKWARD[kind])
    for alike, value in zip((similarity.iou, similarity.giou, similarity.diou, similarity.ciou), expected, strict=True):
        if value is not None:
            np.testing.assert_allclose(alike(a, b), value, atol=0.01)
