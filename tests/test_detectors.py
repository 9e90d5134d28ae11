"""The losses of detectors against the numbers of the original code, and the laws that hold for all of them.

`detectors_reference.npz` holds inputs and results of that code on seeded scenes, computed in float64: totals,
unweighted terms, matches, and of each gradient its products with three arrays of signs and its norm. By which code:

    detr                facebookresearch/detr 29901c5, and transformers 5.24.0
    deformable_detr     transformers 5.24.0
    dino                IDEA-Research/DINO faa8520; dino_no_eps: without the 1e-6 in its IoU
    rt_detr             lyuwenyu/RT-DETR 068dfde, and transformers 5.24.0
    rf_detr             rfdetr 1.11.2
    d_fine              Peterande/D-FINE 4a1f73a
    deim                Intellindust-AI-Lab/DEIMv2 0fff8d4
    grounding_dino      transformers 5.24.0
"""

import collections
import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxbox import boxes, costs, detectors, losses, matching, similarity
from tests.devices import host_devices
from tests.originals import (
    assert_finite_without_targets,
    assert_padding_changes_no_bit,
    assert_permuted_slots_change_no_bit,
    assert_products_are,
)

NUMBERS = dict(np.load(pathlib.Path(__file__).parent / "detectors_reference.npz"))
LOSSES = {
    "detr": detectors.detr_loss,
    "deformable_detr": functools.partial(detectors.deformable_detr_loss, class_cost=1.0),
    "dino": detectors.dino_loss,
    "dino_no_eps": detectors.dino_loss,
    "rt_detr": detectors.rt_detr_loss,
    "rf_detr": detectors.rf_detr_loss,
    "d_fine": detectors.d_fine_loss,
    "deim": detectors.deim_loss,
}
INPUTS_OF = {"dino_no_eps": "dino", "deim": "d_fine"}  # whose scenes are those of another model
TERMS = {
    "classes": ("loss_mal", "loss_ce", "loss_vfl"),
    "l1": ("loss_bbox",),
    "giou": ("loss_giou",),
    "fgl": ("loss_fgl",),
    "ddf": ("loss_ddf",),
}
GRADIENTS = ("logits", "boxes", "corners", "dn_logits", "dn_boxes", "dn_corners")
SCENES = sorted({tuple(key.split("/")[:2]) for key in NUMBERS if key.split("/")[0] in LOSSES and key.endswith("total")})
# How far the numbers of float64 and float32 may lie from the original's: total, gradients of the largest.
TOLERANCE = {"float64": (1e-12, 1e-12), "float32": (2e-6, 3e-5)}
LOOSER = {("d_fine", "float64"): (1e-11, 1e-11), ("deim", "float64"): (1e-11, 1e-11)}
LOOSER |= {("rt_detr", "float32"): (2e-6, 1e-4), ("d_fine", "float32"): (2e-6, 1e-3), ("deim", "float32"): (2e-6, 1e-3)}
TRACES = collections.Counter()  # of the loss of each model
QUICKLY = {"xla_backend_optimization_level": 0}
few = pytest.mark.parametrize("model", [model for model in LOSSES if model != "dino_no_eps"])


def scene(model, name, dtype="float64"):
    """The numbers of a scene by name, the inputs in the dtype, boxes in corners."""
    own = INPUTS_OF.get(model, model)
    found = {key.split("/")[2]: value for key, value in NUMBERS.items() if key.startswith(f"{own}/{name}/")}
    found |= {key.split("/")[2]: value for key, value in NUMBERS.items() if key.startswith(f"{model}/{name}/")}
    for key in (*GRADIENTS, "reference", "dn_reference", "target_boxes"):
        if key in found:
            found[key] = found[key].astype(dtype)
    return found


def targets_of(numbers):
    corners = np.asarray(boxes.cxcywh_to_xyxy(numbers["target_boxes"]))
    return detectors.Targets(corners, numbers["target_labels"].astype(np.int32), numbers["target_where"])


def arguments_of(model, numbers):
    """The arrays that have a gradient, and a function of these that calls the loss as the original lays them out."""
    names = [name for name in GRADIENTS if name in numbers]
    options = {"groups": int(numbers["groups"])} if model == "rf_detr" else {}

    def loss(arrays, targets):
        TRACES[model] += 1
        given = dict(zip(names, arrays, strict=True))
        corners = boxes.cxcywh_to_xyxy
        sides = [given["corners"], corners(numbers["reference"])] if "corners" in given else []
        if "dn_logits" in given:
            noised = given["dn_logits"], corners(given["dn_boxes"]), numbers["dn_target"].astype(np.int32)
            more = [given["dn_corners"], corners(numbers["dn_reference"])] if sides else []
            options["denoising"] = detectors.Denoising(*noised, int(numbers["dn_groups"]), *more)
        return LOSSES[model](given["logits"], corners(given["boxes"]), *sides, targets, **options)

    return names, [numbers[name] for name in names], loss


@functools.cache
def program_of(model, name, dtype):
    """One compiled program of a scene, which all tests share, with its arrays and targets."""
    numbers = scene(model, name, dtype)
    names, arrays, loss = arguments_of(model, numbers)
    program = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICKLY)
    return names, arrays, targets_of(numbers), program


def assert_equal_to_the_original(model, name, dtype):
    numbers = scene(model, name, dtype)
    total, of_gradients = LOOSER.get((model, dtype), TOLERANCE[dtype])
    names, arrays, targets, program = program_of(model, name, dtype)
    (value, terms), gradients = program(arrays, targets)
    gradients = dict(zip(names, gradients, strict=True))
    assert value.dtype == dtype
    np.testing.assert_allclose(value, numbers["total"], rtol=total)
    for of, found in terms.items():
        kind, _, denoising = of.partition("_")
        keys = [f"{key}_dn" if denoising else key for key in TERMS[kind]]
        wanted = next(numbers[key] for key in keys if key in numbers)
        np.testing.assert_allclose(found, wanted[: len(found)], rtol=10 * total, atol=10 * total)
    for of, gradient in gradients.items():
        wanted = numbers.get(f"grad_{of}")
        if wanted is not None:
            assert_products_are(gradient, wanted, of_gradients)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("model", "name"), [pair for pair in SCENES if pair[0] != "dino"])
def test_a_loss_has_the_totals_terms_and_gradients_of_the_original(model, name):
    assert_equal_to_the_original(model, name, "float64")


@few
def test_in_float32_a_loss_is_that_of_the_original_to_rounding(model):
    of = "dino_no_eps" if model == "dino" else model
    assert_equal_to_the_original(of, "mixed", "float32")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [name for model, name in SCENES if model == "detr"])
@pytest.mark.parametrize("model", ["detr", "deformable_detr", "rt_detr"])
def test_the_pairs_are_those_of_the_original(model, name):
    numbers = scene(model, name)
    targets = targets_of(numbers)
    of_classes = -jax.nn.softmax(numbers["logits"]) if model == "detr" else costs.focal_costs(numbers["logits"])
    weight = {"detr": 1, "deformable_detr": 1, "rt_detr": 2}[model]
    charges = costs.box_costs(boxes.cxcywh_to_xyxy(numbers["boxes"]), targets.boxes)
    charges += weight * costs.class_costs(of_classes, targets.labels)
    found = matching.linear_assignment(charges, column_where=targets.where)
    np.testing.assert_array_equal(found.row_of_column, numbers["row"])


def mixed(model):
    return program_of("dino_no_eps" if model == "dino" else model, "mixed", "float32")


@few
def test_what_padding_holds_changes_no_bit(model):
    _, arrays, targets, program = mixed(model)
    assert_padding_changes_no_bit(program, arrays, targets)


@pytest.mark.parametrize("model", ["detr", "deformable_detr", "rf_detr"])
def test_permuted_slots_give_the_same_loss(model):
    _, arrays, targets, program = mixed(model)
    assert_permuted_slots_change_no_bit(program, arrays, targets)


@few
def test_images_and_batches_without_targets_are_finite_and_one_program_serves_all(model):
    _, arrays, targets, program = mixed(model)
    program(arrays, targets)
    traced = TRACES.total()
    assert_finite_without_targets(program, arrays, targets)
    assert TRACES.total() == traced


@pytest.fixture(scope="module")
def spread():
    script = [sys.executable, "-W", "error", "-m", "tests.spread_detectors"]
    output = subprocess.run(script, env=host_devices(8), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


@pytest.mark.parametrize("targets", ["many", "three"])
@pytest.mark.parametrize("name", ["detr", "rf_detr", "owl_vit"])
@pytest.mark.parametrize("way", ["jit", "shard_map", "pmap"])
def test_eight_devices_have_the_loss_and_the_gradient_of_one_batch(spread, way, name, targets):
    assert spread[f"{name}, {targets}, {way}"] < 2e-6


def small(seed=0, layers=2, images=4, queries=6, slots=3, classes=5):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0.3, 0.7, (layers + 1, images, queries, 2))
    sides = rng.uniform(0.05, 0.3, (layers + 1, images, queries, 2))
    every = np.float32(np.concatenate([centers - sides / 2, centers + sides / 2], axis=-1))
    logits = np.float32(rng.normal(size=(layers, images, queries, classes)))
    where = np.arange(slots) < rng.integers(0, slots + 1, (images, 1))
    targets = every[-1, :, :slots].copy()
    targets[~where] = np.nan
    return logits, every[:-1], detectors.Targets(targets, rng.integers(0, classes - 1, (images, slots)), where)


IN_GROUPS = functools.partial(detectors.rf_detr_loss, groups=2)
SMALL = {
    "detr": detectors.detr_loss,
    "deformable_detr": detectors.deformable_detr_loss,
    "rt_detr": detectors.rt_detr_loss,
    "rf_detr": IN_GROUPS,
    "owl_vit": detectors.owl_vit_loss,
}


@pytest.mark.parametrize("name", SMALL)
def test_products_with_the_hessian_are_finite(name):
    logits, predictions, targets = small()

    def gradient(logits, predictions):
        return jax.grad(lambda *arrays: SMALL[name](*arrays, targets)[0], (0, 1))(logits, predictions)

    arrays = logits, predictions
    found = jax.jit(lambda *arrays: jax.jvp(gradient, arrays, arrays), compiler_options=QUICKLY)(*arrays)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(found))


def test_half_precision_is_computed_in_float32():
    logits, predictions, targets = small()
    half = [jnp.asarray(x, jnp.bfloat16) for x in (logits, predictions)]
    (value, _), gradients = jax.value_and_grad(detectors.detr_loss, (0, 1), has_aux=True)(*half, targets)
    wanted, _ = detectors.detr_loss(*(x.astype(jnp.float32) for x in half), targets)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    assert value.dtype == jnp.float32
    assert all(x.dtype == jnp.bfloat16 for x in gradients)


def test_the_loss_of_a_public_detector_in_plain_words_is_detr_loss():
    # Softmax with a background, L1 of centers and sides, and weights, image by image, by a loop on the host.
    logits, predictions, targets = small(layers=1)
    logits, predictions = logits[0], predictions[0]
    count, terms, weights = max(1, targets.where.sum()), {"classes": 0.0, "l1": 0.0, "giou": 0.0}, 0.0
    for image in range(len(logits)):
        real = np.flatnonzero(targets.where[image])
        scores = np.asarray(jax.nn.log_softmax(logits[image]), np.float64)
        layouts = [np.asarray(boxes.xyxy_to_cxcywh(x)) for x in (predictions[image], targets.boxes[image, real])]
        l1 = np.abs(layouts[0][:, None] - layouts[1]).sum(-1)
        overlaps = np.asarray(similarity.pairwise(similarity.giou)(predictions[image], targets.boxes[image, real]))
        labels = targets.labels[image, real]
        rows, columns = optimize.linear_sum_assignment(5 * l1 - 2 * overlaps - np.exp(scores)[:, labels])
        classes = np.full(len(scores), scores.shape[1] - 1)
        classes[rows] = labels[columns]
        of_query = np.where(np.isin(np.arange(len(scores)), rows), 1.0, 0.1)
        terms["classes"] -= np.sum(of_query * scores[np.arange(len(scores)), classes])
        weights += of_query.sum()
        terms["l1"] += l1[rows, columns].sum() / count
        terms["giou"] += (1 - overlaps[rows, columns]).sum() / count
    terms["classes"] /= weights
    value, found = detectors.detr_loss(logits, predictions, targets)
    np.testing.assert_allclose(value, terms["classes"] + 5 * terms["l1"] + 2 * terms["giou"], rtol=1e-5)
    for name, term in terms.items():
        np.testing.assert_allclose(found[name], term, rtol=1e-5)


def test_owl_vit_weighs_images_and_takes_several_labels():
    logits, predictions, targets = small(layers=1)
    logits, predictions = logits[0], predictions[0]
    one_hot = np.float32(np.eye(5)[targets.labels])
    several = targets._replace(labels=one_hot)
    value, _ = detectors.owl_vit_loss(logits, predictions, targets)
    np.testing.assert_allclose(detectors.owl_vit_loss(logits, predictions, several)[0], value, rtol=1e-6)
    weights = np.float32([1, 0, 2, 1])
    alone = [
        detectors.owl_vit_loss(logits[i, None], predictions[i, None], detectors.Targets(*(x[i, None] for x in targets)))
        for i in range(4)
    ]
    wanted = np.average([float(value) for value, _ in alone], weights=weights)
    found, _ = detectors.owl_vit_loss(logits, predictions, targets, image_weights=weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_dino_adds_a_number_to_areas_and_we_do_not():
    # Its IoU has 1e-6 in both denominators, of boxes whose sides are below 1: the term of GIoU differs.
    ours = program_of("dino_no_eps", "mixed", "float64")
    (value, terms), _ = ours[3](*ours[1:3])
    theirs = scene("dino", "mixed")
    assert abs(float(value) / theirs["total"] - 1) > 1e-3
    assert np.max(np.abs(np.asarray(terms["giou"]) - theirs["loss_giou"])) > 1e-3
    np.testing.assert_allclose(value, scene("dino_no_eps", "mixed")["total"], rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["two_images", "three_images"])
def test_texts_as_classes_are_several_labels_a_target(name):
    """Grounding DINO: a class is a set of tokens. From the third image on the original takes those of another image."""
    numbers = scene("grounding_dino", name)
    targets, maps = targets_of(numbers), np.float64(numbers["label_maps"])
    labels = np.clip(np.asarray(targets.labels), 0, len(maps[0]) - 1)
    tokens = np.take_along_axis(maps, np.expand_dims(labels, -1), axis=1)
    shares = tokens / np.maximum(tokens.sum(-1, keepdims=True), 1)
    predictions = boxes.cxcywh_to_xyxy(numbers["boxes"])
    charges = costs.box_costs(predictions, targets.boxes)
    charges += costs.class_costs(costs.focal_costs(numbers["logits"]), shares)
    slots = matching.linear_assignment(charges, column_where=targets.where).column_of_row
    onehot = matching.take(tokens, slots, tail=1)
    valid = jnp.broadcast_to(numbers["text_mask"][None, :, None] > 0, onehot.shape)
    per_token = losses.focal_loss(numbers["logits"][..., None], onehot[..., None], where=valid)
    classes = float(jnp.sum(per_token)) / float(numbers["num_boxes"])
    np.testing.assert_allclose(classes, numbers["loss_ce_with_own_maps"], rtol=1e-10)
    theirs = float(np.sum(numbers["loss_ce"]))
    assert abs(classes / theirs - 1) < 1e-10 if name == "two_images" else abs(classes / theirs - 1) > 1e-4


def test_rf_detr_bounds_the_union_and_we_do_not():
    # Boxes with sides of 1e-4, one half of one apart: the union is below the bound of 1e-7.
    prediction, target = (np.array([box], np.float32) for box in ([0, 0, 1e-4, 1e-4], [5e-5, 0, 1.5e-4, 1e-4]))
    shared, union = 5e-9, 1.5e-8
    np.testing.assert_allclose(similarity.iou(prediction, target), [1 / 3], rtol=1e-5)
    np.testing.assert_allclose(shared / max(union, 1e-7), 0.05)
    targets = detectors.Targets(target[None], np.zeros((1, 1), int), np.ones((1, 1), bool))
    logits = np.full((1, 1, 1), 0.3, np.float32)
    _, terms = detectors.rf_detr_loss(logits, prediction[None], targets, groups=1)
    ours, theirs = (
        np.sum(losses.iou_aware_loss(logits, np.ones_like(logits), np.full((1, 1), quality, np.float32)))
        for quality in (1 / 3, 0.05)
    )
    np.testing.assert_allclose(terms["classes"], ours, rtol=1e-5)
    assert abs(theirs / ours - 1) > 0.05


def test_detr_averages_classes_on_each_device_and_we_do_over_the_batch():
    # Two devices, of which one has targets: the mean of their weighted means is another than that of the batch.
    logits, predictions, targets = small(layers=1)
    logits, predictions = logits[0, :2], predictions[0, :2]
    where = np.zeros_like(targets.where[:2])
    where[0] = True
    targets = detectors.Targets(np.nan_to_num(targets.boxes[:2]), targets.labels[:2], where)

    def classes(*images):
        own = detectors.Targets(*(x[list(images)] for x in targets))
        return float(detectors.detr_loss(logits[list(images)], predictions[list(images)], own)[1]["classes"])

    weights = [0.9 * np.sum(where[i]) + 0.1 * logits.shape[1] for i in (0, 1)]  # 1 for a match, else 0.1
    np.testing.assert_allclose(classes(0, 1), np.average([classes(0), classes(1)], weights=weights), rtol=1e-5)
    assert abs(classes(0, 1) / np.mean([classes(0), classes(1)]) - 1) > 0.01


# Errors.

LOGITS, PREDICTIONS, TARGETS = small()
WRONG = [
    ({"logits": LOGITS[0]}, "`logits` has shape (4, 6, 5), but there is one row for each of the `predictions`, "
     "(2, 4, 6, 'K')."),
    ({"targets": TARGETS.boxes}, "`targets` is an array of shape (4, 3, 4), but it holds boxes, labels and a mask. "
     "Write `detectors.Targets(boxes, labels, where)`."),
    ({"targets": TARGETS._replace(labels=np.float32(TARGETS.labels))}, "`targets.labels` has dtype float32 and shape "
     "(4, 3), but it holds a whole number for each slot, (4, 3), or 1 for each of several classes, (4, 3, 5) of "
     "floating point. Write `targets.labels.astype(jnp.int32)` for the first."),
    ({"targets": TARGETS._replace(where=np.ones((4, 2), bool))}, "`targets.where` has shape (4, 2), but there is one "
     "value a box, (4, 3)."),
    ({"targets": TARGETS._replace(labels=np.full((4, 3), 7), where=np.ones((4, 3), bool))}, "`targets.labels` has 7, "
     "but there are 5 classes, from 0 on. Where it is padding write False in `targets.where`."),
    ({"predictions": PREDICTIONS.astype(int)}, "`predictions` has dtype int64, but only floating point has a gradient. "
     "Write `predictions.astype(jnp.float32)`."),
    ({"predictions": PREDICTIONS[0, 0], "logits": LOGITS[0, 0]}, "`predictions` has shape (6, 4), but it is "
     "`[..., B, N, 4]`: N predictions for each of B images. For one image write `predictions[None]`."),
    ({"groups": 4}, "`groups` is 4, which does not divide 6 queries. Write `groups=1` for one."),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_a_wrong_call_is_told_what_to_write(changed, message):
    given = {"logits": LOGITS, "predictions": PREDICTIONS, "targets": TARGETS, "groups": 2} | changed
    with pytest.raises((TypeError, ValueError)) as raised:
        detectors.rf_detr_loss(**given)
    assert str(raised.value) == message
