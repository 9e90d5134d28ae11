"""Turned boxes and solids: the exact overlap, the smallest hull, and what they are worth in the losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses, numerics, rotated, similarity
from jaxbox._geometry import Solids, Turned
from tests import rotated_reference as reference
from tests.rotated_cases import (
    COUNT,
    columns,
    moved_together,
    other_numbers,
    quickly,
    random_boxes,
    random_pairs,
    random_shapes,
    up,
    value_and_gradients,
    with_angle,
)
from tests.test_gaussian import descended, starts_and_targets

KINDS = ("iou", "giou", "diou", "mgiou")
NAMES = [f"{shape}_{kind}" for shape in ("rotated", "solid") for kind in KINDS]
every_loss = pytest.mark.parametrize("name", NAMES)


# The numbers.


@pytest.mark.parametrize("turn", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("kind", KINDS)
def test_edges_that_are_nearly_parallel_cost_no_precision(kind, turn):
    b = np.float32(random_boxes(COUNT, seed=5))
    a = np.float32(with_angle(b, b[..., 4] + np.float32(turn)))
    value, *gradients = value_and_gradients(f"rotated_{kind}", a, b)
    exact = getattr(reference, f"rotated_{kind}_loss")(np.float64(a), np.float64(b))
    # A hull is a share of which the rounding of two areas is taken.
    np.testing.assert_allclose(value, exact, rtol=0, atol=2e-6 if kind == "giou" else 1e-6)
    assert np.all(np.isfinite(gradients))


# Pairs whose overlap anyone can compute: prediction, target, IoU.
KNOWN = {
    "equal": ([0, 0, 4, 2, 0.3], [0, 0, 4, 2, 0.3], 1),
    "a cross": ([0, 0, 4, 2, np.pi / 2], [0, 0, 4, 2, 0], 4 / 12),
    "a square turned by an eighth": ([0, 0, 2, 2, np.pi / 4], [0, 0, 2, 2, 0], 1 / np.sqrt(2)),
    "inside": ([0.5, 0.2, 1, 0.5, 0.7], [0, 0, 4, 3, 0], 0.5 / 12),
    "around": ([0, 0, 4, 3, 0], [0.5, 0.2, 1, 0.5, 0.7], 0.5 / 12),
    "one edge shared": ([1, 0, 2, 2, 0], [0, 0, 4, 2, 0], 1 / 2),
    "two edges shared": ([1, 0.5, 2, 1, 0], [0, 0, 4, 2, 0], 1 / 4),
    "a shared edge that is turned": ([np.cos(0.3), np.sin(0.3), 2, 2, 0.3], [0, 0, 4, 2, 0.3], 1 / 2),
    "beside": ([3, 0, 2, 2, 0], [0, 0, 4, 2, 0], 0),
    "corner at corner": ([3, 2, 2, 2, 0], [0, 0, 4, 2, 0], 0),
    "a corner at an edge": ([2 + np.sqrt(2), 0, 2, 2, np.pi / 4], [0, 0, 4, 2, 0], 0),
    "a corner inside": ([2 + np.sqrt(2) / 2, 0, 2, 2, np.pi / 4], [0, 0, 4, 2, 0], 0.5 / 11.5),
    "apart": ([30, 40, 2, 2, 0.4], [0, 0, 4, 2, 0], 0),
    "a sliver across": ([0, 0, 10, 1e-3, 0.5], [0, 0, 4, 2, 0], 2e-3 / np.sin(0.5) / (8 + 1e-2 - 2e-3 / np.sin(0.5))),
    "no width": ([0, 0, 0, 2, 0.3], [0, 0, 4, 2, 0], 0),
    "no width on both": ([0, 0, 0, 2, 0.3], [0, 0, 0, 2, 0], 0),
    "equal without width": ([0, 0, 0, 2, 0.3], [0, 0, 0, 2, 0.3], 1),
    "a point": ([0, 0, 0, 0, 0.3], [0, 0, 4, 2, 0], 0),
    "one point": ([5, 5, 0, 0, 0.3], [5, 5, 0, 0, 0.3], 1),
    "a negative side": ([0, 0, -1, 2, 0.3], [0, 0, 4, 2, 0], 0),
}


@pytest.mark.parametrize("case", KNOWN)
def test_overlaps_that_are_known(case):
    a, b, expected = KNOWN[case]
    value, *gradients = value_and_gradients("rotated_iou", np.array([a]), np.array([b]))
    np.testing.assert_allclose(1 - value, expected, rtol=0, atol=3e-7)
    assert np.all(np.isfinite(gradients))


def test_the_hull_is_the_smallest_rectangle_at_any_angle():
    # Two unit squares that are two diagonals apart along a diagonal: a rectangle of 3 by 1 diagonals along it is the
    # smallest, where one along the squares has a side of 1 + 2.
    pair = Turned.of(jnp.array([2.0, 2.0, 1.0, 1.0, 0.0]), jnp.array([0.0, 0.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(pair.hull_area * pair.unit**2, 3 * np.sqrt(2) * np.sqrt(2), rtol=1e-6)


def test_a_line_between_corners_changes_the_hull_without_a_jump():
    b = np.float32([0, 0, 4, 2, 0.0])
    steps = np.linspace(0, 1, 4001)
    along = np.stack([5 - 4.5 * steps, 3 - 4 * steps, 2 + steps, 1 + steps, 0.1 + 2 * steps], axis=-1)
    for kind in KINDS:
        value, *_ = value_and_gradients(f"rotated_{kind}", along, np.broadcast_to(b, along.shape))
        assert np.max(np.abs(np.diff(value))) < 4e-3, kind


# The gradients that were chosen.


def test_an_edge_counts_by_its_length_inside_the_other():
    # The prediction of half sides 1 and 2 has its right half in the target, with parts of two edges and all of one.
    gradient = jax.grad(numerics.turned_overlap, argnums=(0, 1, 2, 3))(
        (jnp.float32(1), jnp.float32(2)),
        (jnp.float32(3), jnp.float32(3)),
        (jnp.float32(-3), jnp.float32(0)),
        jnp.float32(0),
        jnp.float32(1),
        jnp.float32(0),
    )
    np.testing.assert_array_equal(gradient[0], [4, 2])  # 4 on the right; 1 above and 1 below
    np.testing.assert_array_equal(gradient[1], [4, 0])
    np.testing.assert_array_equal(gradient[2], [4, 0])
    assert gradient[3] == 0


def test_touching_boxes_are_drawn_together_and_shared_edges_count_half():
    touching = jax.grad(similarity.rotated_iou)(jnp.array([3.0, 0, 2, 2, 0]), jnp.array([0.0, 0, 4, 2, 0]))
    assert touching[0] == -2 / 12
    upright = np.float32([[1.0, 0, 2, 2, 0], [1.0, 0.5, 2, 1, 0], [0, 0, 4, 1, 0], [0, 0, 1, 2, 0], [0, 0, 4, 2, 0]])
    fixed = np.broadcast_to(np.float32([0, 0, 4, 2, 0]), upright.shape)

    def total(boxes):
        half = boxes[:, 2:4] / 2
        return jnp.sum(similarity.iou(jnp.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=-1), up(fixed)))

    _, gradient, _ = value_and_gradients("rotated_iou", upright, fixed)
    np.testing.assert_allclose(-gradient[:, :4], jax.grad(total)(upright)[:, :4], rtol=0, atol=1e-7)


def test_a_box_without_width_grows_in_a_target_around_it():
    gradient = jax.grad(losses.rotated_iou_loss)(jnp.array([0.3, 0.1, 0, 1, 0.4]), jnp.array([0.0, 0, 4, 2, 0]))
    np.testing.assert_allclose(gradient[2], -1 / 8, rtol=1e-6)


@pytest.mark.parametrize("name", ["rotated_iou", "rotated_giou", "solid_diou", "rotated_mgiou"])
@pytest.mark.usefixtures("x64")
def test_second_derivatives_are_the_differences_of_first_ones(name):
    a, b = (x[:60] for x in random_pairs(name, seed=8))
    slope = jax.grad(lambda x, y: jnp.sum(getattr(losses, f"{name}_loss")(x, y)))
    direction = np.random.default_rng(3).normal(size=a.shape)
    _, curvature = quickly(lambda x, d: jax.jvp(lambda z: slope(z, b), (x,), (d,)))(a, direction)
    step = 1e-7
    compiled = quickly(slope)
    differences = (compiled(a + step * direction, b) - compiled(a - step * direction, b)) / (2 * step)
    scale = 1 + np.max(np.abs(curvature), axis=-1, keepdims=True)
    np.testing.assert_allclose(curvature / scale, differences / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["rotated_iou", "rotated_giou", "rotated_diou", "rotated_mgiou", "solid_giou"])
def test_second_derivatives_are_finite_wherever_edges_meet(name):
    pairs = [pair[:2] for pair in KNOWN.values()]
    a, b = (np.float32(x) for x in zip(*pairs, strict=True))
    if columns(name) == 7:
        a, b = (np.insert(np.insert(x, 4, 2, axis=1), 2, 0, axis=1) for x in (a, b))
    slope = jax.grad(lambda x, y: jnp.sum(getattr(losses, f"{name}_loss")(x, y)))
    second = quickly(lambda x, direction: jax.jvp(lambda z: slope(z, b), (x,), (direction,))[1])
    for turn in (0, 1e-3, 1e-30):
        moved = with_angle(a, a[:, -1] + np.float32(turn))
        for direction in np.eye(columns(name), dtype=np.float32):
            assert np.all(np.isfinite(second(moved, np.broadcast_to(direction, moved.shape))))


# What they are made of.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_one_minus_a_cosine_does_not_cancel(dtype):
    turn = np.concatenate([np.linspace(-np.pi / 4, np.pi / 4, 1001), 10.0 ** np.arange(-15, 0)]).astype(dtype)
    exact = 2 * np.sin(np.longdouble(turn) / 2) ** 2
    precision = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.float64(numerics.versine(turn)), np.float64(exact), rtol=precision)
    slope = jax.vmap(jax.grad(numerics.versine))(turn)
    np.testing.assert_allclose(slope, np.sin(np.float64(turn)), rtol=precision, atol=0)


def test_the_turn_between_two_angles_keeps_what_their_difference_loses():
    angle, other = (np.float32(np.random.default_rng(seed).uniform(-9, 9, 1000)) for seed in (1, 2))
    turn, quarters = numerics.turn_between(angle, other)
    exact = np.float64(angle) - np.float64(other) - np.float64(quarters) * np.float64(np.float32(np.pi / 2))
    np.testing.assert_allclose(turn, exact, rtol=0, atol=1e-7)
    assert np.all(np.abs(turn) <= np.pi / 4 + 1e-6)
    assert not np.any(numerics.turn_between(angle, angle)[0])
    far, _ = numerics.turn_between(1e9 * angle, other)
    assert np.all(np.abs(far) < 0.802)
    slopes = jax.grad(lambda x, y: jnp.sum(numerics.turn_between(x, y)[0]), argnums=(0, 1))(angle, other)
    np.testing.assert_array_equal(slopes[0], 1)
    np.testing.assert_array_equal(slopes[1], -1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_settled_slope_is_the_same_number_in_both_modes(dtype):
    some = jnp.array([0.0, -0.0, 1.0, -3e4, 1e-4, np.inf, -np.inf], dtype)
    slopes = jax.vjp(numerics.settled_slope, some)[1](some)[0], jax.jvp(numerics.settled_slope, (some,), (some,))[1]
    for found in (numerics.settled_slope(some), *slopes):
        np.testing.assert_array_equal(np.float32(found), np.float32(some))


# The laws.


@every_loss
@pytest.mark.usefixtures("x64")
def test_which_numbers_stand_for_a_box_and_where_both_lie_is_all_one(name):
    a, b = random_pairs(name, seed=14)
    value, *_ = value_and_gradients(name, a, b, np.float64)
    for change, pair in other_numbers(a, b).items():
        other, *_ = value_and_gradients(name, *pair, np.float64)
        np.testing.assert_allclose(other, value, rtol=0, atol=1e-14, err_msg=change)


@every_loss
def test_other_numbers_for_a_box_cost_no_precision(name):
    pairs = other_numbers(*random_pairs(name, seed=14))
    for change, pair in pairs.items():
        rounded = [np.float32(x) for x in pair]
        exact = getattr(reference, f"{name}_loss")(*map(np.float64, rounded))
        value, *_ = value_and_gradients(name, *rounded)
        np.testing.assert_allclose(value, exact, rtol=0, atol=1e-6, err_msg=change)


@pytest.mark.usefixtures("x64")
def test_upright_boxes_have_the_losses_of_upright_boxes():
    a, b = (with_angle(x, 0) for x in random_pairs("rotated_iou", seed=20))
    of = {kind: value_and_gradients(f"rotated_{kind}", a, b, np.float64)[0] for kind in KINDS}
    np.testing.assert_allclose(of["iou"], losses.iou_loss(up(a), up(b)), rtol=0, atol=2e-15)
    np.testing.assert_allclose(of["diou"], losses.diou_loss(up(a), up(b)), rtol=0, atol=2e-15)
    upright = losses.giou_loss(up(a), up(b))
    assert np.all(of["giou"] <= upright + 2e-15)
    assert np.max(upright - of["giou"]) > 0.05  # a smaller hull at another angle


# What other codes do.


def test_an_upright_hull_would_charge_equal_boxes():
    x = random_boxes(COUNT, seed=22)
    assert np.max(reference.aligned_hull(x, x) / reference.area(x)) > 1.5
    a, b = random_pairs("rotated_iou", seed=22)
    turned = moved_together(a, b, 0.4, 0)
    assert np.max(np.abs(reference.aligned_hull(*turned) / reference.aligned_hull(a, b) - 1)) > 0.3
    assert np.all(reference.aligned_hull(a, b) >= reference.hull(a, b) * (1 - 1e-12))
    pair = Turned.of(np.float32(a), np.float32(b))
    np.testing.assert_allclose(pair.hull_area * pair.unit**2, reference.hull(a, b), rtol=1e-5)


def test_an_upright_diagonal_would_change_with_the_axes():
    a, b = random_pairs("rotated_iou", seed=24)
    turned = moved_together(a, b, 0.4, 0)

    def distances(diagonal, a, b):
        return np.sum((a[:, :2] - b[:, :2]) ** 2, axis=-1) / diagonal(a, b)

    upright = [distances(reference.aligned_squared_diagonal, *pair) for pair in ((a, b), turned)]
    ours = [distances(reference.squared_diagonal, *pair) for pair in ((a, b), turned)]
    assert np.max(np.abs(upright[0] - upright[1])) > 0.05
    np.testing.assert_allclose(ours[0], ours[1], rtol=0, atol=1e-13)


def test_the_diagonal_of_the_smallest_hull_would_jump():
    b = np.array([0.0, 0, 4, 2, 0])
    steps = np.linspace(0, 1, 4001)
    along = np.stack([4 - 3 * steps, 3 - 2 * steps, 2 + steps, 1 + steps, 0.1 + 1.4 * steps], axis=-1)
    target = np.broadcast_to(b, along.shape)
    squared = np.sum((along[:, :2] - b[:2]) ** 2, axis=-1)
    assert np.max(np.abs(np.diff(squared / reference.squared_diagonal_of_hull(along, target)))) > 1e-2
    assert np.max(np.abs(np.diff(squared / reference.squared_diagonal(along, target)))) < 1e-3


def normals(boxes):
    """The directions of both sides of boxes, `[..., 2, 2]`."""
    along = np.stack([np.cos(boxes[..., 4]), np.sin(boxes[..., 4])], axis=-1)
    return np.stack([along, np.stack([-along[..., 1], along[..., 0]], axis=-1)], axis=-2)


def mean_over(axes, a, b):
    """The mean over axes `[k, 2]` of what the shadows of two boxes have in common, over what is around both."""
    shadows = [reference.corners(box) @ axes.T for box in (a, b)]
    low, high = (np.stack([side(shadow, axis=0) for shadow in shadows]) for side in (np.min, np.max))
    return np.mean((np.min(high, axis=0) - np.max(low, axis=0)) / (np.max(high, axis=0) - np.min(low, axis=0)))


@pytest.mark.usefixtures("x64")
def test_the_mgiou_of_a_box_does_not_depend_on_the_others_of_its_batch():
    # The class of the repository of the paper (MGIoU2D, c9ad506) wants eight numbers a box and has four: it fails for
    # batches of 1, 3 and 4, and in one of 2 every box is looked at along the axes of both.
    for count in (1, 3):
        with pytest.raises(ValueError, match="cannot reshape"):
            np.zeros((count, 4)).reshape(-1, 4, 2)
    assert np.zeros((4, 4)).reshape(-1, 4, 2).shape[0] == 2  # which does not go with four boxes
    a, b = np.array([[0, 0, 4, 2, 0.3], [5, 1, 2, 6, 1.1]]), np.array([[1, 0.5, 3, 3, 0.7], [4, 1, 3, 5, -0.4]])
    own = [mean_over(np.concatenate([normals(x), normals(y)]), x, y) for x, y in zip(a, b, strict=True)]
    of_both = np.concatenate([normals(a).reshape(-1, 2), normals(b).reshape(-1, 2)])
    theirs = [mean_over(of_both, x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(similarity.rotated_mgiou(a, b), own, rtol=1e-12)
    np.testing.assert_allclose(own, [0.6178, 0.4790], atol=1e-4)
    np.testing.assert_allclose(theirs, [0.6487, 0.6285], atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_an_angle_of_torchvision_is_ours_in_degrees_with_the_other_sign():
    x, y, w, h, degrees = 3.0, 4.0, 5.0, 2.0, 30.0
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    # The first corner of its box_convert(box, "cxcywhr", "xyxyxyxy"), and those that follow.
    first = np.array([x - w / 2 * cosine - h / 2 * sine, y - h / 2 * cosine + w / 2 * sine])
    along, across = np.array([w * cosine, -w * sine]), np.array([h * sine, h * cosine])
    theirs = [first, first + along, first + along + across, first + across]
    ours = rotated.to_corners(rotated.degrees_to_radians(jnp.array([x, y, w, h, -degrees])))
    apart = np.linalg.norm(np.asarray(theirs)[:, None] - np.asarray(ours)[None], axis=-1)
    assert np.max(np.min(apart, axis=1)) < 1e-12


# How they are called.


@every_loss
def test_similarities_broadcast_and_compare_all_with_all(name):
    a, b = (np.float32(random_shapes(name, count, seed=count)) for count in (5, 7))
    alike = getattr(similarity, name)
    matrix = similarity.pairwise(alike)(a, b)
    assert matrix.shape == (5, 7)
    np.testing.assert_allclose(alike(a[:, None], b), matrix, rtol=0, atol=1e-6)
    np.testing.assert_allclose(matrix, getattr(reference, name)(a[:, None], b), rtol=0, atol=1e-6)
    masked = similarity.pairwise(alike)(
        a, np.where(np.arange(7)[:, None] < 6, b, np.nan), where=(None, np.arange(7) < 6)
    )
    np.testing.assert_array_equal(masked[:, 6], 0)
    np.testing.assert_allclose(masked[:, :6], matrix[:, :6], rtol=0, atol=1e-6)


def test_the_gradient_of_many_pairs_is_that_of_broadcasting():
    a, b = (np.float32(random_boxes(count, seed=count)) for count in (151, 130))
    weights = np.float32(np.random.default_rng(0).normal(size=(151, 130)))
    alike = similarity.rotated_iou
    of_all = jax.grad(lambda x, y: jnp.sum(weights * similarity.pairwise(alike)(x, y)), argnums=(0, 1))
    plain = jax.grad(lambda x, y: jnp.sum(weights * alike(x[:, None], y)), argnums=(0, 1))
    for found, expected in zip(quickly(of_all)(a, b), quickly(plain)(a, b), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_losses_refuse_to_broadcast_and_name_the_matrix_of_all_pairs():
    a, b = jnp.zeros((3, 5)), jnp.zeros((2, 5))
    with pytest.raises(
        ValueError, match=r"write `similarity\.pairwise\(losses\.rotated_giou_loss\)\(predictions, targ"
    ):
        losses.rotated_giou_loss(a, b)
    with pytest.raises(ValueError, match=r"write `similarity\.pairwise\(similarity\.rotated_iou\)\(a, b\)`"):
        similarity.rotated_iou(a, b)


def test_boxes_of_different_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"Got `a` of shape \(5,\) and `b` of shape \(7,\)"):
        Turned.of(jnp.zeros(5), jnp.zeros(7))
    with pytest.raises(ValueError, match=r"Got `a` of shape \(5,\) and `b` of shape \(7,\)"):
        Solids.of(jnp.zeros(5), jnp.zeros(7))


@every_loss
def test_a_loss_compiles_for_every_platform(name):
    boxes = jax.ShapeDtypeStruct((64, columns(name)), jnp.float32)
    gradient = jax.grad(lambda a, b: jnp.sum(getattr(losses, f"{name}_loss")(a, b)), argnums=(0, 1))
    for platform in ("cpu", "cuda", "tpu"):
        assert jax.jit(gradient).trace(boxes, boxes).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("kind", "share"), [("giou", 0.97), ("diou", 1.0), ("mgiou", 0.98)])
def test_descent_brings_a_thousand_turned_boxes_to_their_targets(kind, share):
    # Some end in the second minimum that GIoU and MGIoU have at an angle.
    starts, targets = starts_and_targets(1000)
    final = descended(getattr(losses, f"rotated_{kind}_loss"), starts, targets)
    assert np.mean(np.asarray(similarity.rotated_iou(final, targets)) > 0.9) >= share
