"""The command `jaxbox simulate`: what it prints, the files it leaves, and what it refuses."""

import contextlib
import io
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import rich.console

from jaxbox import simulation
from jaxbox.demo import catalogue, command, simulate
from tests.test_simulation import EXPECTED

POINTS = 64


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The folder and the standard output of both experiments on a small grid."""
    out = tmp_path_factory.mktemp("runs") / "both"
    arguments = ["--losses", "diou", "giou", "--points", str(POINTS), "--out", str(out)]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert command.main(["simulate", *arguments]) == 0
    return out, told.getvalue()


def record_of(out):
    return json.loads((Path(out) / simulate.RECORD).read_text())


def simulates(capsys, out, *arguments):
    assert command.main(["simulate", "--points", "1", "--out", str(out), *arguments]) == 0
    return record_of(out), capsys.readouterr().out


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        command.main(["simulate", *arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_a_run_leaves_its_files_and_nothing_else(small_run):
    out, _ = small_run
    assert {path.name for path in out.iterdir()} == {simulate.RECORD, simulate.CURVES, simulate.ERRORS}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in (simulate.CURVES, simulate.ERRORS))


def test_each_loss_is_told_under_published_directions_and_under_exact_gradients(small_run):
    out, told = small_run
    results = record_of(out)["results"]
    named = [(result["loss"], result["experiment"]) for result in results]
    assert named == [("diou", "published"), ("diou", "exact"), ("giou", "published"), ("giou", "exact")]
    rows = [line.split() for line in told.splitlines() if re.match(r"  [dg]iou ", line)]
    assert [tuple(cells[:2]) for cells in rows] == named
    for cells, result in zip(rows, results, strict=True):
        assert cells[2:7] == [simulate.length(result["total_error"][step]) for step in simulate.REPORTED]
        assert cells[7:10] == [f"{fraction:.3f}" for fraction in result["fraction_of_iou_above"].values()]


def test_piped_output_has_no_bar_and_no_escape(small_run):
    _, told = small_run
    assert "\x1b" not in told
    assert "\u2501" not in told
    assert "\u2026" not in told  # what rich ends a cell with that it cuts


def test_the_published_curve_is_that_of_the_scripts(small_run):
    curve = record_of(small_run[0])["results"][0]["total_error"]
    assert len(curve) == 201
    expected = EXPECTED["published_64_points"]["diou"]["curve"]
    np.testing.assert_allclose(curve[1:], expected, rtol=EXPECTED["tolerances"]["float32"]["diou"])


def test_the_first_error_is_that_of_the_anchors(small_run):
    grid = simulation.paper_grid(POINTS, dtype=np.float64)
    starts = [result["total_error"][0] for result in record_of(small_run[0])["results"]]
    np.testing.assert_allclose(starts, np.sum(np.abs(grid.anchors - grid.targets)), rtol=1e-5)


def test_the_final_errors_of_the_points_sum_to_the_end_of_the_curve(small_run):
    record = record_of(small_run[0])
    for result in record["results"]:
        errors = result["mean_final_error_of_a_point"]
        np.testing.assert_allclose(errors["mean"] * record["cases"], result["total_error"][-1], rtol=1e-4)
        assert errors["least"] <= errors["median"] <= errors["greatest"]


def test_the_rate_is_cases_times_steps_a_second(small_run):
    record = record_of(small_run[0])
    assert record["cases"] == POINTS * simulation.CASES_PER_POINT
    for result in record["results"]:
        work = result["cases_times_steps_a_second"] * result["seconds"]
        assert work == pytest.approx(record["cases"] * record["steps"])


def test_a_loss_without_a_published_direction_runs_by_its_exact_gradient(capsys, tmp_path):
    record, _ = simulates(capsys, tmp_path, "--losses", "nwd_loss", "iou", "nwd")
    named = [(result["loss"], result["experiment"]) for result in record["results"]]
    assert sorted(named) == [("iou", "exact"), ("iou", "published"), ("nwd", "exact")]
    options = {result["loss"]: result["options"] for result in record["results"]}
    assert options == {"nwd": {"constant": catalogue.OPTIONS["constant"]}, "iou": {}}


def test_a_table_that_is_too_wide_for_the_terminal_is_two():
    titles = ["loss", "directions", *(f"step {step}" for step in simulate.REPORTED), "IoU > 0.5", "seconds"]
    for width, times in ((80, 2), (400, 1)):
        told = io.StringIO()
        console = rich.console.Console(file=told, width=width, force_terminal=True, no_color=True)
        simulate.print_table([dict.fromkeys(titles, "1")], console)
        assert told.getvalue().count("directions") == times


def test_an_interrupt_ends_with_a_sentence_and_no_file(capsys, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(simulate.PUBLISHED, "iou", interrupted)
    assert command.main(["simulate", "--losses", "iou", "--points", "1", "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == "jaxbox: interrupted; no half-written file is left.\n"
    assert not list(tmp_path.iterdir())


def test_a_run_that_replaces_an_earlier_one_says_so(capsys, tmp_path):
    typed = ["--losses", "iou", "--experiment", "published"]
    first, told = simulates(capsys, tmp_path, *typed)
    assert "this run replaces" not in told
    again, told = simulates(capsys, tmp_path, *typed)
    assert f"out      {tmp_path}, where this run replaces that of {first['finished']}" in told
    assert again["files"].keys() == {simulate.CURVES, simulate.ERRORS}


def test_float64_is_asked_for_and_put_back(capsys, tmp_path):
    record, told = simulates(
        capsys, tmp_path, "--losses", "diou", "--experiment", "published", "--precision", "float64"
    )
    assert "float64" in told
    assert not jax.config.read("jax_enable_x64")
    grid = simulation.paper_grid(1, dtype=np.float64)
    start = np.sum(np.abs(grid.anchors - grid.targets))
    np.testing.assert_allclose(record["results"][0]["total_error"][0], start, rtol=1e-14)


def test_an_error_that_is_not_finite_ends_the_run_in_one_line(capsys, monkeypatch, tmp_path):
    def away(predictions, targets):
        return 1e30 * (predictions - targets)

    monkeypatch.setitem(simulate.PUBLISHED, "iou", away)
    assert command.main(["simulate", "--losses", "iou", "--points", "1", "--out", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert "iou, published directions: the error is not finite from step" in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("experiment", "offered"),
    [("published", simulate.PUBLISHED), ("exact", catalogue.box_losses()), ("both", catalogue.box_losses())],
)
def test_an_unknown_loss_lists_the_known_ones(capsys, experiment, offered):
    told = fails(capsys, "--losses", "giou", "guiou", "--experiment", experiment)
    assert "'guiou'" in told
    assert all(name in told for name in offered)
    assert told.count("\n") == 1


def test_a_loss_that_has_no_published_direction_is_sent_to_the_exact_experiment(capsys):
    assert "--experiment exact" in fails(capsys, "--losses", "eiou", "--experiment", "published")
    assert "--experiment exact" not in fails(capsys, "--losses", "guiou", "--experiment", "published")


def test_the_losses_and_points_offered_are_those_of_the_paper():
    assert set(command.SIMULATED) == set(simulate.PUBLISHED)
    assert len(simulation.paper_grid(command.POINTS).points) == command.POINTS
    with pytest.raises(ValueError, match="points"):
        simulation.paper_grid(command.POINTS + 1)
