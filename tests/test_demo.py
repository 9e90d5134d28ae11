"""`jaxbox train`: what it trains, tells and leaves behind."""

import dataclasses
import inspect
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from flax import nnx
from jax.sharding import Mesh

from jaxbox import similarity
from jaxbox.demo import catalogue, command
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector, queries
from jaxbox.demo.training import datasets, evaluation, heads, loop, run, train
from tests.devices import host_devices

# The last line is a console script; here warnings are errors, and signals arrive even where a shell ignores them.
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import sys; from jaxbox.__main__ import main; sys.exit(main())
"""
STEPS = 40
COMMAND = [sys.executable, "-W", "error", "-c", SCRIPT]


@pytest.fixture(autouse=True)
def standard_promotion() -> Iterator[None]:
    """Adam's bias correction in optax mixes floats with an integer count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the standard output of a quick run on two devices."""
    out = tmp_path_factory.mktemp("runs") / "quick"
    arguments = [*COMMAND, "train", "--quick", "--steps", str(STEPS), "--batch-size", "15", "--out", str(out)]
    finished = subprocess.run(arguments, env=host_devices(2), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return out, finished.stdout


def record_of(quick_run: tuple[Path, str]) -> dict:
    return json.loads((quick_run[0] / run.METRICS).read_text())


def test_a_quick_run_leaves_its_files_and_nothing_else(quick_run):
    out, _ = quick_run
    assert {path.name for path in out.iterdir()} == {run.METRICS, run.DETECTIONS, run.CURVES, run.LOG, run.PARAMETERS}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in (run.DETECTIONS, run.CURVES))


def test_the_loss_falls_in_a_quick_run(quick_run):
    curve = record_of(quick_run)["curve"]
    for name in ("loss", "box loss", "class loss"):
        assert len(curve[name]) == STEPS
        assert np.mean(curve[name][-5:]) < 0.8 * np.mean(curve[name][:5])


def test_a_run_ends_with_a_table_and_tells_that_the_batch_was_rounded_up(quick_run):
    _, told = quick_run
    assert "15 images do not divide among 2 devices: 16" in told
    assert all(title in told for title in ("mean IoU of matched boxes", "AP at .5", "AP at .75", "AP .5:.95", "time"))
    assert "\x1b" not in told


def test_parameters_load_again_and_find_the_same_boxes(quick_run):
    out, _ = quick_run
    _, test_digits = digits.train_and_test_digits()
    scenes = digits.compose(test_digits, command.QUICK["test_images"], np.random.default_rng(datasets.TEST_SEED))
    metrics = evaluation.evaluate(run.find(run.load(str(out)), scenes), scenes)
    assert metrics == pytest.approx(record_of(quick_run)["metrics"], abs=1e-5)


def test_two_devices_train_as_one_does(quick_run):
    head = heads.HEADS[command.HEADS[0]]
    train_digits, _ = digits.train_and_test_digits()
    values = train.fit(
        head.model(nnx.Rngs(0), head.architecture),
        train.make_train_step(head.total_loss(command.DEFAULT_LOSSES[command.HEADS[0]])),
        digits.stream(train_digits, 16, seed=0),
        STEPS,
        Mesh(np.array(jax.devices()[:1]), ("batch",)),
    )
    curve = [float(losses["loss"]) for losses in islice(values, 10)]
    np.testing.assert_allclose(record_of(quick_run)["curve"]["loss"][:10], curve, rtol=1e-3)


def test_the_command_offers_every_head():
    assert tuple(heads.HEADS) == command.HEADS


def test_queries_train_and_load_again(tmp_path):
    out = tmp_path / "queries"
    typed = ["train", "--head", "queries", "--quick", "--steps", str(STEPS), "--out", str(out)]
    finished = subprocess.run([*COMMAND, *typed], env=host_devices(2), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    record = json.loads((out / run.METRICS).read_text())
    for name in ("loss", "box loss"):  # that of the classes asks for more as boxes get better
        assert np.mean(record["curve"][name][-5:]) < 0.9 * np.mean(record["curve"][name][:5])
    model = run.load(out)
    assert isinstance(model, queries.QueryDetector)
    _, test_digits = digits.train_and_test_digits()
    scenes = digits.compose(test_digits, command.QUICK["test_images"], np.random.default_rng(datasets.TEST_SEED))
    assert evaluation.evaluate(run.find(model, scenes), scenes) == pytest.approx(record["metrics"], abs=1e-5)


def test_queries_have_a_whole_loss_whose_gradient_reaches_every_parameter():
    scenes = digits.compose(digits.train_and_test_digits()[0], 4, np.random.default_rng(0))
    model = queries.QueryDetector(nnx.Rngs(0), dataclasses.replace(digits.UPRIGHT, width=16))
    total_loss = heads.HEADS["queries"].total_loss({"giou": 2.0, "l1": 5.0})
    # Zeros that locate at first let nothing through to what lies before them.
    for layer in (model.propose, model.first.head, model.second.head):
        layer.locate.kernel[...] = 0.1 * jax.random.normal(jax.random.key(0), (16, 4))
    gradients, values = nnx.jit(nnx.grad(total_loss, has_aux=True))(model, scenes)
    np.testing.assert_allclose(values["box loss"] + values["class loss"], values["loss"], rtol=1e-6)
    for path, gradient in nnx.to_flat_state(nnx.state(gradients, nnx.Param)):
        value = np.asarray(gradient[...])
        assert np.all(np.isfinite(value)), path
        assert np.any(value != 0) or "bias" in path, path  # that of keys moves all of a softmax alike


def test_a_loss_that_is_not_finite_ends_the_training():
    values = iter([{"loss": jnp.float32(1)}, {"loss": jnp.float32(jnp.nan)}])
    console = rich.console.Console(file=io.StringIO())
    nothing = {"model": None, "optimizer": None, "batches": None, "learning_rate": None}
    training = loop.Loop(**nothing, steps=2, batch_size=1, console=console)
    with pytest.raises(FloatingPointError, match="the loss is nan by step 2; give the losses smaller weights"):
        training.train(values)


def test_every_loss_of_predictions_and_targets_in_the_plane_can_be_trained_with():
    pairs = {
        name
        for name, function in catalogue.public_losses().items()
        if list(inspect.signature(function).parameters)[:2] == ["predictions", "targets"]
    }
    trained = {loss for head in heads.HEADS.values() for loss in head.losses}
    assert {name for name in pairs - trained if not name.startswith("solid_")} == set()
    assert trained == set(catalogue.box_losses()) | set(catalogue.turned_losses())
    assert not set(catalogue.box_losses()) & set(catalogue.turned_losses())


@pytest.mark.parametrize("name", catalogue.box_losses())
def test_every_offered_loss_takes_padded_boxes_as_the_train_step_passes_them(name):  # the laws test what it returns
    boxes, assigned = jax.ShapeDtypeStruct((4, 144, 4), jnp.float32), jax.ShapeDtypeStruct((4, 144), bool)

    def box_loss(predictions, targets, assigned):
        values = catalogue.box_losses()[name](predictions, targets, where=assigned)
        return train.weighted_mean(values, where=assigned)

    assert jax.eval_shape(jax.grad(box_loss), boxes, boxes, assigned).shape == boxes.shape


def test_no_digit_is_both_trained_and_tested_with():
    trained, tested = digits.train_and_test_digits()
    assert len(trained.scans) + len(tested.scans) == 1797
    assert not {scan.tobytes() for scan in trained.scans} & {scan.tobytes() for scan in tested.scans}


def test_boxes_are_tight_around_the_digits():
    scenes = digits.compose(digits.train_and_test_digits()[0], 50, np.random.default_rng(0), noise=0)
    for image, boxes, valid in zip(scenes.images[..., 0], scenes.boxes, scenes.valid, strict=True):
        ink = image < np.max(image) - 1e-4
        for left, top, right, bottom in np.rint(boxes[valid] * digits.CANVAS).astype(int):
            digit = ink[top:bottom, left:right]
            assert all(np.any(edge) for edge in (digit[0], digit[-1], digit[:, 0], digit[:, -1]))
            ink[top:bottom, left:right] = False
        assert not np.any(ink)


def test_digits_of_an_image_do_not_overlap_and_number_one_to_four():
    _, valid = digits.place(np.full((200, digits.SLOTS, 2), 20), np.random.default_rng(0))
    assert set(np.sum(valid, axis=-1)) <= {1, 2, 3, 4}


def test_a_seed_fixes_the_images():
    trained, _ = digits.train_and_test_digits()
    first, again, other = (next(digits.stream(trained, 3, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images, again.images)
    assert np.any(first.images != other.images)


def test_perfect_detections_have_average_precision_one():
    scenes = digits.compose(digits.train_and_test_digits()[1], 40, np.random.default_rng(0))
    answers = (np.nan_to_num(scenes.boxes), scenes.classes, scenes.valid.astype(np.float32))
    found = detector.Detections(*map(jnp.asarray, answers))
    assert evaluation.evaluate(found, scenes) == pytest.approx(
        dict.fromkeys(("mean_iou", "matched", "ap50", "ap75", "ap"), 1.0)
    )


def test_without_a_detection_or_without_a_digit_the_precision_is_zero():
    scenes = digits.compose(digits.train_and_test_digits()[1], 4, np.random.default_rng(0))
    boxes, classes, scores = np.zeros((4, 3, 4)), np.zeros((4, 3), int), np.zeros((4, 3))
    no_digit = scenes._replace(valid=np.zeros_like(scenes.valid))
    for found, truth in [
        (detector.Detections(boxes[:, :0], classes[:, :0], scores[:, :0]), scenes),
        (detector.Detections(boxes, classes, scores), scenes),
        (detector.Detections(boxes, classes, scores + 1), no_digit),
        (detector.Detections(boxes + np.nan, classes, scores + 1), scenes),
    ]:
        assert evaluation.evaluate(found, truth) == dict.fromkeys(("mean_iou", "matched", "ap50", "ap75", "ap"), 0)


@pytest.mark.parametrize("missing", ["", "parameters", "metrics.json/parameters"])
def test_a_folder_without_a_run_is_named_with_what_it_lacks(quick_run, tmp_path, missing):
    place = quick_run[0] / missing if missing else tmp_path / "nowhere"
    for out in (place, str(place)):
        with pytest.raises(FileNotFoundError, match=r"pass the folder that `jaxbox train --out` wrote") as raised:
            run.load(out)
        assert str(place) in str(raised.value)
        assert "\n" not in str(raised.value)


# In processes of their own: threads of Orbax go on raising for a while after it failed.
SAVE = """
import resource, sys
from pathlib import Path
import jax
from flax import nnx
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector
from jaxbox.demo.training import run
folder, reserves = sys.argv[1:]
model = detector.Detector(nnx.Rngs(0), digits.UPRIGHT)
if reserves == "nothing":  # as if the disk filled up while Orbax writes
    run.RESERVE = -sum(array.nbytes for array in jax.tree.leaves(nnx.state(model)))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    run.save(model, Path(folder))
except OSError as error:
    print(error)
"""
LOAD = """
import sys
from jaxbox.demo.training import run
try:
    run.load(sys.argv[1])
except ValueError as error:
    print(error)
"""


def told_by(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=host_devices(1), capture_output=True, text=True, check=True)


@pytest.mark.parametrize(("reserves", "said"), [("all", "File too large"), ("nothing", "Orbax")])
def test_parameters_that_cannot_be_written_are_an_error_in_one_line(tmp_path, reserves, said):
    told = told_by(SAVE, tmp_path / run.PARAMETERS, reserves)
    assert said in told.stdout
    assert told.stdout.count("\n") == 1
    assert told.stderr == ""


def test_a_record_without_a_head_is_named(quick_run, tmp_path):
    shutil.copytree(quick_run[0] / run.PARAMETERS, tmp_path / run.PARAMETERS)
    (tmp_path / run.METRICS).write_text('{"settings": {"losses": {}}}')
    with pytest.raises(ValueError, match=r"does not say which head the detector has, one of cells, queries, turned"):
        run.load(tmp_path)


def test_parameters_that_are_damaged_are_named_in_one_line(quick_run, tmp_path):
    shutil.copytree(quick_run[0], tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / run.PARAMETERS).rglob("d/*"):
        path.write_bytes(b"")
    told = told_by(LOAD, tmp_path)
    assert "does not hold the parameters of a detector" in told.stdout
    assert told.stdout.count("\n") == 1


def test_a_duplicate_is_dropped_and_another_class_is_kept():
    corners = jnp.array([[0, 0, 0.4, 0.4], [0.02, 0, 0.42, 0.4], [0.5, 0.5, 0.9, 0.9], [0.9, 0.9, 1, 1]])
    logits = np.full((1, 4, digits.CLASSES), -30.0, np.float32)
    logits[0, :3, 3], logits[0, 1, 8] = (3, 2, 1), 2.5
    found = detector.without_duplicates(detector.best(logits, corners[None], 32), similarity.iou)
    sure = np.asarray(found.scores[0]) > 0.5
    np.testing.assert_array_equal(found.classes[0][sure], [3, 8, 3])
    np.testing.assert_array_equal(found.boxes[0][sure], corners[:3])


def test_each_digit_is_assigned_to_the_cells_around_its_center():
    scenes = digits.compose(digits.train_and_test_digits()[0], 512, np.random.default_rng(0))
    slots = np.asarray(detector.slots_of(scenes, digits.UPRIGHT.grid))
    of_digit = np.sum(slots[:, :, None] == np.arange(digits.SLOTS), axis=1)
    assert np.all(of_digit[scenes.valid] <= 4)
    assert np.mean(of_digit[scenes.valid] > 0) > 0.999  # one may be hidden behind smaller ones
    assert not np.any(of_digit[~scenes.valid])
