"""Eight devices, two processes and a plan for 256 devices: the numbers of one device, and what crosses the network."""

import itertools
import json
import os
import re
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

from jaxbox.demo import command, processes
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector
from jaxbox.demo.training import heads, run, train
from tests import spread
from tests.devices import host_devices
from tests.test_demo import COMMAND

STEPS = 4
WAYS = ["jit", "shard_map", "shard_map, check_vma=False", "pmap"]


def free_address():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{place.getsockname()[1]}"


def by_hand(number):
    return {processes.COUNT: "2", processes.NUMBER: str(number)}


def by_srun(number):
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    return step | {"SLURM_PROCID": str(number), "SLURM_LOCALID": "0"}


def both(arguments, launched, devices):
    """Runs a command as two processes; returns status, standard output and standard error of each."""
    environment = host_devices(devices) | {processes.ADDRESS: free_address()}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", *arguments(number)],
            env=environment | launched(number),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        told = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, told, strict=True)]


GLOO = "[Gloo] Rank is connected to peer ranks. Expected number of connected :"


def of_its_own(told):
    """What a process told, without the words of JAX's collectives, which print from several threads at once."""
    return [word for word in re.findall(r"[^\s\d]+", told) if word not in GLOO]


@pytest.fixture(scope="module")
def on_eight_devices(tmp_path_factory):
    file = tmp_path_factory.mktemp("devices") / "results.json"
    script = [sys.executable, "-W", "error", "-m", "tests.spread", str(file)]
    subprocess.run(script, env=host_devices(8), check=True)
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def in_two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    files = [folder / f"{number}.json" for number in range(2)]
    results = both(lambda number: ["-m", "tests.spread", str(files[number])], by_srun, devices=4)
    for status, _, errors in results:
        assert status == 0, errors
    return [json.loads(file.read_text()) for file in files]


def assert_equal_to_one_device(results, boxes, way):
    for spread_out, single in zip(results[boxes][way], results[boxes]["one device"], strict=True):
        np.testing.assert_allclose(spread_out, single, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("boxes", spread.BOXES)
@pytest.mark.parametrize("way", WAYS)
def test_eight_devices_give_the_loss_the_gradients_and_the_running_mean_of_one(on_eight_devices, boxes, way):
    assert_equal_to_one_device(on_eight_devices, boxes, way)


@pytest.mark.parametrize("boxes", spread.BOXES)
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_give_the_loss_the_gradients_and_the_running_mean_of_one(in_two_processes, boxes, way):
    for results in in_two_processes:
        assert_equal_to_one_device(results, boxes, way)


def arguments(folder, batch_size):
    training = ["train", "--quick", "--batch-size", str(batch_size), "--steps", str(STEPS), "--out", str(folder)]
    return [*COMMAND[3:], *training]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of each process, and what each of them told."""
    folder = tmp_path_factory.mktemp("processes")
    return folder, both(lambda number: arguments(folder / str(number), 15), by_hand, devices=1)


def test_two_processes_train_together_and_the_first_one_tells(trained):
    _, ((status, told, errors), (other_status, other_told, other_errors)) = trained
    assert status == other_status == 0, errors + other_errors
    assert "15 images do not divide among 2 devices: 16" in told
    assert "2 devices of 2 processes" in told
    assert "AP .5:.95" in told
    assert of_its_own(other_told) == []


def test_only_the_first_process_writes(trained):
    folder, _ = trained
    assert [path.name for path in folder.iterdir()] == ["0"]
    assert {path.name for path in (folder / "0").iterdir()} == {
        run.METRICS,
        run.DETECTIONS,
        run.CURVES,
        run.LOG,
        run.PARAMETERS,
    }


def test_two_processes_end_with_the_parameters_of_one_on_two_devices(trained, tmp_path):
    # To the last bit: the same two halves of a batch, and a sum of two numbers has one order.
    folder, _ = trained
    command_line = [sys.executable, "-W", "error", *arguments(tmp_path / "one", 16)]
    subprocess.run(command_line, env=host_devices(2), capture_output=True, check=True)
    runs = [folder / "0", tmp_path / "one"]
    curves = [json.loads((path / run.METRICS).read_text())["curve"] for path in runs]
    assert curves[0] == curves[1]
    theirs, ours = (jax.tree.leaves(nnx.to_pure_dict(nnx.state(run.load(path)))) for path in runs)
    for of_two, of_one in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(of_two, of_one)


def test_two_processes_have_the_curve_of_one_device(trained):
    # Not the parameters: sums in another order differ by about 1e-7, and Adam divides a gradient by its own size, so
    # that where one is nearly 0 its first steps go another way.
    folder, _ = trained
    head = heads.HEADS[command.HEADS[0]]
    train_digits, _ = digits.train_and_test_digits()
    with jax.numpy_dtype_promotion("standard"):
        values = train.fit(
            head.model(nnx.Rngs(0), head.architecture),
            train.make_train_step(head.total_loss(command.DEFAULT_LOSSES[command.HEADS[0]])),
            digits.stream(train_digits, 16, seed=0),
            STEPS,
            Mesh(np.array(jax.devices()[:1]), ("batch",)),
        )
        curve = [float(losses["loss"]) for losses in values]
    record = json.loads((folder / "0" / run.METRICS).read_text())
    np.testing.assert_allclose(record["curve"]["loss"], curve, rtol=1e-5)


LOST = """
import os, sys
import jax, numpy
from jaxbox.demo import processes
with processes.joined(processes.launch(os.environ)):
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()), ("data",))
    one = jax.device_put(numpy.ones(2), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    total = jax.jit(jax.numpy.sum)
    float(total(one))
    if jax.process_index() == 1:
        raise KeyboardInterrupt
    float(total(one))
"""


def test_a_process_that_is_interrupted_ends_at_once_and_the_other_one_says_why_it_cannot_go_on():
    (status, _, errors), (other_status, _, other_errors) = both(lambda _: ["-c", LOST], by_hand, devices=1)
    assert other_status == 130
    assert "KeyboardInterrupt" in other_errors
    assert status == 1
    assert "ConnectionError: this process cannot go on with the others: " in errors


def test_without_other_processes_nothing_is_joined():
    alone = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_ID": "1"}
    for environment in ({}, alone, {"OMPI_COMM_WORLD_SIZE": "1"}, {processes.ADDRESS: "", processes.COUNT: ""}):
        assert processes.launch(environment) is None
    single = {processes.ADDRESS: "localhost:1234", processes.COUNT: "1", processes.NUMBER: "0"}
    assert processes.launch(single) is None


def test_a_launcher_is_left_to_jax_and_what_is_written_by_hand_comes_first():
    srun = by_srun(1)
    assert processes.launch(srun) == {}
    assert processes.launch(srun | {processes.ADDRESS: "localhost:1234"}) == {}
    assert processes.launch({"OMPI_COMM_WORLD_SIZE": "2"}) == {}
    arguments = processes.launch(srun | by_hand(0) | {processes.ADDRESS: "localhost:1234"})
    assert arguments is not None
    assert (arguments["coordinator_address"], arguments["process_id"]) == ("localhost:1234", 0)


COMPLETE = {processes.ADDRESS: "localhost:1234", processes.COUNT: "2", processes.NUMBER: "1"}


@pytest.mark.parametrize("missing", [names for n in (1, 2) for names in itertools.combinations(COMPLETE, n)])
def test_a_launch_that_is_only_half_told_is_refused_in_one_line(capsys, monkeypatch, missing):
    for name in COMPLETE:
        monkeypatch.delenv(name, raising=False)
    for name in COMPLETE.keys() - set(missing):
        monkeypatch.setenv(name, COMPLETE[name])
    with pytest.raises(SystemExit) as stopped:
        command.main(["train"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert f"not {' and '.join(missing)} is set" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (processes.ADDRESS, "localhost", "'localhost'; write that of the first process"),
        (processes.COUNT, "two", "'two', which is not a whole number"),
        (processes.NUMBER, "-1", "'-1', which is not a whole number"),
        (processes.NUMBER, "2", "JAX_PROCESS_ID is 2, but of JAX_NUM_PROCESSES=2 processes the last has number 1"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        processes.launch(COMPLETE | {name: value})


@pytest.fixture(scope="module")
def plans():
    script = [sys.executable, "-W", "error", "-m", "tests.tools.pod_plan", "--json"]
    output = subprocess.run(script, env=os.environ, check=True, stdout=subprocess.PIPE, text=True).stdout
    small, large = (json.loads(output)[start::2] for start in (0, 1))
    return {one["step"]: (one, two) for one, two in zip(small, large, strict=True)}


@pytest.mark.parametrize("step", ["detector", "linear model"])
def test_on_256_devices_nothing_that_grows_with_the_boxes_crosses(plans, step):
    small, large = plans[step]
    assert (large["images"], large["slots"]) == (2 * small["images"], 2 * small["slots"])
    for what in ("operations", "gradients", "vectors", "scalars", "bytes"):
        assert small[what] == large[what]
    assert small["operations"] == ["all-reduce"]
    assert small["gradients"] == small["parameters"]
    assert small["state is whole"]
    assert small["bytes"] == 4 * (small["gradients"] + small["vectors"] + small["scalars"])


def test_on_256_devices_a_box_loss_needs_its_gradients_and_two_numbers(plans):
    small, _ = plans["linear model"]
    assert (small["vectors"], small["scalars"]) == (0, 2)


def test_on_256_devices_the_detector_adds_its_batch_statistics_and_the_numbers_of_its_losses(plans):
    # A batch normalization sums x and x^2, and in the backward pass what the mean passes on, for each of its channels.
    # A sum and a number of boxes for l1, for giou and for the classes.
    small, _ = plans["detector"]
    model = nnx.eval_shape(lambda: detector.Detector(nnx.Rngs(0), digits.UPRIGHT))
    means = nnx.state(model, nnx.BatchStat)
    channels = sum(array.size for array in jax.tree.leaves(means)) // 2
    assert (small["vectors"], small["scalars"]) == (3 * channels, 6)


def test_what_does_grow_is_seen(plans):
    small, large = plans["sort"]
    assert large["bytes"] == 4 * small["bytes"]
    assert small["operations"] != ["all-reduce"]
