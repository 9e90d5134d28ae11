"""Every loss, described from its own docstring, and those of them that a detector can train with."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxbox import _checks, losses

SUFFIX = "_loss"

# What a loss requires and cannot guess, for boxes in units of the image side.
OPTIONS = {
    "image_size": (1.0, 1.0),  # the image itself
    "constant": 0.25,  # about the side of a digit; the paper takes the mean side of the data set's objects
    "mean_loss": 0.5,  # the IoU loss halfway from nothing to perfect; a run of one's own would keep `update_mean` going
}


class Option(NamedTuple):
    """What a loss takes besides predictions, targets and mask; `default` is code, or empty if there is none."""

    name: str
    default: str
    text: str


class Entry(NamedTuple):
    """A row of the table of losses: name without `_loss`, formula, range, what is held constant, and paper."""

    name: str
    formula: str
    range: str
    held: str
    paper: str


def public_losses() -> dict[str, Callable[..., jax.Array]]:
    """Every public function of `jaxbox.losses` whose name ends in `_loss`, by its name without that, in its order."""
    return {name.removesuffix(SUFFIX): getattr(losses, name) for name in losses.__all__ if name.endswith(SUFFIX)}


def box_losses() -> dict[str, Callable[..., jax.Array]]:
    """The losses that take two arrays of upright boxes and `where`, by name; options without default are filled in."""
    return _losses_of(_checks.COORDINATES, _checks.BOXES, _checks.PLANE)


def turned_losses() -> dict[str, Callable[..., jax.Array]]:
    """The same of turned boxes. A loss of coordinates is none of these: it does not know where an angle repeats."""
    return _losses_of(_checks.TURNED)


def _losses_of(*layouts: _checks.Layout) -> dict[str, Callable[..., jax.Array]]:
    offered = {}
    for name, function in public_losses().items():
        positional, required = [], []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append(parameter.name)
            elif parameter.default is parameter.empty:
                required.append(parameter.name)
        is_one = _checks.layout_of_rows(function) in layouts and positional == ["predictions", "targets"]
        if is_one and set(required) <= set(OPTIONS):
            offered[name] = functools.partial(function, **{option: OPTIONS[option] for option in required})
    return offered


def entries() -> list[Entry]:
    """A row for every public loss, in the order of `losses.__all__`."""
    return [describe(name, function) for name, function in public_losses().items()]


def describe(name: str, function: Callable[..., jax.Array]) -> Entry:
    """Reads a loss's docstring.

    Args:
      name: what to call it.
      function: a loss; the body of its docstring opens with the formula, `Returns:` states the range, `Gradient:`
        what is held constant, if anything, and `References:` opens with the paper.

    Returns:
      The row; what the docstring does not hold is empty.
    """
    text = inspect.getdoc(function) or ""
    body, *_ = re.split(r"^Args:$", text, maxsplit=1, flags=re.MULTILINE)
    formula = re.search(r"\$\$(.+?)\$\$|`(.+?)`", body, flags=re.DOTALL)
    interval = re.search(r"in `([\[(][^`]*, [^`]*[\])])`", section(text, "Returns"))
    held = re.search(r"Held constant: (.+)\.", section(text, "Gradient"))
    paper = re.match(r".+?https?://\S+", section(text, "References"), flags=re.DOTALL)
    return Entry(
        name=name,
        formula=" ".join((formula[1] or formula[2]).split()) if formula else "",
        range=interval[1] if interval else "",
        held=held[1] if held else "",
        paper=" ".join(paper[0].split()) if paper else "",
    )


def options(function: Callable[..., jax.Array]) -> list[Option]:
    """What a loss takes besides predictions, targets and mask, in the words of its docstring."""
    text = section(inspect.getdoc(function) or "", "Args")
    described = dict(re.findall(r"^(\w+): (.+(?:\n[ \t]+.*)*)", text, flags=re.MULTILINE))
    return [
        Option(
            name,
            default="" if parameter.default is parameter.empty else repr(parameter.default),
            text=" ".join(described.get(name, "").split()),
        )
        for name, parameter in list(inspect.signature(function).parameters.items())[2:]
        if name != "where"
    ]


def paragraphs(function: Callable[..., jax.Array]) -> list[str]:
    """What a docstring says before its sections, a line a paragraph."""
    text = re.split(r"^\w+:$", inspect.getdoc(function) or "", maxsplit=1, flags=re.MULTILINE)[0]
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.strip())]


def part(function: Callable[..., jax.Array], title: str) -> str:
    """A section of a docstring in one line."""
    return " ".join(section(inspect.getdoc(function) or "", title).split())


def section(text: str, title: str) -> str:
    """The lines indented under `title:` in a docstring, without their indent; empty if there is no such section."""
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)+)", text, flags=re.MULTILINE)
    return inspect.cleandoc(found[1]) if found else ""
