"""That the benchmark compares like with like, and leaves its files."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from tests import cases
from tests.benchmarks import __main__ as benchmark
from tests.benchmarks import numpy_simulation


@pytest.mark.parametrize("name", benchmark.PLAIN)
def test_the_plain_form_of_a_loss_has_its_values(name):
    pair = [jnp.float32(x) for x in cases.random_pairs(500, seed=1)]
    np.testing.assert_allclose(benchmark.PLAIN[name](*pair), benchmark.LOSSES[name](*pair), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", benchmark.FAMILY)
def test_the_simulation_in_numpy_has_the_same_curve(name):
    grid, schedule = benchmark.simulation.paper_grid(1), benchmark.simulation.paper_schedule()[:20]
    direction = getattr(benchmark.simulation, f"published_{name}")
    curve = benchmark.simulation.simulate(direction, grid.anchors, grid.targets, schedule=schedule).curve
    boxes, targets = list(np.asarray(grid.anchors).T), list(np.asarray(grid.targets).T)
    for rate, error in zip(schedule, curve[-len(schedule) :], strict=True):
        boxes, total = numpy_simulation.step(name, boxes, targets, rate)
        np.testing.assert_allclose(total, error, rtol=1e-4)


def test_a_quick_run_prints_a_table_and_leaves_json_and_a_picture(tmp_path, capsys):
    benchmark.main(["--quick", "--only", "losses", "iou", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert "plain / it" in told
    assert {path.name for path in tmp_path.iterdir()} == {"benchmark.json", "benchmark.png"}
    record = json.loads((tmp_path / "benchmark.json").read_text())
    assert [line["of"]["boxes"] for line in record["sections"]["losses"]] == [100, 10_000]
    assert all(time > 0 for line in record["sections"]["losses"] for time in line["microseconds"].values())
    assert {"device", "versions"} <= record.keys()


def test_what_is_not_measured_is_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(["--only", "guiou"])
    assert stopped.value.code == 2
    assert "'guiou' is not measured; write one of losses, " in capsys.readouterr().err
