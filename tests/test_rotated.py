"""Turned boxes and solids: each conversion against its definition, there and back, and the laws of all."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, rotated
from tests import conversion_reference

QUARTER = np.float32(np.pi / 2)


def random_boxes(count, seed):
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(-2, 2, (count, 2)), rng.uniform(0.3, 3, (count, 2)), rng.uniform(-7, 7, (count, 1))]
    return np.concatenate(columns, axis=1)


def random_labels(count, seed):
    """As KITTI has them: sides, bottom, angle."""
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(0.5, 5, (count, 3)), rng.uniform(-9, 9, (count, 3)), rng.uniform(-np.pi, np.pi, (count, 1))]
    return np.concatenate(columns, axis=1)


def random_annotations(count, seed, *, level=True):
    """As nuScenes has them: center, sides, quaternion."""
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(count, 4))
    quaternions[:, 1:3] *= not level
    return np.concatenate([rng.uniform(-9, 9, (count, 3)), rng.uniform(0.5, 5, (count, 3)), quaternions], axis=1)


def random_points(count, seed, n=4):
    return np.random.default_rng(seed).uniform(-2, 2, (count, n, 2))


def random_solids(count, seed):
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(-9, 9, (count, 3)), rng.uniform(0.5, 5, (count, 3)), rng.uniform(-7, 7, (count, 1))]
    return np.concatenate(columns, axis=1)


# What each function takes.
TAKES = {
    "to_corners": random_boxes,
    "from_corners": random_points,
    "from_polygon": functools.partial(random_points, n=6),
    "to_xyxy": random_boxes,
    "from_xyxy": lambda count, seed: random_boxes(count, seed)[:, :4],
    "canonical_quarter": random_boxes,
    "canonical_long": random_boxes,
    "degrees_to_radians": random_boxes,
    "radians_to_degrees": random_boxes,
    "from_kitti": random_labels,
    "to_kitti": random_solids,
    "from_nuscenes": functools.partial(random_annotations, level=False),
    "to_nuscenes": random_solids,
    "flip_horizontally": random_boxes,
    "flip_vertically": random_boxes,
    "resize": random_boxes,
    "translate": random_boxes,
}
every_function = pytest.mark.parametrize("name", TAKES)
ANGLES = {"to_xyxy": (), "from_xyxy": (), "to_corners": (), "to_kitti": (6,), "to_nuscenes": (6, 7, 8, 9)}
SOLIDS = {"from_kitti": (6,), "from_nuscenes": (6, 7, 8, 9), "to_kitti": (6,), "to_nuscenes": (6,)}


def function_of(name, unit=1.0):
    """A function of boxes alone; the other lengths that it takes are in a unit."""
    size, offset = np.float32([7, 9]) * np.float32(unit), np.float32([1, -2]) * np.float32(unit)
    others = {"flip_horizontally": size, "flip_vertically": size, "resize": 1.5, "translate": offset}
    function = getattr(rotated, name)
    return (lambda boxes: function(boxes, others[name])) if name in others else function


def test_every_function_has_a_row():
    assert set(TAKES) == set(rotated.__all__)


def same_boxes(one, other):
    """One less the IoU of each pair, in fractions."""
    return max(
        float(1 - conversion_reference.iou(a, b)) for a, b in zip(np.asarray(one), np.asarray(other), strict=True)
    )


# Corners.


@pytest.mark.usefixtures("x64")
def test_corners_are_the_center_plus_the_turned_half_sides():
    given = random_boxes(50, seed=0)
    wanted = [conversion_reference.corners(box) for box in given]
    np.testing.assert_allclose(rotated.to_corners(given), wanted, rtol=1e-13, atol=1e-14)


def test_a_positive_angle_turns_from_x_towards_y():
    corners = rotated.to_corners(jnp.array([1.0, 2, 4, 2, np.pi / 2]))
    np.testing.assert_array_equal(corners, [[0, 4], [0, 0], [2, 0], [2, 4]])


@pytest.mark.parametrize("back", [rotated.from_corners, rotated.from_polygon])
@pytest.mark.usefixtures("x64")
def test_a_box_comes_back_from_its_corners(back):
    given = random_boxes(60, seed=1)
    assert same_boxes(back(rotated.to_corners(given)), given) < 4e-15


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.usefixtures("x64")
def test_corners_may_begin_anywhere_and_go_either_way_around(turn, step):
    given = random_boxes(20, seed=2)
    corners = np.roll(rotated.to_corners(given), turn, axis=-2)[:, ::step]
    found = rotated.from_corners(corners)
    assert same_boxes(found, given) < 4e-15
    np.testing.assert_allclose(found[:, 2], np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1), rtol=1e-13)
    assert np.all(np.abs(found[:, 4]) <= np.pi / 2)


@pytest.mark.usefixtures("x64")
def test_corners_that_are_no_rectangle_give_the_nearest_one():
    quads = random_boxes(30, seed=3)
    noise = np.random.default_rng(4).normal(size=(30, 4, 2))
    for size in (0.1, 1.0, 10.0):
        corners = rotated.to_corners(quads) + size * noise
        fitted = rotated.from_corners(corners)
        assert np.all(fitted[:, 2:4] >= 0)
        for quad, box in zip(np.asarray(corners), np.asarray(fitted), strict=True):
            forms = [conversion_reference.corners(box * [1, 1, a, b, 1]) for a in (1, -1) for b in (1, -1)]
            error = min(np.sum((form - quad) ** 2) for form in forms)
            wanted = conversion_reference.least_squares(quad)  # of 200,000 angles, each a part of 1e-5 from the best
            np.testing.assert_allclose(error, wanted, rtol=1e-8, atol=1e-8 * np.sum(quad**2))


# The smallest box around points.


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 20])
@pytest.mark.usefixtures("x64")
def test_the_box_around_points_holds_them_and_has_the_area_of_the_smallest_one(n):
    points = random_points(30, seed=5, n=n)
    found = np.asarray(rotated.from_polygon(points))
    if n > 2:
        wanted = [conversion_reference.smallest_area(polygon) for polygon in points]
        np.testing.assert_allclose(found[:, 2] * found[:, 3], wanted, rtol=1e-12)
    offsets = (points - found[:, None, :2]) @ [1, 1j] * np.exp(-1j * found[:, 4:])
    assert np.all(np.abs(offsets.real) <= found[:, 2:3] / 2 + 1e-14)
    assert np.all(np.abs(offsets.imag) <= found[:, 3:4] / 2 + 1e-14)
    assert np.all((found[:, 4] >= -np.pi / 4) & (found[:, 4] < np.pi / 4))


def test_masked_points_change_no_bit_whatever_they_hold():
    points = np.float32(random_points(5, seed=6, n=7))
    where = np.random.default_rng(7).uniform(size=(5, 7)) < 0.6
    soiled = np.where(where[..., None], points, np.nan)

    def value_and_slope(x):
        return jax.value_and_grad(lambda x: jnp.sum(rotated.from_polygon(x, where=where) ** 2))(x)

    clean, dirty = value_and_slope(points), value_and_slope(soiled)
    np.testing.assert_array_equal(clean[0], dirty[0])
    np.testing.assert_array_equal(clean[1], dirty[1])
    for polygon, mask in zip(points, where, strict=True):
        found = rotated.from_polygon(polygon, where=mask)
        np.testing.assert_allclose(found, rotated.from_polygon(polygon[mask]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rotated.from_polygon(soiled, where=np.zeros((5, 7), bool)), 0)
    np.testing.assert_array_equal(
        rotated.from_polygon(points, where=np.ones((5, 1), bool)), rotated.from_polygon(points)
    )
    np.testing.assert_array_equal(rotated.from_polygon(points, where=None), rotated.from_polygon(points))


@pytest.mark.parametrize("function", [rotated.from_corners, rotated.from_polygon])
def test_a_point_and_a_segment_have_an_angle_and_no_area(function):
    point = jnp.full((4, 2), 3.0)
    np.testing.assert_array_equal(function(point), [3, 3, 0, 0, 0])
    segment = jnp.array([[0.0, 0], [3, 4], [3, 4], [0, 0]])
    x, y, *sides, angle = np.asarray(function(segment), np.float64)
    np.testing.assert_allclose([x, y, *sorted(sides)], [1.5, 2, 0, 5], atol=1e-6)
    along = np.exp(1j * (angle if sides[0] > sides[1] else angle + np.pi / 2))
    np.testing.assert_allclose(abs((along * (3 - 4j) / 5).real), 1, rtol=1e-6)
    for corners in (point, segment):
        for slopes in (jax.jacrev(function)(corners), jax.jacfwd(function)(corners)):
            assert np.all(np.isfinite(slopes))
    np.testing.assert_array_equal(jax.jacrev(function)(point)[4], 0)


def test_the_box_of_a_triangle_turns_with_the_side_that_it_lies_along():
    # Along each side of an acute triangle the box has the same area: that of the first side is taken.
    triangle = jnp.array([[0.0, 0], [2, 0], [1, 2]])
    np.testing.assert_allclose(rotated.from_polygon(triangle), [1, 1, 2, 2, 0], rtol=1e-6)
    slopes = jax.jacrev(rotated.from_polygon)(triangle)
    np.testing.assert_allclose(slopes[4], [[0, -0.5], [0, 0.5], [0, 0]], atol=1e-6)


def test_corners_that_favor_no_direction_have_angle_0_with_slope_0():
    bow_tie = jnp.array([[0.0, 1e-15], [-1e15, 1e-15], [0, -1e-15], [1e15, -1e-15]])
    assert rotated.from_corners(bow_tie)[4] == 0
    for slopes in (jax.jacrev(rotated.from_corners)(bow_tie), jax.jacfwd(rotated.from_corners)(bow_tie)):
        assert np.all(np.isfinite(slopes))
        np.testing.assert_array_equal(slopes[4], 0)


# Upright boxes.


@pytest.mark.usefixtures("x64")
def test_the_upright_box_around_is_that_of_the_corners():
    given = random_boxes(50, seed=8)
    wanted = [conversion_reference.around(box) for box in given]
    np.testing.assert_allclose(rotated.to_xyxy(given), wanted, rtol=1e-13, atol=1e-14)


def test_an_upright_box_comes_back_flipped_or_not():
    upright = jnp.array([[10.0, 20, 50, 30], [5, 0, 3, 2], [1, 1, 1, 1]])
    np.testing.assert_array_equal(rotated.from_xyxy(upright)[:, :4], boxes.xyxy_to_cxcywh(upright))
    np.testing.assert_array_equal(rotated.from_xyxy(upright)[:, 4], 0)
    np.testing.assert_array_equal(rotated.to_xyxy(rotated.from_xyxy(upright)), upright)


def test_an_upright_box_has_no_slope_by_its_angle():
    for angle in (0, QUARTER, 2 * QUARTER):
        slopes = jax.jacrev(rotated.to_xyxy)(jnp.array([1.0, 2, 3, 4, angle]))
        np.testing.assert_array_equal(slopes[:, 4], 0)


def test_a_quarter_turn_is_exact():
    upright = np.float32([1.25, -0.3, 0.7, 2.1, 0])
    low, high = np.split(np.asarray(rotated.to_xyxy(upright)), 2)
    for k in (-2, -1, 0, 1, 2):
        w, h = (0.7, 2.1) if k % 2 == 0 else (2.1, 0.7)
        turned = np.float32([1.25, -0.3, w, h, k * QUARTER])
        np.testing.assert_array_equal(rotated.to_xyxy(turned), [*low, *high])
        np.testing.assert_array_equal(rotated.canonical_quarter(turned), upright)
        np.testing.assert_array_equal(rotated.from_corners(rotated.to_corners(turned))[4], [0, QUARTER][k % 2])


# One box, many forms.

QUARTERS = functools.partial(rotated.canonical_quarter), np.pi / 2
LONG = functools.partial(rotated.canonical_long), np.pi


@pytest.mark.parametrize(("function", "period"), [QUARTERS, LONG])
@pytest.mark.parametrize("start", [None, 0.0, -np.pi / 4, -np.pi / 2, 6.3, -6.3, 0.123])
@pytest.mark.usefixtures("x64")
def test_every_form_of_a_box_has_one_canonical_form(function, period, start):
    options = {} if start is None else {"start": start}
    start = -period / 2 if start is None else start
    for box in random_boxes(10, seed=9):
        (wanted,) = [
            form
            for form in conversion_reference.forms(box)
            if start <= form[4] < start + period and (period < 3 or form[2] >= form[3])
        ]
        found = function(np.stack(list(conversion_reference.forms(box))), **options)
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("function", "period"), [QUARTERS, LONG])
@pytest.mark.parametrize("start", [-np.pi / 4, -np.pi / 2, 0.0])
def test_the_canonical_angle_is_within_its_bounds_for_every_angle_and_stays(function, period, start):
    function, start = functools.partial(function, start=start), np.float32(start)
    ends = [np.nextafter(k * QUARTER / 2, np.float32(end)) for k in range(-20, 21) for end in (-99, 99)]
    angles = np.float32([*ends, *np.arange(-20, 21) * QUARTER / 2, 1e3, -1e5, 1e10, -1e15, 1e-15, -1e-30])
    given = np.stack([0 * angles, 0 * angles, 0 * angles + 3, 0 * angles + 1, angles], axis=-1)
    found = np.asarray(function(given))
    assert np.all((found[:, 4] >= start) & (found[:, 4] < np.float32(start + period)))
    np.testing.assert_array_equal(function(found), found)
    np.testing.assert_array_equal(jax.vmap(jax.jacrev(function))(given)[:, 4, 4], 1)
    # The long side lies where it lay, to the rounding of an angle; of one above 1e5 there is no telling.
    near = np.abs(angles) < 100
    along = found[:, 4] + np.where(found[:, 2] > found[:, 3], 0, np.pi / 2)
    np.testing.assert_array_equal(np.sort(found[:, 2:4]), [[1, 3]] * len(found))
    np.testing.assert_allclose(np.abs(np.cos(along - angles))[near], 1, atol=1e-6)


def test_the_start_may_be_one_a_box_and_traced():
    given = np.float32(random_boxes(6, seed=10))
    starts = np.linspace(-3, 3, 6, dtype=np.float32)
    for function in (rotated.canonical_quarter, rotated.canonical_long):
        together = jax.jit(lambda x, start, function=function: function(x, start=start))(given, starts)
        apart = [function(box, start=float(start)) for box, start in zip(given, starts, strict=True)]
        np.testing.assert_allclose(together, np.stack(apart), rtol=1e-6)
        with pytest.raises(ValueError, match=r"`start` is 7.0, but it must be from -6.3 to 6.3"):
            function(given, start=7.0)


def test_the_sides_of_a_square_are_not_swapped():
    square = jnp.array([0.0, 0, 2, 2, 0.3])
    np.testing.assert_array_equal(rotated.canonical_long(square), square)
    np.testing.assert_array_equal(jax.jacrev(rotated.canonical_long)(square), np.eye(5))


# Degrees.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("x64")
def test_a_multiple_of_90_degrees_is_one_of_the_rounded_right_angle(dtype):
    turns = np.arange(-12, 13)
    degrees = np.zeros((25, 5), dtype)
    degrees[:, 4] = 90 * turns
    radians = rotated.degrees_to_radians(degrees)
    np.testing.assert_array_equal(radians[:, 4], turns.astype(dtype) * dtype(np.pi / 2))
    again = rotated.radians_to_degrees(radians)
    np.testing.assert_array_equal(again[8:17], degrees[8:17])
    np.testing.assert_allclose(again, degrees, rtol=np.finfo(dtype).eps)


@pytest.mark.usefixtures("x64")
def test_degrees_are_those_of_numpy():
    given = random_boxes(50, seed=11) * [1, 1, 1, 1, 100]
    radians = rotated.degrees_to_radians(given)
    np.testing.assert_allclose(radians[:, 4], np.deg2rad(given[:, 4]), rtol=1e-14)
    np.testing.assert_array_equal(radians[:, :4], given[:, :4])
    np.testing.assert_allclose(rotated.radians_to_degrees(radians), given, rtol=1e-14)


# Solids.


def ordered(points):
    return np.array(sorted(np.round(points, 9).tolist()))


@pytest.mark.usefixtures("x64")
def test_a_solid_of_kitti_has_the_corners_of_its_label_in_a_frame_with_z_up():
    labels = random_labels(30, seed=12)
    for label, solid in zip(labels, np.asarray(rotated.from_kitti(labels)), strict=True):
        x, y, z = conversion_reference.kitti_corners(label).T
        wanted = np.stack([x, z, -y], axis=-1)
        np.testing.assert_allclose(
            ordered(conversion_reference.turned_solid_corners(solid)), ordered(wanted), atol=1e-8
        )
    np.testing.assert_allclose(rotated.to_kitti(rotated.from_kitti(labels)), labels, rtol=1e-14, atol=1e-14)


def test_a_car_of_kitti_that_drives_ahead_has_a_quarter_turn():
    ahead = jnp.array([1.5, 1.6, 4.0, 2.0, 1.7, 20.0, -np.pi / 2])  # height, width, length, x, y, z, rotation_y
    np.testing.assert_allclose(rotated.from_kitti(ahead), [2, 20, 0.75 - 1.7, 4, 1.6, 1.5, np.pi / 2], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_a_solid_of_nuscenes_has_the_corners_of_its_annotation():
    annotations = random_annotations(30, seed=13)
    solids = np.asarray(rotated.from_nuscenes(annotations))
    for annotation, solid in zip(annotations, solids, strict=True):
        wanted = conversion_reference.nuscenes_corners(annotation)
        np.testing.assert_allclose(
            ordered(conversion_reference.turned_solid_corners(solid)), ordered(wanted), atol=1e-8
        )
    again = np.asarray(rotated.to_nuscenes(solids))
    np.testing.assert_allclose(again[:, :6], annotations[:, :6], rtol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(again[:, 6:], axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(rotated.from_nuscenes(again), solids, rtol=1e-13, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_the_yaw_of_nuscenes_is_where_the_front_points_in_the_plane():
    annotations = random_annotations(30, seed=14, level=False)
    fronts = np.array([conversion_reference.rotation_of(quaternion)[:, 0] for quaternion in annotations[:, 6:]])
    yaw = rotated.from_nuscenes(annotations)[:, 6]
    np.testing.assert_allclose(yaw, np.arctan2(fronts[:, 1], fronts[:, 0]), rtol=1e-12, atol=1e-13)
    for factor in (1e-15, -1.0, 2.0**-30, 1e15):
        scaled = np.concatenate([annotations[:, :6], factor * annotations[:, 6:]], axis=1)
        np.testing.assert_allclose(rotated.from_nuscenes(scaled)[:, 6], yaw, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("quaternion", [[0.0, 0, 0, 0], [1, 0, 1, 0]])
def test_a_solid_without_a_front_in_the_plane_has_yaw_0_with_slope_0(quaternion):
    annotation = jnp.array([1.0, 2, 3, 4, 5, 6, *quaternion])
    np.testing.assert_array_equal(rotated.from_nuscenes(annotation), [1, 2, 3, 5, 4, 6, 0])
    np.testing.assert_array_equal(jax.jacrev(rotated.from_nuscenes)(annotation)[6], 0)


# Laws.


@every_function
@pytest.mark.usefixtures("x64")
def test_gradients_are_those_of_central_differences(name):
    function, given = function_of(name), TAKES[name](12, seed=20)
    weights = np.random.default_rng(21).normal(size=jax.eval_shape(function, given).shape)

    def total(x):
        return jnp.sum(weights * jnp.sin(function(x)))

    gradient = jax.grad(total)(given)
    _, forward = jax.jvp(total, (given,), (np.ones_like(given),))
    np.testing.assert_allclose(forward, np.sum(gradient), rtol=1e-10)
    step = 1e-6
    for index in np.ndindex(given.shape):
        move = np.zeros_like(given)
        move[index] = step
        slope = (total(given + move) - total(given - move)) / (2 * step)
        np.testing.assert_allclose(gradient[index], slope, rtol=1e-6, atol=3e-8)


def nasty(name):
    """Numbers of every size, and rows that are all zero or all equal."""
    shape = TAKES[name](1, seed=0).shape[1:]
    rng = np.random.default_rng(22)
    sizes = 10.0 ** rng.choice([-15, -6, -3, 0, 3, 6, 10, 15], size=(400, *shape))
    raw = sizes * rng.choice([-1, 0, 1], size=(400, *shape), p=[0.4, 0.2, 0.4])
    equal = np.broadcast_to(10.0 ** rng.integers(-15, 15, size=(40, *(1 for _ in shape))), (40, *shape))
    few = rng.choice([0.0, 1.0, -1.0, 2.0], size=(200, *shape))
    return np.float32(np.concatenate([raw, equal, few, np.zeros((1, *shape))]))


@every_function
def test_values_and_gradients_are_finite_for_numbers_of_every_size(name):
    function, given = function_of(name), nasty(name)
    values = function(given)
    assert np.all(np.isfinite(values))
    reverse = jax.jit(jax.vmap(jax.jacrev(function)))(given)
    forward = jax.jit(jax.vmap(jax.jacfwd(function)))(given)
    assert np.all(np.isfinite(reverse))
    assert np.all(np.isfinite(forward))


@every_function
def test_second_derivatives_are_finite_for_ordinary_numbers(name):
    function, given = function_of(name), np.float32(TAKES[name](8, seed=23))
    given = np.concatenate([given, np.zeros_like(given[:1]), np.ones_like(given[:1])])
    assert np.all(np.isfinite(jax.vmap(jax.hessian(lambda x: jnp.sum(function(x) ** 2)))(given)))


@every_function
@pytest.mark.parametrize("exponent", [20, -20])
def test_lengths_times_a_power_of_two_change_no_other_bit(name, exponent):
    function, given = function_of(name), np.float32(TAKES[name](40, seed=24))
    factor = np.float32(2.0**exponent)

    def scaled(array, angles):
        array = np.array(array)
        kept = array[..., angles]
        array = array * factor
        array[..., angles] = kept
        return array

    of_input = list(SOLIDS.get(name, () if name in ("from_corners", "from_polygon", "from_xyxy") else (4,)))
    of_output = list(ANGLES.get(name, (6,) if name in SOLIDS else (4,)))
    found = function_of(name, factor)(scaled(given, of_input))
    np.testing.assert_array_equal(found, scaled(function(given), of_output))


@every_function
def test_half_precision_is_promoted_and_integers_are_refused(name):
    function, given = function_of(name), jnp.asarray(TAKES[name](6, seed=25), jnp.bfloat16)
    argument = next(iter(inspect.signature(getattr(rotated, name)).parameters))
    promoted = function(given)
    assert promoted.dtype == jnp.float32
    np.testing.assert_allclose(promoted, function(given.astype(jnp.float32)), rtol=1e-6, atol=1e-6)
    assert jax.grad(lambda x: jnp.sum(function(x)))(given).dtype == jnp.bfloat16
    with pytest.raises(TypeError, match=f"`{argument}` has dtype int32"):
        function(given.astype(jnp.int32))


@every_function
@pytest.mark.usefixtures("x64")
def test_double_precision_stays(name):
    assert function_of(name)(TAKES[name](6, seed=25)).dtype == jnp.float64


@every_function
def test_leading_axes_are_any_and_a_batch_is_its_rows(name):
    function, given = function_of(name), TAKES[name](12, seed=26).astype(np.float32)
    batch = function(given.reshape(3, 4, *given.shape[1:]))
    rows = np.stack([function(row) for row in given]).reshape(batch.shape)
    np.testing.assert_allclose(batch, rows, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(given).reshape(batch.shape), rows, rtol=2e-6, atol=1e-6)
    assert function(given[:0]).shape == (0, *batch.shape[2:])


@every_function
def test_a_nan_stays_in_its_row(name):
    function, given = function_of(name), np.float32(TAKES[name](3, seed=27))
    clean = function(given)
    for place in np.ndindex(given.shape[1:]):
        soiled = given.copy()
        soiled[(1, *place)] = np.nan
        found = function(soiled)
        assert np.any(np.isnan(found[1]))
        np.testing.assert_array_equal(found[::2], clean[::2])
