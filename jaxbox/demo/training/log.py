"""The log of a run: what was measured at each step, a JSON object a line, and the same for TensorBoard if it is asked.

The lines of a step have its losses, its learning rate and the images a second, and those of a validation its metrics.
"""

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxbox.demo import files

NAME, EVENTS = files.LOG, files.TENSORBOARD
STEP, LEARNING_RATE, SPEED = "step", "learning rate", "images/s"
VALIDATION = "validation "  # what the names of the metrics of a validation begin with


class Log:
    """A log that is written as training goes.

    Args:
      folder: where `log.jsonl` is written, and `tensorboard/`.
      for_tensorboard: whether the second is.
      up_to: the step that training goes on after; what a log in the folder has of later ones is cut off.

    Raises:
      ValueError: if a line of an earlier step is missing.
    """

    def __init__(self, folder: Path, *, for_tensorboard: bool = False, up_to: int = 0) -> None:
        path = folder / NAME
        # A validation comes after the checkpoint of its step.
        lines = [line for line in lines_of(path) if line[STEP] < up_to + (SPEED in line)] if up_to else []
        trained = [line[STEP] for line in lines if SPEED in line]
        if trained != list(range(1, up_to + 1)):
            raise ValueError(f"{files.shown(path)!r} does not have a line for each of the first {up_to} steps")
        new = path.with_suffix(".new")
        new.write_text("".join(map(printed, lines)))
        new.replace(path)
        self._file = path.open("a+")
        self._events = None
        if for_tensorboard:
            writer = importlib.import_module("tensorboardX").SummaryWriter  # which need not be installed
            for written in (folder / EVENTS).glob("events.out.tfevents.*"):  # by a process that went further
                written.unlink()
            self._events = writer(str(folder / EVENTS))
            for line in lines:
                self._show(line)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line."""
        line = {STEP: step, **values}
        self._file.write(printed(line))
        self._show(line)

    def _show(self, line: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in line.items():
                if name != STEP:
                    self._events.add_scalar(name.replace(" ", "_"), value, int(line[STEP]))

    def flush(self, *, to_disk: bool = False) -> None:
        """Lets others read what was written; with `to_disk`, even if the machine fails."""
        self._file.flush()
        if to_disk:
            os.fsync(self._file.fileno())
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Ends the log."""
        self._file.close()
        if self._events is not None:
            self._events.close()

    def curve(self) -> dict[str, list[float]]:
        """The losses of all steps so far, by name."""
        self._file.seek(0)
        lines = [line for line in read(self._file.read(), self._file.name) if SPEED in line]
        names = [name for name in lines[0] if name not in (STEP, LEARNING_RATE, SPEED)]
        return {name: [line[name] for line in lines] for name in names}


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none if there is no such file. Raises what `read` raises."""
    return read(path.read_text(errors="replace"), files.shown(path)) if path.is_file() else []


def read(text: str, name: str) -> list[dict[str, Any]]:
    """The lines of a log; what was not written to its end, as by a process that was killed, is left out.

    Args:
      text: of the log.
      name: of the file.

    Raises:
      ValueError: if another line is not one of a log.
    """
    lines = []
    for text_of_line in text[: text.rfind("\n") + 1].splitlines():
        try:
            line = json.loads(text_of_line)
            line[STEP] = int(line[STEP])
        except (ValueError, RecursionError, TypeError, LookupError) as error:
            raise ValueError(f"{name!r} has a line that is not of a log: {text_of_line[:80]!r}") from error
        lines.append(line)
    return lines


def printed(line: Mapping[str, float]) -> str:
    """A line of a log."""
    return json.dumps(line, allow_nan=False) + "\n"
