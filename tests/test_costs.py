"""Costs of pairs: their formulas, that all stay finite, and the matches of the original code."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, costs, losses, similarity
from tests import cases, class_reference, reference

ORIGINALS = json.loads((pathlib.Path(__file__).parent / "detector_reference.json").read_text())["costs"]
PREDICTIONS, TARGETS = cases.random_boxes(12, seed=0), cases.random_boxes(5, seed=1)
RNG = np.random.default_rng(0)
LOGITS, LABELS = 3 * RNG.normal(size=(12, 7)), RNG.integers(0, 7, 5)


def layout(array):
    low, high = reference.corners(array)
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def l1_of_all(a, b):
    return np.sum(np.abs(layout(a)[..., :, None, :] - layout(b)[..., None, :, :]), axis=-1)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.usefixtures("x64")
def test_costs_of_boxes_are_the_l1_of_centers_and_sides_less_giou(n):
    a, b = cases.random_boxes(12, seed=0, n=n), cases.random_boxes(5, seed=1, n=n)
    given = [boxes.Intervals(x) for x in (a, b)] if n == 1 else (a, b)
    giou = reference.giou(a[:, None], b)
    np.testing.assert_allclose(costs.box_costs(*given), 5 * l1_of_all(a, b) - 2 * giou, rtol=1e-12, atol=1e-12)
    value = costs.box_costs(*given, l1_weight=0.5, giou_weight=-3.0)
    np.testing.assert_allclose(value, l1_of_all(a, b) / 2 + 3 * giou, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_another_similarity_may_take_the_place_of_giou_and_its_options_be_traced():
    wanted = 5 * l1_of_all(PREDICTIONS, TARGETS) - 2 * reference.nwd(PREDICTIONS[:, None], TARGETS, 2.0)

    def of(constant):
        nwd = functools.partial(similarity.nwd, constant=constant)
        return costs.box_costs(PREDICTIONS, TARGETS, similarity=nwd)

    np.testing.assert_allclose(of(2.0), wanted, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(of)(2.0), wanted, rtol=1e-12)
    ciou = costs.box_costs(PREDICTIONS, TARGETS, l1_weight=0.0, giou_weight=-1.0, similarity=similarity.ciou)
    np.testing.assert_allclose(ciou, reference.ciou(PREDICTIONS[:, None], TARGETS), rtol=1e-10)
    with pytest.raises(ValueError, match=r"`constant` is -1.0, but it must be from 1e-15 to 1e15"):
        of(-1.0)


def test_leading_axes_of_predictions_and_targets_broadcast():
    layers = np.float32(cases.random_boxes(2 * 3 * 12, seed=2)).reshape(2, 3, 12, 4)
    images = np.float32(cases.random_boxes(15, seed=3)).reshape(3, 5, 4)
    together = costs.box_costs(layers, images)
    assert together.shape == (2, 3, 12, 5)
    for layer in range(2):
        for image in range(3):
            alone = costs.box_costs(layers[layer, image], images[image])
            np.testing.assert_allclose(together[layer, image], alone, rtol=1e-5, atol=1e-5)


def test_what_padding_holds_stays_in_its_column_and_a_diverged_box_in_its_row():
    targets, predictions = np.float32(TARGETS), np.float32(PREDICTIONS)
    targets[3], predictions[7] = np.nan, np.nan
    clean = costs.box_costs(np.float32(PREDICTIONS), np.float32(TARGETS))
    value = np.asarray(costs.box_costs(predictions, targets))
    assert np.all(np.isnan(value[:, 3]))
    assert np.all(np.isnan(value[7]))
    np.testing.assert_array_equal(np.delete(np.delete(value, 7, 0), 3, 1), np.delete(np.delete(clean, 7, 0), 3, 1))


def test_costs_of_awkward_boxes_are_finite():
    predictions, targets = (np.float32(x) for x in cases.stacked(cases.AWKWARD))
    assert np.all(np.isfinite(costs.box_costs(predictions, targets)))


# Classes.


@pytest.mark.usefixtures("x64")
def test_costs_of_labels_are_the_columns_of_the_classes():
    table = RNG.normal(size=(2, 3, 12, 7))
    for shape in [(5,), (3, 5), (1, 5), (2, 1, 5), (2, 3, 5), (0,)]:
        labels = RNG.integers(0, 7, shape)
        wanted = np.take_along_axis(table, np.broadcast_to(labels[..., None, :], (2, 3, 12, shape[-1])), axis=-1)
        np.testing.assert_array_equal(costs.class_costs(table, labels), wanted)
        onehot = np.eye(7)[labels]
        np.testing.assert_allclose(costs.class_costs(table, onehot), wanted, rtol=1e-12, atol=1e-12)
    assert costs.class_costs(table[0, :1], np.zeros((3, 5), int)).shape == (3, 12, 5)


@pytest.mark.usefixtures("x64")
def test_several_classes_count_as_much_as_they_are_given():
    weights = RNG.uniform(size=(3, 5, 7))
    table = RNG.normal(size=(2, 3, 12, 7))
    np.testing.assert_allclose(
        costs.class_costs(table, weights), np.einsum("lbnk,bmk->lbnm", table, weights), rtol=1e-12, atol=1e-12
    )


def test_labels_of_padding_count_as_the_nearest_class():
    table = np.float32(LOGITS)
    for labels in (np.array([-1, 0, 7]), jnp.array([-1, 0, 7])):
        np.testing.assert_array_equal(costs.class_costs(table, labels), table[:, [0, 0, 6]])
    wide = np.arange(900, dtype=np.float32).reshape(3, 300)  # more classes than a byte can name
    np.testing.assert_array_equal(costs.class_costs(wide, np.array([-1, 127], np.int8)), wide[:, [0, 127]])
    traced = jax.jit(costs.class_costs)(table, np.array([-100, 3, 255]))
    np.testing.assert_array_equal(traced, table[:, [0, 3, 6]])


def test_labels_that_are_known_and_no_class_are_refused():
    for labels, wrong in (([-1, 7, 8], 8), ([-1, 7, -2, 3], -2), ([255, 7], 255)):
        with pytest.raises(ValueError, match=f"`labels` has {wrong}, but there are 7 classes") as caught:
            costs.class_costs(np.float32(LOGITS), np.array(labels))
        assert "write `jnp.clip(labels, -1, 7)`" in str(caught.value)


def test_a_nan_among_the_costs_of_classes_stays_in_its_row_and_column():
    weights = np.eye(7, dtype=np.float32)[LABELS]
    weights[2] = np.nan
    table = np.float32(LOGITS)
    table[4] = np.nan
    value = np.isnan(costs.class_costs(table, weights))
    assert np.all(value[4])
    assert np.all(value[:, 2])
    assert not np.any(np.delete(np.delete(value, 4, 0), 2, 1))


@pytest.mark.usefixtures("x64")
def test_focal_costs_are_the_focal_loss_of_a_class_less_that_of_none():
    one, none = np.ones((12, 7, 1)), np.zeros((12, 7, 1))
    for options in ({}, {"alpha": 0.6, "gamma": 1.3}):
        there, not_there = (class_reference.focal_loss(LOGITS[..., None], x, **options) for x in (one, none))
        np.testing.assert_allclose(costs.focal_costs(LOGITS, **options), there - not_there, rtol=1e-12, atol=1e-14)
    gradient = jax.grad(lambda x: jnp.sum(costs.focal_costs(x)))(LOGITS)
    moved = [np.sum(costs.focal_costs(LOGITS + step), axis=()) for step in (1e-6, -1e-6)]
    np.testing.assert_allclose(gradient, (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [20.0, 1e4, 1e15])
def test_focal_costs_are_finite_at_every_logit(size):
    logits = jnp.array([size, -size])
    value, slope = costs.focal_costs(logits), jax.grad(lambda x: jnp.sum(costs.focal_costs(x)))(logits)
    np.testing.assert_allclose(value, [-0.75 * size, 0.25 * size], rtol=1e-5)
    np.testing.assert_allclose(slope, [-0.75, -0.25], rtol=1e-5)


def test_half_precision_is_promoted():
    assert costs.focal_costs(jnp.zeros((3, 7), jnp.bfloat16)).dtype == jnp.float32
    assert costs.class_costs(jnp.zeros((3, 7), jnp.bfloat16), np.array([1])).dtype == jnp.float32
    assert costs.box_costs(jnp.zeros((3, 4), jnp.bfloat16), jnp.zeros((2, 4), jnp.float16)).dtype == jnp.float32


# What the originals match by these costs.


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_cheapest_matching_is_that_of_the_original_code(name):
    optimize = pytest.importorskip("scipy.optimize")
    given = {key: np.float32(value) if key != "labels" else np.array(value) for key, value in ORIGINALS[name].items()}
    of_boxes = costs.box_costs(*(boxes.cxcywh_to_xyxy(given[key]) for key in ("boxes", "target_boxes")))
    if name == "detr":
        of_classes = costs.class_costs(-jax.nn.softmax(given["logits"]), given["labels"])
    else:
        of_classes = 2 * costs.class_costs(costs.focal_costs(given["logits"]), given["labels"])
    rows, columns = optimize.linear_sum_assignment(of_boxes + of_classes)
    np.testing.assert_array_equal(rows[np.argsort(columns)], ORIGINALS[name]["row"])


def test_the_matrix_is_the_only_array_of_its_size():
    """Neither an index nor a copy of all costs for each pair."""
    table, labels = jnp.zeros((4, 300, 80)), jnp.zeros((4, 100), int)
    memory = jax.jit(costs.class_costs).lower(table, labels).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 4 * 300 * 100 * 4
    box, target = jnp.ones((4, 300, 4)), jnp.ones((4, 100, 4))
    memory = jax.jit(costs.box_costs).lower(box, target).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 4 * 300 * 100 * 4


def test_wrong_arguments_say_what_is_wanted():
    table = jnp.zeros((2, 3, 7))
    with pytest.raises(TypeError, match=r"`similarity` is a str, .* Write `similarity=similarity.giou`"):
        costs.box_costs(PREDICTIONS, TARGETS, similarity="giou")
    with pytest.raises(ValueError, match=r"but sets of boxes are"):
        costs.box_costs(PREDICTIONS, TARGETS[0])
    with pytest.raises(ValueError, match=r"`costs` has shape \(7,\), but it is `\[..., N, K\]`"):
        costs.class_costs(jnp.zeros(7), jnp.zeros(3, int))
    with pytest.raises(ValueError, match=r"of floating point it is `\[..., M, 7\]`.*`labels.astype\(jnp.int32\)`"):
        costs.class_costs(table, jnp.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"leading axes do not broadcast .*`labels.astype\(jnp.float32\)`"):
        costs.class_costs(table, jnp.zeros((2, 5, 7), int))
    with pytest.raises(ValueError, match=r"it is `\[..., M\]`.*Write `labels\[None\]`"):
        costs.class_costs(table, jnp.zeros((), int))
    with pytest.raises(TypeError, match=r"`logits` has dtype int32"):
        costs.focal_costs(jnp.zeros((3, 7), int))
    with pytest.raises(ValueError, match=r"`alpha` is 1.5, but it must be from 0 to 1"):
        costs.focal_costs(table, alpha=1.5)


def test_the_call_site_of_a_matcher_is_two_lines():
    predictions, targets = np.float32(PREDICTIONS), np.float32(TARGETS)
    matrix = costs.box_costs(predictions, targets) + 2 * costs.class_costs(
        costs.focal_costs(np.float32(LOGITS)), LABELS
    )
    pair = losses.focal_loss(*np.broadcast_arrays(np.float32(LOGITS), np.eye(7, dtype=np.float32)[LABELS[0]]))
    rest = losses.focal_loss(np.float32(LOGITS), np.zeros((12, 7), np.float32))
    wanted = costs.box_costs(predictions, targets)[:, 0] + 2 * (pair - rest)
    np.testing.assert_allclose(matrix[:, 0], wanted, rtol=1e-4, atol=1e-5)
