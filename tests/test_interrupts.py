"""Signals that end the `jaxbox` command: what it says, how long it takes, and what it leaves behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxbox.demo import files, interrupts
from tests.devices import host_devices
from tests.test_demo import COMMAND

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
# `python -m jaxbox`, that hears signals even where this process was started to ignore them, as by `nohup`.
HEARING = """
import os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "jaxbox", *sys.argv[1:]])
"""
TRAIN = ["train", "--quick", "--batch-size", "2", "--steps"]


@contextlib.contextmanager
def started(arguments, **options):
    """A process; one that still runs at the end is killed."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def tree(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def ends(process, name, times=1):
    """Sends a signal, and asserts that the process ends within a second, with one sentence."""
    began = time.perf_counter()
    for _ in range(times):
        process.send_signal(signal.Signals[name])
    _, told = process.communicate(timeout=60)
    took = time.perf_counter() - began
    assert (process.returncode, told) == (SIGNALS[name], f"{interrupts.SENTENCES[name]}\n")
    assert took < 1


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()


def is_watching(process):
    """Whether an interrupt is blocked, by the mask that Linux tells."""
    with open(f"/proc/{process.pid}/status") as status:
        (mask,) = (line.split()[1] for line in status if line.startswith("SigBlk"))
    return int(mask, 16) >> signal.SIGINT - 1 & 1


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("way", [COMMAND, [sys.executable, "-c", HEARING]], ids=["script", "module"])
def test_a_signal_ends_the_command_from_the_first_moment(tmp_path, name, way):
    # A command that takes seconds: on a busy machine a short one is over before this process looks.
    with started([*way, "simulate", "--out", str(tmp_path / "a" / "run")]) as process:
        wait_until(lambda: is_watching(process), process)
        ends(process, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("command", ["train", "simulate"])
def test_a_signal_while_packages_are_imported_ends_the_command(tmp_path, name, command):
    for tenths in range(3):
        with started([*COMMAND, command, "--out", str(tmp_path / "a" / "run")], env=host_devices(1)) as process:
            assert process.stdout.readline().startswith("load ")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(tenths / 10)
            ends(process, name, times=1 + tenths)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("moment", "name"), [("compiles", "SIGINT"), ("trains", "SIGTERM"), ("writes", "SIGHUP")])
def test_a_signal_in_the_middle_of_a_run_leaves_an_earlier_one_as_it_was(tmp_path, moment, name):
    with files.staging(tmp_path, files.TRAINED) as (folder, _):
        (folder / "parameters").mkdir()
        files.write_record({}, folder / "metrics.json")
    before = tree(tmp_path)
    environment = os.environ if moment == "compiles" else host_devices(1)
    steps = {"compiles": "100000", "trains": "100", "writes": "1"}[moment]
    with started([*COMMAND, *TRAIN, steps, "--out", str(tmp_path)], env=environment) as process:
        line = {"compiles": "train ", "trains": "         step", "writes": "test "}[moment]
        assert any(told.startswith(line) for told in process.stdout)
        if moment == "writes":
            wait_until(lambda: list(tmp_path.glob(".unfinished-*/new/parameters*")), process)
        ends(process, name, times=2)
    assert tree(tmp_path) == before


def test_a_signal_while_a_simulation_compiles_ends_it(tmp_path):
    typed = ["simulate", "--points", "200", "--out", str(tmp_path / "a" / "run")]
    with started([*COMMAND, *typed], env=os.environ) as process:
        assert any(told.startswith("grid ") for told in process.stdout)
        ends(process, "SIGINT", times=2)
    assert not list(tmp_path.iterdir())


SWAPS = """
import os, pathlib, signal, sys
from jaxbox.demo import files, interrupts

interrupts.watch()
rename = pathlib.Path.rename

def slowly(self, target):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(10**5):  # in which another thread could end this process
        pass
    return rename(self, target)

pathlib.Path.rename = slowly
leaves = files.Leaves("a test", "record.json", tuple("abcdefgh"))
with files.staging(pathlib.Path(sys.argv[1]), leaves) as (folder, _):
    for name in leaves.others:
        (folder / name).write_text(sys.argv[2])
    files.write_record({}, folder / "record.json")
signal.pause()
"""


def test_a_signal_while_files_take_their_places_waits_until_all_of_them_have(tmp_path):
    for text in ("before", "after"):
        with started([sys.executable, "-c", SWAPS, str(tmp_path), text]) as process:
            _, told = process.communicate(timeout=60)
        assert (process.returncode, told) == (143, f"{interrupts.SENTENCES['SIGTERM']}\n")
        assert {path.name for path in tmp_path.iterdir()} == {*"abcdefgh", "record.json"}
        assert {(tmp_path / name).read_text() for name in "abcdefgh"} == {text}


IGNORES = """
import os, signal
from jaxbox.demo import interrupts
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
interrupts.watch()
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""


def test_a_signal_that_is_ignored_stays_ignored():
    with started([sys.executable, "-c", IGNORES]) as process:
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_what_cannot_be_removed_is_named():
    last_act = [sys.executable, interrupts.__file__, "130", interrupts.INTERRUPTED, "/nowhere/.unfinished-1"]
    finished = subprocess.run(last_act, capture_output=True, text=True, check=False)
    assert finished.returncode == 130
    assert finished.stderr.startswith("jaxbox: interrupted; '/nowhere/.unfinished-1' cannot be removed: ")
