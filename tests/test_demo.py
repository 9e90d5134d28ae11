"""The `jaxbox` command: what it trains, tells and leaves behind."""

import contextlib
import inspect
import io
import json
import os
import signal
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

from jaxbox import losses
from jaxbox.demo import catalogue, command, detector, digits, evaluation, files, run, train

# A console script is this line; here warnings are errors, and an interrupt arrives even where a shell ignores it.
SCRIPT = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from jaxbox.demo.command import main; sys.exit(main())"
)
COMMAND = [sys.executable, "-W", "error", "-c", SCRIPT]
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # to compile, not to run


def host_devices(count):
    """The environment of a process on so many devices."""
    return os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count} {QUICK}", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(autouse=True)
def standard_promotion() -> Iterator[None]:
    """Adam's bias correction in optax mixes floats with an integer count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the standard output of a quick run on two devices."""
    out = tmp_path_factory.mktemp("runs") / "quick"
    arguments = [*COMMAND, "train", "--quick", "--batch-size", "15", "--out", str(out)]
    finished = subprocess.run(arguments, env=host_devices(2), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return out, finished.stdout


def record_of(quick_run: tuple[Path, str]) -> dict:
    return json.loads((quick_run[0] / run.METRICS).read_text())


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_a_quick_run_leaves_its_files_and_nothing_else(quick_run):
    out, _ = quick_run
    assert {path.name for path in out.iterdir()} == {run.METRICS, run.DETECTIONS, run.CURVES, run.PARAMETERS}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in (run.DETECTIONS, run.CURVES))


def test_the_loss_falls_in_a_quick_run(quick_run):
    curve = record_of(quick_run)["curve"]
    for name in ("loss", "box loss", "class loss"):
        assert len(curve[name]) == command.QUICK["steps"]
        assert np.mean(curve[name][-5:]) < 0.8 * np.mean(curve[name][:5])


def test_a_run_ends_with_a_table_and_tells_that_the_batch_was_rounded_up(quick_run):
    _, told = quick_run
    assert "15 images do not divide among 2 devices: 16" in told
    assert all(title in told for title in ("mean IoU of matched boxes", "AP at .5", "AP at .75", "AP .5:.95", "time"))
    assert "\x1b" not in told


def test_parameters_load_again_and_find_the_same_boxes(quick_run):
    out, _ = quick_run
    _, test_digits = digits.train_and_test_digits()
    scenes = digits.compose(test_digits, command.QUICK["test_images"], np.random.default_rng(run.TEST_SEED))
    metrics = evaluation.evaluate(run.find(run.load(out), scenes), scenes)
    assert metrics == pytest.approx(record_of(quick_run)["metrics"], abs=1e-5)


def test_two_devices_train_as_one_does(quick_run):
    weighted_losses = [(weight, catalogue.box_losses()[name]) for name, weight in command.DEFAULT_LOSSES]
    train_digits, _ = digits.train_and_test_digits()
    values = train.fit(
        detector.Detector(nnx.Rngs(0)),
        train.make_train_step(weighted_losses),
        digits.stream(train_digits, 16, seed=0),
        command.QUICK["steps"],
        Mesh(np.array(jax.devices()[:1]), ("batch",)),
    )
    curve = [float(losses["loss"]) for losses in islice(values, 10)]
    np.testing.assert_allclose(record_of(quick_run)["curve"]["loss"][:10], curve, rtol=1e-3)


def test_an_interrupt_ends_with_a_sentence_and_no_file(tmp_path):
    arguments = [*COMMAND, "train", "--quick", "--steps", "100000", "--out", str(tmp_path / "run")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, env=host_devices(1), text=True, **pipes) as process:
        assert process.stdout is not None
        assert any(line.startswith("train") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert told.endswith("jaxbox: interrupted; no half-written file is left.\n")
    assert "Traceback" not in told
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_ends_the_training():
    values = iter([{"loss": jnp.float32(1)}, {"loss": jnp.float32(jnp.nan)}])
    with pytest.raises(FloatingPointError, match="the loss is nan by step 2; give the losses smaller weights"):
        run.watch(values, steps=2, batch_size=1, console=rich.console.Console(file=io.StringIO()))


def test_a_failed_run_leaves_the_run_before_it_alone(tmp_path):
    (tmp_path / run.METRICS).write_text("before")
    with contextlib.suppress(KeyboardInterrupt), files.staging(tmp_path) as folder:
        (folder / run.METRICS).write_text("aft")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == [run.METRICS]
    assert (tmp_path / run.METRICS).read_text() == "before"


def test_a_run_replaces_the_run_before_it_and_no_other_file(tmp_path):
    for text in ("before", "after"):
        with files.staging(tmp_path) as folder:
            (folder / run.PARAMETERS).mkdir()
            (folder / run.PARAMETERS / text).touch()
        (tmp_path / "notes").touch()
    assert {path.name for path in tmp_path.iterdir()} == {run.PARAMETERS, "notes"}
    assert [path.name for path in (tmp_path / run.PARAMETERS).iterdir()] == ["after"]


def test_an_unknown_loss_lists_the_known_ones(capsys):
    told = fails(capsys, "train", "--loss", "guiou=2")
    assert "'guiou'" in told
    assert all(name in told for name in catalogue.box_losses())


@pytest.mark.parametrize(
    ("name", "arguments", "passed"),
    [
        ("train", ["--loss", "giou=-1"], "'-1'"),
        ("train", ["--loss", "giou=0"], "'0'"),
        ("train", ["--loss", "giou=much"], "'much'"),
        ("train", ["--loss", "giou=nan"], "'nan'"),
        ("train", ["--steps", "0"], "'0'"),
        ("train", ["--batch-size", "2.5"], "'2.5'"),
        ("train", ["--seed", "-1"], "'-1'"),
        ("train", ["--out", "pyproject.toml/run"], "'pyproject.toml/run'"),
        ("simulate", ["--points", "0"], "'0'"),
        ("simulate", ["--points", "5001"], "'5001'"),
        ("simulate", ["--points", "few"], "'few'"),
        ("simulate", ["--precision", "float16"], "'float16'"),
        ("simulate", ["--experiment", "best"], "'best'"),
        ("simulate", ["--out", "pyproject.toml/run"], "'pyproject.toml/run'"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(capsys, name, arguments, passed):
    told = fails(capsys, name, *arguments)
    assert passed in told
    assert "write" in told or "choose from" in told
    assert told.count("\n") == 1


def test_a_missing_extra_is_named_with_what_installs_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)  # an import of it now fails as if it were not there
    assert command.main(["losses"]) == 1
    told = capsys.readouterr().err
    assert "`rich`" in told
    assert "pip install 'jaxbox[demo]'" in told


def test_help_has_an_example_of_every_command(capsys):
    assert command.main([]) == 0
    _, _, examples = capsys.readouterr().out.partition("examples:")
    assert all(f"jaxbox {name}" in examples for name in ("train", "losses"))


def test_the_table_of_losses_describes_every_public_loss(capsys):
    assert command.main(["losses"]) == 0
    told = capsys.readouterr().out
    public = {name for name in vars(losses) if name.endswith("_loss") and not name.startswith("_")}
    entries = catalogue.entries()
    assert {f"{entry.name}_loss" for entry in entries} == public
    for entry in entries:
        assert all((entry.formula, entry.range, entry.paper)), f"{entry} has an empty field"
        assert f" {entry.name} " in told


def test_every_loss_of_predictions_and_targets_can_be_trained_with():
    pairs = {
        name
        for name, function in catalogue.public_losses().items()
        if list(inspect.signature(function).parameters)[:2] == ["predictions", "targets"]
    }
    assert pairs == set(catalogue.box_losses())


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


def test_a_duplicate_is_dropped_and_another_class_is_kept():
    boxes = jnp.array([[0, 0, 0.4, 0.4], [0.02, 0, 0.42, 0.4], [0, 0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]])
    kept = detector.first_of_kind(boxes, jnp.array([3, 3, 8, 3]))
    np.testing.assert_array_equal(kept, [True, False, True, True])


def test_each_digit_is_assigned_to_the_cells_around_its_centre():
    scenes = digits.compose(digits.train_and_test_digits()[0], 8, np.random.default_rng(0))
    targets = detector.assign(scenes)
    cells = np.sum(targets.assigned, axis=-1)
    digits_per_image = np.sum(scenes.valid, axis=-1)
    assert np.all((digits_per_image <= cells) & (cells <= 4 * digits_per_image))
    assert np.all(np.isfinite(np.asarray(targets.boxes)[targets.assigned]))
    assert np.all((np.asarray(targets.classes) >= 0) == targets.assigned)
