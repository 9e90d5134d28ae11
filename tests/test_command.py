"""The `jaxbox` command line: what it lists, what it refuses, and which files it leaves alone."""

import contextlib
import inspect
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import jaxbox
from jaxbox import losses
from jaxbox.demo import catalogue, command, files
from jaxbox.demo.data import digits
from jaxbox.demo.training import datasets, run
from tests.devices import host_devices
from tests.test_demo import COMMAND

LEAVES = files.Leaves("a test", "record.json", ("picture.png", "parameters"))


def fails(capsys, *typed):
    with pytest.raises(SystemExit) as stopped:
        command.main(typed)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def listed(capsys, monkeypatch, width, *names):
    monkeypatch.setenv("COLUMNS", str(width))
    assert command.main(["losses", *names]) == 0
    return capsys.readouterr().out


def finish(typed, **options):
    return subprocess.run([*COMMAND, *typed], capture_output=True, text=True, check=False, **options)


# What is refused.


@pytest.mark.parametrize(
    ("name", "typed", "passed"),
    [
        ("train", ["--loss", "giou=-1"], "'-1'"),
        ("train", ["--loss", "giou=0"], "'0'"),
        ("train", ["--loss", "giou=much"], "'much'"),
        ("train", ["--loss", "giou=nan"], "'nan'"),
        ("train", ["--steps", "0"], "'0'"),
        ("train", ["--steps", "9" * 5000], "'9999"),
        ("train", ["--batch-size", "2.5"], "'2.5'"),
        ("train", ["--seed", "-1"], "'-1'"),
        ("simulate", ["--points", "0"], "'0'"),
        ("simulate", ["--points", "5001"], "'5001'"),
        ("simulate", ["--points", "few"], "'few'"),
        ("simulate", ["--precision", "float16"], "'float16'"),
        ("simulate", ["--experiment", "best"], "'best'"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(capsys, name, typed, passed):
    told = fails(capsys, name, *typed)
    assert passed in told
    assert "write" in told
    assert len(told) < 200


@pytest.mark.parametrize("name", ["train", "simulate"])
@pytest.mark.parametrize(
    "out", ["", "pyproject.toml", "pyproject.toml/run", "/proc/run", "a\0b", "a" * 256, "new/" + "a" * 256, "a/" * 3000]
)
def test_a_folder_that_cannot_be_is_named_in_one_line(capsys, name, out):
    told = fails(capsys, name, "--out", out)
    assert repr(out[:80])[1:-1] in told
    assert "write" in told
    assert not os.path.lexists("new")


@pytest.mark.parametrize("below", ["", "run"])
def test_a_link_to_nothing_is_no_folder(capsys, tmp_path, below):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "is a link to nothing" in fails(capsys, "train", "--out", str(tmp_path / "link" / below))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["trian"], "train"),
        (["Simulate", "--points", "1"], "simulate"),
        (["loss"], "losses"),
        (["train", "--stpes", "5"], "--steps"),
        (["train", "--batch_size=5"], "--batch-size"),
        (["train", "--loss", "guiou=2"], "giou"),
        (["train", "--loss", "GIoU"], "giou"),
        (["train", "--head", "query"], "queries"),
        (["simulate", "--losses", "diuo"], "diou"),
        (["simulate", "--precision", "floot64"], "float64"),
        (["simulate", "--experiment", "exakt"], "exact"),
        (["losses", "giuo_loss"], "giou"),
        (["losses", "giou", "smooth-l1"], "smooth_l1"),
    ],
)
def test_a_misspelled_name_is_answered_with_what_was_meant(capsys, tmp_path, typed, meant):
    out = ["--out", str(tmp_path)] if typed[0] in ("train", "simulate") else []
    assert f"; did you mean {meant}?" in fails(capsys, *typed, *out)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        (["--quick"], "`jaxbox train --quick`"),
        (["--quick", "train"], "`jaxbox train --quick`"),
        (["train", "--points=3"], "`jaxbox simulate --points`"),
        (["train", "--version"], "`jaxbox --version`"),
        (["train", "giou"], "`jaxbox train --help`"),
        (["help"], "train, digits, detect, evaluate, simulate, losses, compare"),
        (["--what"], "--version"),
    ],
)
def test_a_word_in_a_wrong_place_is_answered_with_what_to_write(capsys, typed, written):
    assert written in fails(capsys, *typed)


def test_a_loss_that_a_head_is_not_trained_with_is_answered_with_those_that_it_is(capsys, tmp_path):
    told = fails(capsys, "train", "--head", "queries", "--loss", "ciou=2", "--out", str(tmp_path))
    assert (
        "--head queries is not trained with 'ciou'; did you mean giou? write one of l1, giou; or --head cells" in told
    )


def test_an_unknown_loss_lists_the_known_ones(capsys, tmp_path):
    told = fails(capsys, "train", "--loss", "nothing", "--out", str(tmp_path))
    assert "'nothing'" in told
    assert all(name in told for name in catalogue.box_losses())


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_platform_that_is_not_there_is_named_in_one_line(tmp_path, platform):
    environment = os.environ | {"JAX_PLATFORMS": platform}
    finished = finish(["simulate", "--points", "1", "--out", str(tmp_path / "run")], env=environment)
    assert finished.returncode == 1
    assert f"the platform {platform!r}, which JAX_PLATFORMS asks for" in finished.stderr
    assert "; unset it, or write JAX_PLATFORMS=cpu." in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_error_that_nobody_expected_is_one_line_unless_its_traceback_is_asked_for(tmp_path):
    environment = os.environ | {"JAX_ENABLE_X64": "perhaps"}
    typed = ["simulate", "--out", str(tmp_path)]
    brief, full = (finish([*flags, *typed], env=environment) for flags in ([], ["--traceback"]))
    assert (brief.returncode, full.returncode) == (1, 1)
    assert "perhaps" in brief.stderr
    assert "`jaxbox --traceback`" in brief.stderr
    assert brief.stderr.count("\n") == 1
    assert full.stderr.endswith(brief.stderr)
    assert "Traceback" in full.stderr


@pytest.mark.parametrize("typed", [["losses"], ["--help"]])
def test_an_output_that_takes_nothing_is_told_in_one_line(typed):
    with open("/dev/full", "w") as full:
        finished = subprocess.run([*COMMAND, *typed], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert finished.stderr.count("\n") <= 1
    assert "Traceback" not in finished.stderr


def test_a_reader_that_has_enough_ends_the_list_without_a_word():
    read, write = os.pipe()
    os.close(read)
    finished = subprocess.run([*COMMAND, "losses"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (finished.returncode, finished.stderr) == (1, "")


def test_files_that_cannot_be_written_are_told_in_one_line(tmp_path):
    typed = ["simulate", "--points=1", "--losses=iou", "--experiment=published", "--out", str(tmp_path / "run")]
    arguments = ["sh", "-c", 'ulimit -f 20; exec "$@"', "sh", *COMMAND, *typed]  # no file above 20 blocks
    finished = subprocess.run(arguments, env=host_devices(1), capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == "jaxbox simulate: File too large; no half-written file is left.\n"
    assert not list(tmp_path.iterdir())


# What is listed.


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"jaxbox {jaxbox.__version__}\n")
    module = subprocess.run([sys.executable, "-m", "jaxbox", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == f"jaxbox {jaxbox.__version__}\n"


def test_help_has_an_example_of_every_command(capsys):
    assert command.main([]) == 0
    _, _, examples = capsys.readouterr().out.partition("examples:")
    assert all(f"jaxbox {name}" in examples for name in ("train", "simulate", "losses"))


def test_the_table_of_losses_describes_every_public_loss(capsys, monkeypatch):
    told = listed(capsys, monkeypatch, 400)
    public = {name for name in vars(losses) if name.endswith("_loss") and not name.startswith("_")}
    entries = catalogue.entries()
    assert {f"{entry.name}_loss" for entry in entries} == public
    for entry in entries:
        assert all((entry.formula, entry.range, entry.paper)), f"{entry} has an empty field"
        (line,) = (line for line in told.splitlines() if line.startswith(f" {entry.name} "))
        assert all(cell in line for cell in entry)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_list_of_losses_keeps_to_the_width_and_every_address_whole(capsys, monkeypatch, width):
    told = listed(capsys, monkeypatch, width)
    assert all(len(line) <= width for line in told.splitlines() if "https://" not in line or width >= 80)
    for entry in catalogue.entries():
        assert entry.paper.split()[-1] in told.split()
        assert " ".join(entry.formula.split()) in " ".join(told.split())


def test_a_loss_is_explained_in_full(capsys, monkeypatch):
    for name, function in catalogue.public_losses().items():
        told = listed(capsys, monkeypatch, 80, f"{name}_loss")
        assert told == listed(capsys, monkeypatch, 80, name)
        assert all(len(line) <= 80 for line in told.splitlines())
        words, entry = " ".join(told.split()), catalogue.describe(name, function)
        assert all(" ".join(field.split()) in words for field in entry)
        assert f"help(jaxbox.losses.{name}_loss)" in words
        for option in set(list(inspect.signature(function).parameters)[2:]) - {"where"}:
            assert f"option {option}" in words


def test_several_losses_are_explained_in_turn(capsys, monkeypatch):
    giou, ciou = (listed(capsys, monkeypatch, 80, name) for name in ("giou", "ciou"))
    assert listed(capsys, monkeypatch, 80, "giou", "ciou_loss", "giou_loss") == f"{giou}\n{ciou}"


# What is seen first.


@pytest.mark.parametrize("typed", [["train"], ["train", "--quick"], ["train", "--loss", "giou"], ["simulate"]])
def test_a_command_says_what_it_does_within_a_second(tmp_path, typed):
    began = time.perf_counter()
    with subprocess.Popen([*COMMAND, *typed, "--out", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("load ")
        took = time.perf_counter() - began
        process.kill()
    assert took < 1


def test_a_first_look_finds_a_box_on_most_of_its_images(tmp_path):
    finished = finish(["train", "--quick", "--out", str(tmp_path)])
    assert finished.returncode == 0, finished.stderr
    _, held_out = digits.train_and_test_digits()
    scenes = digits.compose(held_out, command.QUICK["test_images"], np.random.default_rng(datasets.TEST_SEED))
    found = run.find(run.load(tmp_path), scenes)
    assert np.sum(np.any(found.scores[: run.SHOWN] >= run.SURE, axis=-1)) >= 9


# Packages that are not there.


WITHOUT_EXTRAS = """
import sys
for package in ("flax", "matplotlib", "orbax", "pycocotools", "rich", "sklearn"):
    sys.modules[package] = None  # an import of it now fails as if it were not there
from jaxbox.demo.command import main
sys.exit(main())
"""


def test_the_losses_are_listed_without_an_extra():
    for typed in (["losses"], ["losses", "giou"], ["--help"], ["--version"]):
        subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS, *typed], capture_output=True, check=True)


@pytest.mark.parametrize("typed", [["train"], ["simulate"]])
def test_a_missing_extra_is_named_with_what_installs_it(tmp_path, typed):
    arguments = [sys.executable, "-c", WITHOUT_EXTRAS, *typed, "--out", str(tmp_path / "run")]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "package `" in finished.stderr
    assert "`uv sync --extra demo`" in finished.stderr
    assert "`pip install -e '.[demo]'`" in finished.stderr
    assert "jaxbox[" not in finished.stderr
    assert finished.stderr.count("\n") == 1


# Files that are there.


def write_run(out, text):
    with files.staging(out, LEAVES) as (folder, _):
        (folder / "parameters" / "empty").mkdir(parents=True)
        (folder / "parameters" / "array").write_text(text)
        (folder / "picture.png").write_text(text)
        files.write_record({"text": text, "number": 0.1}, folder / "record.json")


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_failed_run_leaves_the_run_before_it_alone(tmp_path):
    write_run(tmp_path, "before")
    before = tree(tmp_path)
    with contextlib.suppress(KeyboardInterrupt), files.staging(tmp_path, LEAVES) as (folder, _):
        (folder / "picture.png").write_text("aft")
        raise KeyboardInterrupt
    assert tree(tmp_path) == before


def test_a_failed_run_leaves_no_folder_that_was_made_for_it(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), files.staging(tmp_path / "a" / "b", LEAVES):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_run_replaces_the_run_before_it_and_no_other_file(tmp_path):
    (tmp_path / "notes").touch()
    for text in ("before", "after"):
        write_run(tmp_path, text)
    assert {path.name for path in tmp_path.iterdir()} == {*LEAVES.names, "notes"}
    assert (tmp_path / "parameters" / "array").read_text() == "after"
    assert files.check(tmp_path, LEAVES).finished


def test_a_part_of_a_run_that_was_removed_is_written_again(tmp_path):
    write_run(tmp_path, "before")
    (tmp_path / "picture.png").unlink()
    (tmp_path / "parameters" / "array").unlink()
    write_run(tmp_path, "after")
    assert (tmp_path / "picture.png").read_text() == "after"


def rewrite(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text": "edited"}, indent=1) + "\n")


def exchange_for_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


CHANGES = {
    "a file added to a folder": lambda out: (out / "parameters" / "note").touch(),
    "a folder added to a folder": lambda out: (out / "parameters" / "empty" / "mine").mkdir(),
    "a picture edited": lambda out: (out / "picture.png").write_text("mine"),
    "a file for a folder": lambda out: ((out / "parameters" / "empty").rmdir(), (out / "parameters" / "empty").touch()),
    "a folder for a file": lambda out: ((out / "picture.png").unlink(), (out / "picture.png").mkdir()),
    "a record edited": lambda out: rewrite(out / "record.json"),
    "a record formatted": lambda out: (out / "record.json").write_text((out / "record.json").read_text() + "\n"),
    "a record removed": lambda out: (out / "record.json").unlink(),
    "a record of another kind": lambda out: (out / "record.json").write_text("[" * 10**5),
    "a record that is a pipe": lambda out: ((out / "record.json").unlink(), os.mkfifo(out / "record.json")),
    "a link for a file": lambda out: exchange_for_link(out / "picture.png"),
    "a link for a folder": lambda out: exchange_for_link(out / "parameters"),
    "a link for a record": lambda out: exchange_for_link(out / "record.json"),
    "a link to nothing": lambda out: ((out / "picture.png").unlink(), (out / "picture.png").symlink_to("nowhere")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_run_did_not_write_is_refused_before_the_next_one_begins(tmp_path, change):
    write_run(tmp_path, "before")
    CHANGES[change](tmp_path)
    before = tree(tmp_path)
    with pytest.raises(FileExistsError, match=r"is not replaced; move it, or write --out .*run-2"):
        write_run(tmp_path, "after")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "a record removed"])
def test_what_appears_while_a_run_is_made_is_left_and_so_is_the_run(tmp_path, change):
    write_run(tmp_path, "before")
    said = pytest.raises(FileExistsError, match="has appeared or changed since the run began")
    before = {}
    with said as raised, files.staging(tmp_path, LEAVES) as (folder, _):
        (folder / "picture.png").write_text("after")
        files.write_record({}, folder / "record.json")
        CHANGES[change](tmp_path)
        before = tree(tmp_path)
    assert str(tmp_path / "run-2") in str(raised.value)
    kept = tmp_path / "run-2"
    assert (kept / "picture.png").read_text() == "after"
    files.check(kept, LEAVES)
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    assert tree(tmp_path) == {path: content for path, content in before.items() if not path.startswith(".unfinished")}


@pytest.mark.parametrize("name", files.TRAINED.names)
@pytest.mark.parametrize("make", ["touch", "mkdir"])
def test_a_foreign_file_by_one_of_the_names_is_refused_in_one_line(capsys, tmp_path, name, make):
    getattr(tmp_path / name, make)()
    told = fails(capsys, "train", "--out", str(tmp_path))
    assert f"{str(tmp_path / name)!r} was not written by `jaxbox train`" in told
    assert "write --out" in told
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_picture_of_another_command_is_not_replaced(capsys, tmp_path):
    with files.staging(tmp_path, files.TRAINED) as (folder, _):
        (folder / run.CURVES).touch()
        files.write_record({}, folder / run.METRICS)
    assert repr(str(tmp_path / run.CURVES)) in fails(capsys, "simulate", "--out", str(tmp_path))


def test_advice_for_another_folder_is_right_for_a_shell(capsys, tmp_path):
    (tmp_path / "my runs").mkdir()
    (tmp_path / "my runs" / "curves.png").touch()
    told = fails(capsys, "train", "--out", str(tmp_path / "my runs"))
    assert f"write --out '{tmp_path / 'my runs' / 'run-2'}'" in told
