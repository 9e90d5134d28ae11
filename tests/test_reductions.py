"""Sums and means of losses on one device; `test_many_devices.py` has the others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses, reductions

VALUES = jnp.array([[1.0, 2.0], [4.0, 8.0]])
MASK = jnp.array([[True, False], [True, True]])


def test_without_weights_it_is_the_mean():
    assert reductions.weighted_mean(VALUES) == 3.75
    assert reductions.weighted_sum(VALUES) == 15


def test_weights_count_above_and_below_the_line():
    weights = jnp.array([[1.0, 0.5], [0.0, 2.5]])
    assert reductions.weighted_sum(VALUES, weights) == 22
    assert reductions.weighted_mean(VALUES, weights) == 5.5


def test_masked_values_count_neither_above_nor_below_the_line_whatever_they_hold():
    soiled = VALUES.at[0, 1].set(jnp.nan)
    value, gradient = jax.value_and_grad(lambda x: reductions.weighted_mean(x, where=MASK))(soiled)
    np.testing.assert_allclose(value, 13 / 3, rtol=1e-6)
    np.testing.assert_allclose(gradient, np.array(MASK) / 3, rtol=1e-6)
    assert reductions.weighted_sum(soiled, where=MASK) == 13
    np.testing.assert_allclose(reductions.weighted_mean(soiled, VALUES, where=MASK), (1 + 16 + 64) / 13, rtol=1e-6)


@pytest.mark.parametrize("reduce", [reductions.weighted_mean, reductions.weighted_sum])
def test_a_batch_without_a_box_has_loss_0_and_gradient_0(reduce):
    for arguments in ({"where": jnp.zeros((2, 2), bool)}, {"weights": jnp.zeros((2, 2))}):
        value, gradient = jax.value_and_grad(functools.partial(reduce, **arguments))(VALUES)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
    assert reduce(jnp.zeros((0,))) == 0


def test_weights_below_1_in_all_give_the_mean_and_are_not_magnified_if_the_divisor_is_at_least_1():
    weights = jnp.full((2, 2), 0.125)
    assert reductions.weighted_mean(VALUES, weights) == 15 / 4
    assert reductions.weighted_mean(VALUES, weights, at_least=1) == 15 / 8
    np.testing.assert_allclose(reductions.weighted_mean(jnp.full(3, 0.3), jnp.full(3, 0.1)), 0.3, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_the_least_divisor_has_the_precision_of_the_weights():
    weights = np.full((2, 2), 1e-3)
    assert reductions.weighted_mean(VALUES, weights, at_least=0.1) == np.sum(np.array(VALUES) * weights) / 0.1


def test_the_names_of_mapped_axes_may_be_a_list_and_axes_an_array_that_is_known():
    total = jax.vmap(lambda x: reductions.weighted_sum(x, axis=np.array([0]), axis_name=["rows"]), axis_name="rows")
    np.testing.assert_array_equal(total(VALUES), 15)
    with pytest.raises(TypeError, match=r"`axis` is .*, but it is a number or several"):
        jax.jit(lambda axis: reductions.weighted_sum(VALUES, axis=axis))(0)


def test_a_nan_that_is_not_masked_shows():
    assert jnp.isnan(reductions.weighted_mean(VALUES.at[0, 0].set(jnp.nan), where=MASK))


def test_half_precision_is_summed_in_float32():
    ones = jnp.ones(1000, jnp.bfloat16)
    assert reductions.weighted_sum(ones) == 1000
    assert reductions.weighted_mean(ones).dtype == jnp.float32
    assert jax.grad(reductions.weighted_mean)(ones).dtype == jnp.bfloat16


def test_wrong_arguments_say_what_to_write():
    with pytest.raises(ValueError, match=r"`weights` has shape \(2,\), but there is one value a box") as caught:
        reductions.weighted_mean(VALUES, jnp.ones(2))
    assert "`weights[..., None]`" in str(caught.value)
    with pytest.raises(ValueError, match=r"`where` has shape \(2, 2, 1\)"):
        reductions.weighted_mean(VALUES, where=MASK[..., None])
    with pytest.raises(TypeError, match=r"`weights` has dtype bool.*Write `where=weights`"):
        reductions.weighted_mean(VALUES, MASK)
    with pytest.raises(TypeError, match="`where` has dtype float32"):
        reductions.weighted_sum(VALUES, where=VALUES)
    with pytest.raises(TypeError, match="`values` is a list"):
        reductions.weighted_sum([1.0, 2.0])


def test_the_running_mean_moves_by_the_momentum_towards_the_mean_of_the_boxes():
    mean = reductions.update_mean(1.0, VALUES.at[0, 1].set(jnp.nan), momentum=0.25, where=MASK)
    np.testing.assert_allclose(mean, 0.75 + 0.25 * 13 / 3, rtol=1e-6)


def test_a_batch_without_a_box_leaves_the_running_mean_alone():
    assert reductions.update_mean(0.7, VALUES, momentum=0.5, where=~MASK & MASK) == jnp.float32(0.7)


@pytest.mark.parametrize("where", [MASK, ~MASK & MASK])
def test_the_running_mean_has_no_gradient(where):
    update = functools.partial(reductions.update_mean, momentum=0.5, where=where)
    for gradient in jax.grad(update, (0, 1))(1.0, VALUES):
        np.testing.assert_array_equal(gradient, 0)


def test_a_running_mean_of_0_gives_no_nan():
    loss = jax.jit(lambda mean: losses.focused_wiou_loss(jnp.ones(4), jnp.ones(4), mean_loss=mean))
    assert loss(0.0) == 0


@pytest.mark.parametrize("option", ["mean_loss", "alpha", "delta"])
def test_the_weight_that_a_running_mean_makes_is_held_constant(option):
    def loss(value):
        options = {"mean_loss": 0.5} | {option: value}
        return losses.focused_wiou_loss(jnp.array([0.0, 0, 2, 2]), jnp.array([1.0, 0, 4, 2]), **options)

    assert jax.grad(loss)(0.7) == 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_running_mean_keeps_its_dtype_so_that_a_scan_carries_it(dtype):
    def step(mean, _):
        return reductions.update_mean(mean, VALUES, momentum=jnp.bfloat16(0.5)), None

    mean, _ = jax.lax.scan(step, jnp.asarray(1, dtype), length=1)
    assert mean == 2.375
    assert mean.dtype == dtype


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_value_that_is_not_finite_does_not_stay_in_the_running_mean(bad):
    mean = reductions.update_mean(1.0, VALUES.at[0, 1].set(bad), momentum=0.25)
    np.testing.assert_allclose(mean, 0.75 + 0.25 * 13 / 3, rtol=1e-6)
    assert reductions.update_mean(0.7, jnp.full(3, bad), momentum=0.25) == jnp.float32(0.7)


@pytest.mark.parametrize(("mean", "bad"), [(jnp.float16(1), 3e6), (jnp.float32(1), 3e38)])
def test_a_mean_beyond_its_dtype_is_left_out_of_the_running_mean(mean, bad):
    assert reductions.update_mean(mean, jnp.full(3, bad), momentum=0.5) == 1


@pytest.mark.usefixtures("x64")
def test_a_running_mean_in_double_precision_stays_so():
    for mean in (0.1, np.float64(0.1)):
        assert reductions.update_mean(mean, np.zeros(3), momentum=0.5) == 0.05
    for mean, dtype in ((np.float64(0.1), jnp.float64), (0.1, jnp.float64), (np.float32(0.1), jnp.float32)):
        assert reductions.update_mean(mean, np.zeros(3, np.float32), momentum=0.5).dtype == dtype


def test_values_are_averaged_over_the_axes_that_are_asked_for():
    np.testing.assert_allclose(reductions.weighted_mean(VALUES, axis=1), [1.5, 6])
    np.testing.assert_allclose(reductions.weighted_mean(VALUES, where=MASK, axis=(0,)), [2.5, 8])
    np.testing.assert_allclose(reductions.weighted_sum(VALUES, VALUES, axis=-1), [5, 80])
    for axes in ([0, 1], np.array([0, 1]), (-1, 0)):
        np.testing.assert_allclose(reductions.weighted_mean(VALUES, axis=axes), 3.75)
    np.testing.assert_allclose(reductions.weighted_mean(VALUES, axis=np.array(1)), [1.5, 6])
    assert reductions.weighted_mean(jnp.zeros((2, 0)), axis=1).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"`axis` is 2, but values of shape \(2, 2\) have the axes 0 to 1"):
        reductions.weighted_mean(VALUES, axis=2)


def test_masks_and_weights_may_have_axes_of_length_1():
    rows = jnp.array([[True], [False]])
    assert reductions.weighted_mean(VALUES, where=rows) == 1.5
    assert reductions.weighted_mean(VALUES, jnp.array([[1.0], [0.0]])) == 1.5
    assert reductions.weighted_sum(VALUES, jnp.array([[1.0, 0.5]]), where=rows) == 2


def test_a_weight_of_0_leaves_an_infinite_value_out_but_shows_a_nan():
    infinite = VALUES.at[0, 0].set(jnp.inf)
    weights = jnp.array([[0.0, 1.0], [1.0, 1.0]])
    assert reductions.weighted_sum(infinite, weights) == 14
    assert jnp.isfinite(jax.grad(reductions.weighted_mean)(infinite, weights)).all()
    assert jnp.isnan(reductions.weighted_sum(VALUES.at[0, 0].set(jnp.nan), weights))


def test_resuming_from_a_saved_running_mean_continues_the_same_numbers():
    batches = [jnp.float32(x) for x in np.random.default_rng(0).uniform(size=(10, 8))]
    update = jax.jit(lambda mean, values: reductions.update_mean(mean, values, momentum=0.1))
    straight = functools.reduce(update, batches, jnp.float32(1))
    saved = np.asarray(functools.reduce(update, batches[:4], jnp.float32(1))).tobytes()
    resumed = functools.reduce(update, batches[4:], jnp.asarray(np.frombuffer(saved, np.float32)[0]))
    assert resumed == straight


@pytest.mark.parametrize("momentum", [-0.1, 0.0, 1.5])
def test_a_momentum_that_is_no_share_is_refused(momentum):
    with pytest.raises(ValueError, match=f"`momentum` is {momentum}, but it must be above 0 and below 1"):
        reductions.update_mean(1.0, VALUES, momentum=momentum)


def test_a_batch_of_one_box_counts():
    assert reductions.update_mean(0.0, jnp.ones(1), momentum=0.5) == 0.5


# The normaliser.


def test_the_normaliser_is_the_number_of_targets_but_at_least_1():
    for counts in (MASK, MASK.astype(jnp.int32), MASK.astype(jnp.float32), np.asarray(MASK), np.asarray(MASK, int)):
        assert reductions.normalizer(counts) == 3
    assert reductions.normalizer(MASK & ~MASK) == 1
    assert reductions.normalizer(MASK & ~MASK, least=0.0) == 0
    assert reductions.normalizer(jnp.zeros((0,), bool), least=0.25) == 0.25
    for counts in (MASK, MASK.astype(jnp.float32)):
        np.testing.assert_array_equal(reductions.normalizer(counts, axis=1), [1, 2])
    assert jax.jit(lambda least: reductions.normalizer(MASK, least=least))(7.0) == 7


def test_counts_are_added_exactly_and_the_result_is_of_floating_point():
    large = 2**24 + 1  # which float32 rounds
    assert reductions.normalizer(jnp.full(3, large)) == np.float32(3 * large) != np.float32(3) * np.float32(large)
    assert reductions.normalizer(jnp.full(3, 200, jnp.uint8)) == 600
    assert reductions.normalizer(jnp.full(1000, 0.5, jnp.bfloat16)) == 500
    for dtype in (bool, jnp.int8, jnp.bfloat16, jnp.float32):
        assert reductions.normalizer(jnp.ones(3, dtype)).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
def test_the_normaliser_of_double_precision_stays_so():
    np.testing.assert_allclose(reductions.normalizer(np.full(10, 0.2), least=0.1), 2, rtol=1e-15)
    assert reductions.normalizer(np.zeros(3), least=0.1) == np.float64(0.1)


def test_a_normaliser_of_weights_has_their_gradient_above_the_least():
    slope = jax.grad(reductions.normalizer)
    np.testing.assert_array_equal(slope(VALUES), 1)
    np.testing.assert_array_equal(slope(jnp.full(3, 0.1)), 0)


def test_the_normaliser_is_the_mean_over_the_devices_of_the_sum():
    counts = jnp.array([[True, True, True, True], [True, False, False, False]])
    mapped = jax.vmap(lambda x: reductions.normalizer(x, axis_name="devices"), axis_name="devices")
    np.testing.assert_array_equal(mapped(counts), 2.5)
    np.testing.assert_array_equal(mapped(counts & ~counts), 1)


def test_sums_over_the_normaliser_of_each_device_average_to_the_loss_of_one_batch():
    values = jnp.arange(24.0).reshape(8, 3)
    for counts in (values > 11, values > 22, values > 99):
        wanted = jnp.sum(values) / reductions.normalizer(counts)

        def of_one(values, counts):
            least = 1 / jax.lax.psum(1, "devices")
            return jnp.sum(values) / reductions.normalizer(counts, axis_name="devices", least=least)

        np.testing.assert_allclose(jnp.mean(jax.vmap(of_one, axis_name="devices")(values, counts)), wanted, rtol=1e-6)


def test_wrong_counts_say_what_is_wanted():
    with pytest.raises(TypeError, match="`counts` has dtype complex64"):
        reductions.normalizer(jnp.ones(3, complex))
    with pytest.raises(ValueError, match=r"`least` is -1\.0, but it must be 0 or above"):
        reductions.normalizer(MASK, least=-1.0)
    with pytest.raises(ValueError, match="`axis` is 2"):
        reductions.normalizer(MASK, axis=2)
