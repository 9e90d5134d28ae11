"""The losses whose predictions are distributions; the laws of the boxes, as far as they apply."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses
from tests import reference

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(64, 9)) * 3
PLACES = RNG.uniform(0, 8, 64)
PREDICTIONS, LOG_VARIANCE, TARGETS = RNG.normal(size=(3, 64, 4)) * [[[2]], [[1]], [[2]]]


def central_differences(function, x, step=1e-6):
    moves = step * np.eye(x.shape[-1])
    return np.stack([(function(x + move) - function(x - move)) / (2 * step) for move in moves], axis=-1)


@pytest.mark.usefixtures("x64")
def test_distribution_focal_value_and_gradient_are_those_of_the_reference():
    value, gradient = jax.vmap(jax.value_and_grad(losses.distribution_focal_loss))(LOGITS, PLACES)
    np.testing.assert_allclose(value, reference.distribution_focal_loss(LOGITS, PLACES), rtol=1e-12)
    of_reference = central_differences(lambda x: reference.distribution_focal_loss(x, PLACES), LOGITS)
    np.testing.assert_allclose(gradient, of_reference, atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_gaussian_value_and_gradients_are_those_of_the_reference():
    value = losses.uncertain_l1_loss(PREDICTIONS, LOG_VARIANCE, TARGETS)
    np.testing.assert_allclose(value, reference.uncertain_l1_loss(PREDICTIONS, LOG_VARIANCE, TARGETS), rtol=1e-12)
    gradients = jax.grad(lambda p, a: jnp.sum(losses.uncertain_l1_loss(p, a, TARGETS)), (0, 1))(
        PREDICTIONS, LOG_VARIANCE
    )
    by_prediction = central_differences(lambda x: reference.uncertain_l1_loss(x, LOG_VARIANCE, TARGETS), PREDICTIONS)
    by_variance = central_differences(lambda x: reference.uncertain_l1_loss(PREDICTIONS, x, TARGETS), LOG_VARIANCE)
    np.testing.assert_allclose(gradients[0], by_prediction, atol=1e-7)
    np.testing.assert_allclose(gradients[1], by_variance, atol=1e-7)


def test_the_least_distribution_focal_loss_is_the_entropy_of_the_two_weights():
    weights = jnp.array([0.0, 0.25, 0.75, 0.0])
    best = losses.distribution_focal_loss(jnp.log(weights + 1e-30), jnp.float32(1.75))
    np.testing.assert_allclose(best, -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)), rtol=1e-6)
    assert losses.distribution_focal_loss(100 * jax.nn.one_hot(2, 4), jnp.float32(2)) == 0


def test_the_slope_along_the_target_is_in_the_middle_of_both_sides_at_a_whole_bin():
    logits, slope = jnp.float32(LOGITS[0]), jax.grad(losses.distribution_focal_loss, 1)
    left, right = slope(logits, jnp.float32(2.75)), slope(logits, jnp.float32(3.25))
    assert left != right
    np.testing.assert_allclose(slope(logits, jnp.float32(3)), (left + right) / 2, rtol=1e-5)


@pytest.mark.parametrize("place", [-1e30, -0.5, 8.0, 8.5, 1e30])
def test_targets_outside_the_bins_are_clipped(place):
    logits = jnp.float32(LOGITS[0])
    inside = jnp.clip(jnp.float32(place), 0, 8)
    value, gradient = jax.value_and_grad(losses.distribution_focal_loss)(logits, jnp.float32(place))
    assert value == losses.distribution_focal_loss(logits, inside)
    assert jnp.all(jnp.isfinite(gradient))


def test_a_bin_that_cannot_be_has_minus_infinity_and_changes_nothing():
    logits = jnp.array([0.0, 1.0, -jnp.inf, -jnp.inf])
    value, gradient = jax.value_and_grad(losses.distribution_focal_loss)(logits, jnp.float32(1))
    expected, expected_gradient = jax.value_and_grad(losses.distribution_focal_loss)(logits[:2], jnp.float32(1))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(value, 0.313262, rtol=1e-5)
    np.testing.assert_allclose(gradient, [*expected_gradient, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("logit", [1e30, -1e30, 3e38, 0.0])
def test_large_logits_stay_finite(logit):
    logits = jnp.zeros(5).at[2].set(logit)
    value, gradient = jax.value_and_grad(losses.distribution_focal_loss)(logits, jnp.float32(1.5))
    assert jnp.isfinite(value)
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("exponent", [-1e30, -80.0, 0.0, 80.0, 1e30])
@pytest.mark.parametrize("error", [0.0, 1e-15, 1e15])
def test_extreme_variances_stay_finite(exponent, error):
    arguments = jnp.full(4, error), jnp.full(4, exponent), jnp.zeros(4)
    value, gradients = jax.value_and_grad(losses.uncertain_l1_loss, (0, 1, 2))(*arguments)
    assert jnp.isfinite(value)
    assert all(jnp.all(jnp.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize(("beyond", "limit"), [(-60.0, -50.0), (60.0, 50.0)])
def test_a_log_variance_beyond_50_counts_as_50(beyond, limit):
    box, target = jnp.ones(4), jnp.zeros(4)
    values = [losses.uncertain_l1_loss(box, jnp.full(4, exponent), target) for exponent in (beyond, limit)]
    assert values[0] == values[1]


def test_a_gaussian_at_the_target_pushes_nothing_but_the_variance():
    boxes = jnp.float32(TARGETS[0])
    gradients = jax.grad(losses.uncertain_l1_loss, (0, 1))(boxes, jnp.zeros(4), boxes)
    np.testing.assert_array_equal(gradients, [[0] * 4, [0.5] * 4])


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e38])
def test_masked_rows_change_no_bit_of_the_loss_or_the_gradient(garbage):
    keep = jnp.arange(64) % 2 == 0

    def soil(x):
        x = jnp.asarray(x, jnp.float32)
        return jnp.where(keep.reshape((-1,) + (1,) * (x.ndim - 1)), x, garbage)

    for loss, arguments in (
        (losses.distribution_focal_loss, (LOGITS, PLACES)),
        (losses.uncertain_l1_loss, (PREDICTIONS, LOG_VARIANCE, TARGETS)),
    ):
        everything = tuple(range(len(arguments)))
        total = jax.jit(jax.value_and_grad(lambda *x, loss=loss: jnp.sum(loss(*x, where=keep)), everything))
        clean, clean_gradients = total(*(jnp.asarray(x, jnp.float32) for x in arguments))
        value, gradients = total(*map(soil, arguments))
        np.testing.assert_array_equal(value, clean)
        np.testing.assert_array_equal(loss(*map(soil, arguments), where=keep)[1::2], 0)
        for gradient, clean_gradient in zip(gradients, clean_gradients, strict=True):
            np.testing.assert_array_equal(gradient, clean_gradient)
            np.testing.assert_array_equal(gradient[1::2], 0)


def test_half_precision_is_promoted_and_nan_shows():
    half = jnp.asarray(LOGITS, jnp.bfloat16)
    assert losses.distribution_focal_loss(half, jnp.asarray(PLACES, jnp.bfloat16)).dtype == jnp.float32
    assert jnp.isnan(losses.distribution_focal_loss(jnp.zeros(4).at[1].set(jnp.nan), jnp.float32(1)))
    assert jnp.isnan(losses.distribution_focal_loss(jnp.zeros(4), jnp.float32(jnp.nan)))


def test_wrong_arguments_say_what_is_wanted():
    with pytest.raises(ValueError, match=r"`targets` has shape \(3, 1\), but there is one value a box, \(3,\)"):
        losses.distribution_focal_loss(jnp.zeros((3, 9)), jnp.zeros((3, 1)))
    assert losses.distribution_focal_loss(jnp.zeros((3, 2)), jnp.zeros(3)).shape == (3,)
    with pytest.raises(ValueError, match="needs at least 2 bins"):
        losses.distribution_focal_loss(jnp.zeros((3, 1)), jnp.zeros(3))
    with pytest.raises(TypeError, match="`targets` has dtype int32"):
        losses.distribution_focal_loss(jnp.zeros((3, 9)), jnp.zeros(3, int))
    with pytest.raises(TypeError, match="`logits` has dtype int32"):
        losses.distribution_focal_loss(jnp.zeros((3, 9), int), jnp.zeros(3))
    with pytest.raises(ValueError, match=r"`where` has shape \(2,\), but there is one value a box, \(3,\)"):
        losses.distribution_focal_loss(jnp.zeros((3, 9)), jnp.zeros(3), where=jnp.ones(2, bool))
    with pytest.raises(ValueError, match=r"`log_variance` of shape \(4,\)"):
        losses.uncertain_l1_loss(jnp.zeros((3, 4)), jnp.zeros(4), jnp.zeros((3, 4)))
