"""Measures the library against plain jax.numpy, PyTorch and what the machine can do, and prints tables of ratios.

    uv run --group bench python -m tests.tools.benchmarks --quick

Everything runs in one process, in shuffled order; only ratios of times from one run mean anything. PyTorch takes part
if it is installed.
"""

import argparse
import contextlib
import functools
import importlib.util
import inspect
import itertools
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table

from jaxbox import losses, numerics, similarity, simulation
from jaxbox.demo import files
from tests.tools.benchmarks import numpy_simulation, plain, torch_peers
from tests.tools.benchmarks.dense import of_assigners, of_suppression
from tests.tools.benchmarks.detectors import of_detectors
from tests.tools.benchmarks.matching import PROBLEMS as MATCHINGS
from tests.tools.benchmarks.matching import of_matching
from tests.tools.benchmarks.subjects import broadcasting, mean_of, random_boxes, value_and_grad, weighted_gradients
from tests.tools.benchmarks.timing import CONTROL, Effort, measure
from tests.tools.benchmarks.turned import COUNTS, of_turned
from tests.tools.benchmarks.yolo import SIZES as YOLO
from tests.tools.benchmarks.yolo import of_yolo

OPTIONS = {"mpdiou": {"image_size": (1.0, 1.0)}, "nwd": {"constant": 1.0}, "focused_wiou": {"mean_loss": 0.5}}
PREDICTED = {"uncertain_l1": (0, 1)}  # the places of what a network predicts, where it is not the first alone
BINS = 16
FAMILY = ["iou", "giou", "diou", "ciou"]
BOXES = 100, 10_000, 1_000_000
LEAVES = files.Leaves("tests.tools.benchmarks", "benchmark.json", ("benchmark.png",))
SETS = (1000, 1000), (8400, 100), (20_000, 500)
FULL, QUICK = Effort(rounds=11, seconds=0.01), Effort(rounds=5, seconds=0.005)


def public(module):
    """The losses or similarities of a module, with their options, by name without `_loss`; the family first."""
    functions = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.endswith("_loss") or list(inspect.signature(function).parameters)[:2] == ["a", "b"]:
            short = name.removesuffix("_loss")
            functions[short] = functools.partial(function, **OPTIONS.get(short, {}))
    return {name: functions.pop(name) for name in FAMILY} | functions


def one_minus(function):
    return lambda a, b: 1 - function(a, b)


# What is measured is what has a plain form, so a loss is measured once `plain` has it.
PLAIN = {name.removesuffix("_loss"): function for name, function in vars(plain).items() if name.endswith("_loss")}
LOSSES = {name: loss for name, loss in public(losses).items() if name in PLAIN}
SIMILARITIES = {name: alike for name, alike in public(similarity).items() if name in PLAIN or name == "ioa"}
PLAIN_SIMILARITIES = {name: one_minus(PLAIN[name]) for name in SIMILARITIES if name in PLAIN} | {"ioa": plain.ioa}


def arguments_of(name, count):
    """What a loss of `count` values takes: boxes, or distributions of coordinates."""
    predictions, targets = random_boxes(count, 0), random_boxes(count, 1)
    rng = np.random.default_rng(2)
    if name == "distribution_focal":
        return rng.normal(size=(count, BINS)).astype(np.float32), rng.uniform(0, BINS - 1, count).astype(np.float32)
    if name == "uncertain_l1":
        return predictions, rng.normal(size=(count, 4)).astype(np.float32), targets
    return predictions, targets


def with_columns(arrays):
    return [x[:, None] if x.ndim == 1 else x for x in arrays]


def all_coordinates(*arrays):
    """As many bytes in and out as a loss, with next to no arithmetic."""
    return numerics.total(itertools.chain(*numerics.coordinates(*with_columns(arrays))))


def one_pass(predicted):
    """As many bytes in and out as a loss with its gradients, with next to no arithmetic."""

    def differences(*arrays):
        first, *others = with_columns(arrays)
        return [(first - numerics.total(others)) * (1 + place) for place in predicted]

    return differences


def calls(functions, *arguments):
    """Compiled functions, ready to be called with their arguments."""
    arguments = [jnp.asarray(x) for x in arguments]
    return {name: functools.partial(jax.jit(function), *arguments) for name, function in functions.items()}


def of_losses(names, sizes, effort):
    """Every loss: forward and its mean, value and gradient of the mean; against the plain form, limits and PyTorch."""
    for name, count in itertools.product(names, sizes):
        loss, arrays, predicted = LOSSES[name], arguments_of(name, count), PREDICTED.get(name, (0,))
        everything = tuple(range(len(arrays)))
        functions = {
            "value and gradient": value_and_grad(loss, predicted),
            "value and gradients of all": value_and_grad(loss, everything),
            "forward": loss,
            "forward mean": mean_of(loss),
            "plain value and gradient": value_and_grad(PLAIN[name], predicted),
            "plain value and gradients of all": value_and_grad(PLAIN[name], everything),
            "plain forward mean": mean_of(PLAIN[name]),
            "limit forward": all_coordinates,
            "limit value and gradient": one_pass(predicted),
        }
        half = [x.astype(jnp.bfloat16) for x in arrays]
        candidates = calls(functions, *arrays) | calls({"in bfloat16": value_and_grad(loss, predicted)}, *half)
        yield {"function": name, "boxes": count}, measure(candidates | torch_peers.of_loss(name, *arrays), effort)


def of_similarities(names, sizes, effort):
    """Every similarity, forward, against the plain form and the limit."""
    for name, count in itertools.product(names, sizes):
        functions = {
            "forward": SIMILARITIES[name],
            "plain forward": PLAIN_SIMILARITIES[name],
            "limit forward": all_coordinates,
        }
        candidates = calls(functions, random_boxes(count, 0), random_boxes(count, 1))
        yield {"function": name, "boxes": count}, measure(candidates, effort)


def of_contexts(names, effort):
    """Value and gradient under `vmap`, `scan` and a nested `jit`."""

    def contexts(loss):
        def descend(predictions, targets):
            def step(predictions, _):
                value, (gradient,) = value_and_grad(loss)(predictions, targets)
                return predictions - 0.1 * gradient, value

            return jax.lax.scan(step, predictions, length=16)

        return {
            "vmap of grad": jax.vmap(jax.value_and_grad(loss)),
            "scan of 16 steps": descend,
            "nested jit": value_and_grad(jax.jit(loss)),
        }

    arrays = random_boxes(10_000, 0), random_boxes(10_000, 1)
    for name in names:
        pairs = {"jaxbox": contexts(LOSSES[name]), "plain": contexts(PLAIN[name])}
        for context in pairs["jaxbox"]:
            candidates = calls({way: functions[context] for way, functions in pairs.items()}, *arrays)
            yield {"function": name, "context": context}, measure(candidates, effort)


def free_bytes():
    """The memory that is free on this machine, where it tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return math.inf


def of_pairwise(names, sets, effort, free=free_bytes):
    """All pairs: forward, and the gradients for both sets of a weighted sum, with the temporary memory of each.

    What would take more than half of the free memory is not run: its time is None.
    """

    for name, (rows, columns) in itertools.product(names, sets):
        a, b = random_boxes(rows, 0), random_boxes(columns, 1)
        weights = np.random.default_rng(2).uniform(size=(rows, columns)).astype(np.float32)
        own, broadcast = similarity.pairwise(SIMILARITIES[name]), broadcasting(PLAIN_SIMILARITIES[name])
        functions = {"gradients": weighted_gradients(own), "plain gradients": weighted_gradients(broadcast)}
        floats = {way: temporary_bytes(call, a, b, weights) / weights.nbytes for way, call in functions.items()}
        torch_forward, torch_gradients = torch_peers.of_pairs(name, a, b, weights)
        needed = dict.fromkeys([*torch_forward, *torch_gradients], torch_peers.FLOATS_A_PAIR)
        needed["plain gradients"] = floats["plain gradients"]
        times = {}
        for candidates in (
            calls({"forward": own, "plain forward": broadcast}, a, b) | torch_forward,
            calls(functions, a, b, weights) | torch_gradients,
        ):
            room = free() / 2 / weights.nbytes
            run = {way: call for way, call in candidates.items() if needed.get(way, 0) <= room}
            measured = measure(run, effort.less())
            again = f"{next(iter(candidates))} again"
            times |= dict.fromkeys(candidates) | {again: measured.pop(CONTROL)} | measured
        memory = {"floats a pair": floats["gradients"], "plain floats a pair": floats["plain gradients"]}
        yield {"function": name, "rows": rows, "columns": columns, **memory}, times


def temporary_bytes(function, *arrays):
    return jax.jit(function).lower(*map(jnp.asarray, arrays)).compile().memory_analysis().temp_size_in_bytes


def of_compilation(names, effort):
    """Tracing and compiling the value and gradient."""
    shape = jax.ShapeDtypeStruct((10_000, 4), jnp.float32)
    for name in names:
        ways = {"jaxbox": LOSSES[name], "plain": PLAIN[name]}
        seconds = {way: [] for way in ways}
        for way in list(ways) * (effort.rounds // 2):
            fresh = functools.partial(lambda loss, p, t: value_and_grad(loss)(p, t), ways[way])
            start = time.perf_counter()
            jax.jit(fresh).lower(shape, shape).compile()
            seconds[way].append(time.perf_counter() - start)
            jax.clear_caches()
        yield {"function": name}, {way: 1e6 * float(np.median(times)) for way, times in seconds.items()}


def of_import(effort):
    """Importing jaxbox after its dependencies, in a process of its own."""
    code = (
        "import time, jax, optax, chex; start = time.perf_counter(); import jaxbox; print(time.perf_counter() - start)"
    )
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(effort.less().rounds)]
    yield {"function": "jaxbox"}, {"import": 1e6 * float(np.median(seconds))}


def of_simulation(names, effort):
    """200 steps of the published experiment of the DIoU paper for 6860 boxes, against the same step in NumPy."""
    grid, schedule = simulation.paper_grid(20), simulation.paper_schedule()

    def in_numpy(name):
        boxes, targets = list(np.asarray(grid.anchors).T.copy()), list(np.asarray(grid.targets).T.copy())
        for rate in schedule:
            boxes, _ = numpy_simulation.step(name, boxes, targets, rate)

    for name in names:
        direction = getattr(simulation, f"published_{name}")
        candidates = {
            "jaxbox": functools.partial(simulation.simulate, direction, grid.anchors, grid.targets),
            "numpy": functools.partial(in_numpy, name),
        }
        times = measure(candidates, effort.less())
        yield {"function": name, "cases x steps": len(grid.anchors) * len(schedule)}, times


# What is printed of each section: a title, and either a time in microseconds or the ratio of two.
COLUMNS = {
    "losses": {
        "forward, us": ("forward",),
        "mean / forward": ("forward mean", "forward"),
        "plain mean / mean": ("plain forward mean", "forward mean"),
        "value and gradient, us": ("value and gradient",),
        "plain / it": ("plain value and gradient", "value and gradient"),
        "torch.compile / it": ("torch.compile", "value and gradient"),
        "torch / it": ("torch", "value and gradient"),
        "torchvision / it": ("torchvision", "value and gradient"),
        "it / limit": ("value and gradient", "limit value and gradient"),
        "bfloat16 / it": ("in bfloat16", "value and gradient"),
        "it again / it": (CONTROL, "value and gradient"),
        "of all / it": ("value and gradients of all", "value and gradient"),
        "plain of all / of all": ("plain value and gradients of all", "value and gradients of all"),
    },
    "similarities": {
        "forward, us": ("forward",),
        "plain / it": ("plain forward", "forward"),
        "it / limit": ("forward", "limit forward"),
        "it again / it": (CONTROL, "forward"),
    },
    "contexts": {"jaxbox, us": ("jaxbox",), "plain / it": ("plain", "jaxbox"), "it again / it": (CONTROL, "jaxbox")},
    "pairwise": {
        "forward, us": ("forward",),
        "plain / it": ("plain forward", "forward"),
        "torch.compile / it": ("torch.compile forward", "forward"),
        "torch / it": ("torch forward", "forward"),
        "torchvision / it": ("torchvision forward", "forward"),
        "it again / it": ("forward again", "forward"),
        "gradients, us": ("gradients",),
        "plain / them": ("plain gradients", "gradients"),
        "torch.compile / them": ("torch.compile gradients", "gradients"),
        "torch / them": ("torch gradients", "gradients"),
        "them again / them": ("gradients again", "gradients"),
    },
    "matching": {
        "jaxbox, us": ("jaxbox",),
        "it / scipy": ("jaxbox", "scipy"),
        "callback / it": ("callback", "jaxbox"),
        "optax / it": ("optax", "jaxbox"),
        "it again / it": (CONTROL, "jaxbox"),
    },
    "assigners": {"jaxbox, us": ("jaxbox",), "plain / it": ("plain", "jaxbox"), "it again / it": (CONTROL, "jaxbox")},
    "suppression": {"jaxbox, us": ("jaxbox",), "plain / it": ("plain", "jaxbox"), "it again / it": (CONTROL, "jaxbox")},
    "turned": {
        "gradients, us": ("gradients",),
        "them / those of upright giou": ("gradients", "gradients of giou"),
        "forward, us": ("forward",),
        "it / that of upright giou": ("forward", "forward of giou"),
        "shapely / it": ("ten times a thousand by shapely", "similarity"),
        "them again / them": (CONTROL, "gradients"),
    },
    "detectors": {
        "jaxbox, us": ("jaxbox",),
        "transformers / it": ("transformers", "jaxbox"),
        "it again / it": (CONTROL, "jaxbox"),
    },
    "yolo": {
        "jaxbox, us": ("jaxbox",),
        "ultralytics / it": ("ultralytics", "jaxbox"),
        "it again / it": (CONTROL, "jaxbox"),
    },
    "compilation": {"jaxbox, us": ("jaxbox",), "plain / it": ("plain", "jaxbox")},
    "import": {"import, us": ("import",)},
    "simulation": {
        "jaxbox, us": ("jaxbox",),
        "numpy / it": ("numpy", "jaxbox"),
        "it again / it": (CONTROL, "jaxbox"),
    },
}


def cells(section, record):
    """The cells of one line of the table of a section."""
    what = [
        f"{x:,.2f}" if isinstance(x, float) else f"{x:,}" if isinstance(x, int) else x for x in record["of"].values()
    ]
    times = record["microseconds"]
    numbers = []
    for parts in COLUMNS[section].values():
        if not all(part in times for part in parts):
            numbers.append("")
        elif any(times[part] is None for part in parts):
            numbers.append("no memory")
        elif len(parts) == 1:
            numbers.append(f"{times[parts[0]]:,.1f}")
        else:
            numbers.append(f"{times[parts[0]] / times[parts[1]]:.2f}")
    return what + numbers


def table(section, records):
    """The table of a section."""
    result = rich.table.Table(title=section, box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, title in enumerate([*records[0]["of"], *COLUMNS[section]]):
        result.add_column(title, justify="right" if i else "left", no_wrap=not i)
    for record in records:
        result.add_row(*cells(section, record))
    return result


def draw(records, device):
    """Time over boxes, a panel a loss."""
    names = list(dict.fromkeys(record["of"]["function"] for record in records))
    lines = {
        "value and gradient": ("jaxbox", "#0072b2", "-"),
        "plain value and gradient": ("plain jax.numpy", "#d55e00", "-"),
        "torch.compile": ("torch.compile", "#009e73", "-"),
        "torch": ("torch", "#cc79a7", "-"),
        "limit value and gradient": ("limit: the same bytes", "black", ":"),
    }
    columns = min(len(names), 4 if len(names) <= 8 else 8)
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(7, 2.4 * columns), 2.4 * rows + 1),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    handles = {}
    for place, (ax, name) in enumerate(itertools.zip_longest(axes.flat, names)):
        if name is None:
            ax.axis("off")
            continue
        own = [record for record in records if record["of"]["function"] == name]
        for way, (label, colour, style) in lines.items():
            points = [(record["of"]["boxes"], record["microseconds"].get(way)) for record in own]
            if all(y is not None for _, y in points):
                handles[label] = ax.loglog(*zip(*points, strict=True), style, color=colour, marker="o", ms=3)[0]
        ax.set_title(name)
        ax.grid(color="0.9")
        if place + columns >= len(names):  # nothing below
            ax.set_xlabel("boxes")
            ax.xaxis.set_tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("time (us)")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(f"Value and gradient of the mean, {device}")
    return figure


def processor():
    """The name of the device that jax computes on."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {len(os.sched_getaffinity(0))} cores"
    return platform.processor() or platform.machine()


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.tools.benchmarks", description=__doc__.partition("\n")[0])
    known = [*COLUMNS, *dict.fromkeys([*LOSSES, *SIMILARITIES])]
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=[], help=f"sections ({', '.join(COLUMNS)}) or losses"
    )
    parser.add_argument("--quick", action="store_true", help="the IoU family, up to 10,000 boxes, fewer rounds")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder for the JSON and the picture")
    chosen = parser.parse_args(arguments)
    for name in chosen.only:
        if name not in known:
            parser.error(f"argument --only: {name!r} is not measured; write one of {', '.join(known)}")
    return chosen


def main(arguments=None):
    chosen = parse(arguments)
    effort = QUICK if chosen.quick else FULL
    sizes, sets = (BOXES[:2], SETS[:1]) if chosen.quick else (BOXES, SETS)

    def named(functions):
        wanted = [name for name in chosen.only if name not in COLUMNS]
        return [name for name in (wanted or (FAMILY if chosen.quick else functions)) if name in functions]

    family = [name for name in named(FAMILY) if name in FAMILY]
    sections = {
        "losses": lambda: of_losses(named(LOSSES), sizes, effort),
        "similarities": lambda: of_similarities(named(SIMILARITIES), sizes, effort),
        "contexts": lambda: of_contexts(family, effort),
        "pairwise": lambda: of_pairwise([name for name in family if name in ("iou", "giou")], sets, effort),
        "matching": lambda: of_matching(effort, MATCHINGS[:1] if chosen.quick else MATCHINGS),
        "assigners": lambda: of_assigners(effort),
        "suppression": lambda: of_suppression(effort),
        "turned": lambda: of_turned(effort, COUNTS[:1] if chosen.quick else COUNTS),
        "detectors": lambda: of_detectors(effort),
        "yolo": lambda: of_yolo(effort, YOLO[:1] if chosen.quick else YOLO),
        "compilation": lambda: of_compilation(family, effort),
        "import": lambda: of_import(effort),
        "simulation": lambda: of_simulation(family, effort),
    }
    wanted = [section for section in sections if section in chosen.only] or list(sections)

    console = rich.console.Console(width=None if sys.stdout.isatty() else 225)
    installed = [
        name
        for name in ("jax", "jaxlib", "numpy", "optax", "scipy", "torch", "torchvision", "transformers", "ultralytics")
        if importlib.util.find_spec(name)
    ]
    header = {"device": processor(), "versions": files.versions(installed)}
    console.print(
        f"{header['device']}; " + ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    )
    results = {}
    for section in wanted:
        with rich.progress.Progress(console=console, transient=True) as progress:
            of_section = progress.track(sections[section](), description=section, total=None)
            results[section] = [{"of": what, "microseconds": times} for what, times in of_section]
        if results[section]:
            console.print(table(section, results[section]))
    with files.staging(chosen.out, LEAVES) as (folder, _):
        files.write_record(header | {"sections": results}, folder / "benchmark.json")
        if results.get("losses"):
            figure = draw(results["losses"], header["device"])
            figure.savefig(folder / "benchmark.png", dpi=150)
            plt.close(figure)
    console.print(f"wrote {', '.join(path.name for path in sorted(chosen.out.iterdir()))} in {chosen.out}")


if __name__ == "__main__":
    main()
