"""The tables of the pages that are made from the code: `uv run python -m tests.tools.tables` writes them.

Each stands in its page between the lines `<!-- generated: NAME -->` and `<!-- end -->`. With `--check` nothing is
written: it prints which table is stale, and which of its rows, and exits with 1 if any is.
"""

import argparse
import functools
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from jaxbox.demo import catalogue
from tests.shapes import Shape
from tests.table import LOSSES
from tests.tools import guarantees

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = "uv run python -m tests.tools.tables"
# If a derivative of a kind of pairs is beyond float16, that of one of these is: for small boxes and for large ones.
STEEPEST = "iou_loss", "l2_loss"


class Table(NamedTuple):
    """A table, the page that has it, and what makes its lines."""

    page: str
    lines: Callable[[], list[str]]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def escaped(formula: str) -> str:
    """As a cell of a table holds it: GitHub cuts a cell at each other bar, even between backquotes."""
    return formula.replace("|", r"\|")


def of_losses() -> list[str]:
    """Every public loss, from its docstring."""
    rows = [
        (f"`{name}{catalogue.SUFFIX}`", f"`{escaped(formula)}`", f"`{interval}`", held, paper)
        for name, formula, interval, held, paper in catalogue.entries()
    ]
    return markdown(["name", "formula", "range", "held constant", "paper"], rows)


def of_starts() -> list[str]:
    """The losses that reach the target only from some starts, from the table of the tests."""
    limited = [(row.name, *row.reaches_the_target_only_from) for row in LOSSES if row.reaches_the_target_only_from]
    rows = [(f"`{name}`", within.__name__.replace("_", " "), reason) for name, within, reason in limited]
    return markdown(["loss", "only from", "because"], rows)


@functools.cache
def of_the_guarantee() -> list[str]:
    """The kinds of pairs and the precisions that hold them. That nothing is wrong is what the guarantees measure."""
    beyond = {
        (kind, dtype)
        for dtype in guarantees.DTYPES
        if jnp.finfo(dtype).bits == 16
        for name in STEEPEST
        for kind, what in guarantees.count(name, dtype, "vmap(grad)").items()
        if what == "overflow"
    }
    held = {
        (shape, kind, dtype)
        for shape in guarantees.SHAPES
        for dtype in guarantees.DTYPES
        for kind in guarantees.kinds_for(dtype, "vmap(grad)", shape)
    }

    def cell(kinds: tuple[tuple[Shape, str], ...], dtype: str) -> str:
        are_held = [(*kind, dtype) in held for kind in kinds]
        if not any(are_held):
            return "not held"
        some_are_not = ", some not held" if not all(are_held) else ""
        some_beyond = ", some beyond" if any((kind, dtype) in beyond for _, kind in kinds) else ""
        return "0 wrong" + some_are_not + some_beyond

    groups = guarantees.GROUPS.items()
    rows = [(group, *(cell(kinds, dtype) for dtype in guarantees.DTYPES)) for group, kinds in groups]
    return markdown(["pairs", *guarantees.DTYPES], rows)


TABLES = {
    "losses": Table("jaxbox/losses/README.md", of_losses),
    "starts": Table("jaxbox/losses/README.md", of_starts),
    "guarantee": Table("tests/README.md", of_the_guarantee),
}


def place(name: str) -> re.Pattern[str]:
    """What is between the marks of a table."""
    return re.compile(rf"(?<=^<!-- generated: {name} -->\n).*?(?=^<!-- end -->$)", re.DOTALL | re.MULTILINE)


def differences(there: Sequence[str], made: Sequence[str]) -> list[str]:
    """What is to be said of the lines of a table that should be others; nothing if they are the same."""
    if there == made:
        return []
    old, new = ({line.split(" | ")[0].strip("| "): line for line in lines[2:]} for lines in (there, made))
    found = [f"no row for {key}" for key in new if key not in old]
    found += [f"a row for {key}, which does not belong there" for key in old if key not in new]
    found += [f"another row for {key}" for key in new if key in old and old[key] != new[key]]
    return found or ["another head, or rows twice or in another order"]


def stale(name: str) -> list[str]:
    """What is wrong with a table in its page, a line each; nothing if it is as the code makes it."""
    page, lines = TABLES[name]
    there = place(name).search((ROOT / page).read_text())
    if there:
        found = differences([line for line in there[0].splitlines() if line], lines())
    else:
        found = [f"no lines `<!-- generated: {name} -->` and `<!-- end -->` to write it between"]
    return [f"{page}, table of {name}: {what}" for what in found]


def write(name: str) -> None:
    """Puts a table as the code makes it between its marks, if the page has them."""
    page, lines = TABLES[name]
    made = "\n".join(["", *lines(), "", ""])
    (ROOT / page).write_text(place(name).sub(lambda _: made, (ROOT / page).read_text(), count=1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the tables, or checks them.

    Returns:
      The exit status: 1 if a table is stale when all is done.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.tools.tables", description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    if not parser.parse_args(arguments).check:
        for name in TABLES:
            write(name)
    found = [line for name in TABLES for line in stale(name)]
    print("\n".join([*found, f"to mend it: {COMMAND}"] if found else ["every table is as the code makes it"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
