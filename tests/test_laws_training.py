"""Laws 8 and 9: a mask is complete, and downhill is downhill; and the subgradients that were chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbox import boxes, losses, similarity
from tests import cases
from tests.programs import CHUNK, compiled, value_and_gradients
from tests.table import EVERY, every_loss, every_upright_loss, rows

# Law 8: a mask is complete, and a NaN that is not masked shows.


@every_loss
def test_masked_rows_change_no_bit_of_the_loss_or_the_gradient(row):
    predictions, targets = (x.astype(np.float32) for x in row.shape.random_pairs(8, seed=110))
    keep = np.arange(8) % 2 == 0
    total = compiled(row.name, "masked")
    (clean, values), clean_gradients = total(predictions, targets, keep)
    unmasked, _ = value_and_gradients(row, predictions, targets)
    np.testing.assert_array_equal(values[1::2], 0)
    np.testing.assert_allclose(values[::2], unmasked[::2], rtol=1e-5, atol=1e-6)
    for garbage in (np.nan, np.inf, -np.inf, 1e38, 0.0):
        soiled = [np.where(keep[:, None], x, np.float32(garbage)) for x in (predictions, targets)]
        (value, _), gradients = total(*soiled, keep)
        np.testing.assert_array_equal(value, clean)
        for gradient, clean_gradient in zip(gradients, clean_gradients, strict=True):
            np.testing.assert_array_equal(gradient, clean_gradient)
            np.testing.assert_array_equal(gradient[1::2], 0)


@every_loss
@pytest.mark.parametrize("place", [0, 3])
def test_a_nan_that_is_not_masked_shows(row, place):
    predictions, targets = row.shape.random_pairs(3, seed=120)
    diverged = predictions.copy()
    diverged[1, place] = np.nan
    for pair in [(diverged, targets), (targets, diverged)]:
        value, _ = value_and_gradients(row, *pair)
        assert np.isnan(value).tolist() == [False, True, False]


# Law 9: downhill is downhill.


@rows(lambda row: not row.may_climb, of=EVERY)
@pytest.mark.usefixtures("x64")
def test_a_small_step_against_the_gradient_lowers_the_loss(row):
    ordinary = row.shape.random_pairs(CHUNK, seed=130, spread=2.0)
    awkward = cases.stacked(row.shape.before_a_slope)
    predictions, targets = (np.concatenate(x) for x in zip(ordinary, awkward, strict=True))
    value, (gradient, _) = value_and_gradients(row, predictions, targets, dtype="float64")
    side = np.max(np.abs(row.shape.sides(targets)), axis=-1, keepdims=True)
    # In units of the target's side, so that a length and an angle compare.
    downhill = np.stack([row.shape.scaled(x, s) for x, s in zip(gradient, side[:, 0], strict=True)])
    slope = np.linalg.norm(downhill, axis=-1, keepdims=True)
    step = 1e-6 * downhill / np.where(slope > 0, slope, 1)
    step = np.stack([row.shape.scaled(x, s) for x, s in zip(step, side[:, 0], strict=True)])
    lower, _ = value_and_gradients(row, predictions - step, targets, dtype="float64")
    seen = (1e-6 * slope)[:, 0] > 1e-15 * value  # a lesser fall is lost in the rounding of the value
    assert np.all(lower[seen] < value[seen])
    assert np.sum(seen) > CHUNK / 8


@every_upright_loss
def test_gradient_descent_brings_a_thousand_boxes_to_their_targets(row):
    starts, targets = cases.random_pairs(20_000, seed=140, spread=1.5)
    if row.reaches_the_target_only_from:
        within, _ = row.reaches_the_target_only_from
        starts, targets = (x[within(starts, targets)] for x in (starts, targets))
    starts, targets = (jnp.asarray(x[:1000], jnp.float32) for x in (starts, targets))
    assert len(starts) == 1000
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 2000))

    def to_boxes(parameters):  # center and log sides, as detectors predict them: no step can invert a box
        middle, log_sides = jnp.split(parameters, 2, axis=-1)
        return boxes.cxcywh_to_xyxy(jnp.concatenate([middle, jnp.exp(log_sides)], axis=-1))

    def step(carry, _):
        parameters, state = carry
        gradients = jax.grad(lambda x: jnp.sum(row(to_boxes(x), targets)))(parameters)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(parameters, updates), state), None

    layout = boxes.xyxy_to_cxcywh(starts)
    parameters = jnp.concatenate([layout[:, :2], jnp.log(layout[:, 2:])], axis=-1)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        (final, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=2000))(parameters)
    assert np.min(similarity.iou(to_boxes(final), targets)) > 0.95


# Chosen subgradients.


def test_a_flipped_box_is_turned_back_by_giou():
    target = jnp.array([0.0, 0, 2, 1])
    flipped = jnp.array([[1.5, 0.2, 0.5, 0.8], [0.5, 0.8, 1.5, 0.2], [1.5, 0.8, 0.5, 0.2], [5.0, 0.2, 4.0, 0.8]])
    gradient = jax.grad(lambda x: jnp.sum(losses.giou_loss(x, jnp.broadcast_to(target, x.shape))))

    def step(x, rate):
        return x - rate * gradient(x), None

    final, _ = jax.lax.scan(step, flipped, jnp.linspace(0.1, 0, 3000))
    assert jnp.all(boxes.sides(final) > 0)
    assert jnp.min(similarity.iou(final, target[None])) > 0.95


@rows(lambda row: not row.has_a_unit and not row.averages_axes and row.loss is not losses.focal_eiou_loss)  # weight 0
def test_a_flipped_box_scores_no_better_than_a_disjoint_one(row):
    flipped = {name: case for name, case in cases.AWKWARD.items() if case.flipped}
    value, _ = value_and_gradients(row, *cases.stacked(flipped))
    assert np.all(value >= 1)


@pytest.mark.parametrize("loss", [losses.iou_loss, losses.giou_loss, losses.diou_loss, losses.ciou_loss])
def test_a_box_of_no_width_grows(loss):
    gradient = jax.grad(loss)(jnp.array([30.0, 20, 30, 50]), jnp.array(cases.TARGET))
    assert gradient[0] > 0 > gradient[2]


@pytest.mark.parametrize("loss", [losses.iou_loss, losses.giou_loss, losses.diou_loss, losses.ciou_loss])
def test_touching_boxes_are_drawn_together(loss):
    prediction, target = (jnp.array(x) for x in cases.AWKWARD["touching at an edge"])
    gradient = jax.grad(loss)(prediction, target)
    assert gradient[0] > 0
