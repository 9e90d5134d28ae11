"""`jaxbox train --head turned`: digits turned by any angle, the detector of their boxes, and how it is measured."""

import dataclasses
import functools
import json
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbox import coders, rotated, similarity
from jaxbox.demo import catalogue, command
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector, turned
from jaxbox.demo.training import datasets, evaluation, heads, run, train
from tests import rotated_reference
from tests.devices import host_devices
from tests.test_command import fails, listed
from tests.test_demo import COMMAND, standard_promotion  # noqa: F401

METRICS = "mean_iou", "matched", "ap50", "ap75", "ap"


def scenes_of(count, seed=0, **options):
    return digits.compose_turned(digits.train_and_test_digits()[1], count, np.random.default_rng(seed), **options)


# The digits.


def test_turned_boxes_are_tight_around_the_digits():
    scenes = scenes_of(50, noise=0)
    y, x = np.mgrid[: digits.CANVAS, : digits.CANVAS] + 0.5
    for image, boxes, valid in zip(scenes.images[..., 0], scenes.boxes, scenes.valid, strict=True):
        ink, owned = image < np.max(image) - 0.01, np.zeros(image.shape, bool)
        for box in boxes[valid]:
            center_x, center_y, w, h = box[:4] * digits.CANVAS
            seen = (x - center_x + 1j * (y - center_y)) * np.exp(-1j * box[4])
            # A pixel that a box covers in part has ink, and its center lies up to half a pixel outside.
            inside = (np.abs(seen.real) < w / 2 + 0.5) & (np.abs(seen.imag) < h / 2 + 0.5)
            for place, side in ((seen.real, w), (seen.imag, h)):
                assert np.max(place[ink & inside]) > side / 2 - 1
                assert np.min(place[ink & inside]) < 1 - side / 2
            owned |= inside
        assert not np.any(ink & ~owned)


def test_upright_boxes_around_turned_digits_lie_on_the_canvas_and_apart():
    scenes = scenes_of(200)
    assert set(np.sum(scenes.valid, axis=-1)) == {1, 2, 3, 4}
    for boxes, valid in zip(scenes.boxes, scenes.valid, strict=True):
        low, high = np.split(np.asarray(rotated.to_xyxy(boxes[valid])), 2, axis=-1)
        assert np.all((low > -1e-6) & (high < 1 + 1e-6))
        overlap = np.min(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), axis=-1)
        assert np.all(overlap[~np.eye(len(low), dtype=bool)] < 1e-6)


def test_digits_are_turned_by_any_angle():
    scenes = scenes_of(200)
    counts, _ = np.histogram(scenes.boxes[scenes.valid][:, 4], bins=8, range=(-np.pi, np.pi))
    assert np.sum(counts) == np.sum(scenes.valid)
    assert np.min(counts) > 0.7 * np.mean(counts)  # about 50 each: less than 0.7 of them once in 100 seeds


def test_a_digit_that_is_turned_by_nothing_is_drawn_as_an_upright_one():
    drawn, _ = digits.train_and_test_digits()
    scan = drawn.scans[:1]
    span = np.stack([digits.ink_span(scan, axis=-2), digits.ink_span(scan, axis=-1)], axis=-2)
    columns, rows = (
        digits.interpolation(span[:, axis], np.array([ends])) for axis, ends in ((0, [3, 14]), (1, [9, 29]))
    )
    wanted = np.swapaxes(rows, -1, -2) @ scan @ columns
    for box in ([8.5, 19, 11, 20, 0], [8.5, 19, 11, 20, np.pi]):
        found = digits.turned_ink(scan, span, np.array([box]))
        if box[4]:  # turned about the center of the box
            found[:, 9:29, 3:14] = found[:, 28:8:-1, 13:2:-1]
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_seed_fixes_the_turned_images():
    trained, _ = digits.train_and_test_digits()
    first, again, other = (next(digits.stream(trained, 3, seed, digits.compose_turned)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert np.any(first.images != other.images)


# The detector.


def test_each_turned_digit_is_assigned_to_the_cells_around_its_center():
    scenes = scenes_of(512)
    grid = digits.TURNED.grid
    slots = np.asarray(turned.slots_of(scenes, grid))
    for image, slot in zip(*np.nonzero(scenes.valid), strict=True):
        cells = np.asarray(detector.cell_centers(grid))[slots[image] == slot]
        assert 1 <= len(cells) <= 4
        assert np.max(np.abs(cells - scenes.boxes[image, slot, :2])) < 1 / grid
    assert np.all((slots == digits.SLOTS) | scenes.valid[np.arange(512)[:, None], slots % digits.SLOTS])


def test_the_gradient_of_the_turned_head_reaches_every_parameter():
    model = turned.TurnedDetector(nnx.Rngs(0), dataclasses.replace(digits.TURNED, width=16))
    # Zeros that locate at first let nothing through to what lies before them.
    model.locate.kernel[...] = 0.1 * jax.random.normal(jax.random.key(0), (1, 1, 16, 3))
    total_loss = heads.HEADS["turned"].total_loss(command.DEFAULT_LOSSES["turned"])
    gradients, values = nnx.jit(nnx.grad(total_loss, has_aux=True))(model, scenes_of(4))
    np.testing.assert_allclose(values["box loss"] + values["class loss"], values["loss"], rtol=1e-6)
    for path, gradient in nnx.to_flat_state(nnx.state(gradients, nnx.Param)):
        value = np.asarray(gradient[...])
        assert np.all(np.isfinite(value)), path
        assert np.any(value != 0), path


def test_a_turned_duplicate_is_dropped_and_a_box_across_it_is_kept():
    found = [[0.4, 0.4, 0.1, 0.4, 0.5], [0.4, 0.4, 0.4, 0.1, 0.5 - np.pi / 2], [0.4, 0.4, 0.1, 0.4, 2], [0, 0, 1, 1, 0]]
    found, logits = jnp.array(found), np.full((1, 4, digits.CLASSES), -30.0, np.float32)
    logits[0, :3, 3], logits[0, 1, 8] = (3, 2, 1), 2.5
    kept = detector.without_duplicates(detector.best(logits, found[None], 32), similarity.rotated_iou)
    sure = np.asarray(kept.scores[0]) > 0.5
    np.testing.assert_array_equal(kept.classes[0][sure], [3, 8, 3])
    np.testing.assert_array_equal(kept.boxes[0][sure], found[:3])


def test_cells_predict_the_same_box_half_a_turn_further_and_squares_without_an_angle():
    decode = functools.partial(turned.decode, architecture=digits.TURNED)
    angles = np.random.default_rng(0).uniform(-4, 4, (1, digits.TURNED.grid**2)).astype(np.float32)
    places = jnp.zeros((*angles.shape, 3))
    found, further = (decode(places, coders.encode_phases(x)) for x in (angles, angles + np.float32(np.pi)))
    np.testing.assert_allclose(found, further, atol=1e-5)
    np.testing.assert_array_equal(found[..., 2] > found[..., 3], True)
    np.testing.assert_allclose(np.sin(found[..., 4] - angles), 0, atol=1e-5)

    def total(phases):
        return jnp.sum(decode(places, phases))

    square = jnp.ones_like(places)
    sides, angle = np.split(decode(places, square)[..., 2:], [2], axis=-1)
    np.testing.assert_allclose(sides, digits.TURNED.typical_side, rtol=1e-6)
    np.testing.assert_array_equal(angle, 0)
    np.testing.assert_array_equal(jax.grad(total)(square), 0)


@pytest.mark.parametrize("name", catalogue.turned_losses())
def test_every_loss_of_turned_boxes_takes_padded_boxes_as_the_train_step_passes_them(name):  # as in `test_demo.py`
    boxes, assigned = jax.ShapeDtypeStruct((4, 144, 5), jnp.float32), jax.ShapeDtypeStruct((4, 144), bool)

    def box_loss(predictions, targets, assigned):
        values = catalogue.turned_losses()[name](predictions, targets, where=assigned)
        return train.weighted_mean(values, where=assigned)

    assert jax.eval_shape(jax.grad(box_loss), boxes, boxes, assigned).shape == boxes.shape


# How it is measured.


def average_precision_by_hand(found, scenes, overlap):
    """COCO's protocol, one box at a time: AP by IoU, and the IoU of every match at the first."""
    by_threshold, overlaps = [], []
    for threshold in np.arange(10) * 0.05 + 0.5:
        of_classes = []
        for name in range(10):
            truths = {
                (image, slot)
                for image in range(len(scenes.valid))
                for slot in range(4)
                if scenes.valid[image, slot] and scenes.classes[image, slot] == name
            }
            if not truths:
                continue
            answers = [
                (-found.scores[image, i], image, i)
                for image in range(len(found.scores))
                for i in range(found.scores.shape[1])
                if found.scores[image, i] > 0 and found.classes[image, i] == name
            ]
            taken, right, points = set(), 0, []
            for rank, (_, image, i) in enumerate(sorted(answers), start=1):
                free = [
                    (overlap(found.boxes[image, i], scenes.boxes[image, slot]), (image, slot))
                    for slot in range(4)
                    if (image, slot) in truths - taken
                ]
                best, truth = max(free, default=(0, None))
                if best >= threshold:
                    taken.add(truth)
                    right += 1
                    overlaps += [best] if threshold == 0.5 else []
                points.append((right / len(truths), right / rank))
            heights = [max([p for r, p in points if r >= k * 0.01], default=0) for k in range(101)]
            of_classes.append(sum(heights) / 101)
        by_threshold.append(sum(of_classes) / len(of_classes))
    return by_threshold, overlaps


def noisy_detections(scenes, rng, spread):
    """Two boxes near each true one, some of another class, and some anywhere; slots that hold nothing among them."""
    near = np.concatenate([np.nan_to_num(scenes.boxes)] * 2 + [rng.uniform(0.2, 0.8, scenes.boxes.shape)], axis=1)
    near = near + rng.normal(size=near.shape) * spread * rng.uniform(size=near.shape[:2])[..., None]
    near[..., 2:4] = np.maximum(near[..., 2:4], 0.02)
    wrong = rng.uniform(size=near.shape[:2]) < 0.2
    classes = np.where(wrong, rng.integers(0, 10, near.shape[:2]), np.concatenate([scenes.classes] * 3, axis=1))
    scores = rng.uniform(size=near.shape[:2]) * (rng.uniform(size=near.shape[:2]) < 0.9)
    return detector.Detections(near.astype(np.float32), classes, scores.astype(np.float32))


def test_rotated_precision_is_that_of_the_protocol_by_hand():
    scenes = scenes_of(30)
    found = noisy_detections(scenes, np.random.default_rng(1), np.array([0.02, 0.02, 0.03, 0.03, 0.3]))
    precisions, overlaps = average_precision_by_hand(found, scenes, rotated_reference.rotated_iou)
    wanted = [
        np.mean(overlaps),
        len(overlaps) / np.sum(scenes.valid),
        precisions[0],
        precisions[5],
        np.mean(precisions),
    ]
    assert 0.1 < wanted[-1] < 0.9
    assert evaluation.evaluate_turned(found, scenes) == pytest.approx(dict(zip(METRICS, wanted, strict=True)), abs=1e-6)


def test_rotated_precision_of_upright_boxes_is_that_of_pycocotools():
    scenes = digits.compose(digits.train_and_test_digits()[1], 200, np.random.default_rng(0))
    turned_scenes = scenes._replace(boxes=np.asarray(rotated.from_xyxy(scenes.boxes)))
    found = noisy_detections(turned_scenes, np.random.default_rng(1), np.array([0.02, 0.02, 0.03, 0.03, 0]))
    upright = found.boxes[..., [0, 1, 0, 1]] + found.boxes[..., [2, 3, 2, 3]] * np.float32([-0.5, -0.5, 0.5, 0.5])
    wanted = evaluation.evaluate(found._replace(boxes=upright), scenes)
    found.boxes[..., 4] = np.random.default_rng(2).integers(-1, 2, found.scores.shape) * np.float32(np.pi)
    assert 0.1 < wanted["ap"] < 0.9
    assert evaluation.evaluate_turned(found, turned_scenes) == pytest.approx(wanted, abs=1e-6)


def test_perfect_turned_detections_have_average_precision_one_in_any_form_of_their_boxes():
    scenes = scenes_of(40)
    other = np.nan_to_num(scenes.boxes)[..., [0, 1, 3, 2, 4]] + np.float32([0, 0, 0, 0, np.pi / 2])
    for boxes in (np.nan_to_num(scenes.boxes), other):
        found = detector.Detections(boxes, scenes.classes, scenes.valid.astype(np.float32))
        assert evaluation.evaluate_turned(found, scenes) == pytest.approx(dict.fromkeys(METRICS, 1.0))


def test_without_a_turned_detection_or_a_turned_digit_the_precision_is_zero():
    scenes = scenes_of(4)
    boxes, classes, scores = np.zeros((4, 3, 5), np.float32), np.zeros((4, 3), int), np.zeros((4, 3), np.float32)
    for found, truth in [
        (detector.Detections(boxes[:, :0], classes[:, :0], scores[:, :0]), scenes),
        (detector.Detections(boxes, classes, scores), scenes),
        (detector.Detections(boxes, classes, scores + 1), scenes._replace(valid=np.zeros_like(scenes.valid))),
        (detector.Detections(boxes + np.float32(np.nan), classes, scores + 1), scenes),
    ]:
        assert evaluation.evaluate_turned(found, truth) == dict.fromkeys(METRICS, 0)


# The command.


def test_the_turned_head_trains_and_loads_again(tmp_path):
    out, (_, held_out) = tmp_path / "turned", digits.train_and_test_digits()
    typed = ["train", "--head", "turned", "--quick", "--steps", "3", "--out", str(out)]
    finished = subprocess.run([*COMMAND, *typed], env=host_devices(2), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "head turned" in finished.stdout
    record = json.loads((out / run.METRICS).read_text())
    assert record["settings"]["losses"] == command.DEFAULT_LOSSES["turned"]
    model = run.load(out)
    assert isinstance(model, turned.TurnedDetector)
    scenes = digits.compose_turned(held_out, command.QUICK["test_images"], np.random.default_rng(datasets.TEST_SEED))
    found = run.find(model, scenes)
    assert found.boxes.shape == (command.QUICK["test_images"], digits.TURNED.candidates, 5)
    assert evaluation.evaluate_turned(found, scenes) == pytest.approx(record["metrics"], abs=1e-5)


@pytest.mark.parametrize(
    ("head", "loss", "said"),
    [
        ("turned", "giou", "did you mean rotated_giou? write one of rotated_iou,"),
        ("turned", "giou", "; or --head cells or --head queries"),
        ("cells", "rotated_giou=2", "did you mean giou? write one of l1,"),
        ("cells", "rotated_giou=2", "; or --head turned"),
        ("queries", "kld_loss", "; write one of l1, giou; or --head turned"),
    ],
)
def test_a_loss_of_boxes_of_another_kind_is_answered_with_what_fits(capsys, tmp_path, head, loss, said):
    told = fails(capsys, "train", "--head", head, "--loss", loss, "--out", str(tmp_path))
    assert f"--head {head} is not trained with {loss.partition('=')[0].removesuffix('_loss')!r}" in told
    assert said in told


def test_a_loss_of_turned_boxes_is_explained_with_its_head(capsys, monkeypatch):
    assert "jaxbox train --head turned --loss rotated_giou" in listed(capsys, monkeypatch, 120, "rotated_giou")
    assert "--head" not in listed(capsys, monkeypatch, 120, "giou")
    assert "jaxbox train" not in listed(capsys, monkeypatch, 120, "solid_giou")
