"""Assigners: the answers of plain loops and of detectors' code, whatever padding holds; batches, empty images.

`dense_reference.npz` holds what heads predict and the assignments of the original code, as `test_dense.py` says.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import assigners, boxes, coders, losses, similarity
from tests import dense_reference as reference

SIZE, STRIDES, CLASSES = 64, (8, 16, 32), 5
LEVELS = tuple((SIZE // stride) ** 2 for stride in STRIDES)
SCENES = 30


def grid():
    """The centers of the cells of all levels, and the strides of their levels."""
    points, strides = coders.grid_points((SIZE, SIZE), STRIDES)
    return np.asarray(points, np.float64), np.asarray(strides, np.float64)


def scene(seed):
    """Targets with padding anywhere, full of NaN; none in some images. In pixels, float32-exact."""
    rng = np.random.default_rng(seed)
    count = 1 + seed % 9
    half = rng.uniform(2, 24, (count, 2))
    middle = rng.uniform(4, SIZE - 4, (count, 2))
    targets = np.float64(np.float32(np.concatenate([middle - half, middle + half], axis=-1)))
    where = rng.uniform(size=count) < (0.7 if seed % 7 else 0)
    labels = rng.integers(0, CLASSES, count)
    return rng, np.where(where[:, None], targets, np.nan), np.where(where, labels, 99), where


def predictions_of(rng):
    points, strides = grid()
    sides = strides[:, None] * rng.uniform(0.5, 2.5, (len(points), 4))
    return np.concatenate([points - sides[:, :2], points + sides[:, 2:]], axis=-1)


def overlaps_of(boxes, targets, where):
    overlaps = np.array(
        [[reference.iou(a, t) if w else np.nan for t, w in zip(targets, where, strict=True)] for a in boxes]
    )
    return overlaps.reshape(len(boxes), len(targets))


def dense_case(seed):
    """What a dense assigner takes, NaN in every column of padding."""
    rng, targets, labels, where = scene(seed)
    points, _ = grid()
    overlaps = overlaps_of(predictions_of(rng), targets, where)
    inside = np.array([[w and reference.contains(t, p) for t, w in zip(targets, where, strict=True)] for p in points])
    scores = rng.uniform(size=(len(points), CLASSES))
    return scores, overlaps, inside.reshape(overlaps.shape), labels, where


@pytest.fixture(autouse=True)
def in_float64(x64):
    """As the loops: no rounding decides."""


def atss(targets, where):
    points, strides = grid()
    anchors = np.concatenate([points - 1.5 * strides[:, None], points + 1.5 * strides[:, None]], axis=-1)
    found = assigners.atss(anchors, targets, level_sizes=LEVELS, where=where)
    return found, functools.partial(reference.atss, anchors, level_sizes=LEVELS, candidates=9)


@pytest.mark.parametrize("seed", range(SCENES))
def test_atss_is_that_of_a_loop(seed):
    _, targets, _, where = scene(seed)
    found, loop = atss(targets, where)
    np.testing.assert_array_equal(found, loop(targets, where))


@pytest.mark.parametrize("seed", range(SCENES))
def test_the_smallest_target_around_a_point_is_that_of_a_loop(seed):
    _, targets, _, where = scene(seed)
    points, strides = grid()
    ranges = np.stack([np.where(strides == 8, 0, strides), np.where(strides == 32, np.inf, 2 * strides)], axis=-1)
    options = {"ranges": ranges, "radius": 1.5 * strides}
    found = assigners.smallest_inside(points, targets, where=where, **options)
    np.testing.assert_array_equal(found, reference.smallest_inside(points, targets, where, **options))


RULES = {
    "inside": (assigners.task_aligned, {"candidates": 10, "alpha": 0.5, "beta": 6.0}),
    "inside, one kept": (assigners.task_aligned, {"candidates": 7, "alpha": 0.5, "beta": 6.0, "keep": 1}),
    "among all": (assigners.task_aligned_tood, {"candidates": 13, "alpha": 1.0, "beta": 6.0}),
}


@pytest.mark.parametrize("seed", range(SCENES))
@pytest.mark.parametrize("rule", RULES)
def test_task_aligned_assignment_is_that_of_a_loop(rule, seed):
    scores, overlaps, inside, labels, where = dense_case(seed)
    function, options = RULES[rule]
    slots, found = function(scores, overlaps, inside, labels, where=where, **options)
    among_all = {"among_all": True} if rule == "among all" else {}
    wanted = reference.aligned(scores, overlaps, inside, labels, where, **options, **among_all)
    np.testing.assert_array_equal(slots, wanted[0])
    np.testing.assert_allclose(found, wanted[1], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("seed", range(SCENES))
def test_sim_ota_is_that_of_a_loop(seed):
    _, overlaps, inside, _, where = dense_case(seed)
    rng = np.random.default_rng(100 + seed)
    allowed = inside | (rng.uniform(size=inside.shape) < 0.1)
    costs = rng.uniform(0, 5, overlaps.shape) - 3 * np.log(np.maximum(np.nan_to_num(overlaps), 1e-7))
    costs = np.where(where, costs, np.nan)
    found = assigners.sim_ota(costs, overlaps, allowed, inside, where=where)
    np.testing.assert_array_equal(found, reference.sim_ota(costs, overlaps, allowed, inside, where, 10))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("least_side", [None, 16.0])
def test_what_is_inside_is_strictly_between_the_sides(seed, least_side):
    _, targets, _, where = scene(seed)
    points, _ = grid()
    targets[where] = np.round(targets[where] / 4) * 4  # sides that go through points
    found = assigners.inside(points, targets, least_side=least_side, where=where)
    for m, box in enumerate(targets):
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        half = np.where(2 * half < (least_side or 0), (least_side or 0) / 2, half)
        wide = np.concatenate([middle - half, middle + half])
        wanted = [bool(where[m]) and reference.contains(wide, point) for point in points]
        np.testing.assert_array_equal(found[:, m], wanted)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_near_is_nearer_than_the_radius_on_every_axis(seed):
    _, targets, _, where = scene(seed)
    points, strides = grid()
    targets[where] = np.round(targets[where] / 4) * 4  # centers that are just as far as the radius
    found = assigners.near(points, targets, radius=1.5 * strides, where=where)
    for m, box in enumerate(targets):
        apart = np.abs(points - (box[:2] + box[2:]) / 2)
        wanted = np.all(apart < 1.5 * strides[:, None], axis=-1) & where[m]
        np.testing.assert_array_equal(found[:, m], wanted)


def every_assigner(seed):
    """A function of the targets' slots for each assigner, and the arrays `[M, ...]`, all of one length."""
    scores, overlaps, inside, labels, where = dense_case(seed)
    _, targets, _, _ = scene(seed)
    costs = np.where(where, 5 - 4 * np.nan_to_num(overlaps), np.nan)
    return {
        "atss": (lambda t, w: atss(t, w)[0], (targets, where)),
        "task_aligned": (
            lambda o, i, labels, w: assigners.task_aligned(scores, o.T, i.T, labels, where=w)[0],
            (overlaps.T, inside.T, labels, where),
        ),
        "task_aligned_tood": (
            lambda o, i, labels, w: assigners.task_aligned_tood(scores, o.T, i.T, labels, where=w)[0],
            (overlaps.T, inside.T, labels, where),
        ),
        "sim_ota": (
            lambda c, o, i, w: assigners.sim_ota(c.T, o.T, i.T, i.T, where=w),
            (costs.T, overlaps.T, inside.T, where),
        ),
    }


@pytest.mark.parametrize("name", ["atss", "task_aligned", "task_aligned_tood", "sim_ota"])
@pytest.mark.parametrize("seed", [3, 4, 5, 8])
def test_permuted_slots_give_the_permuted_answer(name, seed):
    function, arrays = every_assigner(seed)[name]
    count = len(arrays[-1])
    order = np.random.default_rng(seed).permutation(count)
    of_permuted = np.append(order, count)[np.asarray(function(*(x[order] for x in arrays)))]
    np.testing.assert_array_equal(of_permuted, function(*arrays))


@pytest.mark.parametrize("name", ["atss", "task_aligned", "task_aligned_tood", "sim_ota"])
def test_more_padding_changes_nothing_but_the_slot_of_nothing(name):
    function, arrays = every_assigner(5)[name]
    count = len(arrays[-1])
    padded = [np.concatenate([x, np.full_like(x[:3], np.nan if x.dtype == float else 0)]) for x in arrays]
    found = np.asarray(function(*padded))
    np.testing.assert_array_equal(np.where(found == count + 3, count, found), function(*arrays))


@pytest.mark.parametrize("name", ["atss", "task_aligned", "task_aligned_tood", "sim_ota"])
def test_an_image_without_slots_has_nothing(name):
    function, arrays = every_assigner(5)[name]
    np.testing.assert_array_equal(function(*(x[:0] for x in arrays)), np.zeros(sum(LEVELS), int))


def test_leading_axes_are_images_each_by_itself():
    cases = [dense_case(seed) for seed in (8, 17)]
    assert cases[0][1].shape == cases[1][1].shape
    batch = [np.stack(some) for some in zip(*cases, strict=True)]
    for function in (assigners.task_aligned, assigners.task_aligned_tood):

        def call(*arrays, function=function):
            return function(*arrays[:4], where=arrays[4])

        for found in (call(*batch), jax.jit(jax.vmap(call))(*batch)):
            for number, case in enumerate(cases):
                for together, alone in zip(found, function(*case[:4], where=case[4]), strict=True):
                    np.testing.assert_array_equal(together[number], alone)
    targets = [scene(seed)[1] for seed in (8, 17)]
    where = [scene(seed)[3] for seed in (8, 17)]
    np.testing.assert_array_equal(
        atss(np.stack(targets), np.stack(where))[0], [atss(*one)[0] for one in zip(targets, where, strict=True)]
    )


def test_an_assignment_has_no_gradient():
    scores, overlaps, inside, labels, where = dense_case(5)

    def total(scores, overlaps):
        return jnp.sum(assigners.task_aligned(scores, overlaps, inside, labels, where=where)[1])

    for gradient in jax.grad(total, (0, 1))(jnp.asarray(scores), jnp.asarray(overlaps)):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_a_small_overlap_is_still_ranked_where_its_power_underflows():
    overlaps = np.array([[1e-9], [3e-9], [2e-9]], np.float32)
    scores, inside = np.ones((3, 1), np.float32), np.ones((3, 1), bool)
    slots, found = assigners.task_aligned(scores, overlaps, inside, np.array([0]), candidates=2)
    np.testing.assert_array_equal(slots, [1, 0, 0])
    np.testing.assert_allclose(found, [0, 3e-9, (2 / 3) ** 6 * 3e-9], rtol=1e-5)


def test_the_similarity_is_the_callers():
    _, targets, labels, where = scene(5)
    rng = np.random.default_rng(0)
    predictions, scores = predictions_of(rng), rng.uniform(size=(sum(LEVELS), CLASSES))
    overlaps = similarity.pairwise(similarity.ciou)(predictions, targets)
    inside = assigners.inside(grid()[0], targets, where=where)
    slots, found = assigners.task_aligned(scores, overlaps, inside, labels, where=where)
    assert np.any(slots < len(targets))
    assert np.all(np.isfinite(found))


ORIGINALS = dict(np.load(pathlib.Path(__file__).parent / "dense_reference.npz"))


def original(model, scene):
    """The arrays of a scene, in float64, with sizes as numbers."""
    start = f"{model}/{scene}/"
    found: dict[str, Any] = {key.removeprefix(start): x for key, x in ORIGINALS.items() if key.startswith(start)}
    found = {key: x.astype(float) if x.dtype.kind == "f" else x for key, x in found.items()}
    found |= {key: tuple(map(int, found[key])) for key in ("image_size", "strides")}
    height, width = found["image_size"]
    found["sizes"] = [(height // stride) * (width // stride) for stride in found["strides"]]
    return found


def of_yolo(scene, raw, scores, **options):
    """Slots and scores of ultralytics' assignment, from distances in strides and logits."""
    height, width = scene["image_size"]
    points, strides = coders.grid_points((height, width), scene["strides"])
    predictions = coders.decode_distances(raw, points, scale=strides)
    targets = boxes.cxcywh_to_xyxy(scene["target_boxes"] * np.array([width, height, width, height]))
    overlaps = similarity.pairwise(similarity.ciou)(predictions, targets)
    where = scene["target_where"]
    inside = assigners.inside(points, targets, least_side=16.0, where=where)
    labels = scene["target_labels"]
    return assigners.task_aligned(jax.nn.sigmoid(scores), overlaps, inside, labels, where=where, **options)


def yolov8(scene):
    bins = scene["boxes_raw"].reshape(*scene["boxes_raw"].shape[:2], 4, 16)
    yield "", of_yolo(scene, coders.expected_bin(bins), scene["scores"])


def yolo26(scene):
    for head, options in {"many_": {"candidates": 10}, "one_": {"candidates": 7, "keep": 1}}.items():
        yield head, of_yolo(scene, scene[f"{head}boxes_raw"], scene[f"{head}scores"], **options)


def yolo26_obb(scene):
    points, strides = coders.grid_points(scene["image_size"], scene["strides"])
    height, width = scene["image_size"]
    targets = scene["target_boxes"] * np.array([width, height, width, height, 1])
    where = scene["target_where"] & (np.min(targets[..., 2:4], axis=-1) >= 2)
    inside = assigners.rotated_inside(points, targets, least_side=16.0, where=where)
    for head, options in {"many_": {"candidates": 10}, "one_": {"candidates": 7, "keep": 1}}.items():
        distances, angles = scene[f"{head}boxes_raw"], scene[f"{head}angle"][..., 0]
        predictions = coders.decode_rotated_distances(distances, angles, points, scale=strides)
        overlaps = 1 - similarity.pairwise(losses.probiou_loss)(predictions, targets)
        scores = 1 / (1 + np.exp(-scene[f"{head}scores"]))
        known = scores, overlaps, inside, scene["target_labels"]
        yield head, assigners.task_aligned(*known, where=where, **options)


def gfl(scene):
    options = {"level_sizes": scene["sizes"], "where": scene["target_where"]}
    yield "", (assigners.atss(scene["anchors"], scene["target_boxes"], **options),)


def tood(scene):
    where, targets = scene["target_where"], scene["target_boxes"]
    predictions = scene["boxes_in_strides"] * np.repeat(scene["strides"], scene["sizes"])[:, None]
    overlaps = similarity.pairwise(similarity.iou)(predictions, targets)
    inside = assigners.inside(scene["points"], targets, where=where)
    labels = scene["target_labels"]
    yield "", assigners.task_aligned_tood(scene["probabilities"], overlaps, inside, labels, where=where)


def yolox(scene):
    where, targets = scene["target_where"], scene["target_boxes"]
    corners, strides = coders.grid_points(scene["image_size"], scene["strides"], offset=0.0)
    points, _ = coders.grid_points(scene["image_size"], scene["strides"])
    overlaps = similarity.pairwise(similarity.iou)(
        coders.decode_grid(scene["boxes_raw"], corners, scale=strides), targets
    )
    inside = assigners.inside(points, targets, where=where)
    reach = 2.5 * np.asarray(strides)[:, None, None]
    near = np.all(np.abs(np.asarray(points)[:, None] - np.asarray(boxes.center(targets))[:, None]) < reach, axis=-1)
    near &= where[:, None]
    probabilities = 1 / np.sqrt((1 + np.exp(-scene["logits"])) * (1 + np.exp(-scene["objectness"])))
    of_one = np.take_along_axis(probabilities, np.clip(scene["target_labels"], 0, 7)[:, None], axis=-1)
    entropies = -np.sum(np.log1p(-probabilities), -1, keepdims=True) - np.log(of_one) + np.log1p(-of_one)
    costs = entropies - 3 * np.log(np.asarray(overlaps) + 1e-7)
    allowed = np.any(np.asarray(inside) | near, axis=-1, keepdims=True)
    yield "", (assigners.sim_ota(costs, overlaps, allowed, np.asarray(inside) & near, where=where),)


def fcos(scene):
    anchors, counts = scene["anchors"], scene["anchors_per_level"]
    side, level = anchors[:, 2] - anchors[:, 0], np.repeat(np.arange(len(counts)), counts)
    ranges = np.stack([np.where(level == 0, 0, 4 * side), np.where(level == len(counts) - 1, np.inf, 8 * side)], -1)
    options = {"ranges": ranges, "radius": 1.5 * side, "where": scene["target_where"]}
    yield "", (assigners.smallest_inside(boxes.center(anchors), scene["target_boxes"], **options),)


MODELS = {function.__name__: function for function in (yolov8, yolo26, yolo26_obb, gfl, tood, yolox, fcos)}
# How much the epsilons of the original move a score: 1e-9 beside the largest alignment, 1e-7 in TOOD. The sixth power
# of a ProbIoU of 0.09 is 5e-7.
SCORE = {"tood": 3e-4, "yolo26_obb": 4e-4}


SCENES_OF_DETECTORS = sorted({tuple(key.split("/")[:2]) for key in ORIGINALS if key.split("/")[0] in MODELS})


@pytest.mark.parametrize(("model", "name"), SCENES_OF_DETECTORS)
def test_the_assignment_of_a_detector_is_that_of_its_code(model, name):
    scene = original(model, name)
    count = scene["target_boxes"].shape[-2]
    for head, (slots, *scores) in MODELS[model](scene):
        wanted = scene["matched"] if model == "fcos" else scene[f"{head}assigned"]
        np.testing.assert_array_equal(slots, np.where(wanted < 0, count, wanted))
        if scores:
            np.testing.assert_allclose(scores[0], scene[f"{head}target_score"], atol=SCORE.get(model, 3e-5))
