"""Laws 4 to 7: no epsilon, 0 at the target, finite everywhere, and what half precision is for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import numerics
from jaxbox.numerics import rules
from tests import cases, fuzzing
from tests.programs import CHUNK, faults, float32_errors, in_every_direction, run, value_and_gradients
from tests.shapes import SOLIDS, TURNED
from tests.table import SMALLEST, every_loss, every_loss_without_a_unit, in_both_precisions

# Law 4: no additive epsilon, so a loss of ratios depends neither on the unit nor on the origin.


@every_loss_without_a_unit
@pytest.mark.parametrize("exponent", [-40, -10, 10, 40])
def test_the_unit_of_length_changes_no_bit(row, exponent):
    predictions, targets = (x.astype(np.float32) for x in row.shape.random_pairs(CHUNK, seed=50))
    value, (gradient, _) = value_and_gradients(row, predictions, targets)
    factor = np.float32(2.0**exponent)
    rescaled = [row.shape.scaled(x, factor) for x in (predictions, targets)]
    scaled, (scaled_gradient, _) = value_and_gradients(row, *rescaled)
    np.testing.assert_array_equal(scaled, value)
    np.testing.assert_array_equal(row.shape.scaled(scaled_gradient, factor), gradient)


@every_loss
def test_the_origin_changes_no_bit(row):
    whole = [np.round(64 * x).astype(np.float32) for x in row.shape.random_pairs(CHUNK, seed=60)]
    value, (gradient, _) = value_and_gradients(row, *whole)
    offset = np.resize([512, -256], len(row.shape.positions))
    moved, (moved_gradient, _) = value_and_gradients(row, *(row.shape.moved(x, offset) for x in whole))
    np.testing.assert_array_equal(moved, value)
    np.testing.assert_array_equal(moved_gradient, gradient)


@every_loss
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
@pytest.mark.usefixtures("x64")
def test_float32_is_right_to_a_millionth_over_a_hundred_thousand_pairs(row, offset):
    value, gradient = float32_errors(row, offset)
    assert value <= (2e-6 if row.ties is SMALLEST else 1e-6)
    assert gradient <= 5e-6


# Law 5: a loss of equal boxes is 0 and stationary.


@every_loss
@in_both_precisions
@pytest.mark.usefixtures("x64")
def test_equal_boxes_have_loss_0_and_gradient_0(row, dtype):
    awkward = np.concatenate(cases.stacked(row.shape.awkward))
    not_flipped = awkward[np.all(row.shape.sides(awkward) >= 0, axis=-1)]
    same = np.concatenate([row.shape.random_boxes(4 * CHUNK, seed=80), not_flipped]).astype(dtype)
    value, gradients = value_and_gradients(row, same, same, dtype)
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradients, 0)


@jax.custom_jvp
def divided_by_a_reciprocal(x, y):
    return x * (1 / jnp.where(numerics.is_zero(y), jnp.inf, y))


@divided_by_a_reciprocal.defjvp
def divided_by_a_reciprocal_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    quotient = divided_by_a_reciprocal(x, y)
    return quotient, divided_by_a_reciprocal(dx - quotient * dy, y)


@every_loss
def test_equal_boxes_have_loss_0_where_a_number_over_itself_is_not_1(monkeypatch, row):
    """As on a GPU, whose quotients are off by a last bit."""
    monkeypatch.setattr(rules, "_divide", divided_by_a_reciprocal)
    same = jnp.float32(row.shape.random_boxes(200, seed=81))
    jax.clear_caches()
    options = [row.options] + [{"scale": jnp.inf}] * (row.name == "shape_iou_loss")
    for given in options:
        loss = partial(row.loss, **given)
        value, gradient = jax.value_and_grad(lambda p, loss=loss: jnp.sum(loss(p, same)))(same)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
    jax.clear_caches()


@every_loss
@in_both_precisions
@pytest.mark.usefixtures("x64")
def test_the_loss_is_in_its_range(row, dtype):
    ordinary = row.shape.random_pairs(4 * CHUNK, seed=90, spread=2.0)
    for predictions, targets in (ordinary, cases.stacked(row.shape.not_flipped)):
        value, _ = value_and_gradients(row, predictions, targets, dtype)
        assert np.all(value >= -1e-6)
        assert np.all(value <= row.upper + 1e-6)


# Law 6: every function is total.


@every_loss
@in_both_precisions
@pytest.mark.usefixtures("x64")
def test_value_and_gradients_are_finite_everywhere(row, dtype):
    value, gradients = value_and_gradients(row, *cases.stacked(row.shape.awkward), dtype)
    finite = np.isfinite(value) & np.all(np.isfinite(gradients), axis=(0, 2))
    assert not [name for name, fine in zip(row.shape.awkward, finite, strict=True) if not fine]


@every_loss
def test_forward_mode_is_finite_everywhere(row):
    assert np.all(np.isfinite(run("forward mode", row, *in_every_direction(*cases.stacked(row.shape.awkward)))))


@every_loss
def test_second_derivatives_are_finite(row):
    _, columns = run("second derivative", row, *in_every_direction(*cases.stacked(row.shape.moderate)))
    finite = np.all(np.isfinite(columns.reshape(len(row.shape.moderate), -1)), axis=-1)
    assert not [name for name, fine in zip(row.shape.moderate, finite, strict=True) if not fine]


@every_loss
@fuzzing.examples(10_000)
def test_ten_thousand_pairs_of_any_bits_have_finite_value_and_gradients_in_range(row, data):
    assert not faults(row, row.shape.pairs_from(data))


@pytest.mark.fuzz
@every_loss
@fuzzing.examples(1_000_000)
def test_a_million_pairs_of_any_bits_have_finite_value_and_gradients_in_range(row, data):
    pairs = row.shape.pairs_from(data)
    assert not faults(row, pairs)
    # Another compiler's kernels flush other numbers to 0.
    assert not faults(row, pairs, "value and gradients, not optimized")


@pytest.mark.parametrize(("shape", "largest"), [(TURNED, 1e15), (SOLIDS, 1e10)], ids=["turned", "solid"])
def test_the_fuzzed_turned_pairs_are_within_the_bounds_and_of_every_relation(shape, largest):
    pair = shape.pairs_from(np.random.default_rng(0).bytes(100_000 * fuzzing.PAIR_BYTES))
    for x in pair:
        sides = np.abs(shape.sides(x))
        assert np.all(np.isfinite(x) & (np.abs(x) <= np.float32(largest)))
        assert np.all((sides == 0) | (sides >= 1e-15))
    predictions, targets = pair
    equal_columns = predictions == targets
    n = len(shape.positions)
    for relation in (
        np.all(equal_columns, axis=-1),
        np.all(equal_columns[:, n:], axis=-1) & ~np.all(equal_columns, axis=-1),
        np.all(equal_columns[:, :-1], axis=-1) & ~equal_columns[:, -1],
        (predictions[:, -1] == 0) & (targets[:, -1] == 0),
        targets[:, n] == 0,
        predictions[:, n] < 0,
    ):
        assert np.mean(relation) > 0.003


def test_the_fuzzed_pairs_are_within_the_bounds_and_of_every_relation():
    predictions, targets = fuzzing.pairs_from(np.random.default_rng(0).bytes(fuzzing.PAIR_BYTES * 100_000))
    for x in (predictions, targets):
        sides = np.abs(x[:, 2:] - x[:, :2])
        assert np.all(np.isfinite(x) & (np.abs(x) <= np.float32(1e15)))
        assert np.all((sides == 0) | (sides >= 1e-15))
    low, high = predictions[:, :2], predictions[:, 2:]
    for relation in (
        np.all(predictions == targets, axis=-1),
        low == targets[:, 2:],
        high == targets[:, 2:],
        low == high,
        targets[:, :2] == targets[:, 2:],
        (low != targets[:, :2]) & (low == np.nextafter(targets[:, :2], np.float32(0))),
        low > high,
        np.abs(low) < np.finfo(np.float32).tiny,
    ):
        assert np.mean(relation) > 0.003


# Law 7: half precision is for storage.


@every_loss
def test_half_precision_is_promoted_before_anything_is_computed(row):
    half = [x.astype(jnp.bfloat16) for x in row.shape.random_pairs(CHUNK, seed=100)]
    value, gradients = run("value and gradients in half precision", row, *half, dtype=jnp.bfloat16)
    exact, exact_gradients = value_and_gradients(row, *half)
    np.testing.assert_allclose(value, exact, rtol=2e-6, atol=5e-7)  # in bfloat16 it would be off by 1e-2
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(gradient.astype(np.float32), exact_gradient, rtol=2**-8, atol=1e-7)


@every_loss
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("predictions", "targets", "wanted"),
    [
        ("bfloat16", "float16", "float32"),
        ("float32", "bfloat16", "float32"),
        ("float16", "float64", "float64"),
    ],
)
def test_the_loss_has_the_wider_dtype_and_the_gradient_that_of_its_input(row, predictions, targets, wanted):
    pair = [jax.ShapeDtypeStruct((row.shape.width,), dtype) for dtype in (predictions, targets)]
    value, gradients = jax.eval_shape(jax.value_and_grad(row, (0, 1)), *pair)
    assert value.dtype == wanted
    assert [gradient.dtype for gradient in gradients] == [predictions, targets]
