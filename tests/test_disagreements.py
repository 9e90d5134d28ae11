"""What jaxbox decided where papers and libraries disagree: a test for each line of that section of the README."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, coders, losses, similarity
from jaxbox._geometry import Pair
from tests import cases, reference

PREDICTION, TARGET = jnp.array([10.0, 10, 50, 60]), jnp.array([20.0, 15, 60, 70])
APART = jnp.array([100.0, 100, 130, 110])


@pytest.mark.parametrize("width", [0.1, 1.0, 3.0])
def test_smooth_l1_has_slope_1_far_away_and_huber_has_slope_delta(width):
    far = TARGET + 100
    np.testing.assert_allclose(jax.grad(lambda x: losses.smooth_l1_loss(x, TARGET, beta=width))(far), 1)
    np.testing.assert_allclose(jax.grad(lambda x: losses.huber_loss(x, TARGET, delta=width))(far), width, rtol=1e-6)


def test_smooth_l1_and_huber_agree_at_1():
    assert losses.smooth_l1_loss(PREDICTION, TARGET) == losses.huber_loss(PREDICTION, TARGET)


def test_coordinate_losses_sum_over_the_coordinates():
    assert losses.l1_loss(PREDICTION, TARGET) == 35


def test_the_weight_of_ciou_applies_at_any_iou():
    assert similarity.iou(APART, TARGET) == 0
    v = reference.aspect(np.float64(APART), np.float64(TARGET))
    penalty = losses.ciou_loss(APART, TARGET) - losses.diou_loss(APART, TARGET)
    np.testing.assert_allclose(penalty, v * v / (1 + v), rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_the_weight_of_ciou_is_held_in_the_gradient():
    prediction, target = PREDICTION.astype(jnp.float64), TARGET.astype(jnp.float64)
    v, slope = jax.value_and_grad(lambda x: Pair.of(x, target).aspect)(prediction)
    alpha = v / (1 - similarity.iou(prediction, target) + v)
    penalty = jax.grad(lambda x: losses.ciou_loss(x, target) - losses.diou_loss(x, target))(prediction)
    np.testing.assert_allclose(penalty, alpha * slope, rtol=1e-9, atol=1e-15)


def pairs_in_pixels(count, seed):
    """Targets with sides of 8 to 256, and predictions with each edge off by up to 0.4 of the side."""
    rng = np.random.default_rng(seed)
    low, sides = rng.uniform(0, 384, (count, 2)), rng.uniform(8, 256, (count, 2))
    targets = np.concatenate([low, low + sides], axis=-1)
    return targets + rng.uniform(-0.4, 0.4, (count, 4)) * np.tile(sides, 2), targets


@pytest.mark.usefixtures("x64")
def test_a_gate_at_an_iou_of_half_would_apply_to_most_pairs():
    predictions, targets = pairs_in_pixels(100_000, seed=0)
    iou, v = reference.iou(predictions, targets), reference.aspect(predictions, targets)
    applies = iou <= 0.5
    gated = reference.diou_loss(predictions, targets) + np.where(applies, 0, v * v / (1 - iou + v))
    changes = losses.ciou_loss(predictions, targets)[applies] - gated[applies]
    assert round(np.mean(applies), 2) == 0.62
    np.testing.assert_allclose([np.median(changes), np.max(changes)], [7e-5, 0.085], rtol=0.05)
    parts = (losses.ciou_loss(predictions, targets), losses.diou_loss(predictions, targets))
    np.testing.assert_allclose(jnp.where(similarity.iou(predictions, targets) > 0.5, *parts), gated, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_ciou_squares_the_angle_and_not_its_constant():
    # Apart, IoU is 0: alpha v is v^2 / (1 + v).
    (wide, high), (target_wide, target_high) = (30, 10), (40, 55)
    turn = np.arctan(target_wide / target_high) - np.arctan(wide / high)
    pair = np.float64(APART), np.float64(TARGET)
    penalty = losses.ciou_loss(*pair) - losses.diou_loss(*pair)
    v, with_its_constant_squared = 4 / np.pi**2 * turn**2, (4 / np.pi**2 * turn) ** 2
    np.testing.assert_allclose(penalty, v * v / (1 + v), rtol=1e-12)
    np.testing.assert_allclose(with_its_constant_squared / v, 0.41, atol=0.005)


def test_ciou_of_a_perfect_box_has_loss_0_and_gradient_0():
    value, gradient = jax.value_and_grad(losses.ciou_loss)(TARGET, TARGET)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.usefixtures("x64")
def test_the_gradient_of_ciou_has_the_factor_of_the_sides():
    # A change of unit divides it; without the factor 1 / (w^2 + h^2) it would multiply it.
    aspect = jax.grad(lambda x, y: losses.ciou_loss(x, y) - losses.diou_loss(x, y))
    prediction, target = PREDICTION.astype(jnp.float64), TARGET.astype(jnp.float64)
    once, twice = aspect(prediction, target), aspect(2 * prediction, 2 * target)
    np.testing.assert_allclose(twice, once / 2, rtol=1e-12)


def test_efficient_and_extended_iou_are_two_losses():
    assert losses.eiou_loss(APART, TARGET) != losses.extended_iou_loss(APART, TARGET)
    grown = jnp.array([20.0, 15, 70, 70])
    # The efficient one adds the share of the hull by which the side grew; the extended one is 1 - IoU for boxes that
    # overlap.
    iou = similarity.iou(grown, TARGET)
    np.testing.assert_allclose(losses.extended_iou_loss(grown, TARGET, smooth=0.0), 1 - iou, rtol=1e-5)
    expected = 1 - similarity.diou(grown, TARGET) + (10 / 50) ** 2
    np.testing.assert_allclose(losses.eiou_loss(grown, TARGET), expected, rtol=1e-5)


def siou_by_its_angle(predictions, targets, sign):
    """SIoU with the arcsine of the paper; the sign is that of the exponent in the cost of the distance."""
    offset = (targets[:, :2] + targets[:, 2:] - predictions[:, :2] - predictions[:, 2:]) / 2
    sides, target_sides = predictions[:, 2:] - predictions[:, :2], targets[:, 2:] - targets[:, :2]
    hull = np.maximum(predictions[:, 2:], targets[:, 2:]) - np.minimum(predictions[:, :2], targets[:, :2])
    angle = np.arcsin(np.min(np.abs(offset), axis=-1) / np.linalg.norm(offset, axis=-1))
    gamma = 2 - (1 - 2 * np.sin(angle - np.pi / 4) ** 2)
    distance = np.sum(1 - np.exp(sign * gamma[:, None] * (offset / hull) ** 2), axis=-1)
    change = np.abs(sides - target_sides) / np.maximum(sides, target_sides)
    shape = np.sum((1 - np.exp(-change)) ** 4, axis=-1)
    return 1 - reference.iou(predictions, targets) + (distance + shape) / 2


@pytest.mark.usefixtures("x64")
def test_siou_is_the_one_with_the_negative_exponent():
    predictions, targets = cases.random_pairs(200, seed=0)
    values = losses.siou_loss(predictions, targets)
    np.testing.assert_allclose(values, siou_by_its_angle(predictions, targets, sign=-1), rtol=0, atol=2e-15)
    assert np.max(np.abs(values - siou_by_its_angle(predictions, targets, sign=1))) > 1


def test_siou_with_the_other_sign_would_reward_distance():
    away = np.float64(TARGET) + np.array([80, 160, 320, 640])[:, None]
    targets = np.tile(np.float64(TARGET), (4, 1))
    assert np.all(np.diff(siou_by_its_angle(away, targets, sign=1)) < 0)
    assert np.all(np.diff(siou_by_its_angle(away, targets, sign=-1)) > 0)


def test_in_siou_the_offset_is_a_cost():
    distances = jnp.outer(jnp.array([0.0, 20, 40, 80]), jnp.array([1.0, 0, 1, 0]))
    values = jax.vmap(lambda move: losses.siou_loss(TARGET + move, TARGET))(distances)
    assert jnp.all(jnp.diff(values) > 0)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)])
def test_siou_has_a_finite_gradient_where_the_offset_lies_along_an_axis(direction):
    x, y = direction
    gradient = jax.grad(losses.siou_loss)(TARGET + 5 * jnp.array([x, y, x, y]), TARGET)
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.any(gradient != 0)


def test_mpdiou_is_divided_by_the_squared_diagonal_of_the_image():
    penalty = losses.mpdiou_loss(PREDICTION, TARGET, image_size=(100, 200)) - losses.iou_loss(PREDICTION, TARGET)
    np.testing.assert_allclose(penalty, (10**2 + 5**2 + 10**2 + 10**2) / (100**2 + 200**2), rtol=1e-4)


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0])
def test_balanced_l1_is_flat_at_the_target_for_every_beta(beta):
    slope = jax.grad(lambda x: losses.balanced_l1_loss(x, jnp.zeros(1), beta=beta))
    assert slope(jnp.zeros(1)) == 0
    assert abs(slope(jnp.array([1e-5 * beta]))[0]) < 1e-3


def test_the_floor_of_log_iou_is_the_loss_of_boxes_that_are_apart():
    np.testing.assert_allclose(losses.log_iou_loss(APART, TARGET), -np.log(1e-6), rtol=1e-6)
    np.testing.assert_allclose(losses.log_iou_loss(APART, TARGET, floor=0.01), -np.log(0.01), rtol=1e-6)


@pytest.mark.parametrize("side", [1e-3, 1e-6, 1e-9])
def test_a_perfect_box_is_perfect_however_small(side):
    small = jnp.array([0.0, 0, side, 2 * side])
    assert similarity.iou(small, small) == 1
    moved = small + jnp.array([side / 2, 0, side / 2, 0])
    np.testing.assert_allclose(similarity.iou(moved, small), 1 / 3, rtol=1e-5)


def test_diou_does_not_cancel_far_from_the_origin():
    predictions, targets = (np.float32(x + 1e5) for x in cases.random_pairs(500, seed=0))
    exact = reference.diou_loss(np.float64(predictions), np.float64(targets))
    np.testing.assert_allclose(losses.diou_loss(predictions, targets), exact, rtol=0, atol=5e-7)


def test_losses_of_classes_hold_the_weight_of_the_negatives_where_their_authors_do():
    x, background, quality = jnp.array([1.5]), jnp.zeros(1), jnp.float32(0)
    p, slope = jax.value_and_grad(lambda x: jnp.sum(jax.nn.sigmoid(x)))(x)
    moving = 2 * p * slope * jax.nn.softplus(x)
    options = {losses.varifocal_loss: {"alpha": 1.0, "gamma": 2.0}, losses.matchability_loss: {"gamma": 2.0}}
    for loss in (losses.varifocal_loss, losses.matchability_loss):
        gradient = jax.grad(loss)(x, background, quality, **options[loss])
        np.testing.assert_allclose(gradient, jnp.atleast_1d(p**3), rtol=1e-6)
    for loss in (losses.iou_aware_loss, losses.quality_focal_loss):
        np.testing.assert_allclose(jax.grad(loss)(x, background, quality), p**3 + moving, rtol=1e-6)


def test_a_side_that_is_not_positive_has_logarithm_0():
    padding = jnp.zeros(4)
    np.testing.assert_array_equal(coders.encode_deltas(padding, PREDICTION)[2:], 0)
    np.testing.assert_array_equal(coders.encode_grid(padding, jnp.zeros(2), scale=8.0), 0)


def test_yolo_has_two_formulas_of_a_box():
    raw, cell, size = jnp.zeros(4), jnp.zeros(2), jnp.array([3.0, 5.0])
    alike = [decode(raw, cell, size, stride=8.0) for decode in (coders.decode_yolo, coders.decode_yolov5)]
    np.testing.assert_allclose(*alike)
    old, new = (boxes.sides(f(raw + 1, cell, size, stride=8.0)) for f in (coders.decode_yolo, coders.decode_yolov5))
    np.testing.assert_allclose(old, size * np.e, rtol=1e-6)
    np.testing.assert_allclose(new, size * (2 / (1 + np.exp(-1))) ** 2, rtol=1e-6)
