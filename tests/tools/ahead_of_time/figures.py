"""What is kept of a compiled program, how it is compared with what was stored, and how it is shown."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any

from tests.tools import hlo

STORED = pathlib.Path(__file__).parents[2] / "ahead_of_time_figures.json"
WORSE = 1.1  # times as much as what was stored
KINDS = "bytes over the limit", "kernels", "cycles"
Figures = dict[str, dict[str, dict[str, float]]]  # by target, by the key of a subject


def figures_of(text: str, least: int) -> dict[str, float]:
    """The figures of an optimized program that cannot do with fewer bytes than `least`."""
    return {
        "bytes over the limit": round(hlo.bytes_moved(text) / least, 3),
        "kernels": len(hlo.kernels(text)),
        "cycles": hlo.cycles(text),
    }


def worse(found: Figures, stored: Figures) -> list[str]:
    """What got worse by more than a tenth, one sentence each."""
    return [
        f"{target}: {key}: {kind} {before[kind]:,} before, {figures[kind]:,} now"
        for target, of_target in found.items()
        for key, figures in of_target.items()
        if (before := stored.get(target, {}).get(key))
        for kind in KINDS
        if figures[kind] > WORSE * before[kind]
    ]


def unknown(found: Figures, stored: Figures) -> list[str]:
    """The programs of which nothing is stored."""
    return [
        f"{target}: {key}"
        for target, of_target in found.items()
        for key in of_target
        if key not in stored.get(target, {})
    ]


def table_of(found: Figures) -> str:
    """The figures in Markdown: bytes over the limit, kernels and thousands of cycles of each target."""

    def cell(figures: dict[str, float] | None) -> str:
        if figures is None:
            return ""
        shown = f"{figures['bytes over the limit']:.2f} / {figures['kernels']}"
        return f"{shown} / {figures['cycles'] / 1000:,.0f}" if figures["cycles"] else shown

    keys = list(dict.fromkeys(key for of_target in found.values() for key in of_target))
    heads = ["function", "program", "size", *found]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for key in keys:
        cells = [f"`{key.split(', ')[0]}`", *key.split(", ")[1:]]
        cells += [cell(of_target.get(key)) for of_target in found.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read(path: pathlib.Path = STORED) -> dict[str, Any]:
    """The stored record: versions, and figures."""
    return json.loads(path.read_text())


def write(found: Figures, versions: dict[str, str], path: pathlib.Path = STORED) -> None:
    """Stores figures beside those of other targets, with the versions that they were found with.

    Args:
      found: replaces what was stored of the same targets.
      versions: of what compiled them.
      path: of the file.
    """
    record = read(path) if path.exists() else {"versions": {}, "figures": {}}
    record["versions"] |= versions
    record["figures"] |= found
    targets = ",\n".join(f"{json.dumps(target)}: {_lines(of)}" for target, of in record["figures"].items())
    path.write_text(f'{{"versions": {json.dumps(record["versions"])},\n"figures": {{\n{targets}\n}}}}\n')


def _lines(of_target: dict[str, dict[str, float]]) -> str:
    return "{\n" + ",\n".join(f" {json.dumps(key)}: {json.dumps(figures)}" for key, figures in of_target.items()) + "}"


def said(title: str, lines: Iterable[str]) -> str:
    """A title and lines beneath it."""
    return "\n".join([title, *(f"  {line}" for line in lines)])
