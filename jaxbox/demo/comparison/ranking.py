"""What a comparison of losses comes to: intervals, differences from GIoU, and the table, the page and the picture."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.box
import rich.console
import rich.table
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxbox.demo.comparison import bootstrap
from jaxbox.demo.scenes import Scenes
from jaxbox.plots.style import BLUE, VERMILION

REFERENCES = {"cells": "giou", "turned": "rotated_giou"}  # what the losses of a head are compared with
DRAWS = 1000
GREY, BLACK = "#8C8C8C", "#000000"
BETTER, WORSE, UNTOLD = "better", "worse", "cannot be told from"
FAILS = 0.5  # of the reference's AP: what is below is off the picture
TITLES = {"ap": "AP", "ap75": "AP at .75", "mean_iou": "mean IoU"}

Interval = tuple[float, float, float]  # an estimate, and both ends


class Row(NamedTuple):
    """A loss in the comparison.

    Attributes:
      loss: its name.
      weight: what it counted.
      diverged: how many of its trainings did.
      values: each of `bootstrap.METRICS`.
      differences: how far they are above those of the reference, for the same seeds and images; of the reference, none.
    """

    loss: str
    weight: float
    diverged: int
    values: Mapping[str, Interval]
    differences: Mapping[str, Interval]

    @property
    def verdict(self) -> str:
        """Whether its AP is above that of the reference, below it, or cannot be told from it; empty for itself."""
        if not self.differences:
            return ""
        _, low, high = self.differences["ap"]
        return BETTER if low > 0 else WORSE if high < 0 else UNTOLD

    def record(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return self._asdict() | {"verdict": self.verdict}


class Results(NamedTuple):
    """A comparison.

    Attributes:
      reference: the loss that the others are compared with.
      rows: the losses, the greatest AP first.
      measured: `bootstrap.METRICS` of each training, by loss and seed.
    """

    reference: str
    rows: Sequence[Row]
    measured: Mapping[tuple[str, int], dict[str, float]]


def rank(outcomes: Mapping[tuple[str, int], Any], scenes: Scenes, reference: str) -> Results:
    """Compares losses.

    Args:
      outcomes: what became of each training (`compare.Outcome`), by loss and seed; every loss has the same seeds.
      scenes: the test images.
      reference: the loss that the others are compared with.

    Returns:
      The comparison.
    """
    losses, seeds = (list(dict.fromkeys(names)) for names in zip(*outcomes, strict=True))
    counts = bootstrap.truths(scenes)
    drawn = bootstrap.draw(len(seeds), len(scenes.images), DRAWS, np.random.default_rng(0))
    measures = {
        key: bootstrap.measure(bootstrap.match(outcome.found, scenes), counts, drawn.images)
        for key, outcome in outcomes.items()
    }
    of_loss = {loss: np.stack([measures[loss, seed] for seed in seeds], axis=1) for loss in losses}

    def intervals(values: np.ndarray) -> dict[str, Interval]:
        return {name: bootstrap.interval(values[..., i], drawn.seeds) for i, name in enumerate(bootstrap.METRICS)}

    rows = [
        Row(
            loss,
            weight=outcomes[loss, seeds[0]].weight,
            diverged=sum(outcomes[loss, seed].diverged > 0 for seed in seeds),
            values={name: within_range(ends) for name, ends in intervals(values).items()},
            differences={} if loss == reference else intervals(values - of_loss[reference]),
        )
        for loss, values in of_loss.items()
    ]
    measured = {
        key: {name: float(value) for name, value in zip(bootstrap.METRICS, values[0], strict=True)}
        for key, values in measures.items()
    }
    return Results(reference, sorted(rows, key=lambda row: -row.values["ap"][0]), measured)


def within_range(interval: Interval) -> Interval:
    """An interval of a measure, which is in `[0, 1]`."""
    value, low, high = interval
    return value, max(low, 0.0), min(high, 1.0)


def notes(results: Results, seeds: int) -> list[str]:
    """What is to be known to read a comparison, a sentence each."""
    others = len(results.rows) - 1
    told = sum(row.verdict in (BETTER, WORSE) for row in results.rows)
    said = [
        f"Intervals hold 95 %, by {DRAWS} draws of {'images' if seeds == 1 else 'seeds and images'}; a difference is "
        "of the same ones.",
        f"{told} of {others} differences from {results.reference} are told from 0; if no loss differed, about "
        f"{others / 20:.2g} would be all the same: an interval of 95 % misses once in 20 times.",
    ]
    if seeds == 1:
        said.append("One seed does not say what another start would bring; more do, with --seeds 5.")
    if diverged := [f"{row.loss} ({row.diverged} of {seeds})" for row in results.rows if row.diverged]:
        said.append(f"Trainings that diverged count as an AP of 0: {', '.join(diverged)}.")
    return said


# The table.


def cells(row: Row, results: Results) -> list[str]:
    """A row of the table."""
    words = {"": "the reference", UNTOLD: f"{UNTOLD} {results.reference}"}
    values = [with_ends(row.values[name]) for name in bootstrap.METRICS]
    difference = with_ends(row.differences["ap"], sign="+") if row.differences else "-"
    return [row.loss, f"{row.weight:g}", *values, difference, words.get(row.verdict, row.verdict)]


def titles(results: Results) -> list[str]:
    """The titles of the columns."""
    return ["loss", "weight", *TITLES.values(), f"AP less that of {results.reference}", "so it is"]


def with_ends(interval: Interval, sign: str = "") -> str:
    """An estimate with its interval."""
    value, low, high = (f"{number:{sign}.3f}" for number in interval)
    return f"{value} [{low}, {high}]"


def print_table(results: Results, console: rich.console.Console) -> None:
    """Prints the table; on a narrow terminal without the columns between AP and the difference."""
    shown = range(len(titles(results)))
    whole = table(results, shown)
    width = console.measure(whole, options=console.options.update(max_width=1000)).maximum
    if console.is_terminal and console.width < width:
        whole = table(results, [0, 2, 5, 6])
    else:
        console.width = max(width, console.width)
    console.print(whole)


def table(results: Results, columns: Sequence[int]) -> rich.table.Table:
    """Some columns of the table."""
    result = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for i in columns:
        result.add_column(titles(results)[i], justify="right" if i == 1 else "left")
    for row in results.rows:
        all_cells = cells(row, results)
        result.add_row(*(all_cells[i] for i in columns))
    return result


def page(results: Results, title: str, notes: Sequence[str]) -> str:
    """The comparison in Markdown."""
    rows = [titles(results), ["---"] * len(titles(results)), *(cells(row, results) for row in results.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"{title[0].upper()}{title[1:]}.", "", *lines, "", *notes, ""])


# The picture.


def picture(results: Results, title: str) -> Figure:
    """The AP of each loss, the greatest on top, with the interval of its difference from the reference.

    That interval is drawn around the loss's AP, so that it holds the line of the reference where the two cannot be told
    apart. A loss whose AP is less than `FAILS` of the reference's is named at the left border with its number.
    """
    reference = next(row for row in results.rows if row.loss == results.reference)
    center, low, high = reference.values["ap"]
    figure = Figure(figsize=(7.5, 1.9 + 0.24 * len(results.rows)), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(low, high, color=GREY, alpha=0.18, linewidth=0)
    ax.axvline(center, color=BLACK, linewidth=1)
    styles = {"": (BLACK, "D"), BETTER: (BLUE, "^"), WORSE: (VERMILION, "v"), UNTOLD: (GREY, "o")}
    shown = [row for row in results.rows if row.values["ap"][0] >= FAILS * center]
    ends = [low, high]
    for place, row in enumerate(results.rows):
        color, marker = styles[row.verdict]
        value = row.values["ap"][0]
        if row not in shown:
            continue
        if row.differences:
            left, right = (center + end for end in row.differences["ap"][1:])
            ax.plot([left, right], [place, place], color=color, linewidth=2, solid_capstyle="butt")
            ends += [left, right]
        ax.plot(value, place, color=color, marker=marker, markersize=6, linestyle="none")
    margin = 0.04 * (max(ends) - min(ends)) or 0.01
    ax.set_xlim(min(ends) - margin, max(ends) + margin)
    for place, row in enumerate(results.rows):
        if row not in shown:
            said = f"\N{LEFTWARDS ARROW} {row.values['ap'][0]:.2f}" + " (diverged)" * (row.diverged > 0)
            color = styles[row.verdict][0]
            ax.text(0.01, place, said, color=color, va="center", fontsize=8, transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(results.rows)), [row.loss for row in results.rows])
    ax.set_ylim(len(results.rows) - 0.4, -0.6)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("AP .5:.95 on held-out digits")
    ax.set_title(title, fontsize=8, loc="left")
    figure.legend(
        handles=legend(results.reference, styles), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    return figure


def legend(reference: str, styles: Mapping[str, tuple[str, str]]) -> list[Any]:
    """What the marks and lines of the picture mean."""
    words = {
        BETTER: f"better than {reference}",
        WORSE: f"worse than {reference}",
        UNTOLD: f"{UNTOLD} {reference}: its bar holds the line",
        "": f"{reference}; grey: the 95 % interval of its AP",
    }
    lines = {verdict: 1 if not verdict else 2 for verdict in words}
    return [
        Line2D([], [], color=styles[verdict][0], marker=styles[verdict][1], linewidth=lines[verdict], label=text)
        for verdict, text in words.items()
    ]
