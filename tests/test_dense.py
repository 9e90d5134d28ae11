"""The losses of dense detectors against the numbers of the original code, and the laws that hold for all of them.

`dense_reference.npz` holds inputs and results of that code on seeded scenes, computed in float64: assignments, totals,
terms, and of each gradient its products with three arrays of signs and its norm. By which code:

    retinanet, rpn, box_head, fcos      torchvision 0.29.1
    gfl, tood, yolox                    mmdetection 3.3.0
    yolov8, yolo26, yolo26_obb          ultralytics 8.4.190
"""

import collections
import functools
import json
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import assigners, boxes, coders, detectors, losses, similarity
from tests import spread_dense
from tests.devices import host_devices
from tests.originals import (
    assert_finite_without_targets,
    assert_padding_changes_no_bit,
    assert_permuted_slots_change_no_bit,
    assert_products_are,
)

NUMBERS = dict(np.load(pathlib.Path(__file__).parent / "dense_reference.npz"))
QUICKLY = {"xla_backend_optimization_level": 0}
TRACES = collections.Counter()  # of the loss of each model


def scene(model, name, dtype="float64"):
    """The numbers of a scene by name, floating point in the dtype."""
    start = f"{model}/{name}/"
    found: dict[str, Any] = {key.removeprefix(start): x for key, x in NUMBERS.items() if key.startswith(start)}
    return {key: x.astype(dtype) if x.dtype.kind == "f" and x.ndim else x for key, x in found.items()}


def targets_of(numbers):
    where = numbers["target_where"]
    labels = numbers.get("target_labels", np.zeros(where.shape, np.int32))
    return detectors.Targets(numbers["target_boxes"], labels, where)


def grid_of(numbers, dtype):
    """Image size, points, strides and the number of points of each level."""
    size, levels = (tuple(map(int, numbers[name])) for name in ("image_size", "strides"))
    points, strides = (np.asarray(x, dtype) for x in coders.grid_points(size, levels))
    return size, points, strides, [int(np.sum(strides == stride)) for stride in levels]


# Each gives the inputs that have a gradient by their names in the file, and a function of these and the targets; then
# the terms by their names in the file, which holds them times a weight.


def retinanet(numbers, similarity_of_boxes=None):
    def loss(logits, deltas, targets):
        return detectors.retinanet_loss(logits, deltas, targets, numbers["anchors"], similarity=similarity_of_boxes)

    return ["logits", "deltas"], loss


def rpn(numbers, sampled=None):
    def loss(objectness, deltas, targets):
        return detectors.rpn_loss(objectness, deltas, targets, numbers["anchors"], sampled=sampled)

    return ["objectness", "deltas"], loss


def box_head(numbers):
    def loss(logits, deltas, targets):
        where = numbers["proposals_where"]
        return detectors.fast_rcnn_loss(logits, deltas, targets, numbers["proposals"], where=where)

    return ["logits", "deltas"], loss


def fcos(numbers):
    anchors = numbers["anchors"]
    points, strides = np.asarray(boxes.center(anchors)), anchors[:, 2] - anchors[:, 0]

    def loss(logits, distances, centerness, targets):
        return detectors.fcos_loss(logits, distances, centerness[..., 0], targets, points, strides)

    return ["logits", "distances", "centerness"], loss


def gfl(numbers):
    _, _, strides, sizes = grid_of(numbers, numbers["anchors"].dtype)

    def loss(logits, bins, targets):
        return detectors.gfl_loss(logits, bins, targets, numbers["anchors"], strides, level_sizes=sizes)

    return ["logits", "boxes_raw"], loss


def tood(numbers):
    _, _, strides, _ = grid_of(numbers, numbers["points"].dtype)

    def loss(probabilities, in_strides, targets):
        return detectors.tood_loss(probabilities, in_strides * strides[None, :, None], targets, numbers["points"])

    return ["probabilities", "boxes_in_strides"], loss


def yolox(numbers):
    _, points, strides, _ = grid_of(numbers, numbers["logits"].dtype)

    def loss(logits, objectness, raw, targets):
        return detectors.yolox_loss(logits, objectness[..., 0], raw, targets, points, strides)

    return ["logits", "objectness", "boxes_raw"], loss


def yolov8(numbers):
    _, points, strides, _ = grid_of(numbers, numbers["scores"].dtype)

    def loss(logits, bins, targets):
        total, terms = detectors.yolov8_loss(logits, bins, in_pixels(targets, numbers), points, strides)
        return len(logits) * total, terms  # as ultralytics multiplies it

    return ["scores", "boxes_raw"], loss


def yolo26(numbers):
    size, points, strides, _ = grid_of(numbers, numbers["many_scores"].dtype)

    def loss(*arrays):
        *heads, targets = arrays
        logits, distances = jnp.stack(heads[:2]), jnp.stack(heads[2:])
        targets = in_pixels(targets, numbers)
        total, terms = detectors.yolo26_loss(logits, distances, targets, points, strides, image_size=size)
        return logits.shape[1] * total, terms

    return ["many_scores", "one_scores", "many_boxes_raw", "one_boxes_raw"], loss


def yolo26_obb(numbers):
    size, points, strides, _ = grid_of(numbers, numbers["many_scores"].dtype)
    height, width = size

    def loss(*arrays):
        *heads, targets = arrays
        logits, distances, angles = (jnp.stack(heads[place : place + 2]) for place in (0, 2, 4))
        in_pixels = targets.boxes * np.array([[[width, height, width, height, 1]]], targets.boxes.dtype)
        given = logits, distances, angles[..., 0], targets._replace(boxes=in_pixels)
        total, terms = detectors.yolo26_obb_loss(*given, points, strides, image_size=size)
        return logits.shape[1] * total, terms

    return [f"{head}_{name}" for name in ("scores", "boxes_raw", "angle") for head in ("many", "one")], loss


def in_pixels(targets, numbers):
    size = tuple(map(int, numbers["image_size"]))
    corners = boxes.cxcywh_to_xyxy(targets.boxes)
    return targets._replace(boxes=boxes.normalized_to_absolute(corners, image_size=size))


OF_ONE_HEAD = retinanet, rpn, box_head, fcos, gfl, tood, yolox, yolov8
MODELS = {model.__name__: model for model in (*OF_ONE_HEAD, yolo26, yolo26_obb)}
TERMS = {  # the name in the file, and the weight that is in its number
    "retinanet": {"classes": ("loss_class", 1), "boxes": ("l1_loss_box", 1)},
    "rpn": {"objectness": ("all_loss_objectness", 1), "l1": ("all_loss_box", 1)},
    "box_head": {"classes": ("loss_class", 1), "l1": ("loss_box", 1)},
    "fcos": {"classes": ("loss_class", 1), "giou": ("loss_box", 1), "centerness": ("loss_centerness", 1)},
    "gfl": {"classes": ("loss_class", 1), "giou": ("loss_box", 2), "dfl": ("loss_dfl", 0.25)},
    "tood": {"classes": ("loss_class", 1), "giou": ("loss_box", 2)},
    "yolox": {
        "classes": ("loss_cls", 1),
        "iou": ("loss_bbox", 5),
        "objectness": ("loss_obj", 1),
        "l1": ("loss_l1", 1),
    },
    "yolov8": {"classes": ("loss_cls", 0.5), "ciou": ("loss_box", 7.5), "dfl": ("loss_dfl", 1.5)},
    "yolo26": {"classes": ("loss_cls", 0.5), "ciou": ("loss_box", 7.5), "l1": ("loss_l1", 1.5)},
    "yolo26_obb": {
        "classes": ("loss_cls", 0.5),
        "probiou": ("loss_box", 7.5),
        "l1": ("loss_l1", 1.5),
        "angle": ("loss_angle", 1),
    },
}
PREFIX = {"retinanet": "l1_", "rpn": "all_"}  # of totals and gradients in the file
GRADIENTS = {"boxes_in_strides": "grad_boxes"}  # where they have other names in the file than the arrays
OF_HEADS = "scores", "boxes_raw", "angle"
GRADIENTS |= {f"{head}_{name}": f"{head}_grad_{name}" for head in ("many", "one") for name in OF_HEADS}
SCENES = sorted({tuple(key.split("/")[:2]) for key in NUMBERS})
# How far float64 may lie from the original: total, and gradients of their norm. Its epsilons decide where it is more.
TOLERANCE = {
    "gfl": (1e-7, 3e-6),
    "tood": (3e-4, 3e-3),
    "yolox": (1e-8, 1e-8),
    "fcos": (1e-10, 1e-8),
    "yolov8": (1e-6, 3e-5),
    "yolo26": (1e-6, 3e-5),
    "yolo26_obb": (1e-4, 1e-2),
}
every_model = pytest.mark.parametrize("model", MODELS)


@functools.cache
def program_of(model, name, dtype):
    """One compiled program of a scene, which all tests share, with the names of its arrays, the arrays and targets."""
    numbers = scene(model, name, dtype)
    names, loss = MODELS[model](numbers)

    def counted(arrays, targets):
        TRACES[model] += 1
        return loss(*arrays, targets)

    program = jax.jit(jax.value_and_grad(counted, has_aux=True), compiler_options=QUICKLY)
    return names, [numbers[name] for name in names], targets_of(numbers), program


def assert_equal(numbers, names, found, tolerance, prefix="", skipped=()):
    (value, _), gradients = found
    np.testing.assert_allclose(value, numbers[f"{prefix}total"], rtol=tolerance[0])
    for name, gradient in zip(names, gradients, strict=True):
        if name not in skipped:
            assert_products_are(gradient, numbers[GRADIENTS.get(name, f"{prefix}grad_{name}")], tolerance[1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("model", "name"), SCENES)
def test_a_loss_has_the_totals_terms_and_gradients_of_the_original(model, name):
    numbers, tolerance = scene(model, name), TOLERANCE.get(model, (1e-12, 1e-12))
    names, arrays, targets, program = program_of(model, name, "float64")
    found = program(arrays, targets)
    assert_equal(numbers, names, found, tolerance, PREFIX.get(model, ""))
    (value, terms), _ = found
    assert value.dtype == "float64"
    assert terms.keys() == TERMS[model].keys()
    for of, (key, weight) in TERMS[model].items():
        has_two = model.startswith("yolo26")
        wanted = np.array([numbers[f"{head}_{key}"] for head in ("many", "one")] if has_two else numbers[key])
        np.testing.assert_allclose(terms[of], wanted / weight, rtol=10 * tolerance[0], atol=10 * tolerance[0])
    # No tie decides, so that what it matched is what the original did: `test_assigners.py` for the others.


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["empty", "mixed", "plain"])
def test_retinanet_with_giou_is_that_of_the_original_to_its_epsilon(name):
    numbers = scene("retinanet", name)
    _, loss = retinanet(numbers, similarity.giou)
    arrays = numbers["logits"], numbers["deltas"]
    found = jax.value_and_grad(loss, (0, 1), has_aux=True)(*arrays, targets_of(numbers))
    assert_equal(numbers, ["logits", "deltas"], found, (1e-10, 1e-8), "giou_", skipped=["logits"])
    np.testing.assert_allclose(found[0][1]["boxes"], numbers["giou_loss_box"], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["empty", "mixed", "plain"])
def test_the_sampled_anchors_of_a_region_proposal_network_alone_count(name):
    numbers = scene("rpn", name)
    _, loss = rpn(numbers, numbers["sampled_mask"])
    arrays = numbers["objectness"], numbers["deltas"]
    found = jax.value_and_grad(loss, (0, 1), has_aux=True)(*arrays, targets_of(numbers))
    assert_equal(numbers, ["objectness", "deltas"], found, (1e-12, 1e-12), "sampled_")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["empty", "mixed", "plain"])
@pytest.mark.parametrize(("model", "limits"), [("retinanet", (0.4, 0.5)), ("rpn", (0.3, 0.7))])
def test_the_anchors_of_targets_are_those_of_the_original(model, limits, name):
    numbers = scene(model, name)
    targets = targets_of(numbers)
    slots, ignored = detectors.anchor_slots(targets, numbers["anchors"], low=limits[0], high=limits[1])
    count = targets.where.shape[-1]
    np.testing.assert_array_equal(np.where(slots < count, slots, np.where(ignored, -2, -1)), numbers["matched"])


@every_model
def test_in_float32_a_loss_is_that_of_the_original_to_rounding(model):
    numbers = scene(model, "mixed", "float32")
    names, arrays, targets, program = program_of(model, "mixed", "float32")
    total, of_gradients = TOLERANCE.get(model, (0, 0))
    found = program(arrays, targets)
    assert found[0][0].dtype == "float32"
    assert_equal(numbers, names, found, (max(total, 2e-6), max(of_gradients, 3e-5)), PREFIX.get(model, ""))


@every_model
def test_what_padding_holds_changes_no_bit(model):
    _, arrays, targets, program = program_of(model, "mixed", "float32")
    assert_padding_changes_no_bit(program, arrays, targets)


@every_model
def test_permuted_slots_give_the_same_loss(model):
    _, arrays, targets, program = program_of(model, "mixed", "float32")
    assert_permuted_slots_change_no_bit(program, arrays, targets)


@every_model
def test_images_and_batches_without_targets_are_finite_and_one_program_serves_all(model):
    _, arrays, targets, program = program_of(model, "mixed", "float32")
    program(arrays, targets)
    traced = TRACES.total()
    assert_finite_without_targets(program, arrays, targets)
    assert TRACES.total() == traced


@every_model
def test_products_with_the_hessian_are_finite(model):
    names, loss = MODELS[model](numbers := scene(model, "mixed", "float32"))
    arrays, targets = tuple(jnp.asarray(numbers[name]) for name in names), targets_of(numbers)

    def gradient(*arrays):
        return jax.grad(lambda *arrays: loss(*arrays, targets)[0], range(len(arrays)))(*arrays)

    found = jax.jit(lambda *arrays: jax.jvp(gradient, arrays, arrays), compiler_options=QUICKLY)(*arrays)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(found))


@pytest.mark.parametrize("model", ["retinanet", "gfl", "yolov8"])
def test_half_precision_is_computed_in_float32(model):
    names, loss = MODELS[model](numbers := scene(model, "mixed", "float32"))
    half, targets = [jnp.asarray(numbers[name], jnp.bfloat16) for name in names], targets_of(numbers)
    (value, _), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(*half, targets)
    wanted, _ = loss(*(x.astype(jnp.float32) for x in half), targets)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    assert value.dtype == jnp.float32
    assert all(x.dtype == jnp.bfloat16 for x in gradients)


@pytest.mark.parametrize("logit", [-1e30, 1e30])
@pytest.mark.parametrize("model", ["yolox", "yolov8", "gfl", "fcos", "retinanet"])
def test_saturated_logits_have_a_finite_loss_and_gradient(model, logit):
    _, arrays, targets, program = program_of(model, "mixed", "float32")
    saturated = [np.full_like(arrays[0], logit), *arrays[1:]]
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(program(saturated, targets)))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probabilities_at_their_ends_have_a_finite_loss_and_gradient(probability):
    _, arrays, targets, program = program_of("tood", "mixed", "float32")
    ends = np.full_like(arrays[0], probability), arrays[1]
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(program(list(ends), targets)))


def sizes_in(program):
    """The sizes of all arrays that a program makes."""
    for equation in program.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for part in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield from sizes_in(inner)


@pytest.mark.parametrize("name", ["yolox", "yolov8", "tood", "fcos"])
def test_no_array_has_a_number_for_each_anchor_slot_and_class(name):
    anchors, slots, classes = 84, 40, 90
    points, strides = coders.grid_points((64, 64), (8, 16, 32))
    targets = detectors.Targets(jnp.ones((1, slots, 4)), jnp.ones((1, slots), int), jnp.ones((1, slots), bool))
    shapes = {
        "yolox": {"logits": (classes,), "objectness": (), "raw": (4,)},
        "yolov8": {"logits": (classes,), "bins": (4 * 16,)},
        "tood": {"probabilities": (classes,), "predictions": (4,)},
        "fcos": {"logits": (classes,), "distances": (4,), "centerness": ()},
    }[name]
    at_points = {"points": points} if name == "tood" else {"points": points, "strides": strides}

    def loss(arrays):
        return getattr(detectors, f"{name}_loss")(**arrays, targets=targets, **at_points)[0]

    arrays = {key: jnp.ones((1, anchors, *shape)) for key, shape in shapes.items()}
    sizes = list(sizes_in(jax.make_jaxpr(jax.value_and_grad(loss))(arrays).jaxpr))
    assert anchors * slots <= max(sizes) < anchors * slots * classes / 4


@pytest.fixture(scope="module")
def spread():
    script = [sys.executable, "-W", "error", "-m", "tests.spread_dense"]
    output = subprocess.run(script, env=host_devices(8), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


@pytest.mark.parametrize("targets", ["many", "three"])
@pytest.mark.parametrize("way", spread_dense.WAYS)
@pytest.mark.parametrize("name", sorted({"fast_rcnn" if model == "box_head" else model for model in MODELS}))
def test_eight_devices_have_the_loss_and_the_gradient_of_one_batch(spread, name, way, targets):
    assert spread[f"{name}, {targets}, {way}"] < 2e-6


# What is not copied.


def one_image(box, label=0):
    return detectors.Targets(np.float32([[box]]), np.full((1, 1), label), np.ones((1, 1), bool))


def test_a_target_that_overlaps_nothing_makes_no_anchor_positive():
    # In torchvision every anchor is as near to it as the best one, 0, and so becomes positive.
    anchors = np.float32([[0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16]])
    ious = np.asarray(similarity.pairwise(similarity.iou)(anchors, np.float32([[90, 90, 99, 99]])))
    theirs = int(np.sum(ious == ious.max(axis=0)))
    slots, ignored = detectors.anchor_slots(one_image([90, 90, 99, 99]), anchors)
    assert (theirs, int(np.sum(slots == 0)), int(np.sum(ignored))) == (3, 0, 0)


def test_the_smallest_target_is_told_from_one_a_little_larger():
    # torchvision ranks by 1e8 minus the area, which float32 rounds to steps of 8: the first one wins there.
    targets = np.float32([[0, 0, 8.1, 8], [0, 0, 8, 8]])
    areas = np.float32([64.8, 64])
    assert int(np.argmax(np.float32(1e8) - areas)) == 0
    options = {"ranges": np.float32([[0, np.inf]]), "radius": np.float32([np.inf])}
    assert int(assigners.smallest_inside(np.float32([[4, 4]]), targets, **options)[0]) == 1


@pytest.mark.usefixtures("x64")
def test_complete_iou_has_no_epsilon():
    # Ultralytics adds 1e-7 to heights and to the union, in strides: of boxes of 1e-3 strides the IoU is another.
    box, other = (np.array([[0, 0, side, 1e-3]]) for side in (1e-3, 2e-3))
    theirs = 1e-6 / (2e-6 + 1e-7)
    np.testing.assert_allclose(similarity.iou(box, other), [0.5], rtol=1e-12)
    np.testing.assert_allclose(theirs, 0.476, atol=1e-3)


@pytest.mark.usefixtures("x64")
def test_counts_have_no_epsilon():
    # mmdetection adds 1.19e-7 to what it divides by: all of the difference in an image without targets.
    _, arrays, targets, program = program_of("gfl", "empty", "float64")
    (value, _), _ = program(arrays, targets)
    wanted = float(scene("gfl", "empty")["total"])
    np.testing.assert_allclose(float(value) / wanted - 1, np.finfo(np.float32).eps / 2, rtol=1e-3)


def test_a_side_beyond_the_last_bin_counts_as_a_margin_before_it():
    # So do both originals, where distribution focal loss by itself takes the last bin.
    bins = jnp.zeros((1, 1, 4 * 17)).at[..., 16::17].set(9.0)
    targets, anchors = one_image([-200, -200, 200, 200]), np.float32([[-4, -4, 4, 4]])
    _, terms = detectors.gfl_loss(jnp.zeros((1, 1, 1)), bins, targets, anchors, np.float32([8]), level_sizes=[1])
    at_margin, at_end = (losses.distribution_focal_loss(bins[0, 0, :17], jnp.float32(x)) for x in (15.9, 16))
    probability = 0.5  # which it is weighted by; the weights sum up to less than 1
    np.testing.assert_allclose(terms["dfl"], probability * at_margin, rtol=1e-5)
    assert at_margin > at_end + 0.5


@pytest.mark.parametrize(("background", "classes"), [(0, (1, 2, 3)), (-1, (0, 1, 2))])
@pytest.mark.parametrize("boxes_of", ["each", "all but the background", "one for all"])
def test_the_background_of_fast_rcnn_is_the_first_or_the_last_class(background, classes, boxes_of):
    # The same scene as torchvision and as detectron2 number the classes.
    rng = np.random.default_rng(0)
    proposals = np.float32([[[0, 0, 8, 8], [20, 20, 30, 30], [50, 50, 60, 60], [1, 1, 9, 9]]])
    targets = detectors.Targets(
        np.float32([[[0, 0, 8, 9], [21, 20, 30, 31]]]), np.int32([[classes[2], classes[0]]]), np.ones((1, 2), bool)
    )
    of_classes, of_background = np.float32(rng.normal(size=(1, 4, 3))), np.float32(rng.normal(size=(1, 4, 1)))
    parts = [of_background, of_classes] if background == 0 else [of_classes, of_background]
    logits, deltas = np.concatenate(parts, axis=-1), np.float32(rng.normal(size=(1, 4, 3, 4)))
    given = {"all but the background": deltas, "one for all": deltas[:, :, :1]}.get(boxes_of)
    if given is None:
        given = np.concatenate([deltas, deltas[:, :, :1]] if background else [deltas[:, :, :1], deltas], axis=2)
    _, terms = detectors.fast_rcnn_loss(logits, given, targets, proposals, background=background)
    known, labels = [0, 1, 3], [2, 0, 2]
    own = deltas[0, known, 0 if boxes_of == "one for all" else labels]
    goals = coders.encode_deltas(targets.boxes[0, [0, 1, 0]], proposals[0, known], weights=jnp.array([10.0, 10, 5, 5]))
    wanted = np.sum(losses.smooth_l1_loss(own, goals, beta=1 / 9)) / 4
    np.testing.assert_allclose(terms["l1"], wanted, rtol=1e-6)
    probabilities = np.asarray(jax.nn.log_softmax(np.concatenate([of_classes, of_background], -1)))[0]
    np.testing.assert_allclose(terms["classes"], -np.mean(probabilities[range(4), [2, 0, 3, 2]]), rtol=1e-5)
