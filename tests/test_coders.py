"""Boxes to numbers and back: round trips, the numbers of the original code, and boxes that have no logarithm."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, coders, losses
from tests import cases, coder_reference
from tests.table import defaults

ORIGINALS = json.loads((pathlib.Path(__file__).parent / "detector_reference.json").read_text())["coders"]
RNG = np.random.default_rng(0)


def original(name, key):
    """Inputs, which were rounded to float32, in float64."""
    return np.float32(ORIGINALS[name][key]).astype(float)


def corners(centers_and_sides):
    return boxes.cxcywh_to_xyxy(centers_and_sides)


def marked(array):
    """Boxes as the coders take them: those of one dimension are intervals."""
    return boxes.Intervals(array) if array.shape[-1] == 2 else array


def points(count, n=2):
    return np.random.default_rng(7).uniform(-2, 2, (count, n))


# A name, and what else it takes for boxes of n dimensions.
ANCHORS = functools.partial(cases.random_boxes, 40, 5)
STRIDES = np.random.default_rng(8).uniform(0.5, 4, 40)
CODERS = [
    ("deltas", lambda n: (marked(ANCHORS(n)),), {}),
    ("deltas", lambda n: (marked(ANCHORS(n)),), {"weights": 5.0}),
    ("distances", lambda n: (points(40, n),), {}),
    ("distances", lambda n: (points(40, n),), {"scale": STRIDES}),
    ("fine", lambda n: (marked(ANCHORS(n)),), {}),
    ("fine", lambda n: (marked(ANCHORS(n)),), {"curvature": 3.0}),
    ("grid", lambda n: (points(40, n),), {"scale": 2.0}),
    ("grid", lambda n: (points(40, n),), {"scale": STRIDES}),
]
every_coder = pytest.mark.parametrize(
    ("name", "places", "options"), CODERS, ids=[f"{name}-{'-'.join(options)}" for name, _, options in CODERS]
)
every_dimension = pytest.mark.parametrize("n", [1, 2, 3])


def both(name):
    return getattr(coders, f"encode_{name}"), getattr(coders, f"decode_{name}")


def plain(value):
    return value.ends if isinstance(value, boxes.Intervals) else value


def test_every_coder_has_a_row():
    pairs = {f"{way}_{name}" for name, _, _ in CODERS for way in ("encode", "decode")}
    others = {"decode_yolo", "decode_yolov5", "expected_bin", "fine_bins", "fractional_bin", "grid_points"}
    others |= set(coders.turned.__all__)  # which `test_coders_rotated.py` has
    assert set(coders.__all__) == pairs | others


@every_coder
@every_dimension
@pytest.mark.usefixtures("x64")
def test_what_is_encoded_is_decoded_again(name, places, options, n):
    encode, decode = both(name)
    given = cases.random_boxes(40, seed=3, n=n)
    codes = encode(marked(given), *places(n), **options)
    assert codes.shape == given.shape
    np.testing.assert_allclose(decode(codes, *places(n), **options), given, rtol=1e-12, atol=1e-12)


@every_coder
@every_dimension
@pytest.mark.usefixtures("x64")
def test_the_numbers_are_those_of_the_formula(name, places, options, n):
    encode, decode = both(name)
    given, raw = cases.random_boxes(40, seed=3, n=n), np.random.default_rng(1).normal(size=(40, 2 * n))
    others = [plain(place) for place in places(n)]
    wanted = getattr(coder_reference, f"encode_{name}")(given, *others, **options)
    np.testing.assert_allclose(encode(marked(given), *places(n), **options), wanted, rtol=1e-12, atol=1e-12)
    wanted = getattr(coder_reference, f"decode_{name}")(raw, *others, **options)
    np.testing.assert_allclose(decode(raw, *places(n), **options), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted({name for name in coders.__all__ if hasattr(coder_reference, name)}))
def test_options_have_the_defaults_of_the_reference(name):
    assert defaults(getattr(coders, name)) == defaults(getattr(coder_reference, name))


@every_coder
def test_leading_axes_broadcast(name, places, options):
    encode, decode = both(name)
    given = np.float32(cases.random_boxes(120, seed=3)).reshape(3, 40, 4)
    for function in (encode, decode):
        together = function(given, *places(2), **options)
        apart = np.stack([function(image, *places(2), **options) for image in given])
        np.testing.assert_allclose(together, apart, rtol=1e-5, atol=2e-6)


@every_coder
def test_jit_eager_and_vmap_agree_and_half_precision_is_promoted(name, places, options):
    given = np.float32(cases.random_boxes(40, seed=3))
    for function in both(name):
        fixed = functools.partial(function, **options)
        rows = [np.float32(place) for place in places(2)]
        eager = fixed(given, *rows)
        np.testing.assert_allclose(jax.jit(fixed)(given, *rows), eager, rtol=1e-5, atol=1e-6)
        if not np.ndim(options.get("scale", 1)):
            np.testing.assert_allclose(jax.vmap(fixed)(given, *rows), eager, rtol=1e-5, atol=1e-6)
        half = [jnp.asarray(x, jnp.bfloat16) for x in (given, *rows)]
        wanted = fixed(*(x.astype(jnp.float32) for x in half))
        # Another program, of which XLA may contract other products; half precision would be off by 1e-2.
        np.testing.assert_allclose(fixed(*half), wanted, rtol=1e-6, atol=1e-6)
        gradient = jax.grad(lambda *x, fixed=fixed: jnp.sum(fixed(*x)))(*half)
        assert gradient.dtype == jnp.bfloat16


# Boxes without area, and flipped ones.


@every_coder
def test_boxes_without_area_have_finite_numbers_and_gradients(name, places, options):
    encode, decode = both(name)
    awkward = np.float32(np.concatenate(cases.stacked(cases.AWKWARD)))
    options = dict.fromkeys(options, 2.0)
    own = places(2)[0].shape[-1]
    for other in (np.float32(awkward[:, :own])[::-1], np.zeros((len(awkward), own), np.float32)):
        for function in (encode, decode):

            def total(*arrays, function=function):
                return jnp.sum(jnp.tanh(function(*arrays, **options)))

            values = function(awkward, other, **options)
            gradients = jax.grad(total, (0, 1))(awkward, other)
            forward = jax.jacfwd(total, (0, 1))(awkward[:4], other[:4])
            assert np.all(np.isfinite(values))
            assert all(np.all(np.isfinite(gradient)) for gradient in (*gradients, *forward))


@pytest.mark.parametrize("name", ["deltas", "grid"])
def test_a_side_that_is_not_positive_has_logarithm_0_with_slope_0(name):
    encode, _ = both(name)
    place, options = (jnp.array([0.0, 0, 2, 2]), {}) if name == "deltas" else (jnp.zeros(2), {"scale": 2.0})
    for flat in ([1.0, 1, 1, 4], [3.0, 1, 1, 4]):
        code, slopes = encode(jnp.array(flat), place, **options), jax.jacrev(encode)(jnp.array(flat), place, **options)
        assert code[2] == 0
        np.testing.assert_array_equal(slopes[2], 0)
        assert code[3] != 0


def test_an_anchor_without_a_side_has_0_along_it():
    code = coders.encode_deltas(jnp.array([1.0, 1, 2, 4]), jnp.array([5.0, 0, 5, 3]))
    np.testing.assert_array_equal(code[::2], 0)
    np.testing.assert_allclose(code[1::2], [1 / 3, 0], atol=1e-6)
    code = coders.encode_fine(jnp.array([1.0, 1, 2, 4]), jnp.array([5.0, 0, 5, 3]))
    np.testing.assert_allclose(code, [0, -4 / 3, 0, 4 / 3], rtol=1e-6)


@pytest.mark.parametrize("origin", [0.0, 1e5])
def test_a_box_that_is_its_anchor_has_0_far_from_the_origin_too(origin):
    box = np.float32(cases.random_boxes(40, seed=3) + origin)
    np.testing.assert_array_equal(coders.encode_deltas(box, box), 0)
    np.testing.assert_array_equal(coders.encode_fine(box, box), 0)
    moved = np.array([0.0, 0.0, 16.0, 8.0], np.float32) + np.float32(origin)
    np.testing.assert_array_equal(coders.encode_deltas(moved + 4, moved), [0.25, 0.5, 0, 0])


# What is large.


def test_a_logarithm_counts_as_the_largest_one_at_most():
    anchor, large = jnp.array([0.0, 0, 2, 4]), jnp.array([0.0, 0, 1e4, 1.0])
    sides = boxes.sides(coders.decode_deltas(large, anchor))
    np.testing.assert_allclose(sides, [2 * 1000 / 16, 4 * np.e], rtol=1e-6)
    np.testing.assert_allclose(
        boxes.sides(coders.decode_deltas(large, anchor, largest=1.0)), np.e * boxes.sides(anchor)
    )
    slopes = jax.jacrev(lambda x: boxes.sides(coders.decode_deltas(x, anchor, largest=1.0)))(large)
    np.testing.assert_allclose(slopes[:, 2:], [[0, 0], [0, 4 * np.e / 2]], rtol=1e-6)
    assert jnp.all(jnp.isfinite(coders.decode_deltas(large, anchor, weights=1e-15)))


@pytest.mark.parametrize("size", [100.0, 1e15, -1e15])
def test_raw_numbers_of_every_size_give_finite_boxes(size):
    raw = jnp.full(4, size)
    for decode in (
        lambda x: coders.decode_grid(x, jnp.ones(2), scale=8.0),
        lambda x: coders.decode_yolo(x, jnp.ones(2), jnp.array([3.0, 5.0]), stride=8.0),
        lambda x: coders.decode_yolov5(x, jnp.ones(2), jnp.array([3.0, 5.0]), stride=8.0),
    ):
        assert jnp.all(jnp.isfinite(decode(raw)))
        assert jnp.all(jnp.isfinite(jax.jacrev(decode)(raw)))
        assert jnp.all(boxes.sides(decode(raw)) >= 0)


# The grids of YOLO.


@every_dimension
@pytest.mark.parametrize("stride", [8.0, STRIDES])
@pytest.mark.usefixtures("x64")
def test_yolo_boxes_are_those_of_the_formulas(n, stride):
    raw, sizes = np.random.default_rng(1).normal(size=(40, 2 * n)), np.random.default_rng(2).uniform(1, 9, n)
    cells = np.random.default_rng(3).integers(0, 20, (40, n)).astype(float)
    arrays = raw, cells, sizes
    for sensitivity in (1.0, 1.2):
        found = coders.decode_yolo(*arrays, stride=stride, sensitivity=sensitivity)
        wanted = coder_reference.decode_yolo(*arrays, stride=stride, sensitivity=sensitivity)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    wanted = coder_reference.decode_yolov5(*arrays, stride=stride)
    np.testing.assert_allclose(coders.decode_yolov5(*arrays, stride=stride), wanted, rtol=1e-12, atol=1e-12)


def test_a_center_of_yolo_stays_in_its_cell_or_reaches_half_a_cell_beyond():
    cells, size = jnp.array([[2.0, 3.0]] * 2), jnp.ones(2)
    raw = jnp.array([[-1e4, -1e4, 0, 0], [1e4, 1e4, 0, 0]])
    np.testing.assert_allclose(boxes.center(coders.decode_yolo(raw, cells, size, stride=4.0)), [[8, 12], [12, 16]])
    np.testing.assert_allclose(boxes.center(coders.decode_yolov5(raw, cells, size, stride=4.0)), [[6, 10], [14, 18]])


def test_points_lie_level_by_level_and_row_by_row():
    points, strides = coders.grid_points((16, 25), (8, 16))
    np.testing.assert_array_equal(strides, [8] * 8 + [16] * 2)
    np.testing.assert_array_equal(points[:8, 0], [4, 12, 20, 28] * 2)
    np.testing.assert_array_equal(points[:8, 1], [4] * 4 + [12] * 4)
    np.testing.assert_array_equal(points[8:], [[8, 8], [24, 8]])
    corners, _ = coders.grid_points([16, 25], np.array([8, 16]), offset=0)
    np.testing.assert_array_equal(points - corners, np.repeat(np.asarray(strides)[:, None] / 2, 2, axis=1))
    assert points.dtype == strides.dtype == jnp.float32
    assert coders.grid_points((4, 8, 16), (4,))[0].tolist()[:2] == [[2, 2, 2], [6, 2, 2]]


# Bins.


@pytest.mark.usefixtures("x64")
def test_a_fractional_bin_is_where_the_expected_bin_of_its_two_weights_is_the_number():
    values = coders.fine_bins()
    numbers = RNG.uniform(-4, 4, (50, 4))
    bins = coders.fractional_bin(numbers, values)
    np.testing.assert_allclose(np.interp(numbers, values, np.arange(33.0)), bins, rtol=1e-12)
    weights = np.maximum(0, 1 - np.abs(np.asarray(bins)[..., None] - np.arange(33.0)))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(coders.expected_bin(np.log(weights), values), numbers, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(coders.fractional_bin(np.array([-9.0, 9.0]), values), [0, 32])
    np.testing.assert_array_equal(coders.fractional_bin(values, values), np.arange(33))


def test_a_fractional_bin_has_the_slope_of_its_bin_and_the_mean_of_two_at_a_value():
    values = jnp.array([0.0, 1.0, 3.0])
    slope = jax.vmap(jax.grad(coders.fractional_bin), in_axes=(0, None))
    places = jnp.array([-1.0, 0.5, 1.0, 2.0, 3.5])
    np.testing.assert_allclose(slope(places, values), [0, 1, 0.75, 0.5, 0])


def test_the_expected_bin_is_the_mean_of_the_distribution():
    logits = RNG.normal(size=(20, 9))
    weights = np.exp(logits) / np.sum(np.exp(logits), axis=-1, keepdims=True)
    np.testing.assert_allclose(coders.expected_bin(jnp.float32(logits)), weights @ np.arange(9), rtol=1e-5)
    values = np.linspace(-2, 3, 9)
    np.testing.assert_allclose(
        coders.expected_bin(jnp.float32(logits), np.float32(values)), weights @ values, rtol=1e-4
    )
    np.testing.assert_allclose(coders.expected_bin(jnp.zeros(17)), 8, rtol=1e-6)
    half = jnp.asarray(logits, jnp.bfloat16)
    assert coders.expected_bin(half).dtype == jnp.float32
    assert jax.grad(lambda x: jnp.sum(coders.expected_bin(x)))(half).dtype == jnp.bfloat16


@pytest.mark.parametrize("values", [None, jnp.array([3.0, 1.0, 5.0, 2.0])])
def test_a_bin_that_cannot_be_has_minus_infinity_and_changes_no_mean(values):
    logits = jnp.array([0.0, 1.0, -jnp.inf, -jnp.inf])
    some = None if values is None else values[:2]
    np.testing.assert_allclose(coders.expected_bin(logits, values), coders.expected_bin(logits[:2], some), rtol=1e-6)


def test_descent_on_the_logits_brings_the_expected_bin_to_the_target():
    logits, place = jnp.zeros(9), jnp.float32(5.3)
    gradient = jax.grad(losses.distribution_focal_loss)

    def step(logits, _):
        return logits - gradient(logits, place), None

    final, _ = jax.lax.scan(step, logits, length=2000)
    np.testing.assert_allclose(coders.expected_bin(final), place, atol=0.05)


@pytest.mark.parametrize("bins", [3, 5, 9, 33])
def test_the_bins_are_symmetric_and_their_ends_twice_the_last_but_one(bins):
    values = np.asarray(coders.fine_bins(bins, reach=0.25, curvature=8.0))
    assert values.shape == (bins,)
    np.testing.assert_array_equal(values, -values[::-1])
    assert np.all(np.diff(values) > 0)
    np.testing.assert_allclose(values[-1], 4, rtol=1e-6)
    if bins > 3:
        np.testing.assert_allclose(values[-2], 2, rtol=1e-6)
    assert jax.jit(lambda reach: coders.fine_bins(bins, reach=reach))(jnp.float32(0.5)).shape == (bins,)


# The original code.


@pytest.mark.usefixtures("x64")
def test_deltas_are_those_of_torchvision():
    given = functools.partial(original, "deltas")
    weights = given("weights")
    codes = coders.encode_deltas(given("boxes"), given("anchors"), weights=weights)
    np.testing.assert_allclose(codes, ORIGINALS["deltas"]["codes"], rtol=1e-12, atol=1e-12)

    def decoded(raw):
        return coders.decode_deltas(raw, given("anchors"), weights=tuple(weights.tolist()))

    value, pull = jax.vjp(decoded, given("raw"))
    np.testing.assert_allclose(value, ORIGINALS["deltas"]["decoded"], rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(pull(given("cotangent"))[0], ORIGINALS["deltas"]["grad_raw"], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_distances_and_their_loss_are_those_of_ultralytics():
    given = functools.partial(original, "distances")
    distances = jnp.clip(coders.encode_distances(given("boxes"), given("points")), 0, 14.99)
    np.testing.assert_allclose(distances, ORIGINALS["distances"]["clipped_distances"], rtol=1e-12)
    values = losses.distribution_focal_loss(given("logits"), distances)
    np.testing.assert_allclose(jnp.mean(values, axis=-1, keepdims=True), ORIGINALS["distances"]["loss"], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_bins_and_boxes_are_those_of_d_fine():
    given, values = functools.partial(original, "fine"), coders.fine_bins()
    np.testing.assert_allclose(values, ORIGINALS["fine"]["values"], rtol=1e-12, atol=1e-14)
    references = corners(given("reference"))
    bins = coders.fractional_bin(coders.encode_fine(corners(given("boxes")), references), values)
    np.testing.assert_allclose(bins, np.add(ORIGINALS["fine"]["left"], ORIGINALS["fine"]["weight_right"]), rtol=1e-10)
    means = coders.expected_bin(given("logits"), values)
    np.testing.assert_allclose(means, ORIGINALS["fine"]["mean"], rtol=1e-12, atol=1e-14)
    decoded = boxes.xyxy_to_cxcywh(coders.decode_fine(means, references))
    np.testing.assert_allclose(decoded, ORIGINALS["fine"]["decoded"], rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_the_grid_is_that_of_yolox():
    given = ORIGINALS["grid"]
    points, strides = (
        x[np.array(given["anchors"])] for x in coders.grid_points(given["image_size"], given["strides"], offset=0)
    )
    codes = coders.encode_grid(original("grid", "targets"), points, scale=strides)
    errors = losses.l1_loss(original("grid", "raw"), codes)
    np.testing.assert_allclose(jnp.mean(errors), given["loss_l1"], rtol=2e-8)  # it adds 1e-8 under the logarithm


# What is refused.


def test_wrong_arguments_say_what_is_wanted():
    box, point = jnp.ones((3, 4)), jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"`boxes` has shape \(3, 2\), but a box is"):
        coders.encode_deltas(point, box)
    with pytest.raises(TypeError, match=r"`cells` has dtype int32, .* Write `cells.astype\(jnp.float32\)`"):
        coders.decode_yolo(box, jnp.ones((3, 2), int), point, stride=1.0)
    with pytest.raises(ValueError, match=r"`deltas` has shape \(3, 5\), but it is `\[..., 2n\]`"):
        coders.decode_deltas(jnp.ones((3, 5)), box)
    with pytest.raises(ValueError, match=r"Got `distances` of shape \(3, 4\) and `points` of shape \(3, 3\)"):
        coders.decode_distances(box, jnp.ones((3, 3)))
    with pytest.raises(ValueError, match=r"`points` of shape \(2, 2\), whose leading axes do not broadcast"):
        coders.decode_distances(box, jnp.ones((2, 2)))
    with pytest.raises(ValueError, match=r"`scale` has shape \(2,\), but it is one number in all, or \(3,\)"):
        coders.decode_grid(box, point, scale=jnp.ones(2))
    with pytest.raises(ValueError, match=r"`weights` has shape \(3,\), but it is one number in all, or \(4,\)"):
        coders.decode_deltas(box, box, weights=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match=r"`largest` is 60.0, but it must be from 0 to 50"):
        coders.decode_deltas(box, box, largest=60.0)
    with pytest.raises(ValueError, match=r"`bins` is 32, but it is an odd number"):
        coders.fine_bins(32)
    with pytest.raises(ValueError, match=r"Write `jnp.unique\(values\)`"):
        coders.fractional_bin(box, np.array([1.0, 0.0, 2.0], np.float32))
    with pytest.raises(ValueError, match=r"`strides` is \(8, 0\), but it holds whole numbers above 0"):
        coders.grid_points((64, 64), (8, 0))
