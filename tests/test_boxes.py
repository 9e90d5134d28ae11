"""Layouts, measures and edits of boxes, and the geometry of a pair."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from jaxbox import boxes, rotated
from jaxbox._geometry import Axis
from tests import cases

XYXY = np.array([[10.0, 20.0, 50.0, 30.0], [-4.0, 8.0, 1.0, 20.0]], np.float32)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (boxes.xyxy_to_xywh, [[10, 20, 40, 10], [-4, 8, 5, 12]]),
        (boxes.xyxy_to_cxcywh, [[30, 25, 40, 10], [-1.5, 14, 5, 12]]),
        (boxes.xyxy_to_yxyx, [[20, 10, 30, 50], [8, -4, 20, 1]]),
    ],
)
def test_each_layout_has_its_numbers(function, expected):
    np.testing.assert_array_equal(function(XYXY), expected)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (boxes.xyxy_to_xywh, boxes.xywh_to_xyxy),
        (boxes.xyxy_to_cxcywh, boxes.cxcywh_to_xyxy),
        (boxes.xyxy_to_yxyx, boxes.yxyx_to_xyxy),
        (lambda x: boxes.normalized_to_absolute(x, (3, 5, 7)), lambda x: boxes.absolute_to_normalized(x, (3, 5, 7))),
    ],
)
def test_a_conversion_there_and_back_is_the_identity(there, back):
    solids = cases.random_boxes(50, seed=0, n=3).astype(np.float32).reshape(5, 10, 6)
    np.testing.assert_allclose(back(there(solids)), solids, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(there(back(solids)), solids, rtol=1e-5, atol=1e-6)


def test_the_last_number_of_the_image_size_is_along_x():
    normalized = jnp.array([0.1, 0.2, 0.5, 1.0])
    absolute = boxes.normalized_to_absolute(normalized, image_size=(480, 640))
    np.testing.assert_allclose(absolute, [64, 96, 320, 480])
    np.testing.assert_allclose(boxes.absolute_to_normalized(absolute, image_size=(480, 640)), normalized, rtol=1e-6)


def test_an_image_size_of_the_wrong_length_says_what_to_write():
    with pytest.raises(ValueError, match=r"`image_size` is \(480, 640, 3\), but boxes .* need 2 numbers") as caught:
        boxes.normalized_to_absolute(XYXY, (480, 640, 3))
    assert "Write `image_size=(480, 640)`" in str(caught.value)


def test_sides_area_and_center():
    np.testing.assert_array_equal(boxes.sides(XYXY), [[40, 10], [5, 12]])
    np.testing.assert_array_equal(boxes.area(XYXY), [400, 60])
    np.testing.assert_array_equal(boxes.center(XYXY), [[30, 25], [-1.5, 14]])


def test_boxes_may_have_any_leading_axes():
    batch = np.tile(XYXY, (3, 5, 1, 1))
    for function in (boxes.sides, boxes.area, boxes.center, lambda x: boxes.scale(x, 2), boxes.canonicalize):
        np.testing.assert_array_equal(function(batch)[2, 4], function(XYXY))


def test_a_flipped_box_has_signed_sides_and_no_area():
    flipped = jnp.array([[5.0, 0.0, 3.0, 2.0], [5.0, 2.0, 3.0, 0.0]])
    np.testing.assert_array_equal(boxes.sides(flipped), [[-2, 2], [-2, -2]])
    np.testing.assert_array_equal(boxes.area(flipped), [0, 0])


def test_intervals_and_solids_have_a_length_and_a_volume():
    assert boxes.area(boxes.Intervals(jnp.array([2.0, 5.0]))) == 3
    assert boxes.area(jnp.array([0.0, 0.0, 0.0, 2.0, 3.0, 4.0])) == 24


def test_a_side_of_0_can_grow():
    np.testing.assert_array_equal(jax.grad(boxes.area)(jnp.array([3.0, 1.0, 3.0, 6.0])), [-5, 0, 5, 0])


def test_scaling_keeps_the_center_and_multiplies_the_sides():
    scaled = boxes.scale(XYXY, 0.5)
    np.testing.assert_array_equal(boxes.center(scaled), boxes.center(XYXY))
    np.testing.assert_array_equal(boxes.sides(scaled), 0.5 * boxes.sides(XYXY))
    np.testing.assert_array_equal(boxes.scale(XYXY, 1), XYXY)
    np.testing.assert_array_equal(boxes.scale(boxes.Intervals(np.float32([[1, 5]])), 0.5), [[2, 4]])
    np.testing.assert_array_equal(jax.jit(boxes.scale)(XYXY, 0.5), scaled)
    of_each = boxes.scale(XYXY, np.array([0.5, 1.0]))
    np.testing.assert_array_equal(of_each, [scaled[0], XYXY[1]])


def test_clipping_keeps_what_is_inside_the_window():
    window = jnp.array([0.0, 10.0, 40.0, 25.0])
    np.testing.assert_array_equal(boxes.clip(XYXY, window), [[10, 20, 40, 25], [0, 10, 1, 20]])
    outside = jnp.array([60.0, 0.0, 70.0, 5.0])
    np.testing.assert_array_equal(boxes.clip(outside, window), [40, 10, 40, 10])


@pytest.mark.usefixtures("x64")
def test_a_window_in_double_precision_gives_boxes_in_double_precision():
    window = np.array([0, 0, 0.1, 0.1])
    np.testing.assert_array_equal(boxes.clip(XYXY[0], window), [0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("shape", [(2, 4), (2, 1, 4), (2, 3, 4)])
def test_a_window_may_be_one_an_image_or_a_box(shape):
    batch = cases.random_boxes(6, seed=5).reshape(2, 3, 4).astype(np.float32)
    windows = np.broadcast_to(np.float32([[-1, -1, 0, 0], [0, 0, 1, 1]])[:, None], (2, 3, 4))
    given = windows if shape == (2, 3, 4) else windows[:, :1].reshape(shape)
    clipped = boxes.clip(batch, given)
    for image in range(2):
        np.testing.assert_array_equal(clipped[image], boxes.clip(batch[image], windows[image, 0]))


@pytest.mark.parametrize("convert", [boxes.normalized_to_absolute, boxes.absolute_to_normalized])
def test_the_size_may_be_one_an_image(convert):
    batch = cases.random_boxes(6, seed=6).reshape(2, 3, 4).astype(np.float32)
    sizes = np.array([[3.0, 4.0], [5.0, 7.0]])
    for given in (sizes, jnp.asarray(sizes), sizes[:, None]):
        converted = convert(batch, given)
        for image in range(2):
            np.testing.assert_allclose(converted[image], convert(batch[image], tuple(sizes[image])), rtol=1e-6)
    height, width = jnp.array([3.0, 5.0])[:, None], jnp.array([4.0, 7.0])[:, None]
    np.testing.assert_array_equal(convert(batch, (height, width)), convert(batch, sizes))


def test_intervals_are_asked_for_by_name():
    ends = jnp.array([[1.0, 3.0], [2.0, 2.5]])
    assert boxes.sides(boxes.Intervals(ends)).tolist() == [[2.0], [0.5]]
    with pytest.raises(ValueError, match=r"write `jaxbox.boxes.Intervals\(boxes\)`"):
        boxes.sides(ends)
    slopes = jax.vmap(jax.grad(lambda x: boxes.area(boxes.Intervals(x))))(ends)
    np.testing.assert_array_equal(slopes, [[-1, 1], [-1, 1]])
    mapped = jax.jit(jax.vmap(boxes.area))(boxes.Intervals(ends))
    np.testing.assert_array_equal(mapped, [2, 0.5])


def test_a_window_of_other_dimensions_is_refused():
    with pytest.raises(ValueError, match=r"`window` of shape \(6,\)"):
        boxes.clip(XYXY, jnp.zeros(6))
    with pytest.raises(TypeError, match="`window` has dtype int32"):
        boxes.clip(XYXY, jnp.zeros(4, int))


def test_canonical_boxes_have_sorted_corners():
    np.testing.assert_array_equal(boxes.canonicalize(jnp.array([5.0, 0.0, 3.0, 2.0])), [3, 0, 5, 2])


def test_valid_boxes_are_finite_and_not_flipped():
    candidates = jnp.array([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, jnp.nan, 1], [0, -jnp.inf, 1, 1]])
    assert boxes.is_valid(candidates).tolist() == [True, True, False, False, False]
    with pytest.raises(TypeError, match="`boxes` has dtype int32"):
        boxes.is_valid(jnp.zeros((2, 4), int))


@pytest.mark.parametrize(
    "function",
    [
        boxes.xywh_to_xyxy,
        boxes.xyxy_to_xywh,
        boxes.cxcywh_to_xyxy,
        boxes.xyxy_to_cxcywh,
        boxes.yxyx_to_xyxy,
        boxes.sides,
        boxes.area,
        boxes.center,
        boxes.canonicalize,
        lambda x: boxes.scale(x, 2),
        lambda x: boxes.clip(x, jnp.zeros(4)),
        lambda x: boxes.absolute_to_normalized(x, (2, 2)),
        lambda x: boxes.normalized_to_absolute(x, (2, 2)),
    ],
)
def test_every_function_promotes_half_precision_and_refuses_what_is_no_box(function):
    assert function(jnp.ones((2, 4), jnp.bfloat16)).dtype == jnp.float32
    with pytest.raises(TypeError, match="`boxes` has dtype int32"):
        function(jnp.ones((2, 4), jnp.int32))
    with pytest.raises(TypeError, match="`boxes` is a list"):
        function([[0.0, 0.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match=r"`boxes` has shape \(2, 8\), but a box is"):
        function(jnp.ones((2, 8)))


@pytest.mark.parametrize(
    ("high_a", "high_b", "change"), [(2, 3, 1 / 3), (3, 2, 1 / 3), (2, -3, 5 / 3), (-3, 2, 5 / 3), (-2, -3, 1 / 3)]
)
def test_a_change_of_a_side_is_over_the_larger_one_without_regard_to_sign(high_a, high_b, change):
    axis = Axis.of(*map(jnp.float32, (0, 0, high_a, high_b)))
    np.testing.assert_allclose(axis.side_change, change, rtol=1e-6)


GOOD, FLIPPED, DIVERGED = [0.0, 0, 2, 1], [2.0, 0, 1, 1], [0.0, 0, jnp.nan, 1]


def report(checked, *arguments):
    error, _ = checkify.checkify(jax.jit(checked))(*arguments)
    return error.get()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([[GOOD, GOOD], [FLIPPED, GOOD]], r"box \[1, 0\], \[2. 0. 1. 1.\], is flipped"),
        ([[GOOD, DIVERGED], [FLIPPED, GOOD]], r"box \[0, 1\], \[ 0.  0. nan  1.\], is not finite"),
        ([GOOD, [0, 0, 2, 1.5], GOOD], r"box \[1\], \[0.  0.  2.  1.5\], is not inside the window \[0. 0. 2. 1.\]"),
        (FLIPPED, r"box \[\], \[2. 0. 1. 1.\], is flipped"),
    ],
)
def test_a_check_names_the_first_box_that_is_at_fault(rows, told):
    window = jnp.array(GOOD)
    assert re.match(told, report(lambda x: boxes.check(x, window=window), jnp.array(rows)))


def test_a_check_finds_nothing_in_good_boxes_and_masked_ones():
    soiled = jnp.array([GOOD, FLIPPED, DIVERGED])
    assert report(lambda x: boxes.check(x, where=jnp.array([True, False, False])), soiled) is None
    assert report(lambda x: boxes.check(x, window=jnp.array([-9.0, -9, 9, 9])), soiled[:1]) is None
    assert report(lambda x: boxes.check(x, where=jnp.zeros((1, 3), bool)), soiled[None]) is None
    assert report(boxes.check, soiled[:0]) is None
    assert report(boxes.check, jnp.array([[1.0, 2, 1, 2]])) is None  # a point


def test_a_check_refuses_a_window_or_a_mask_that_does_not_fit():
    good = jnp.array([GOOD])
    with pytest.raises(ValueError, match=r"Got `boxes` of shape \(1, 4\) and `window` of shape \(6,\)"):
        boxes.check(good, window=jnp.zeros(6))
    with pytest.raises(ValueError, match=r"`where` has shape \(2,\), but there is one value a box, \(1,\)"):
        boxes.check(good, where=jnp.ones(2, bool))
    with pytest.raises(TypeError, match="`where` has dtype float32"):
        boxes.check(good, where=jnp.ones(1))
    with pytest.raises(ValueError, match=r"`boxes` has shape \(1, 3\), but a box is"):
        boxes.check(good[:, :3])


def test_a_check_reports_through_chexify_and_is_nothing_without_it():
    @jax.jit
    def step(x):
        boxes.check(x)
        return x + 1

    flipped = jnp.array([GOOD, FLIPPED])
    assert jnp.all(step(flipped) == flipped + 1)
    with pytest.raises(Exception, match=r"box \[1\], .* is flipped"):
        chex.chexify(step, async_check=False)(flipped)
    free = jax.jit(lambda x: x + 1).lower(flipped).compile().as_text()
    assert step.lower(flipped).compile().as_text().count("fusion") == free.count("fusion")


# Boxes that move with their image, against what the pixels do.


def box_of(image):
    """The box of what is white on a black image."""
    y, x = np.nonzero(image)
    return np.array([np.min(x), np.min(y), np.max(x) + 1, np.max(y) + 1], np.float32)


@pytest.fixture
def white():
    image = np.zeros((30, 50), np.uint8)
    image[4:9, 11:27] = 1
    return image


def test_a_box_is_flipped_as_the_pixels_of_its_image_are(white):
    box = box_of(white)
    np.testing.assert_array_equal(boxes.flip_horizontally(box, white.shape), box_of(white[:, ::-1]))
    np.testing.assert_array_equal(boxes.flip_vertically(box, white.shape), box_of(white[::-1]))


def test_a_box_is_resized_as_the_pixels_of_its_image_are(white):
    larger = np.kron(white, np.ones((3, 2), np.uint8))
    np.testing.assert_allclose(boxes.resize(box_of(white), white.shape, larger.shape), box_of(larger), rtol=1e-6)


def test_a_box_is_translated_as_the_pixels_of_its_image_are(white):
    canvas = np.zeros((60, 80), np.uint8)
    canvas[13:43, 7:57] = white
    np.testing.assert_array_equal(boxes.translate(box_of(white), (7, 13)), box_of(canvas))


def test_moves_with_one_size_an_image_are_those_of_each_image():
    many = cases.random_boxes(12, seed=3).astype(np.float32).reshape(3, 4, 4)
    sizes, others = np.random.default_rng(0).uniform(2, 9, (2, 3, 2)).astype(np.float32)
    moves = [
        (boxes.flip_horizontally, (sizes,)),
        (boxes.flip_vertically, (sizes,)),
        (boxes.resize, (sizes, others)),
        (boxes.translate, (others,)),
    ]
    for move, arguments in moves:
        single = [move(*image) for image in zip(many, *arguments, strict=True)]
        np.testing.assert_allclose(move(many, *arguments), single, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(move)(many, *arguments), single, rtol=1e-6)


def test_solids_are_moved_along_the_axis_that_is_named():
    solid = np.array([1.0, 2, 3, 4, 6, 8], np.float32)
    np.testing.assert_array_equal(boxes.flip_horizontally(solid, (10, 20, 30)), [26, 2, 3, 29, 6, 8])
    np.testing.assert_array_equal(boxes.flip_vertically(solid, (10, 20, 30)), [1, 14, 3, 4, 18, 8])
    np.testing.assert_array_equal(boxes.resize(solid, (1, 1, 1), (3, 2, 1)), [1, 4, 9, 4, 12, 24])
    np.testing.assert_array_equal(boxes.translate(solid, (1, 2, 3)), [2, 4, 6, 5, 8, 11])


def test_turned_boxes_move_as_their_corners_do():
    turned = np.random.default_rng(0).uniform(0.5, 3, (20, 5)).astype(np.float32)
    corners = np.asarray(rotated.to_corners(turned))
    height, width = 7, 9
    for moved, wanted in [
        (rotated.flip_horizontally(turned, (height, width)), corners * [-1, 1] + np.array([width, 0])),
        (rotated.flip_vertically(turned, (height, width)), corners * [1, -1] + np.array([0, height])),
        (rotated.resize(turned, 1.5), corners * 1.5),
        (rotated.translate(turned, (1, -2)), corners + np.array([1, -2])),
    ]:
        found = np.asarray(rotated.to_corners(moved))
        distances = np.linalg.norm(found[:, :, None] - wanted[:, None], axis=-1)
        np.testing.assert_allclose(np.min(distances, axis=-1), 0, atol=1e-5)
        np.testing.assert_allclose(np.min(distances, axis=-2), 0, atol=1e-5)
