"""What is read from the command line, and one line for each thing that cannot be meant."""

import argparse
import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage, and knows its `flags`, and the one of each value."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        self.flags: list[str] = []
        self.flag_of: dict[str, str] = {}
        super().__init__(**options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:  # noqa: ANN401
        """Adds an argument."""
        flags = [name for name in names if name.startswith("--")]
        self.flags += flags
        action = super().add_argument(*names, **options)
        if flags:
            self.flag_of[action.dest] = flags[0]
        return action

    def error(self, message: str) -> NoReturn:
        """Ends with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def parse(words: Sequence[str], parser: Parser, commands: Mapping[str, Parser], values: argparse.Namespace) -> None:
    """Reads a command line. What cannot be meant ends with status 2.

    Args:
      words: what was typed.
      parser: of the command line without a command.
      commands: the parser of each command.
      values: where the values go.
    """
    first = next((word for word in words if not word.startswith("-")), None)
    if first is not None and first not in commands:
        parser.error(f"there is no command {first!r}{suggest(first, commands)}")
    _, rest = parser.parse_known_args(words, values)
    if not rest:
        return
    wrong, _, _ = rest[0].partition("=")
    chosen = commands[first] if first else parser
    others = [other for other in commands.values() if wrong in other.flags]
    if not wrong.startswith("-"):
        chosen.error(f"{wrong!r} is one word too many; write `{chosen.prog} --help` to see what it takes")
    if chosen in others:
        chosen.error(f"{wrong} comes after the command; write `{chosen.prog} {wrong}`")
    if first and wrong in parser.flags:
        chosen.error(f"{wrong} comes before the command; write `{parser.prog} {wrong}`")
    if others:
        chosen.error(f"{wrong} belongs to another command; write `{others[0].prog} {wrong}`")
    chosen.error(f"there is no option {wrong!r}{suggest(wrong, chosen.flags)}")


def given(words: Sequence[str], parser: Parser) -> dict[str, Any]:
    """What was typed for the options of a command, without the defaults of the others.

    Args:
      words: what was typed after the name of the command, and can be meant.
      parser: of the command.
    """
    values = argparse.Namespace(**dict.fromkeys(parser.flag_of))  # a default takes no place that is taken
    parser.parse_known_args(words, values)
    return {name: value for name, value in vars(values).items() if name in parser.flag_of and value is not None}


def suggest(wrong: str, known: Iterable[str]) -> str:
    """What to write instead of a name that is not known: the one that is close, if any is, and all there are."""
    names = {name.casefold().replace("_", "-"): name for name in known}
    close = difflib.get_close_matches(wrong.casefold().replace("_", "-"), names, n=1)
    return f"; {f'did you mean {names[close[0]]}? ' if close else ''}write one of {', '.join(names.values())}"


def one_of(*known: str) -> Callable[[str], str]:
    """Reads one of some names."""

    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"there is no {text!r}{suggest(text, known)}")
        return text

    return read


def weighted_loss(text: str) -> tuple[str, float]:
    """Reads `giou=2`, or `giou`, which weighs 1; whether there is such a loss is not known here."""
    name, equals, weight = text.partition("=")
    try:
        value = float(weight) if equals else 1.0
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"the weight {weight!r} is not a number above 0; write {name or 'giou'}=1")
    return name, value


def not_negative(text: str) -> float:
    """Reads a number that is 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more; write 5, for example, or 0")
    return value


def whole(least: int, most: int, example: int) -> Callable[[str], int]:
    """Reads a whole number from `least` to `most`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
            shown = text if len(text) < 40 else f"{text[:40]}..."
            raise argparse.ArgumentTypeError(
                f"{shown!r} is not a whole number from {least} to {most}; write {example}, for example"
            )
        return int(text)

    return read


def share(text: str) -> float:
    """Reads a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from 0 to 1; write 0.5, for example")
    return value


def folder(text: str) -> Path:
    """Reads the name of a folder that is there and can be written to, or could be made."""
    path = Path(text)
    shown = text if len(text) < 80 else f"{text[:80]}..."
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{shown!r} is not the name of a folder; write one, such as runs/train")
    try:
        nearest = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
        limit = os.pathconf(nearest if nearest.is_dir() else "/", "PC_NAME_MAX")
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{shown!r} cannot be a folder ({error.strerror}); write another name"
        ) from error
    if not nearest.is_dir():
        why = "is a link to nothing" if not nearest.exists() else "is not a folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        why = "is not yours to write to"
    else:
        why = ""
    if why:
        raise argparse.ArgumentTypeError(
            f"{shown!r} cannot be written, because {str(nearest)!r} {why}; write the name of another folder, such as "
            "runs/train"
        )
    if any(len(os.fsencode(part)) > limit for part in path.parts):
        raise argparse.ArgumentTypeError(f"{shown!r} has a name of more than {limit} bytes; write a shorter one")
    return path
