"""The simulation of the DIoU paper, against what the published scripts compute."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses, simulation
from tests import reference

EXPECTED = json.loads(pathlib.Path(__file__).with_name("simulation_reference.json").read_text())

PUBLISHED = {
    "iou": simulation.published_iou,
    "giou": simulation.published_giou,
    "diou": simulation.published_diou,
    "ciou": simulation.published_ciou,
}

every_published = pytest.mark.parametrize("name", PUBLISHED)

RATES = np.full(10, 0.05)

regress = jax.jit(simulation.regress, static_argnums=0)


def few_cases(count):
    grid = simulation.paper_grid(2)
    return grid.anchors[:count], grid.targets[:count]


def corners(cases):
    center, sides = reference.corners(np.asarray(cases, np.float64))
    return np.concatenate([center - sides / 2, center + sides / 2], axis=-1)


# The cases and the rates.


def test_the_grid_is_that_of_the_paper():
    grid = simulation.paper_grid(dtype=np.float64)
    assert grid.anchors.shape == grid.targets.shape == (1_715_000, 4)
    np.testing.assert_allclose(np.sum(grid.points, axis=0), EXPECTED["sum_of_points"], rtol=1e-14)
    component_errors = np.sum(np.abs(grid.anchors - grid.targets), axis=0)
    np.testing.assert_allclose(component_errors, EXPECTED["full_grid"]["initial_component_error"], rtol=1e-8)
    np.testing.assert_allclose(np.sum(component_errors), EXPECTED["full_grid"]["initial_error"], rtol=1e-12)
    ious = reference.iou(corners(grid.anchors), corners(grid.targets))
    # A box inside another of twice its area has an IoU of 0.5, up to the last bit.
    fractions = np.array(list(EXPECTED["full_grid"]["initial_fractions"].values()))
    least, most = (simulation.fractions_above(ious + shift, [1e-9, 0.5, 0.75, 0.95]) for shift in (-1e-12, 1e-12))
    assert np.all(least <= fractions)
    assert np.all(fractions <= most)


def test_the_cases_of_a_point_follow_each_other_by_target_then_area_then_ratio():
    grid = simulation.paper_grid(2, dtype=np.float64)
    assert len(grid.anchors) == 2 * simulation.CASES_PER_POINT
    np.testing.assert_array_equal(grid.anchors[:, :2], np.repeat(grid.points, simulation.CASES_PER_POINT, axis=0))
    areas, ratios = (operation(*np.moveaxis(grid.anchors[:, 2:], -1, 0)) for operation in (np.multiply, np.divide))
    np.testing.assert_allclose(areas.reshape(2, 7, 7, 7)[1, 3, :, 5], [0.5, 0.67, 0.75, 1, 1.33, 1.5, 2])
    np.testing.assert_allclose(ratios.reshape(2, 7, 7, 7)[0, 2, 4], [1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4])
    of_targets = (grid.targets[:, 2] / grid.targets[:, 3]).reshape(2, 7, 7, 7)
    np.testing.assert_allclose(of_targets[1, :, 6, 0], [1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4])


def test_a_smaller_grid_is_the_beginning_of_a_larger_one():
    small, large = simulation.paper_grid(3), simulation.paper_grid(5)
    for one, other in zip(small, large, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other[: len(one)])


@pytest.mark.parametrize("points", [-1, 5001])
def test_more_points_than_the_scatter_has_are_refused(points):
    with pytest.raises(ValueError, match=f"`points` is {points}, but the published scatter has 0 to 5000"):
        simulation.paper_grid(points)


def test_the_schedule_is_that_of_the_paper():
    rates = simulation.paper_schedule()
    assert rates.shape == (200,)
    np.testing.assert_array_equal(rates[[0, 159, 160, 179, 180, 199]], [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


# The published experiment.


@pytest.mark.usefixtures("x64")
@every_published
def test_a_published_direction_is_that_of_the_scripts(name):
    probe = {key: np.reshape(values, (-1, 4)) for key, values in EXPECTED["direction_probe"].items()}
    direction = jax.jit(PUBLISHED[name])(probe["predictions"], probe["targets"])
    np.testing.assert_allclose(direction, probe[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["iou", "diou", "ciou"])
def test_edges_that_coincide_move_nothing_but_the_area(name):
    # I = U = 1, dI = 0 and dU = (0, 0, 2, 2): a perfect box shrinks.
    box = jnp.array([3.0, 4, 1, 1])
    np.testing.assert_array_equal(PUBLISHED[name](box, box), [0, 0, -2, -2])


def test_boxes_that_touch_or_are_apart_have_no_published_direction_for_iou():
    target = jnp.array([0.0, 0, 2, 2])
    for x in (2.0, 5.0):
        np.testing.assert_array_equal(simulation.published_iou(jnp.array([x, 0, 2, 2]), target), 0)


def test_boxes_apart_along_both_axes_have_an_area_in_common_in_the_published_giou():
    # Both gaps are 1 and both hulls 3, so I = 1, U = 1, C = 9; dU = (-1, -1, 3, 3) and dC = (3, 3, 3, 3).
    direction = simulation.published_giou(jnp.array([2.0, 2, 1, 1]), jnp.array([0.0, 0, 1, 1]))
    np.testing.assert_allclose(direction, np.array([-12, -12, 24, 24]) / 81, rtol=1e-6)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return request.param


@every_published
def test_a_published_curve_is_that_of_the_scripts(name, dtype):
    expected = EXPECTED["published_64_points"][name]
    grid = simulation.paper_grid(64, dtype=dtype)
    result = simulation.simulate(PUBLISHED[name], grid.anchors, grid.targets)
    assert result.boxes.dtype == dtype
    np.testing.assert_allclose(result.curve, expected["curve"], rtol=EXPECTED["tolerances"][dtype][name])
    np.testing.assert_allclose(simulation.fractions_above(result.ious), expected["fractions"], atol=2e-3)
    np.testing.assert_allclose(np.sum(result.errors), result.curve[-1], rtol=1e-5)


# The exact experiment.


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["iou", "giou", "diou"])
def test_an_exact_direction_is_minus_the_gradient_of_the_loss(name):
    grid = simulation.paper_grid(2, dtype=np.float64)
    predictions = grid.anchors + np.random.default_rng(0).normal(0, 0.01, grid.anchors.shape)  # no edges coincide
    direction = jax.jit(simulation.exact(getattr(losses, f"{name}_loss")))(predictions, grid.targets)
    step = 1e-6

    def loss(moved):
        return getattr(reference, f"{name}_loss")(corners(moved), corners(grid.targets))

    moves = step * np.eye(4)
    differences = [(loss(predictions - move) - loss(predictions + move)) / (2 * step) for move in moves]
    np.testing.assert_allclose(direction, np.stack(differences, axis=-1), rtol=1e-6, atol=1e-8)


def test_a_direction_keeps_leading_axes():
    direction = jax.jit(simulation.exact(losses.giou_loss))
    anchors, targets = (jnp.asarray(x) for x in few_cases(6))
    flat = direction(anchors, targets)
    assert direction(anchors[0], targets[0]).shape == (4,)
    np.testing.assert_allclose(direction(anchors.reshape(2, 3, 4), targets.reshape(2, 3, 4)).reshape(6, 4), flat)


def test_the_sides_of_a_direction_can_be_scaled():
    anchors, targets = (jnp.asarray(x) for x in few_cases(9))
    x, y, w, h = jnp.moveaxis(jax.jit(simulation.published_iou)(anchors, targets), -1, 0)
    halved = jax.jit(simulation.scale_sides(simulation.published_iou, 0.5))(anchors, targets)
    np.testing.assert_allclose(halved, np.stack([x, y, w / 2, h / 2], axis=-1), rtol=1e-6)


def test_an_exact_curve_is_that_of_an_independent_program():
    expected = EXPECTED["exact_1000_points"]["giou"]
    grid = simulation.paper_grid(1000)
    result = simulation.simulate(simulation.exact(losses.giou_loss), grid.anchors, grid.targets)
    np.testing.assert_allclose(result.curve, expected["curve"], rtol=EXPECTED["tolerances"]["float32"]["giou"])
    np.testing.assert_allclose(simulation.fractions_above(result.ious), expected["fractions"], atol=1e-3)


# How the cases are moved.


@pytest.mark.usefixtures("x64")
def test_a_step_is_rate_times_2_minus_the_iou_times_the_direction():
    grid = simulation.paper_grid(2, dtype=np.float64)
    pace = 0.05 * (2 - reference.iou(corners(grid.anchors), corners(grid.targets)))
    moved = grid.anchors + pace[:, None] * np.asarray(jax.jit(simulation.published_diou)(grid.anchors, grid.targets))
    result = regress(simulation.published_diou, grid.anchors, grid.targets, schedule=RATES[:1])
    np.testing.assert_allclose(result.boxes, moved, rtol=1e-13)
    np.testing.assert_allclose(result.errors, np.sum(np.abs(moved - grid.targets), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(result.curve, [np.sum(result.errors)], rtol=1e-13)
    np.testing.assert_allclose(result.ious, reference.iou(corners(moved), corners(grid.targets)), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_size_of_the_chunks_does_not_change_the_result():
    grid = simulation.paper_grid(2, dtype=np.float64)
    whole = regress(simulation.published_diou, grid.anchors, grid.targets, schedule=RATES)
    for chunk_size in (100, 10_000):
        parts = simulation.simulate(
            simulation.published_diou, grid.anchors, grid.targets, schedule=RATES, chunk_size=chunk_size
        )
        for one, other in zip(parts, whole, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_masked_cases_add_nothing_to_the_curve_whatever_they_hold():
    anchors, targets = few_cases(40)
    clean = regress(simulation.published_iou, anchors[:30], targets[:30], schedule=RATES)
    anchors[30:], targets[35:] = np.nan, np.inf
    masked = regress(simulation.published_iou, anchors, targets, schedule=RATES, where=np.arange(40) < 30)
    np.testing.assert_allclose(masked.curve, clean.curve, rtol=1e-6)
    np.testing.assert_allclose(masked.boxes[:30], clean.boxes, rtol=1e-6)


def test_a_case_that_diverges_shows_in_the_curve():
    anchors, targets = few_cases(40)
    anchors[7, 2] = np.nan
    assert np.all(np.isnan(simulation.simulate(simulation.published_iou, anchors, targets, schedule=RATES).curve))


def test_the_chunks_come_one_by_one_and_join_to_the_whole():
    anchors, targets = few_cases(50)
    chunks = list(
        simulation.simulate_chunks(simulation.published_diou, anchors, targets, schedule=RATES, chunk_size=20)
    )
    assert [len(chunk.errors) for chunk in chunks] == [20, 20, 10]
    joined = simulation.join(chunks)
    whole = simulation.simulate(simulation.published_diou, anchors, targets, schedule=RATES, chunk_size=20)
    for one, other in zip(joined, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert joined.curve.dtype == np.float64
    assert joined.boxes.shape == (50, 4)


def test_no_cases_have_no_error():
    anchors, targets = few_cases(0)
    result = simulation.simulate(simulation.published_ciou, anchors, targets, schedule=RATES)
    np.testing.assert_array_equal(result.curve, np.zeros(10))
    assert result.boxes.shape == (0, 4)


def test_all_chunks_run_one_program_and_so_does_the_next_simulation():
    traced = []

    def direction(predictions, targets):
        traced.append(predictions.shape)
        return targets - predictions

    anchors, targets = few_cases(50)
    for count in (50, 45):
        simulation.simulate(direction, anchors[:count], targets[:count], schedule=RATES, chunk_size=20)
    assert set(traced) == {(20, 4)}
    first = len(traced)
    simulation.simulate(direction, anchors, targets, schedule=RATES, chunk_size=20)
    assert len(traced) == first


def test_nothing_of_a_step_is_kept_but_the_sum():
    anchors, targets = few_cases(77)
    program = jax.make_jaxpr(lambda a, b: simulation.regress(simulation.published_giou, a, b))(anchors, targets)
    assert "f32[200]" in str(program)
    assert "[200,77" not in str(program)


def test_it_is_a_function_that_compiles_and_batches():
    anchors, targets = (jnp.asarray(x).reshape(2, 3, 4) for x in few_cases(6))

    def final(anchors, targets):
        return simulation.regress(simulation.published_iou, anchors, targets, schedule=RATES)

    whole, batched = jax.jit(final)(anchors, targets), jax.jit(jax.vmap(final))(anchors, targets)
    assert whole.errors.shape == whole.ious.shape == (2, 3)
    for one, other in zip(whole, batched._replace(curve=np.sum(batched.curve, axis=0)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6)


def test_half_precision_is_promoted():
    anchors, targets = (jnp.asarray(x, jnp.bfloat16) for x in few_cases(6))
    result = simulation.simulate(simulation.published_iou, anchors, targets, schedule=RATES)
    assert result.boxes.dtype == np.float32
    assert jax.eval_shape(simulation.published_giou, anchors, targets).dtype == jnp.float32


@pytest.mark.parametrize("function", [simulation.regress, simulation.simulate])
def test_cases_that_do_not_pair_are_refused(function):
    anchors, targets = few_cases(6)
    with pytest.raises(ValueError, match=r"Got `anchors` of shape \(6, 4\) and `targets` of shape \(5, 4\)"):
        function(simulation.published_iou, anchors, targets[:5])
    with pytest.raises(ValueError, match=r"`anchors` has shape \(6, 2\), but"):
        function(simulation.published_iou, anchors[:, :2], targets[:, :2])


# What is told of them.


def test_errors_are_summed_by_point():
    errors = np.repeat([1.0, 2.0, 4.0], simulation.CASES_PER_POINT)
    np.testing.assert_array_equal(simulation.sum_by_point(errors), [343, 686, 1372])


def test_a_fraction_counts_what_is_strictly_above():
    np.testing.assert_array_equal(simulation.fractions_above(np.array([0.5, 0.6, 0.76, 1])), [0.75, 0.5, 0.25])
