"""What has to be tried on a GPU: the tests of the core, and the times of its programs against what the card can do.

    PYTHONPATH=. python3 -m tests.tools.on_a_gpu --out DIR

It needs the package's own dependencies, pytest, pytest-xdist and rich; PyTorch takes part where it is installed. It
prints two tables and writes `on_a_gpu.json` and the log of the tests. In under eight minutes.
"""

import argparse
import functools
import itertools
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table

from jaxbox import boxes, losses, similarity
from tests.tools import hlo
from tests.tools.benchmarks import dense, plain, torch_peers
from tests.tools.benchmarks.matching import on_the_host, ours, problems
from tests.tools.benchmarks.subjects import broadcasting, mean_of, random_boxes, value_and_grad, weighted_gradients
from tests.tools.benchmarks.timing import CONTROL, Effort, measure

ROOT = pathlib.Path(__file__).parents[2]
CORE = ["numerics", "geometry", "boxes", "similarity", "losses", "distributions", "reductions", "disagreements"]
CORE += ["limits", "costs", "matching", "assigners", "suppression", "detectors", "dense"]
NAMES = "iou", "giou", "diou", "ciou", "siou"
COUNT = 10_000_000
PAIRS = "iou", "giou", "ciou"
SETS = (8400, 100), (20_000, 500)
EFFORT = Effort(rounds=7, seconds=0.02)


def run_tests(out: pathlib.Path, seconds: float) -> dict[str, object]:
    """The tests of the core on the GPU: pytest's closing line and the names of those that failed."""
    # A process takes three quarters of the memory of a card, unless it is told not to.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    names = [f"tests/test_{name}.py" for name in CORE]
    names += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/test_laws_*.py"))
    options = "-q -rf --tb=short -p no:cacheprovider -p xdist.plugin -o minversion=8 --numprocesses=14"
    command = [sys.executable, "-m", "pytest", *options.split(), *names]
    log = out / "tests.log"
    with log.open("w") as file:
        tests = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            tests.wait(seconds)
        except subprocess.TimeoutExpired:
            tests.send_signal(signal.SIGINT)  # so that pytest says what it has found until now
            tests.wait(20)
    text = log.read_text()
    ends = re.findall(r"^=*[^\n]*\b(?:passed|failed|no tests ran)\b[^\n]*$", text, re.MULTILINE)
    return {
        "closing line": ends[-1] if ends else "no result",
        "failed": re.findall(r"^FAILED (\S+)", text, re.MULTILINE),
    }


def of_losses(names: tuple[str, ...], count: int) -> Iterator[dict[str, object]]:
    """Every program of a loss at so many boxes: its time, its bytes, its kernels, and the bytes of its limit."""
    predictions, targets = (jax.device_put(random_boxes(count, seed)) for seed in (0, 1))
    where = jax.random.bernoulli(jax.random.key(2), 0.7, (count,))
    half = predictions.astype(jnp.bfloat16), targets.astype(jnp.bfloat16)
    centers = boxes.xyxy_to_cxcywh(predictions)
    row = predictions.nbytes // count
    for name in names:
        loss, usual = getattr(losses, f"{name}_loss"), getattr(plain, f"{name}_loss")

        def of_centers(p: jax.Array, t: jax.Array, loss: Callable[..., jax.Array] = loss) -> jax.Array:
            return loss(boxes.cxcywh_to_xyxy(p), t)

        cases = {
            "forward": (loss, (predictions, targets), 2 * row + 4),
            "mean": (mean_of(loss), (predictions, targets), 2 * row),
            "value and gradient": (value_and_grad(loss), (predictions, targets), 3 * row),
            "masked": (
                jax.value_and_grad(lambda p, t, w, loss=loss: jnp.sum(loss(p, t, where=w)) / jnp.sum(w)),
                (predictions, targets, where),
                3 * row + 1,
            ),
            "in bfloat16": (value_and_grad(loss), half, 3 * row // 2),
            "of centers and sides": (value_and_grad(of_centers), (centers, targets), 3 * row),
            "plain forward": (usual, (predictions, targets), 2 * row + 4),
            "plain value and gradient": (value_and_grad(usual), (predictions, targets), 3 * row),
        }
        compiled = {key: jax.jit(function).lower(*given).compile() for key, (function, given, _) in cases.items()}
        calls = {key: functools.partial(compiled[key], *given) for key, (_, given, _) in cases.items()}
        times = measure(calls, EFFORT)
        for key, (_, _, least) in cases.items():
            text = compiled[key].as_text()
            moved = hlo.bytes_moved(text)
            yield {
                "function": name,
                "program": key,
                "microseconds": times[key],
                "kernels": len(hlo.kernels(text)),
                "bytes over the limit": moved / (least * count),
                "bytes a second": 1e6 * moved / times[key],
                "limit a second": 1e6 * least * count / times[key],
            }


def of_copy(count: int) -> dict[str, float]:
    """What the card copies in a second, bytes read and bytes written: the limit of every program here."""
    array = jax.device_put(random_boxes(3 * count // 2, 3))
    call = functools.partial(jax.jit(lambda x: x + 1).lower(array).compile(), array)
    once = measure({"copy": call}, EFFORT)["copy"]
    return {"microseconds": once, "bytes a second": 1e6 * 2 * array.nbytes / once}


def of_torch(names: tuple[str, ...], count: int) -> Iterator[dict[str, object]]:
    """Value and gradient of the same losses by PyTorch on the same card."""
    for name in names:
        ways = torch_peers.of_loss(name, random_boxes(count, 0), random_boxes(count, 1), device="cuda")
        for way, once in (measure(ways, EFFORT) if ways else {}).items():
            if way != CONTROL:
                yield {"function": name, "program": f"{way} value and gradient", "microseconds": once}


def of_pairwise(names: tuple[str, ...]) -> Iterator[dict[str, object]]:
    """All pairs: forward, and the gradients for both sets of a weighted sum."""
    for name, (rows, columns) in itertools.product(names, SETS):
        pairwise = similarity.pairwise(getattr(similarity, name))
        broadcast = broadcasting(getattr(plain, f"{name}_loss"))
        a, b = jax.device_put((random_boxes(rows, 0), random_boxes(columns, 1)))
        weights = jax.random.uniform(jax.random.key(2), (rows, columns))
        cases = {
            "pairwise": (pairwise, (a, b)),
            "pairwise gradients": (weighted_gradients(pairwise), (a, b, weights)),
            "plain pairwise": (broadcast, (a, b)),
            "plain pairwise gradients": (weighted_gradients(broadcast), (a, b, weights)),
        }
        compiled = {key: jax.jit(function).lower(*given).compile() for key, (function, given) in cases.items()}
        calls = {key: functools.partial(compiled[key], *given) for key, (_, given) in cases.items()}
        times = measure(calls, EFFORT)
        for key in cases:
            yield {"function": name, "program": f"{key} {rows} x {columns}", "microseconds": times[key]}


def of_matching() -> Iterator[dict[str, object]]:
    """Matching 208 images of 300 queries and 100 targets, and whether the pairs are optimal."""
    for kind in ("random", "first steps", "trained"):
        costs, where = problems(208, 300, 100, None, kind)
        call = functools.partial(jax.jit(ours).lower(costs, where).compile(), *jax.device_put((costs, where)))
        totals = [
            np.take_along_axis(costs, np.asarray(rows)[:, None], axis=1).sum()
            for rows in (call(), on_the_host(costs, where))
        ]
        if not np.isclose(*totals, rtol=1e-5):
            raise AssertionError(f"The pairs of {kind} costs sum up to {totals[0]}, the best ones to {totals[1]}.")
        once = measure({"matching": call}, EFFORT)["matching"]
        yield {"function": "linear_assignment", "program": f"{kind} 208 x (300 x 100)", "microseconds": once}


def of_dense() -> Iterator[dict[str, object]]:
    """Assigners of 8 images and suppression in one, and the same in plain `jax.numpy`."""
    for given, times in itertools.chain(dense.of_assigners(EFFORT), dense.of_suppression(EFFORT)):
        sizes = " ".join(f"{count} {name}" for name, count in given.items() if name != "function")
        for way in ("jaxbox", "plain"):
            yield {"function": given["function"], "program": f"{way}, {sizes}", "microseconds": times[way]}


def table_of(record: dict[str, Any]) -> rich.table.Table:
    """The record as it is printed: bytes and times over those of a copy."""
    rate = record["copy"]["bytes a second"]
    title = f"{record['device']}, jax {record['jax']}, {record['boxes']:,} boxes; a copy moves {rate:.3g} B/s"
    heads = "function", "program", "us", "kernels", "bytes / limit", "rate / copy", "limit / time"
    table = rich.table.Table(*heads, title=title)
    for row in record["rows"]:
        shown = [row["function"], row["program"], f"{row['microseconds']:.1f}"]
        if "kernels" in row:
            shown += [str(row["kernels"]), f"{row['bytes over the limit']:.2f}", f"{row['bytes a second'] / rate:.2f}"]
            shown += [f"{row['limit a second'] / rate:.2f}"]
        table.add_row(*shown)
    return table


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("on_a_gpu"), help="folder of the record")
    parser.add_argument("--count", type=int, default=COUNT, help="boxes of a program")
    parser.add_argument("--names", nargs="+", default=NAMES, help="losses to time")
    parser.add_argument("--test-seconds", type=float, default=240, help="after which the tests are stopped; 0: none")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (device,) = jax.devices()[:1]
    record: dict[str, Any] = {
        "device": device.device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "boxes": options.count,
    }

    def save() -> None:
        (options.out / "on_a_gpu.json").write_text(json.dumps(record, indent=1) + "\n")

    console = rich.console.Console(width=140)
    record["copy"] = of_copy(options.count)
    record["rows"] = []
    names = tuple(options.names)
    measurements = [of_losses(names, options.count), of_pairwise(PAIRS), of_matching(), of_dense()]
    if device.platform == "gpu":
        measurements.append(of_torch(names, options.count))
    for measured in measurements:
        record["rows"] += measured
        save()
    console.print(table_of(record))
    if options.test_seconds:
        record["tests"] = run_tests(options.out, options.test_seconds)
        save()
        console.print(record["tests"]["closing line"], *record["tests"]["failed"][:40], sep="\n")


if __name__ == "__main__":
    main()
