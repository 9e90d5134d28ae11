"""Turned boxes as normal distributions: the distances, and the losses that are made of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbox import boxes, gaussian, losses, similarity
from tests import gaussian_cases as cases
from tests import gaussian_reference as reference
from tests.gaussian_table import (
    COUNT,
    DISTANCES,
    LOSSES,
    QUICKLY,
    central_differences,
    every_bent_loss,
    every_function,
    every_loss,
    in_every_direction,
    rows,
    run,
    value_and_gradients,
)
from tests.table import defaults

# The formulas.


def test_every_loss_and_distance_of_turned_boxes_has_a_row():
    assert {row.name for row in LOSSES} == {*losses.gaussian.__all__} - {"gcd_loss", "nwd_loss"}
    assert {row.name for row in DISTANCES} == {*gaussian.__all__} - {"mean_and_covariance"}


@every_function
@pytest.mark.usefixtures("x64")
def test_value_and_gradients_are_those_of_the_reference(row):
    a, b = cases.random_pairs(COUNT, seed=0)
    value, (by_a, by_b) = value_and_gradients(row, a, b, dtype="float64")
    np.testing.assert_allclose(value, row.expected(a, b), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(by_a, central_differences(lambda x: row.expected(x, b), a), rtol=1e-6, atol=1e-6)
    slopes = central_differences(partial(row.expected, a), b)
    if row.function is losses.angle_loss:  # which holds the sides of the target
        slopes[:, 2:4] = 0
    np.testing.assert_allclose(by_b, slopes, rtol=1e-6, atol=1e-6)


@every_loss
def test_options_have_the_defaults_of_the_reference(row):
    assert defaults(row.function) == defaults(getattr(reference, row.name))


@pytest.mark.usefixtures("x64")
def test_mean_and_covariance_are_those_of_the_reference():
    x = cases.random_boxes(50, seed=4)
    for found, wanted in zip(gaussian.mean_and_covariance(x), reference.distribution(x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    shapes = [part.shape for part in gaussian.mean_and_covariance(jnp.zeros((2, 3, 5)))]
    assert shapes == [(2, 3, 2), (2, 3, 2, 2)]


def upright(x):
    return np.concatenate([x[:, :2] - x[:, 2:4] / 2, x[:, :2] + x[:, 2:4] / 2], axis=-1)


@pytest.mark.usefixtures("x64")
def test_boxes_of_one_angle_have_the_distance_of_nwd():
    a, b = (x * [1, 1, 1, 1, 0] for x in cases.random_pairs(100, seed=5))
    nwd = similarity.nwd(upright(a), upright(b), constant=2.0)
    np.testing.assert_allclose(gaussian.wasserstein(a, b), -2 * np.log(nwd), rtol=1e-13)
    np.testing.assert_allclose(losses.rotated_nwd_loss(a, b, constant=2.0), 1 - nwd, rtol=1e-12)


def test_distances_broadcast():
    a, b = (jnp.float32(x) for x in cases.random_pairs(4, seed=6))
    for row in DISTANCES:
        matrix = row(a[:, None], b)
        wanted = [[row.expected(x, y) for y in np.asarray(b)] for x in np.asarray(a)]
        np.testing.assert_allclose(matrix, wanted, rtol=1e-5, atol=1e-5)


def test_the_other_forms_of_kfiou_are_those_of_its_paper():
    a, b = cases.random_pairs(50, seed=7)
    k = (1 - losses.kfiou_loss(jnp.float32(a), jnp.float32(b))) / 3
    np.testing.assert_allclose(k, reference.kfiou(a, b), rtol=1e-5)
    assert jnp.all(jnp.isfinite(-jnp.log(k)) & (jnp.exp(1 - k) - 1 > 0.9))


# Law 4: neither the unit nor the frame of reference makes a difference, nor which angle stands for a box.


def moved(x, turn):
    c, s = np.cos(turn), np.sin(turn)
    x, y, w, h, angle = np.moveaxis(x, -1, 0)
    return np.stack([c * x - s * y + 3, s * x + c * y - 7, w, h, angle + turn], axis=-1)


@every_function
@pytest.mark.usefixtures("x64")
def test_neither_the_frame_nor_the_name_of_a_box_makes_a_difference(row):
    a, b = cases.random_pairs(COUNT, seed=51)
    value, _ = value_and_gradients(row, a, b, dtype="float64")
    swap, half, quarter = [0, 1, 3, 2, 4], np.array([0, 0, 0, 0, np.pi]), np.array([0, 0, 0, 0, np.pi / 2])
    names = [(a + half, b), (a, b - half), (a[:, swap] + quarter, b), (a, b[:, swap] - quarter)]
    same = [(moved(a, 0.77), moved(b, 0.77)), *names]
    for pair in [*same, (b, a)] if row.is_symmetric else same:
        other, _ = value_and_gradients(row, *pair, dtype="float64")
        np.testing.assert_allclose(other, value, rtol=1e-14, atol=1e-14)


@every_function
@pytest.mark.parametrize("distance", [1e-4, 1e-5, 1e-6])
@pytest.mark.usefixtures("x64")
def test_near_the_target_the_value_keeps_its_digits(row, distance):
    b = cases.random_boxes(COUNT, seed=71)
    a = b + distance * np.random.default_rng(72).normal(size=b.shape)
    single = [x.astype(np.float32) for x in (a, b)]
    value, exact = (value_and_gradients(row, *single, dtype=dtype)[0] for dtype in ("float32", "float64"))
    np.testing.assert_allclose(value, exact, rtol=2e-6)


# Law 5: equal boxes.


@every_loss
def test_equal_boxes_have_loss_0_and_gradient_0_in_an_eager_call(row):
    same = jnp.float32(cases.random_boxes(8, seed=81))
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(row(x, same)))(same)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


# Law 6: every function is total.


@every_loss
def test_raw_pairs_have_finite_derivatives_in_forward_mode(row):
    value, slope = run("forward mode", row, *in_every_direction(*cases.raw_pairs(2_000, seed=91)))
    assert np.all(np.isfinite(value) & np.isfinite(slope))


# Sides of 0.


def raised(x, longest, floor):
    least = floor * longest
    half = np.maximum(x[2:4], 0) / 2
    short = np.minimum(half, least)
    return np.concatenate([x[:2], 2 * np.where(half < least, least**2 / (2 * least - short), half), x[4:]])


@pytest.mark.parametrize("floor", [1e-6, 1e-3, 0.5])
@rows(lambda row: "floor" in defaults(row.function))
@pytest.mark.usefixtures("x64")
def test_a_half_side_counts_as_half_of_its_floor_at_least(row, floor):
    for name in ("no width, apart", "a point", "a target of no width", "points apart", "small"):
        # Of angle 0, with which the matrices of the reference have an exact inverse.
        a, b = (np.array(x) * [1, 1, 1, 1, 0] for x in cases.MODERATE[name])
        longest = max(*(x[2:4].max() / 2 for x in (a, b)), np.hypot(*(a - b)[:2]))
        wanted = getattr(reference, row.name)(raised(a, longest, floor), raised(b, longest, floor))
        np.testing.assert_allclose(row(a, b, floor=floor), wanted, rtol=1e-9)


@every_bent_loss
def test_a_box_of_no_width_grows(row):
    gradient = jax.grad(row)(jnp.float32([30, 35, 0, 30, 0.2]), jnp.float32(cases.TARGET))
    assert gradient[2] < 0


def test_kfiou_of_boxes_without_area_is_decided():
    def loss(name):
        return losses.kfiou_loss(*(jnp.float32(x) for x in cases.MODERATE[name]))

    alike = ["equal points", "points that differ by the angle", "points apart", "equal segments"]
    assert [loss(name) for name in alike] == [0] * 4
    differ = ["segments on one line", "crossed segments", "segments that are turned", "a point", "no width, apart"]
    assert [loss(name) for name in differ] == [1] * 5


# Options.


@every_bent_loss
@pytest.mark.usefixtures("x64")
def test_tau_may_be_traced_one_a_box_and_at_its_limits(row):
    a, b = cases.random_pairs(3, seed=130)
    tau = np.array([1.0, 2.5, 1e15])

    def total(x, tau):
        values = row(x, b, tau=tau)
        return jnp.sum(values), values

    compute = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True), compiler_options=QUICKLY)
    (_, values), (_, slopes) = compute(a, tau)
    np.testing.assert_allclose(values, row.expected(a, b, tau=tau), rtol=1e-10)
    assert np.all(slopes[:2] > 0)
    (_, values), (gradient, _) = compute(b, tau)
    np.testing.assert_allclose(values, 1 - 1 / tau, rtol=1e-15)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        *(
            (row.function, {"tau": tau})
            for row in LOSSES
            if "tau" in defaults(row.function)
            for tau in (0.0, 0.5, np.inf)
        ),
        *((row.function, {"floor": floor}) for row in DISTANCES[1:] for floor in (0.0, 1e-9, 1.0)),
        (losses.rotated_nwd_loss, {"constant": 0.0}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_an_option_out_of_its_range_is_refused_with_its_value(function, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"`{name}` is {value}, but it must be"):
        function(jnp.zeros(5), jnp.zeros(5), **options)


# Law 9: downhill is downhill.


def descended(loss, starts, targets):
    """Where 1500 steps of Adam lead on center, logarithms of the sides, and angle."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 1500))

    def to_boxes(x):
        return jnp.concatenate([x[:, :2], jnp.exp(x[:, 2:4]), x[:, 4:]], axis=-1)

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(jax.grad(lambda x: jnp.sum(loss(to_boxes(x), targets)))(x), state)
        return (optax.apply_updates(x, updates), state), None

    first = jnp.concatenate([starts[:, :2], jnp.log(starts[:, 2:4]), starts[:, 4:]], axis=-1)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        (final, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=1500))(first)
    return to_boxes(final)


def starts_and_targets(count):
    starts, targets = cases.random_pairs(count, seed=150, spread=1.5)
    starts[:, 4] = targets[:, 4] + np.random.default_rng(152).uniform(-0.7, 0.7, count)
    return jnp.float32(starts), jnp.float32(targets)


# A divergence of 0.005 is a tenth of a standard deviation: an IoU of 0.9.


@rows(lambda row: row.is_loss and row.leads)
def test_descent_brings_a_thousand_boxes_to_their_targets(row):
    starts, targets = starts_and_targets(1000)
    assert np.max(gaussian.jeffreys(descended(row, starts, targets), targets)) < 0.005


def test_descent_of_probiou_brings_most_boxes_to_their_targets_and_the_others_are_saturated():
    starts, targets = starts_and_targets(1000)
    arrived = gaussian.jeffreys(descended(losses.probiou_loss, starts, targets), targets) < 0.005
    assert np.mean(arrived) > 0.8
    assert np.all(losses.probiou_loss(starts, targets)[~arrived] > 0.99)


def test_descent_of_kfiou_brings_shapes_to_their_targets():
    starts, targets = starts_and_targets(1000)
    final = descended(losses.kfiou_loss, starts, targets).at[:, :2].set(targets[:, :2])
    assert np.max(gaussian.jeffreys(final, targets)) < 0.005


def test_the_angle_loss_brings_an_angle_that_is_near_to_that_of_the_target():
    starts, targets = starts_and_targets(1000)
    final = descended(losses.angle_loss, starts, targets)
    assert np.max(np.abs(final[:, 4] - targets[:, 4])) < 1e-3
    np.testing.assert_allclose(final[:, :4], starts[:, :4], rtol=1e-6)


def test_gcd_is_the_exponential_of_a_distance_in_sides():
    box, other = jnp.array([0.0, 0, 2, 4]), jnp.array([1.0, 0, 3, 4])
    np.testing.assert_allclose(losses.gcd_loss(box, other), 1 - np.exp(-0.5), rtol=1e-6)
    interval, double = boxes.Intervals(jnp.array([0.0, 2])), boxes.Intervals(jnp.array([-1.0, 3]))
    np.testing.assert_allclose(losses.gcd_loss(interval, double), 1 - np.exp(-np.sqrt((1 + 0.25) / 8)), rtol=1e-6)


@pytest.mark.parametrize("name", ["gwd", "kld", "reverse_kld", "jeffreys", "bhattacharyya", "probiou", "kfiou"])
def test_points_so_near_that_their_distance_has_no_square_are_one(name):
    loss = getattr(losses, f"{name}_loss")
    for distance in (2.35e-38, 1e-30, 1e-20):
        points = jnp.zeros(5), jnp.zeros(5).at[1].set(distance)
        value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(*points)
        assert 0 <= value <= 1
        assert np.all(np.isfinite(gradients))
