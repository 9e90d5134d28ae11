"""Turned boxes to numbers and back, and angles without a jump: the formulas, every form of a box, and what is empty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import coders, rotated
from tests import cases, conversion_reference
from tests.table import defaults
from tests.test_rotated import nasty, random_boxes, same_boxes

LAST = np.array([0, 0, 0, 0, 1])
WEIGHTS = (10.0, 10.0, 5.0, 5.0, 2.0)


def random_codes(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 5))


def row_by_row(function, *arrays, **options):
    return np.stack([function(*row, **options) for row in zip(*arrays, strict=True)])


# Deltas.


@pytest.mark.parametrize("weights", [1.0, WEIGHTS])
@pytest.mark.usefixtures("x64")
def test_the_numbers_are_those_of_the_formula(weights):
    given, anchors, raw = random_boxes(60, seed=0), random_boxes(60, seed=1), random_codes(60, seed=2)
    wanted = row_by_row(conversion_reference.encode_rotated_deltas, given, anchors, weights=weights)
    codes = coders.encode_rotated_deltas(given, anchors, weights=weights)
    np.testing.assert_allclose(codes, wanted, rtol=1e-11, atol=1e-12)
    wanted = row_by_row(conversion_reference.decode_rotated_deltas, raw, anchors, weights=weights)
    found = coders.decode_rotated_deltas(raw, anchors, weights=weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_what_is_encoded_is_decoded_again():
    given, anchors = random_boxes(60, seed=3), random_boxes(60, seed=4)
    codes = coders.encode_rotated_deltas(given, anchors, weights=WEIGHTS)
    assert np.all(np.abs(codes[:, 4]) <= 2 / 4)
    found = coders.decode_rotated_deltas(codes, anchors, weights=WEIGHTS)
    # An anchor may be 10 times as small, as far away and as thin as the box.
    assert same_boxes(found, given) < 1e-13
    nearest = rotated.canonical_quarter(given, start=0.0)
    again = rotated.canonical_quarter(found, start=0.0)
    np.testing.assert_allclose(again, nearest, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_every_form_of_a_box_and_half_a_turn_of_its_anchor_give_one_code():
    for box, anchor in zip(random_boxes(8, seed=5), random_boxes(8, seed=6), strict=True):
        code = coders.encode_rotated_deltas(box, anchor)
        forms = np.stack(list(conversion_reference.forms(box)))
        found = coders.encode_rotated_deltas(forms, anchor)
        np.testing.assert_allclose(found, np.broadcast_to(code, found.shape), rtol=1e-11, atol=1e-12)
        turned = coders.encode_rotated_deltas(box, anchor + np.pi * LAST)
        np.testing.assert_allclose(turned, np.array([-1.0, -1, 1, 1, 1]) * code, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("origin", [0.0, 1e5])
def test_a_box_that_is_its_anchor_has_0_far_from_the_origin_too(origin):
    box = np.float32(random_boxes(40, seed=7) + origin * np.array([1, 1, 0, 0, 0]))
    np.testing.assert_array_equal(coders.encode_rotated_deltas(box, box), 0)
    np.testing.assert_array_equal(coders.decode_rotated_deltas(np.zeros((40, 5), np.float32), box), box)


def test_upright_boxes_have_the_numbers_of_upright_deltas():
    upright, anchors = (
        np.float32([[0, 0, 2, 3], [1, 5, 4, 6], [-3, 2, 1, 7]]),
        np.float32([[1, 0, 4, 2], [0, 0, 9, 9], [-2, -2, 1, 1]]),
    )
    codes = coders.encode_rotated_deltas(rotated.from_xyxy(upright), rotated.from_xyxy(anchors))
    np.testing.assert_allclose(codes[:, :4], coders.encode_deltas(upright, anchors), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(codes[:, 4], 0)


def test_a_side_that_is_not_positive_has_0():
    code = coders.encode_rotated_deltas(jnp.array([1.0, 1, 0, 3, 0.2]), jnp.array([5.0, 0, 0, 3, 0.1]))
    np.testing.assert_array_equal(code[jnp.array([0, 2])], 0)
    np.testing.assert_allclose(code[4], 0.1 / np.pi, rtol=1e-5)
    code = coders.encode_rotated_deltas(jnp.array([1.0, 1, -2, 3, 0.1]), jnp.array([5.0, 0, 2, 3, 0.1]))
    assert code[2] == 0
    assert code[0] != 0


def test_a_logarithm_counts_as_the_largest_one_at_most():
    anchor, large = jnp.array([0.0, 0, 2, 4, 0.3]), jnp.array([0.0, 0, 1e4, 1.0, 0])
    sides = coders.decode_rotated_deltas(large, anchor)[2:4]
    np.testing.assert_allclose(sides, [2 * 1000 / 16, 4 * np.e], rtol=1e-6)
    slopes = jax.jacrev(lambda x: coders.decode_rotated_deltas(x, anchor, largest=1.0)[2:4])(large)
    np.testing.assert_allclose(slopes[:, 2:4], [[0, 0], [0, 4 * np.e / 2]], rtol=1e-6)
    assert jnp.all(jnp.isfinite(coders.decode_rotated_deltas(large, anchor, weights=1e-15)))


def test_leading_axes_broadcast_and_options_may_be_one_a_box():
    given, anchors = np.float32(random_boxes(120, seed=8)).reshape(3, 40, 5), np.float32(random_boxes(40, seed=9))
    for function in (coders.encode_rotated_deltas, coders.decode_rotated_deltas):
        together = function(given, anchors)
        apart = np.stack([function(image, anchors) for image in given])
        np.testing.assert_allclose(together, apart, rtol=1e-5, atol=2e-6)
        assert function(given[0, 0], anchors).shape == (40, 5)
    limits = np.linspace(0, 2, 40, dtype=np.float32)
    found = coders.decode_rotated_deltas(given, anchors, largest=limits)
    apart = [
        coders.decode_rotated_deltas(given[:, k], anchors[k], largest=float(limit)) for k, limit in enumerate(limits)
    ]
    np.testing.assert_allclose(found, np.stack(apart, axis=1), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["encode_rotated_deltas", "decode_rotated_deltas"])
def test_options_have_the_defaults_of_the_reference(name):
    assert defaults(getattr(coders, name)) == defaults(getattr(conversion_reference, name))


@pytest.mark.parametrize("name", ["encode_rotated_deltas", "decode_rotated_deltas"])
def test_values_and_gradients_are_finite_for_numbers_of_every_size(name):
    function, given = getattr(coders, name), nasty("to_corners")
    # A derivative by a side of an anchor is a length over the square of that side: 1e45 for all lengths of law 6.
    given = np.where(np.abs(given) < 1e-10, np.sign(given) * 1e-6, given.clip(-1e10, 1e10)).astype(np.float32)
    anchors = given[np.random.default_rng(10).permutation(len(given))]
    assert np.all(np.isfinite(function(given, anchors)))

    def total(*arrays):
        return jnp.tanh(function(*arrays))

    for differentiate in (jax.jacrev, jax.jacfwd):
        slopes = jax.jit(jax.vmap(differentiate(total, (0, 1))))(given, anchors)
        assert all(np.all(np.isfinite(slope)) for slope in slopes)


@pytest.mark.parametrize("exponent", [20, -20])
def test_lengths_times_a_power_of_two_leave_the_code(exponent):
    given, anchors = (np.float32(random_boxes(40, seed=seed)) for seed in (11, 12))
    factors = np.float32([2.0**exponent] * 4 + [1])
    codes = coders.encode_rotated_deltas(given, anchors)
    np.testing.assert_array_equal(coders.encode_rotated_deltas(given * factors, anchors * factors), codes)
    np.testing.assert_array_equal(
        coders.decode_rotated_deltas(codes, anchors * factors),
        factors * np.asarray(coders.decode_rotated_deltas(codes, anchors)),
    )


# Phases.


@pytest.mark.usefixtures("x64")
def test_phases_are_those_of_the_formula():
    angles, raw = np.random.default_rng(13).uniform(-9, 9, 40), np.random.default_rng(14).normal(size=(40, 3))
    wanted = row_by_row(conversion_reference.encode_phases, angles)
    np.testing.assert_allclose(coders.encode_phases(angles), wanted, rtol=1e-12, atol=1e-13)
    wanted = row_by_row(conversion_reference.decode_phases, raw)
    np.testing.assert_allclose(coders.decode_phases(raw), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_an_angle_comes_back_within_half_a_turn():
    angles = np.linspace(-np.pi / 2, np.pi / 2, 101)[1:-1]
    np.testing.assert_allclose(coders.decode_phases(coders.encode_phases(angles)), angles, rtol=1e-13, atol=1e-15)
    for turns in (-2, 1, 5):
        phases = coders.encode_phases(angles + turns * np.pi)
        np.testing.assert_allclose(phases, coders.encode_phases(angles), rtol=1e-12, atol=1e-13)


def test_phases_do_not_jump_where_the_angle_does():
    ends = coders.encode_phases(jnp.array([-np.pi / 2, np.pi / 2]))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)
    np.testing.assert_allclose(ends[0], [-1, 0.5, 0.5], atol=1e-6)


def test_phases_with_a_number_added_and_a_factor_are_of_the_same_angle():
    phases = coders.encode_phases(jnp.float32(0.4))
    np.testing.assert_allclose(coders.decode_phases(3 * phases + 7), 0.4, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.7, 1e15])
def test_equal_phases_have_angle_0_with_slope_0(value):
    phases = jnp.full(3, value)
    assert coders.decode_phases(phases) == 0
    np.testing.assert_array_equal(jax.jacrev(coders.decode_phases)(phases), 0)
    np.testing.assert_array_equal(jax.jacfwd(coders.decode_phases)(phases), 0)


def test_phases_of_every_size_have_finite_angles_and_gradients():
    raw = nasty("from_polygon").reshape(-1, 3)
    assert np.all(np.isfinite(coders.decode_phases(raw)))
    assert np.all(np.isfinite(jax.vmap(jax.jacrev(coders.decode_phases))(raw)))
    angles = raw.reshape(-1)
    assert np.all(np.isfinite(coders.encode_phases(angles)))
    assert np.all(np.isfinite(jax.vmap(jax.jacrev(coders.encode_phases))(angles)))


# All of them.

TAKE = {
    "encode_rotated_deltas": (random_boxes, random_boxes),
    "decode_rotated_deltas": (random_codes, random_boxes),
    "encode_phases": (lambda count, seed: random_codes(count, seed)[:, 0],),
    "decode_phases": (lambda count, seed: random_codes(count, seed)[:, :3],),
    "encode_rotated_distances": (random_boxes, lambda count, seed: random_codes(count, seed)[:, :2]),
    "decode_rotated_distances": (
        lambda count, seed: random_codes(count, seed)[:, :4],
        lambda count, seed: random_codes(count, seed)[:, 0],
        lambda count, seed: random_codes(count, seed)[:, :2],
    ),
}
every_coder = pytest.mark.parametrize("name", TAKE)


def drawn(name, count=12):
    return [make(count, seed=20 + number) for number, make in enumerate(TAKE[name])]


def test_every_coder_of_the_module_has_a_row():
    assert set(TAKE) == set(coders.turned.__all__)


@every_coder
@pytest.mark.usefixtures("x64")
def test_gradients_are_those_of_central_differences(name):
    function, arrays = getattr(coders, name), drawn(name)
    weights = np.random.default_rng(22).normal(size=function(*arrays).shape)

    def total(*arrays):
        return jnp.sum(weights * jnp.sin(function(*arrays)))

    gradients = jax.grad(total, range(len(arrays)))(*arrays)
    step = 1e-6
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.copy() for x in arrays]
                moved[which][index] += sign * step
                ends.append(total(*moved))
            slope = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index], slope, rtol=1e-6, atol=1e-6)


@every_coder
def test_half_precision_is_promoted_and_integers_are_refused(name):
    function, arrays = getattr(coders, name), [jnp.asarray(x, jnp.bfloat16) for x in drawn(name)]
    promoted = function(*arrays)
    assert promoted.dtype == jnp.float32
    np.testing.assert_allclose(promoted, function(*(x.astype(jnp.float32) for x in arrays)), rtol=1e-6, atol=1e-6)
    for gradient in jax.grad(lambda *x: jnp.sum(function(*x)), range(len(arrays)))(*arrays):
        assert gradient.dtype == jnp.bfloat16
    with pytest.raises(TypeError, match="has dtype int32"):
        function(*(x.astype(jnp.int32) for x in arrays))


@every_coder
def test_a_nan_stays_in_its_row(name):
    function, arrays = getattr(coders, name), [np.float32(x) for x in drawn(name, 3)]
    clean = function(*arrays)
    for which, array in enumerate(arrays):
        for place in np.ndindex(array.shape[1:]):
            soiled = [x.copy() for x in arrays]
            soiled[which][(1, *place)] = np.nan
            found = function(*soiled)
            assert np.any(np.isnan(found[1]))
            np.testing.assert_array_equal(found[::2], clean[::2])


# Distances.


def seen_from(box, point):
    """How far a point is from each side of a box, by a turn of the point about the center."""
    x, y, w, h, angle = box
    place = (complex(*point) - complex(x, y)) * np.exp(-1j * angle)
    return [w / 2 + place.real, h / 2 + place.imag, w / 2 - place.real, h / 2 - place.imag]


@pytest.mark.parametrize("scale", [1.0, 8.0])
@pytest.mark.usefixtures("x64")
def test_distances_are_those_of_the_box_turned_upright_and_lead_back_to_it(scale):
    given = random_boxes(60, seed=20)
    points = given[:, :2] + np.random.default_rng(21).normal(size=(60, 2))
    distances = coders.encode_rotated_distances(given, points, scale=scale)
    np.testing.assert_allclose(distances, row_by_row(seen_from, given, points) / scale, rtol=1e-11, atol=1e-12)
    found = coders.decode_rotated_distances(distances, given[:, 4], points, scale=scale)
    np.testing.assert_allclose(found, given, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_distances_of_an_upright_box_are_those_of_its_sides():
    upright, points = cases.random_boxes(20, seed=22), np.random.default_rng(23).normal(size=(20, 2))
    distances = coders.encode_distances(upright, points, scale=4.0)
    found = coders.encode_rotated_distances(rotated.from_xyxy(upright), points, scale=4.0)
    np.testing.assert_allclose(found, distances, rtol=1e-12, atol=1e-14)


def test_each_point_has_a_scale_of_its_own_and_distances_below_0_make_a_negative_side():
    points, strides = jnp.array([[4.0, 4], [8, 8]]), jnp.array([8.0, 16])
    distances = jnp.array([[1.0, 1, 1, 1], [1.0, 0, -2, 1]])
    found = coders.decode_rotated_distances(distances, jnp.zeros(2), points, scale=strides)
    np.testing.assert_array_equal(found, [[4, 4, 16, 16, 0], [-16, 16, -16, 16, 0]])


def test_angles_have_one_value_a_box():
    with pytest.raises(ValueError, match=r"`angles` has shape \(3, 1\), but there is one value a box, \(3,\)"):
        coders.decode_rotated_distances(jnp.ones((3, 4)), jnp.ones((3, 1)), jnp.ones((3, 2)))
