"""That the benchmark compares like with like, and leaves its files."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import similarity
from tests import cases
from tests.tools.benchmarks import __main__ as benchmark
from tests.tools.benchmarks import dense, numpy_simulation, torch_peers, yolo
from tests.tools.benchmarks import detectors as whole
from tests.tools.benchmarks import matching as match
from tests.tools.benchmarks.timing import Effort

DISTRIBUTIONS = "distribution_focal", "uncertain_l1"
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


def arguments_of(name):
    """Pairs of ordinary boxes; distributions for the two losses of them."""
    of_boxes = cases.random_pairs(500, seed=1)
    arrays = of_boxes if name not in DISTRIBUTIONS else benchmark.arguments_of(name, 500)
    return [jnp.asarray(x, jnp.float32) for x in arrays]


def test_every_plain_form_is_of_a_loss_and_every_similarity_that_is_timed_has_one():
    assert benchmark.LOSSES.keys() == benchmark.PLAIN.keys()
    assert len(benchmark.LOSSES) >= 32
    assert benchmark.SIMILARITIES.keys() == benchmark.PLAIN_SIMILARITIES.keys()
    assert {"iou", "ioa", "ciou"} < benchmark.SIMILARITIES.keys()


@pytest.mark.parametrize("name", benchmark.PLAIN)
def test_the_plain_form_of_a_loss_has_its_values_and_gradients(name):
    arrays = arguments_of(name)

    @functools.partial(jax.jit, static_argnums=0)
    def values_and_gradients(function):
        values, pullback = jax.vjp(function, *arrays)
        return values, pullback(jnp.ones_like(values))

    (ours, our_gradients), (plain, plain_gradients) = map(
        values_and_gradients, (benchmark.LOSSES[name], benchmark.PLAIN[name])
    )
    np.testing.assert_allclose(plain, ours, **TOLERANCE)
    for of_plain, of_ours in zip(plain_gradients, our_gradients, strict=True):
        np.testing.assert_allclose(of_plain, of_ours, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", benchmark.SIMILARITIES)
def test_the_plain_form_of_a_similarity_has_its_values(name):
    pair = arguments_of(name)
    ours, plain = (jax.jit(forms[name])(*pair) for forms in (benchmark.SIMILARITIES, benchmark.PLAIN_SIMILARITIES))
    np.testing.assert_allclose(plain, ours, **TOLERANCE)


@pytest.mark.parametrize("name", benchmark.FAMILY)
def test_the_form_of_a_loss_in_pytorch_has_its_values(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pair = [np.float32(x) for x in cases.random_pairs(500, seed=1)]
    theirs = torch_peers.loss(torch, name, *map(torch.tensor, pair))
    np.testing.assert_allclose(theirs.numpy(), benchmark.LOSSES[name](*pair), **TOLERANCE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch about itself, as it imports its compiler
@pytest.mark.parametrize("name", ["iou", "giou"])
def test_all_pairs_in_pytorch_have_the_same_values_and_gradients(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (a, b), weights = cases.random_pairs(20, seed=1), np.random.default_rng(2).uniform(size=(20, 20))
    a, b, weights = np.float32(a), np.float32(b), np.float32(weights)
    of_values, of_gradients = torch_peers.of_pairs(name, a, b, weights)
    compare = similarity.pairwise(benchmark.SIMILARITIES[name])
    for call in of_values.values():
        np.testing.assert_allclose(call().numpy(), compare(a, b), **TOLERANCE)
    ours = jax.grad(lambda a, b: jnp.sum(compare(a, b) * weights), (0, 1))(a, b)
    for call in of_gradients.values():
        for their, our in zip(call(), ours, strict=True):
            np.testing.assert_allclose(their.numpy(), our, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "trained", "first steps"])
def test_every_way_of_matching_gives_pairs_of_the_same_total_cost(kind):
    costs, where = match.problems(3, 30, 12, 9, kind)
    totals = []
    for way in (match.ours, match.on_the_host, match.by_callback, match.by_optax):
        rows = np.asarray(way(costs, where))
        assert all(len(set(row[real])) == real.sum() for row, real in zip(rows, where, strict=True))
        at = np.minimum(rows, 29)[:, None]
        totals.append(np.nansum(np.take_along_axis(costs, at, axis=1)[:, 0], axis=1))
    np.testing.assert_allclose(totals, totals[:1] * 4, rtol=1e-5)


@pytest.mark.parametrize("name", ["task_aligned", "atss"])
def test_an_assignment_in_plain_jax_numpy_is_the_same(name, monkeypatch):
    monkeypatch.setattr(dense, "IMAGE", (128, 128))
    given = dense.scene(2, 12)
    slots = np.asarray(dense.ours(name, given))
    assert np.any(slots < 12)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        np.testing.assert_array_equal(dense.plain(name, given), slots)


def test_a_plain_walk_keeps_the_same_boxes():
    arrays = dense.detections(400)
    kept = dense.suppression.nms(*arrays, threshold=0.5, outputs=100)
    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_array_equal(dense.plain_nms(*arrays, outputs=100), kept.indices)


SMALL = dict.fromkeys(whole.SIZES, (2, 2, 26, 5))


def test_whole_losses_are_measured_without_torch_or_transformers(monkeypatch):
    monkeypatch.setattr(whole, "theirs", lambda *_: None)
    for of, times in whole.of_detectors(Effort(rounds=1, seconds=0), SMALL):
        assert (of["sets"], of["images"], of["queries"]) == (2, 2, 26)
        assert times["jaxbox"] > 0


@pytest.mark.parametrize("name", whole.SIZES)
def test_whole_losses_in_transformers_have_the_same_values_and_gradients(name):
    pytest.importorskip("transformers", reason="transformers is not installed")
    arrays, truth = whole.inputs(name, *whole.SIZES[name][:1], *SMALL[name][1:])
    value, gradients = whole.ours(name, arrays, truth)()
    run = whole.theirs(name, arrays, truth)
    assert run
    their_value, their_gradients = run()
    np.testing.assert_allclose(their_value.numpy(), value, rtol=1e-5)
    for our, their in zip((gradients[key] for key in whole.LEARNT if key in gradients), their_gradients, strict=True):
        np.testing.assert_allclose(their.numpy(), our, atol=1e-4 * np.max(np.abs(our)))


def test_the_loss_of_yolov8_is_measured_without_torch_or_ultralytics(monkeypatch):
    monkeypatch.setattr(dense, "IMAGE", (64, 96))
    monkeypatch.setattr(yolo, "theirs", lambda *_: None)
    ((of, times),) = yolo.of_yolo(Effort(rounds=1, seconds=0), [(2, 5)])
    assert (of["images"], of["anchors"], of["slots"]) == (2, 96 + 24 + 6, 5)
    assert times["jaxbox"] > 0


@pytest.mark.parametrize("images", [1, 3])
def test_the_loss_of_yolov8_in_ultralytics_has_the_same_value_and_gradients(images, monkeypatch):
    monkeypatch.setattr(dense, "IMAGE", (128, 192))
    arrays = yolo.inputs(images, 12)
    run = yolo.theirs(*arrays)
    if run is None:
        pytest.skip("ultralytics is not installed")
    (value, gradients), (their_value, their_gradients) = yolo.ours(*arrays)(), run()
    np.testing.assert_allclose(their_value.numpy(), value, rtol=1e-5)
    for our, their in zip(gradients, their_gradients, strict=True):
        np.testing.assert_allclose(their.numpy().swapaxes(1, 2), our, atol=1e-4 * np.max(np.abs(our)))


def test_what_needs_more_memory_than_is_free_is_left_out_and_said():
    ((of, times),) = benchmark.of_pairwise(["giou"], [(30, 20)], Effort(rounds=1, seconds=0), free=lambda: 0)
    assert times["plain gradients"] is None
    assert times["forward"] > 0
    assert times["gradients"] > 0
    assert "no memory" in benchmark.cells("pairwise", {"of": of, "microseconds": times})


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
