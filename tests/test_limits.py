"""Options at their limits, and boxes at the limits of law 6, in one, two and three dimensions."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, losses, similarity
from tests import cases, reference
from tests.table import LOSSES, rows
from tests.test_similarity import NAMES, similarity_of

QUICKLY = {"xla_backend_optimization_level": 0}  # what is asked is whether numbers are finite

# Every number that somebody may write for an option.
EXTREMES = [
    0.0,
    1e-300,
    1e-50,
    1e-38,
    1e-30,
    1e-10,
    1e-3,
    0.5,
    0.999999,
    1.0,
    2.0,
    88.0,
    1e3,
    1e10,
    1e30,
    3e38,
    1e300,
    np.inf,
]
OF_NUMBERS = [
    (row, name)
    for row in LOSSES
    for name, parameter in inspect.signature(row.loss).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("where", "image_size")
]
every_option = pytest.mark.parametrize(
    ("row", "option"), OF_NUMBERS, ids=lambda value: value if isinstance(value, str) else value.name
)


def pairs():
    """Ordinary and awkward pairs, and equal ones."""
    parts = cases.random_pairs(40, seed=5, spread=2.0), cases.stacked(cases.AWKWARD)
    predictions, targets = (np.concatenate(x).astype(np.float32) for x in zip(*parts, strict=True))
    upright = targets[np.all(targets[:, 2:] >= targets[:, :2], axis=-1)]
    return np.concatenate([predictions, upright]), np.concatenate([targets, upright]), len(upright)


@every_option
def test_an_option_at_its_limits_gives_finite_numbers_or_is_refused_with_its_value(row, option):
    predictions, targets, equal = pairs()

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def of(predictions, targets, value):
        def total(predictions, targets):
            values = row.loss(predictions, targets, **(row.options | {option: value}))
            return jnp.sum(values), values

        return jax.value_and_grad(total, (0, 1), has_aux=True)(predictions, targets)

    kept, refusals = 0, []
    for value in (*EXTREMES, *(-value for value in EXTREMES), np.nan):
        try:
            row.loss(predictions, targets, **(row.options | {option: value}))
        except ValueError as error:
            refusals.append((value, str(error)))
            continue
        kept += 1
        with np.errstate(over="ignore"):  # what a caller's own jit does with 1e300
            traced = np.float32(value)
        (_, values), gradients = of(predictions, targets, traced)
        assert np.all(np.isfinite(values)), value
        assert np.all(values >= -1e-6), value
        assert np.all(np.isfinite(gradients)), value
        np.testing.assert_array_equal(values[-equal:], 0)
        np.testing.assert_array_equal([gradient[-equal:] for gradient in gradients], 0)
    assert all(f"`{option}` is {value}" in message for value, message in refusals)
    assert kept >= 3


def ones(predictions, _):
    return np.ones(len(predictions))


def zeros(predictions, _):
    return np.zeros(len(predictions))


@pytest.mark.parametrize(
    ("loss", "options", "limit"),
    [
        (losses.huber_loss, {"delta": np.inf}, losses.l2_loss),
        (losses.huber_loss, {"delta": 1e30}, losses.l2_loss),
        (losses.huber_loss, {"delta": 1e300}, losses.l2_loss),
        (losses.smooth_l1_loss, {"beta": 0.0}, losses.l1_loss),
        (losses.smooth_l1_loss, {"beta": 1e-300}, losses.l1_loss),
        (losses.smooth_l1_loss, {"beta": np.inf}, zeros),
        (losses.smooth_l1_loss, {"beta": 1e30}, lambda p, t: losses.l2_loss(p, t) * 1e-30),
        (losses.balanced_l1_loss, {"alpha": 1e-30}, lambda p, t: 1.5 * losses.l1_loss(p, t)),
        (losses.balanced_l1_loss, {"alpha": np.inf}, lambda p, t: 1.5 * losses.smooth_l1_loss(p, t)),
        (losses.bounded_iou_loss, {"beta": np.inf}, zeros),
        (losses.extended_iou_loss, {"smooth": np.inf}, zeros),
        (losses.focal_eiou_loss, {"gamma": 1e-30}, lambda p, t: (similarity.iou(p, t) > 0) * losses.eiou_loss(p, t)),
        (losses.focal_eiou_loss, {"gamma": np.inf}, zeros),
        (losses.alpha_iou_loss, {"alpha": np.inf}, ones),
        (losses.alpha_iou_loss, {"alpha": 1e30}, ones),
        (losses.alpha_iou_loss, {"alpha": 1e-30}, lambda p, t: 1.0 - (similarity.iou(p, t) > 0)),
        (losses.inner_iou_loss, {"ratio": 1e-15}, ones),
        (losses.nwd_loss, {"constant": 1e-15}, ones),
        (losses.nwd_loss, {"constant": 1e15}, zeros),
        (losses.shape_iou_loss, {"scale": np.inf}, lambda p, t: losses.shape_iou_loss(p, t, scale=1e5)),
        (losses.focused_powerful_iou_loss, {"focus": 1e-15}, zeros),
        (losses.focaler_iou_loss, {"lower": 0.5, "upper": 0.5 + 2e-6}, lambda p, t: 1.0 - (similarity.iou(p, t) > 0.5)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__.strip("<>"),
)
def test_an_option_at_its_limit_gives_the_limit_of_the_formula(loss, options, limit):
    predictions, targets = (x.astype(np.float32) for x in cases.random_pairs(50, seed=6))
    with jax.numpy_dtype_promotion("standard"):
        expected = np.asarray(limit(predictions, targets), np.float32)
    np.testing.assert_allclose(
        loss(predictions, targets, **options), expected, rtol=1e-5, atol=1e-6 * (options != {"beta": 1e30})
    )


@pytest.mark.parametrize("alpha", [1e-30, 1e-32, 1e-37])
def test_a_tiny_alpha_of_a_balanced_error_is_its_limit_with_a_finite_slope(alpha):
    errors, zeros = jnp.array([0.05, 0.3, 0.99, 1.7]), jnp.zeros(4)
    np.testing.assert_allclose(losses.balanced_l1_loss(errors, zeros, alpha=alpha), 1.5 * 3.04, rtol=1e-5)
    of = jax.jit(lambda alpha, gamma: losses.balanced_l1_loss(errors, zeros, alpha=alpha, gamma=gamma))
    for small in (alpha, 1e-25, 1e-20, 1e-10):
        for gamma in (1.5, 1e-15, 1e15):
            along = jax.jvp(of, (jnp.float32(small), jnp.float32(gamma)), (jnp.ones(()), jnp.ones(())))
            assert np.all(np.isfinite(along))


def test_bounds_that_are_arrays_are_known_inside_a_jit():
    predictions, targets = (x.astype(np.float32) for x in cases.random_pairs(5, seed=12))
    lower = jnp.float32(0.1)
    value = jax.jit(lambda a: losses.focaler_iou_loss(a, targets, lower=lower))(predictions)
    np.testing.assert_allclose(value, losses.focaler_iou_loss(predictions, targets, lower=0.1), rtol=1e-6)


def test_a_balanced_error_whose_exponential_overflows_has_its_value():
    errors = jnp.array([0.05, 0.3, 0.99, 1.7])
    value, slope = jax.value_and_grad(losses.balanced_l1_loss)(errors, jnp.zeros(4), alpha=0.01, gamma=1.5)
    np.testing.assert_allclose(value, 4.531391, rtol=1e-6)
    e = np.minimum(np.float64(errors), 1)
    np.testing.assert_allclose(slope, 1.5 + 0.01 * np.log(e), rtol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("alpha", [0.05, 0.075, 0.076, 0.1, 0.5, 3.0, 1e3])
def test_a_balanced_error_is_that_of_the_reference_on_both_sides_of_its_forms(alpha):
    predictions, targets = cases.random_pairs(50, seed=7)
    value = losses.balanced_l1_loss(predictions, targets, alpha=alpha)
    rtol = 1e-12 if alpha < 100 else 1e-6  # the formula of the reference cancels
    np.testing.assert_allclose(value, reference.balanced_l1_loss(predictions, targets, alpha=alpha), rtol=rtol)


@pytest.mark.parametrize("option", ["beta", "delta", "constant", "floor", "ratio", "alpha"])
def test_options_may_have_one_number_a_box_and_no_other_shape(option):
    loss = {
        "beta": losses.smooth_l1_loss,
        "delta": losses.huber_loss,
        "constant": losses.nwd_loss,
        "floor": losses.log_iou_loss,
        "ratio": losses.inner_iou_loss,
        "alpha": losses.alpha_giou_loss,
    }[option]
    predictions, targets = (x.astype(np.float32).reshape(2, 3, 4) for x in cases.random_pairs(6, seed=8))
    numbers = np.float32([[0.2, 0.5, 0.9], [0.3, 0.4, 0.7]])
    together = loss(predictions, targets, **{option: numbers})
    for place in np.ndindex(2, 3):
        alone = loss(predictions[place], targets[place], **{option: float(numbers[place])})
        np.testing.assert_allclose(together[place], alone, rtol=1e-5, atol=1e-6)
    an_image = loss(predictions, targets, **{option: numbers[:, :1]})
    np.testing.assert_allclose(an_image[:, 0], together[:, 0], rtol=1e-5)
    for wrong in (numbers[..., None], numbers[0], numbers[:, :2], np.float32([0.5])):
        with pytest.raises(ValueError, match=rf"`{option}` has shape .* but there is one number in all, or one a box"):
            loss(predictions, targets, **{option: wrong})
        with pytest.raises(ValueError, match=f"`{option}` has shape"):
            jax.jit(loss)(predictions, targets, **{option: wrong})


def test_the_first_bad_number_among_those_of_many_boxes_is_named_with_its_place():
    numbers = np.ones((2, 6), np.float32)
    numbers[1, 3], numbers[1, 5] = -1, -2
    with pytest.raises(ValueError, match=r"`beta` is -1.0 at \[1, 3\], but it must be 0 or above"):
        losses.smooth_l1_loss(np.ones((2, 6, 4)), np.ones((2, 6, 4)), beta=numbers)


def test_bounds_of_many_boxes_are_each_below_their_upper_one():
    with pytest.raises(ValueError, match=r"`lower` is .*, but it must be below `upper`"):
        losses.focaler_iou_loss(np.ones((2, 4)), np.ones((2, 4)), lower=np.array([0.1, 0.97]))


@pytest.mark.parametrize("alpha", [2, 3, 3.0, 4])
def test_a_known_power_stays_known(alpha):
    program = str(jax.make_jaxpr(lambda a, b: losses.alpha_iou_loss(a, b, alpha=alpha))(np.ones(4), np.ones(4)))
    assert " pow " not in program
    assert f"integer_pow[y={int(alpha)}]" in program


# Boxes whose areas and volumes float32 does not hold.


def axes_of_pairs(n):
    """Intervals along one axis in every relation, within the bounds for so many dimensions: `[count, 2]` twice."""
    bound = 1e10 if n == 3 else 1e15
    corners = np.concatenate([case.corners.transpose(2, 0, 1) for case in cases.AWKWARD.values()])
    return corners[np.max(np.abs(corners), axis=(1, 2)) <= bound]


def combined(n, count, seed):
    """Pairs of boxes, each axis of which is any of `axes_of_pairs`: `[count, 2n]` twice."""
    axes = axes_of_pairs(n)
    chosen = axes[np.random.default_rng(seed).integers(len(axes), size=(count, n))]  # count, axis, box, edge
    return chosen.transpose(2, 0, 3, 1).reshape(2, count, 2 * n).astype(np.float32)


def given(row_or_function, n, *pair):
    if n == 1 and not getattr(row_or_function, "any_layout", False):
        pair = [boxes.Intervals(x) for x in pair]
    return pair


@pytest.mark.parametrize("n", [1, 3])
@rows(lambda row: not row.planar)
def test_value_and_gradients_are_finite_in_every_dimension_down_to_sides_of_1e_15(row, n):
    if n not in row.dimensions:
        return
    predictions, targets = combined(n, 4000, seed=n)

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def of(predictions, targets):
        def total(predictions, targets):
            values = row(predictions, targets)
            return jnp.sum(values), values

        return jax.value_and_grad(total, (0, 1), has_aux=True)(predictions, targets)

    (_, values), gradients = of(predictions, targets)
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(gradients))
    upright = np.all([x[:, n:] >= x[:, :n] for x in (predictions, targets)], axis=(0, 2))
    assert np.all(values[upright] >= -1e-6)
    assert np.all(values[upright] <= row.upper * (1 if n < 3 else 1.5) + 1e-6)
    (_, values), gradients = of(targets, targets)
    upright = np.all(targets[:, n:] >= targets[:, :n], axis=-1)
    np.testing.assert_array_equal(values[upright], 0)
    np.testing.assert_array_equal([gradient[upright] for gradient in gradients], 0)


SMALLEST = {1: -48, 2: -48, 3: -48}  # exponents of the unit, in which a side of 0.3 is 1.07e-15
LARGEST = {1: 40, 2: 40, 3: 31}


@pytest.mark.parametrize(("n", "exponent"), [(n, limit[n]) for limit in (SMALLEST, LARGEST) for n in (1, 2, 3)])
@rows(lambda row: not row.has_a_unit)
def test_the_unit_of_length_changes_no_bit_in_any_dimension(row, n, exponent):
    if n not in row.dimensions:
        return
    factor = np.float32(2.0**exponent)
    predictions, targets = (x.astype(np.float32) for x in cases.random_pairs(2000, seed=9, n=n))
    of = jax.jit(jax.vmap(jax.value_and_grad(row)))
    value, gradient = of(predictions, targets)
    scaled, scaled_gradient = of(factor * predictions, factor * targets)
    np.testing.assert_array_equal(scaled, value)
    np.testing.assert_array_equal(scaled_gradient * factor, gradient)


@pytest.mark.parametrize("exponent", [-48, 31])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_unit_of_length_changes_no_bit_of_a_similarity(name, n, exponent):
    if name in ("mpdiou", "nwd") or (n != 2 and name in ("ciou", "siou", "alpha_ciou", "shape_iou")):
        return
    factor = np.float32(2.0**exponent)
    pair = [x.astype(np.float32) for x in cases.random_pairs(2000, seed=11, n=n)]
    alike = jax.jit(similarity_of(name))
    value = alike(*given(None, n, *pair))
    np.testing.assert_array_equal(alike(*given(None, n, *(factor * x for x in pair))), value)


def test_solids_too_small_for_a_volume_have_their_overlap():
    for side in (1e-15, 2e-11, 1e-5, 1.0, 1e10):
        solid = np.float32([0, 0, 0, side, side, side])
        moved = solid + np.float32([side / 2, 0, 0, side / 2, 0, 0])
        np.testing.assert_allclose(similarity.iou(solid, moved), 1 / 3, rtol=1e-6)
        np.testing.assert_allclose(similarity.giou(solid, moved), 1 / 3, rtol=1e-6)
        np.testing.assert_allclose(similarity.ioa(solid, moved), 1 / 2, rtol=1e-6)
        np.testing.assert_allclose(losses.inner_iou_loss(solid, moved, ratio=0.75), 1 - 0.25 / 1.25, rtol=1e-5)


def test_a_tiny_solid_inside_a_huge_one_is_covered_whole():
    tiny, huge = np.float32([0, 0, 0, 1e-15, 2e-15, 3e-15]), np.float32([-1e10] * 3 + [1e10] * 3)
    assert similarity.ioa(tiny, huge) == 1
    assert similarity.iou(tiny, huge) == 0
    assert similarity.giou(tiny, huge) <= 0


@pytest.mark.parametrize("lengths", list(itertools.product([1e-15, 1.0, 1e10], repeat=3)), ids=str)
def test_a_solid_of_any_shape_has_the_overlap_of_its_share_along_each_axis(lengths):
    solid = np.float32([0, 0, 0, *lengths])
    part = np.float32([0, 0, 0, lengths[0] / 2, lengths[1] / 4, lengths[2]])
    np.testing.assert_allclose(similarity.iou(solid, part), 1 / 8, rtol=1e-6)
    np.testing.assert_allclose(similarity.giou(solid, part), 1 / 8, atol=3e-7)
    np.testing.assert_allclose(similarity.ioa(part, solid), 1)


def test_siou_knows_the_direction_of_an_offset_of_tiny_boxes():
    box, moved = np.float32([0, 0, 4, 4]), np.float32([0.5, 0.5, 4.5, 4.5])
    expected = losses.siou_loss(box, moved)
    tiny = np.float32(2.0**-51)
    assert losses.siou_loss(tiny * box, tiny * moved) == expected


def test_siou_does_not_push_along_an_axis_on_which_the_centers_agree():
    slope = jax.grad(losses.siou_loss)(jnp.array([0.0, 3.0, 2.0, 5.0]), jnp.array([0.0, 0.0, 2.0, 2.0]))
    assert slope[0] + slope[2] == 0
    assert slope[1] + slope[3] != 0


def test_bounds_that_turn_out_to_be_equal_give_no_nan():
    loss = jax.jit(lambda bound: losses.focaler_iou_loss(jnp.ones(4), jnp.ones(4), lower=bound, upper=bound))
    assert jnp.isfinite(loss(1.0))
