"""What `jaxbox losses` prints: a line a loss where that fits, else a few; and one loss in full."""

import inspect
import textwrap
from collections.abc import Sequence

from jaxbox.demo import catalogue

SYMBOLS = (
    "I, U and C are the areas of the intersection, the union and the hull, rho is the distance of the centers, D the "
    "diagonal of the hull, and d the error of a coordinate. `jaxbox losses NAME` explains one loss."
)
DEEPER = 4  # spaces
TITLE = 11  # columns


def listing(width: int) -> str:
    """Every loss with its formula, range, what is held constant, and paper.

    Args:
      width: the columns there are. Only an address that is longer goes beyond.

    Returns:
      A table if it fits, else a paragraph a loss.
    """
    rows = [catalogue.Entry._fields, *catalogue.entries()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if max(map(len, lines)) <= width:
        lines.insert(1, " " + "  ".join("-" * columns for columns in widths))
    else:
        lines = [line for entry in catalogue.entries() for line in [*paragraph(entry, width), ""]]
    return "\n".join([*lines, *wrapped(SYMBOLS, width, 1), ""])


def paragraph(entry: catalogue.Entry, width: int) -> list[str]:
    """The lines of a loss in a listing."""
    held = f"  held constant: {entry.held}" if entry.held else ""
    title = wrapped(f"{entry.name}  in {entry.range}{held}", width, 1)
    return title + wrapped(entry.formula, width, DEEPER) + wrapped(entry.paper, width, DEEPER)


def in_full(name: str, width: int) -> str:
    """Everything that is to be said about one loss in short.

    Args:
      name: of a loss, without `_loss`.
      width: the columns there are.

    Returns:
      Lines with a title each.
    """
    function = catalogue.public_losses()[name]
    entry = catalogue.describe(name, function)
    rows = [("formula", entry.formula), ("range", entry.range)]
    rows += [
        ("option", f"{option.name}{option.default and '='}{option.default}: {option.text}")
        for option in catalogue.options(function)
    ] or [("options", "none")]
    rows += [("held", entry.held or "nothing is held constant"), ("gradient", catalogue.part(function, "Gradient"))]
    rows += [("paper", entry.paper)]
    if name in catalogue.box_losses():
        rows.append(("train", f"jaxbox train --loss {name}"))
    if name in catalogue.turned_losses():
        rows.append(("train", f"jaxbox train --head turned --loss {name}"))
    source = inspect.unwrap(function).__module__.replace(".", "/")
    rows.append(("docs", f"help(jaxbox.losses.{name}{catalogue.SUFFIX}) in Python; the code is in {source}.py"))

    title, *text = catalogue.paragraphs(function)
    lines = wrapped(f"{name}{catalogue.SUFFIX}: {title}", width, 1)
    for paragraph in text:
        lines += ["", *wrapped(paragraph, width, 1)]
    lines.append("")
    for title, text in rows:
        first, *others = wrapped(text, width, TITLE)
        lines += [f" {title}".ljust(TITLE) + first[TITLE:], *others]
    return "\n".join([*lines, ""])


def wrapped(text: str, width: int, indent: int) -> list[str]:
    """Lines of a text, broken between words only, so that an address stays whole."""
    space = " " * indent
    return textwrap.wrap(
        text, width, initial_indent=space, subsequent_indent=space, break_long_words=False, break_on_hyphens=False
    )


def sections(names: Sequence[str], width: int) -> str:
    """Some losses in full."""
    return "\n".join(in_full(name, width) for name in names)
