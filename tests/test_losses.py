"""What is particular to single losses. The laws, in `test_laws_*`, cover the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, losses
from tests import cases, reference
from tests.table import defaults, rows


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (losses.smooth_l1_loss, {"beta": -1.0}),
        (losses.huber_loss, {"delta": -0.5}),
        (losses.balanced_l1_loss, {"alpha": 0.0}),
        (losses.balanced_l1_loss, {"gamma": 0.0}),
        (losses.balanced_l1_loss, {"beta": 0.0}),
        (losses.log_iou_loss, {"floor": 0.0}),
        (losses.log_iou_loss, {"floor": 1.0}),
        (losses.bounded_iou_loss, {"beta": -0.2}),
        (losses.focal_eiou_loss, {"gamma": -1.0}),
        (losses.extended_iou_loss, {"smooth": -0.1}),
        (losses.siou_loss, {"theta": 0.0}),
        (losses.alpha_iou_loss, {"alpha": 0.0}),
        (losses.alpha_giou_loss, {"alpha": -3.0}),
        (losses.focused_wiou_loss, {"mean_loss": 0.0}),
        (losses.focused_wiou_loss, {"mean_loss": 0.5, "alpha": 0.0}),
        (losses.focused_wiou_loss, {"mean_loss": 0.5, "delta": -3.0}),
        (losses.mpdiou_loss, {"image_size": (0, 640)}),
        (losses.inner_iou_loss, {"ratio": 0.0}),
        (losses.focaler_iou_loss, {"lower": 0.95}),
        (losses.shape_iou_loss, {"scale": -1.0}),
        (losses.focused_powerful_iou_loss, {"focus": 0.0}),
        (losses.nwd_loss, {"constant": jnp.nan}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_an_option_that_makes_no_sense_is_refused_with_its_value(loss, options):
    name, value = list(options.items())[-1]
    value = value[0] if name == "image_size" else value
    with pytest.raises(ValueError, match=f"`{name}` is {value}, but it must"):
        loss(jnp.zeros(4), jnp.zeros(4), **options)


def test_one_bad_number_among_the_options_of_many_boxes_is_refused():
    for loss in (losses.smooth_l1_loss, losses.balanced_l1_loss):
        with pytest.raises(ValueError, match=r"`beta` is \[ 0.5 -1. \], but it must"):
            loss(jnp.zeros((2, 4)), jnp.zeros((2, 4)), beta=np.array([0.5, -1.0]))


def test_an_option_that_turns_out_to_be_0_gives_no_nan():
    loss = jax.jit(lambda beta: losses.balanced_l1_loss(jnp.zeros(4), jnp.arange(4.0), beta=beta))
    assert jnp.isfinite(loss(0.0))


def test_the_weight_of_a_focused_box_is_a_million_at_most():
    pair = [jnp.asarray(x, jnp.float32) for x in cases.random_pairs(4, seed=49)]
    values = losses.focused_wiou_loss(*pair, mean_loss=0.5, delta=100.0)
    np.testing.assert_allclose(values, 1e6 * losses.wiou_loss(*pair), rtol=1e-6)


def test_bounded_iou_holds_its_targets():
    pair = [jnp.asarray(x, jnp.float32) for x in cases.random_pairs(50, seed=47)]
    np.testing.assert_array_equal(jax.grad(lambda *x: jnp.sum(losses.bounded_iou_loss(*x)), 1)(*pair), 0)


def test_bounded_iou_draws_back_a_center_that_is_half_a_side_away():
    def pull(distance):
        return jax.grad(losses.bounded_iou_loss)(jnp.array([distance, 0, distance + 2, 2]), jnp.array([0.0, 0, 2, 2]))

    np.testing.assert_allclose(pull(1.0), pull(1 - 2**-10), rtol=1e-2)
    np.testing.assert_array_equal(pull(1.25), 0)


@pytest.mark.parametrize(("kind", "alike"), [("points apart", -1), ("crossed segments", 0), ("equal points", 1)])
def test_extended_iou_of_empty_boxes_is_decided(kind, alike):
    a, b = (jnp.array(x) for x in cases.AWKWARD[kind])
    assert 1 - losses.extended_iou_loss(a, b, smooth=0.0) == alike


@rows(lambda row: row.options.keys() - {"image_size"} or defaults(row.loss))
def test_options_in_half_precision_are_promoted(row):
    options = defaults(row.loss) | row.options
    half = {name: jnp.bfloat16(value) for name, value in options.items() if name != "image_size"}
    pair = [jnp.asarray(x, jnp.float32) for x in cases.random_pairs(4, seed=48)]
    assert row.loss(*pair, **row.options | half).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
def test_focaler_iou_begins_at_the_lower_iou():
    pairs = cases.random_pairs(200, seed=46)
    value = losses.focaler_iou_loss(*pairs, lower=0.2, upper=0.4)
    np.testing.assert_allclose(value, reference.focaler_iou_loss(*pairs, lower=0.2, upper=0.4), rtol=1e-12, atol=1e-12)
    assert {0.0, 1.0} < set(value.tolist())


@pytest.mark.parametrize(
    "loss", [losses.alpha_iou_loss, losses.alpha_giou_loss, losses.alpha_diou_loss, losses.alpha_ciou_loss]
)
def test_a_power_below_1_keeps_every_gradient_finite(loss):
    predictions, targets = (jnp.asarray(x, jnp.float32) for x in cases.stacked(cases.AWKWARD))
    gradients = jax.jit(jax.vmap(jax.grad(lambda *pair: loss(*pair, alpha=0.5), (0, 1))))(predictions, targets)
    assert np.all(np.isfinite(gradients))


def test_the_weights_of_shape_iou_are_held_constant():
    predictions, targets = (jnp.asarray(x, jnp.float32) for x in cases.stacked(cases.AWKWARD))
    slopes = jax.jacfwd(lambda scale: losses.shape_iou_loss(predictions, targets, scale=scale))
    np.testing.assert_array_equal(slopes(0.5), 0)
    np.testing.assert_array_equal(slopes(0.0), 0)


def test_an_image_size_that_does_not_fit_the_boxes_is_refused():
    with pytest.raises(ValueError, match=r"`image_size` is \(480, 640, 3\), but boxes of 4 numbers need 2"):
        losses.mpdiou_loss(jnp.zeros(4), jnp.zeros(4), image_size=(480, 640, 3))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.usefixtures("x64")
def test_mpdiou_takes_intervals_and_solids(n):
    pairs, image_size = cases.random_pairs(50, seed=45, n=n), (3.0, 4.0, 5.0)[:n]
    given = map(boxes.Intervals, pairs) if n == 1 else pairs
    value = losses.mpdiou_loss(*given, image_size=image_size)
    np.testing.assert_allclose(value, reference.mpdiou_loss(*pairs, image_size=image_size), rtol=1e-12)


def test_the_size_of_mpdiou_may_be_one_an_image_or_a_box():
    predictions, targets = (x.astype(np.float32).reshape(2, 3, 4) for x in cases.random_pairs(6, seed=50))
    sizes = np.random.default_rng(0).uniform(2, 9, (2, 3, 2)).astype(np.float32)
    of_boxes = losses.mpdiou_loss(predictions, targets, image_size=sizes)
    of_images = losses.mpdiou_loss(predictions, targets, image_size=sizes[:, 0])
    for place in np.ndindex(2, 3):
        pair = predictions[place], targets[place]
        for found, size in ((of_boxes, sizes[place]), (of_images, sizes[place[0], 0])):
            np.testing.assert_allclose(found[place], losses.mpdiou_loss(*pair, image_size=size), rtol=1e-6)


def test_an_image_of_any_shape_has_a_diagonal():
    box = np.float32([0, 0, 2.5e14, 1e-15])
    moved = box + np.float32([2.5e14, 0, 2.5e14, 0])
    np.testing.assert_allclose(losses.mpdiou_loss(box, moved, image_size=(1e-15, 1e15)), 1 + 2 / 16, rtol=1e-6)
