"""A run of `jaxbox simulate` from the grid to the table: what it tells on the terminal, and the files it leaves."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table
from matplotlib.figure import Figure

from jaxbox import plots, simulation
from jaxbox.demo import catalogue, files

RECORD, CURVES, ERRORS = files.SIMULATED.names
REPORTED = (0, 50, 100, 150, 200)  # steps whose error is in the table
THRESHOLDS = (0.5, 0.75, 0.95)  # of IoU
COLUMNS = 4  # maps of an experiment next to each other
PACKAGES = ("jax", "jaxlib", "numpy")

PUBLISHED = {
    "iou": simulation.published_iou,
    "giou": simulation.published_giou,
    "diou": simulation.published_diou,
    "ciou": simulation.published_ciou,
}
EXPERIMENTS = {
    "published": "published directions",
    "exact": "exact gradients",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made from.

    Attributes:
      losses: their names without `_loss`; `known` lists those there are. A loss without a published direction is left
        out of that experiment.
      experiments: some of `EXPERIMENTS`.
      points: how many points of the published scatter to start from.
      precision: of all arrays, `"float32"` or `"float64"`.
      out: the folder for the files of the run.
    """

    losses: Sequence[str]
    experiments: Sequence[str]
    points: int
    precision: str
    out: Path


class Result(NamedTuple):
    """What became of the cases under one loss in one experiment.

    Attributes:
      experiment: one of `EXPERIMENTS`.
      loss: the name of the loss.
      curve: the sum of the errors of all cases at the start and after each step, `[steps + 1]`.
      fractions: the fraction of cases that end above each of `THRESHOLDS`, `[3]`.
      errors: the mean of the errors of the cases that started at each point, at the end, `[points]`.
      seconds: how long it took, with compilation.
      rate: cases times steps a second.
    """

    experiment: str
    loss: str
    curve: np.ndarray
    fractions: np.ndarray
    errors: np.ndarray
    seconds: float
    rate: float


def known(experiments: Sequence[str]) -> list[str]:
    """The losses that one or another of some experiments has."""
    return list(catalogue.box_losses() if "exact" in experiments else PUBLISHED)


def run(settings: Settings, started: float) -> None:
    """Simulates, writes the run to its folder, and prints the table.

    Args:
      settings: what to do.
      started: when the command began, in seconds of `time.perf_counter`.

    Raises:
      FloatingPointError: if an error stops being finite.
    """
    console = rich.console.Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    with files.staging(settings.out, files.SIMULATED) as (folder, earlier), computing_in(settings.precision):
        if earlier.finished:
            console.print(f"out      {files.shown(settings.out)}, where this run replaces that of {earlier.finished}")
        grid = simulation.paper_grid(settings.points, dtype=settings.precision)
        device = jax.devices()[0].device_kind
        steps = len(simulation.paper_schedule())
        console.print(
            f"grid     {len(grid.anchors):,} cases from {settings.points:,} points, {steps} steps each, "
            f"{settings.precision} on {device}"
        )
        results = list(simulate(settings, grid, console))

        picture_of_curves(results).savefig(folder / CURVES, dpi=150)
        picture_of_errors(results, grid.points).savefig(folder / ERRORS, dpi=150)
        seconds = time.perf_counter() - started
        record = {
            "settings": dataclasses.asdict(settings) | {"out": str(settings.out)},
            "cases": len(grid.anchors),
            "steps": steps,
            "results": [describe(result) for result in results],
            "seconds": seconds,
            "device": device,
            "versions": files.versions(PACKAGES),
        }
        files.write_record(record, folder / RECORD)
    console.print(
        f"wrote    {', '.join((RECORD, CURVES, ERRORS))} in {files.shown(settings.out)}, after {seconds:.0f} s"
    )
    print_table([row(result) for result in results], console)


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Lets JAX compute in float64 if that is asked for, and puts its setting back."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", precision == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def simulate(settings: Settings, grid: simulation.Grid, console: rich.console.Console) -> Iterator[Result]:
    """Runs each loss in each experiment, and shows how it goes: a line for each, and a bar on a terminal.

    Args:
      settings: what to run.
      grid: the cases.
      console: where to show it.

    Yields:
      The results of one loss after the other, those of its experiments next to each other.

    Raises:
      FloatingPointError: if an error is not finite.
    """
    progress = rich.progress.Progress(
        rich.progress.TextColumn("        "),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    runs = [
        (experiment, loss)
        for loss in settings.losses
        for experiment in settings.experiments
        if loss in known([experiment])
    ]
    offered = catalogue.box_losses()
    steps = len(simulation.paper_schedule())
    start = np.sum(np.abs(grid.anchors - grid.targets), dtype=np.float64)
    with progress if console.is_terminal else contextlib.nullcontext():
        task = progress.add_task("", total=len(runs) * len(grid.anchors))
        for experiment, loss in runs:
            progress.update(task, description=f"{experiment} {loss}")
            began = time.perf_counter()
            direction = PUBLISHED[loss] if experiment == "published" else simulation.exact(offered[loss])
            chunks = []
            for chunk in simulation.simulate_chunks(direction, grid.anchors, grid.targets):
                chunks.append(chunk)
                progress.advance(task, len(chunk.errors))
            whole = simulation.join(chunks)
            seconds = time.perf_counter() - began
            if not np.all(np.isfinite(whole.curve)):
                step = 1 + np.argmin(np.isfinite(whole.curve))
                raise FloatingPointError(
                    f"{loss}, {EXPERIMENTS[experiment]}: the error is not finite from step {step} on"
                )
            result = Result(
                experiment,
                loss,
                curve=np.concatenate([[start], whole.curve]),
                fractions=simulation.fractions_above(whole.ious, THRESHOLDS),
                errors=simulation.sum_by_point(whole.errors) / simulation.CASES_PER_POINT,
                seconds=seconds,
                rate=len(grid.anchors) * steps / seconds,
            )
            console.print(
                f"         {loss}, {EXPERIMENTS[experiment]}: {seconds:.1f} s, "
                f"{result.rate / 1e6:.1f} million cases x steps a second"
            )
            yield result


def describe(result: Result) -> dict[str, object]:
    """A result for the record."""
    return {
        "experiment": result.experiment,
        "loss": result.loss,
        "options": {}
        if result.experiment == "published"
        else getattr(catalogue.box_losses()[result.loss], "keywords", {}),
        "total_error": result.curve.tolist(),
        "fraction_of_iou_above": dict(zip(map(str, THRESHOLDS), result.fractions.tolist(), strict=True)),
        "mean_final_error_of_a_point": {
            "least": float(np.min(result.errors)),
            "median": float(np.median(result.errors)),
            "mean": float(np.mean(result.errors)),
            "greatest": float(np.max(result.errors)),
        },
        "seconds": result.seconds,
        "cases_times_steps_a_second": result.rate,
    }


# The table.


def row(result: Result) -> dict[str, str]:
    """A row of the table, by the titles of its columns."""
    cells = {"loss": result.loss, "directions": result.experiment}
    cells |= {f"step {step}": length(result.curve[step]) for step in REPORTED}
    cells |= {
        f"IoU > {threshold:g}": f"{part:.3f}" for threshold, part in zip(THRESHOLDS, result.fractions, strict=True)
    }
    return cells | {"seconds": f"{result.seconds:.1f}", "M/s": f"{result.rate / 1e6:.1f}"}


def length(value: float) -> str:
    """A total error with three figures or more, and no decimals that nobody reads."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(rows: Sequence[dict[str, str]], console: rich.console.Console) -> None:
    """Prints rows as one table, or on a narrow terminal as two.

    Args:
      rows: cells by title; the first two say what the row is of.
      console: where to print.
    """
    titles = list(rows[0])
    names, errors, ends = titles[:2], titles[2 : 2 + len(REPORTED)], titles[2 + len(REPORTED) :]
    whole = table(rows, titles)
    width = console.measure(whole, options=console.options.update(max_width=sum(map(len, titles)) * 4)).maximum
    if console.is_terminal and console.width < width:
        parts = [table(rows, [*names, *errors]), table(rows, [*names, *ends])]
    else:
        console.width = max(width, console.width)
        parts = [whole]
    caption = "total error after a step, share of the cases above an IoU at the end, million cases x steps a second"
    console.print(f"\n{caption}", soft_wrap=False)
    for part in parts:
        console.print(part)


def table(rows: Sequence[dict[str, str]], titles: Sequence[str]) -> rich.table.Table:
    """The columns of some titles."""
    result = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for i, title in enumerate(titles):
        result.add_column(title, justify="left" if i < 2 else "right")
    for cells in rows:
        result.add_row(*(cells[title] for title in titles))
    return result


# The pictures.


def by_experiment(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each experiment that was run."""
    parts = {name: [result for result in results if result.experiment == name] for name in EXPERIMENTS}
    return {name: results for name, results in parts.items() if results}


def picture_of_curves(results: Sequence[Result]) -> Figure:
    """The total error after each step, a panel an experiment."""
    experiments = by_experiment(results)
    figure = Figure(figsize=(6 * len(experiments), 4.5), layout="constrained")
    panels = figure.subplots(1, len(experiments), sharey=True, squeeze=False)[0]
    for ax, (experiment, parts) in zip(panels, experiments.items(), strict=True):
        parts = sorted(parts, key=lambda part: part.loss not in PUBLISHED)  # a loss looks the same in both panels
        plots.draw_error_curves({part.loss: part.curve[1:] for part in parts}, ax=ax)
        ax.set_title(EXPERIMENTS[experiment])
        ax.label_outer()
    return figure


def picture_of_errors(results: Sequence[Result], points: np.ndarray) -> Figure:
    """The error that is left of the cases that started at each point, a map a loss and experiment, in one scale."""
    experiments = by_experiment(results)
    columns = min(COLUMNS, max(map(len, experiments.values())))
    panels: list[Result | None] = []  # the results in rows of `columns`; an experiment begins a row
    for parts in experiments.values():
        panels += [*parts, *[None] * (-len(parts) % columns)]
    rows = len(panels) // columns
    figure = Figure(figsize=(3.1 * columns + 1.2, 3.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    errors = np.concatenate([result.errors for result in results])
    maps = []
    below = [*panels[columns:], *[None] * columns]
    for ax, result, next_row in zip(axes.ravel(), panels, below, strict=True):
        if result is None:
            ax.remove()
            continue
        maps.append(ax)
        plots.draw_error_map(points, result.errors, limits=(np.min(errors), np.max(errors)), ax=ax)
        ax.set_title(f"{result.loss}, {EXPERIMENTS[result.experiment]}", fontsize="medium")
        x_label = ax.get_xlabel()
        ax.label_outer()
        if next_row is None:
            ax.set_xlabel(x_label)
            ax.tick_params(labelbottom=True)
    figure.colorbar(maps[0].collections[0], ax=maps, label="mean error left (length)")
    return figure
