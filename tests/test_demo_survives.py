"""A run of `jaxbox train` that is interrupted or killed, and goes on as if nothing had happened."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx

from jaxbox.demo import command, interrupts
from jaxbox.demo.data import digits
from jaxbox.demo.training import heads, log, resuming
from tests.test_command import fails, tree
from tests.test_demo import COMMAND, told_by
from tests.test_interrupts import started, wait_until

OPTIONS = ["--quick", "--steps", "150", "--batch-size", "2", "--save-every", "50", "--validate-every", "100"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of a run without a break, of one that was killed, then interrupted, and of one that was killed."""
    whole, broken, killed = (tmp_path_factory.mktemp("runs") / name for name in ("whole", "broken", "killed"))
    with started([*COMMAND, "train", *OPTIONS, "--out", str(broken)]) as process:
        wait_until((broken / "checkpoints" / "50").is_dir, process)
    shutil.copytree(broken, killed)
    with started([*COMMAND, "train", "--resume", str(broken)]) as process:
        assert any(line.startswith("         step 80/") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    step = resuming.steps_in(broken / "checkpoints")[-1]
    remedy = f"go on with `jaxbox train --resume {broken}`"
    assert (process.returncode, told) == (130, f"jaxbox: interrupted after step {step}, which is saved; {remedy}.\n")
    assert 80 <= step < 100
    assert {path.name for path in broken.iterdir()} == {"checkpoints"}
    assert command.main(["train", "--resume", str(broken)]) == 0
    assert command.main(["train", *OPTIONS, "--out", str(whole)]) == 0
    return whole, broken, killed


def parameters_of(out):
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        return checkpointer.restore((out / "parameters").absolute())


def test_a_run_that_was_killed_and_interrupted_ends_as_one_without_a_break_to_the_bit(runs):
    whole, broken, _ = runs
    jax.tree.map(np.testing.assert_array_equal, *map(parameters_of, (whole, broken)))
    one, other = (json.loads((out / "metrics.json").read_text()) for out in (whole, broken))
    assert [one[name] for name in ("curve", "metrics", "validation")] == [
        other[name] for name in ("curve", "metrics", "validation")
    ]
    assert len(one["curve"]["loss"]) == 150
    assert {path.name for path in broken.iterdir()} == {path.name for path in whole.iterdir()}


def test_the_parameters_are_those_of_the_best_validation_and_the_record_says_so(runs):
    whole, *_ = runs
    record = json.loads((whole / "metrics.json").read_text())
    lines = [line for line in log.lines_of(whole / "log.jsonl") if "validation ap" in line]
    assert [line["step"] for line in lines] == [100, 150]
    best = max(lines, key=lambda line: line["validation ap"])
    assert record["validation"] == {
        "best": {"step": best["step"], "ap": best["validation ap"]},
        "last": {"step": 150, "ap": lines[-1]["validation ap"]},
    }
    assert record["metrics"]["ap"] == best["validation ap"]


def test_the_log_has_a_line_for_each_step_in_the_order_of_time(runs):
    whole, broken, _ = runs
    for out in (whole, broken):
        lines = log.lines_of(out / "log.jsonl")
        trained = [line for line in lines if "loss" in line]
        assert [line["step"] for line in trained] == list(range(1, 151))
        assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
        assert {"box loss", "class loss", "learning rate", "images/s"} <= trained[0].keys()
        assert [line["loss"] for line in trained] == json.loads((out / "metrics.json").read_text())["curve"]["loss"]


READS = """
import sys
from pathlib import Path
import numpy as np
from jaxbox.demo.training import checkpoints
for folder in sys.argv[1:]:
    try:
        checkpoints.read_checkpoint(Path(folder), lambda rest: {"model": {"kernel": np.zeros(3)}})
    except OSError as error:
        print(error)
"""


def test_a_checkpoint_that_is_damaged_or_of_another_run_is_named_in_one_line(runs, tmp_path):
    *_, killed = runs
    places = [tmp_path / name for name in ("foreign", "arrays", "rest")]
    for place in places:
        shutil.copytree(killed / "checkpoints", place)
    for path in (*(tmp_path / "arrays").rglob("d/*"), *(tmp_path / "rest").rglob("rest/metadata")):
        path.write_bytes(b"")
    told = told_by(READS, *places).stdout.splitlines()
    assert len(told) == 3
    for place, line in zip(places, told, strict=True):
        assert line.startswith(f"{str(place / '50')!r} does not hold a checkpoint of this run as `jaxbox train` writes")
        assert line.endswith("; remove it and train again")


def test_a_command_that_is_damaged_is_named(capsys, runs, tmp_path):
    *_, killed = runs
    for content in ("", "[]", '{"words": 3, "within": "/"}', '{"words": [3], "within": "/"}'):
        shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
        (tmp_path / "checkpoints" / "command.json").write_text(content)
        assert "does not say how the run began" in fails(capsys, "train", "--resume", str(tmp_path))


def test_a_run_with_other_options_is_not_resumed(capsys, runs):
    *_, killed = runs
    before = tree(killed)
    for option, value, how in [
        ("--steps", "151", "with --steps 150"),
        ("--seed", "1", "with --seed 0"),
        ("--head", "queries", "with --head cells"),
        ("--loss", "giou", "without this --loss"),
        ("--out", str(killed / "other"), f"with --out {killed}"),
    ]:
        told = fails(capsys, "train", "--resume", str(killed), "--steps", "150", option, value)
        assert f"argument {option}: the run in {str(killed)!r} began {how}, and goes on so; leave {option} out" in told
    assert tree(killed) == before


@pytest.mark.parametrize("name", ["nowhere", "empty", "finished"])
def test_where_no_run_was_interrupted_none_is_resumed(capsys, runs, tmp_path, name):
    whole, *_ = runs
    (tmp_path / "empty").mkdir()
    out = whole if name == "finished" else tmp_path / name
    told = fails(capsys, "train", "--resume", str(out))
    assert f"there is no run to go on with in {str(out)!r}" in told
    assert "write" in told


def test_a_new_run_does_not_replace_one_that_is_not_finished(capsys, runs):
    *_, killed = runs
    told = fails(capsys, "train", "--out", str(killed))
    assert f"`jaxbox train --resume {killed}`" in told
    assert f"--out {killed / 'run-2'}" in told


def test_files_in_the_place_of_checkpoints_are_not_replaced(capsys, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "50").touch()
    told = fails(capsys, "train", "--out", str(tmp_path))
    assert "was not written by `jaxbox train` and is not replaced" in told


def test_what_was_added_to_checkpoints_stays(tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "50" / "arrays").mkdir(parents=True)
    (folder / "60.orbax-checkpoint-tmp-1").mkdir()
    (folder / "notes.d").mkdir()
    resuming.write_command(folder, resuming.Begun([], Path.cwd()))
    resuming.remove(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.d"]
    (folder / "notes.d").rmdir()
    resuming.remove(folder)
    assert not list(tmp_path.iterdir())


def test_only_one_process_goes_on_with_a_run(runs):
    *_, killed = runs
    number = resuming.lock(killed / "checkpoints")
    script = "import sys, pathlib; from jaxbox.demo.training.resuming import lock; lock(pathlib.Path(sys.argv[1]))"
    arguments = [sys.executable, "-c", script, str(killed / "checkpoints")]
    refused = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "BlockingIOError: another process trains in" in refused.stderr
    os.close(number)
    subprocess.run(arguments, check=True)


# The log.


def written(folder, steps):
    opened = log.Log(folder)
    for step in steps:
        opened.write(step, {"loss": 0.1 * step, "images/s": 1.0})
    return opened


def test_a_log_is_cut_back_to_a_step(tmp_path):
    opened = written(tmp_path, range(1, 6))
    opened.write(5, {"validation ap": 0.5})
    opened.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    again = log.Log(tmp_path, up_to=5)
    assert again.curve() == {"loss": [0.1 * step for step in range(1, 6)]}
    again.close()
    assert [line["step"] for line in log.lines_of(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5]


def test_a_log_without_some_steps_is_refused(tmp_path):
    written(tmp_path, [1, 2, 4]).close()
    with pytest.raises(ValueError, match="does not have a line for each of the first 4 steps"):
        log.Log(tmp_path, up_to=4)
    (tmp_path / "log.jsonl").write_text("[1]\n")
    with pytest.raises(ValueError, match=r"has a line that is not of a log: '\[1\]'"):
        log.Log(tmp_path, up_to=4)


def test_a_missing_writer_for_tensorboard_is_named_with_what_installs_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    told = fails(capsys, "train", "--tensorboard", "--out", str(tmp_path))
    assert "the package `tensorboardX` is missing; write `uv sync --extra demo --extra tensorboard`" in told


def test_tensorboard_gets_what_the_log_has(tmp_path):
    pytest.importorskip("tensorboardX")
    opened = log.Log(tmp_path, for_tensorboard=True)
    opened.write(1, {"box loss": 0.5, "images/s": 1.0})
    opened.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"box_loss" in events.read_bytes()


# Signals that wait for the loop.


WAITS = """
import os, signal, sys, time
from jaxbox.demo import interrupts

interrupts.PATIENCE = float(sys.argv[2])
interrupts.watch()
interrupts.kept.append((50, "jaxbox train --resume runs/mine"))
interrupts.postpone(True)
for _ in range(int(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGTERM)
    while not interrupts.waiting:  # or the second one would be no other
        pass
while sys.argv[1] == "1" and sys.argv[2] == "60":  # steps
    if number := interrupts.postpone(True):
        interrupts.kept.append((57, "jaxbox train --resume runs/mine"))
        interrupts.leave(number, is_saved=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("times", "patience", "told"),
    [
        (1, 60, "terminated after step 57, which is saved; go on with"),
        (2, 60, "terminated; step 50 is saved: go on with"),
        (1, 0.1, "terminated; step 50 is saved: go on with"),
    ],
    ids=["a step later", "a second signal", "no answer"],
)
def test_a_signal_waits_for_a_step_but_not_for_long_and_not_for_a_second_one(times, patience, told):
    with started([sys.executable, "-c", WAITS, str(times), str(patience)]) as process:
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, f"jaxbox: {told} `jaxbox train --resume runs/mine`.\n")


def test_a_signal_that_came_while_it_could_wait_is_not_lost(monkeypatch):
    monkeypatch.setattr(interrupts, "waiting", [signal.SIGTERM])
    assert interrupts.postpone(False) == signal.SIGTERM
    assert not interrupts.patient.is_set()


# Half precision.


@pytest.mark.parametrize("name", heads.HEADS)
def test_layers_compute_in_bfloat16_and_parameters_and_losses_stay_float32(name):
    head = heads.HEADS[name]
    model = head.model(nnx.Rngs(0), dataclasses.replace(head.architecture, dtype="bfloat16"))
    scenes = head.compose(digits.train_and_test_digits()[0], 2, np.random.default_rng(0))
    with jax.numpy_dtype_promotion("standard"):
        gradients, values = nnx.grad(head.total_loss(command.DEFAULT_LOSSES[name]), has_aux=True)(model, scenes)
        assert model.backbone(scenes.images).dtype == jnp.bfloat16
        assert {array.dtype for array in model(scenes.images)} == {jnp.dtype(jnp.float32)}
    for arrays in (nnx.state(model), gradients, values):
        assert {array.dtype for array in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}
