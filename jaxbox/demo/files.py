"""The folder that a command leaves behind: its files appear there all at once, or not at all, and replace no others.

The record of a run lists every file that the run wrote, with a digest, and has a digest of its own. So a later run
knows what it may replace: what lies there as an earlier run wrote it, and nothing that came from elsewhere, was added
or was edited.
"""

import contextlib
import datetime
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jaxbox
from jaxbox.demo import interrupts

FOLDER = "a folder"  # what stands in a record instead of a digest


class Leaves(NamedTuple):
    """What a command leaves in a folder: the `command`, the name of its `record`, and those of its `other` files."""

    command: str
    record: str
    others: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all."""
        return (self.record, *self.others)


LOG, TENSORBOARD = "log.jsonl", "tensorboard"
CHECKPOINTS = "checkpoints"  # in the folder of a run that is not finished
TRAINED = Leaves("jaxbox train", "metrics.json", ("detections.png", "curves.png", "parameters", LOG, TENSORBOARD))
DIGITS = Leaves("jaxbox digits", "digits.json", ("train.json", "val.json", "images"))
DETECTED = Leaves("jaxbox detect", "detections.json", ())  # and a picture an image
EVALUATED = Leaves("jaxbox evaluate", "evaluation.json", ())
SIMULATED = Leaves("jaxbox simulate", "simulation.json", ("curves.png", "errors.png"))
COMPARED = Leaves("jaxbox compare", "comparison.json", ("comparison.md", "comparison.png"))


class Earlier(NamedTuple):
    """An earlier run in a folder.

    Attributes:
      finished: when it ended; empty if there is none.
      digests: what it wrote: the SHA-256 of a file by its path in the folder, or `FOLDER`.
    """

    finished: str
    digests: Mapping[str, str]


NOTHING = Earlier("", {})


def check(out: Path, leaves: Leaves) -> Earlier:
    """Finds out whether a run may write to a folder, and writes nothing.

    Args:
      out: the folder; it need not exist.
      leaves: what the run would leave there.

    Returns:
      The run that it would replace.

    Raises:
      FileExistsError: if something lies by one of the names that no earlier run wrote, or not in this way.
    """
    earlier = earlier_run(out, leaves.record)
    for path in foreign(out, leaves.names, earlier):
        raise FileExistsError(
            f"{shown(out / path)!r} was not written by `{leaves.command}`, or was changed since, and is not replaced; "
            f"move it, or write --out {shlex.quote(shown(free_in(out)))}"
        )
    return earlier


@contextlib.contextmanager
def staging(out: Path, leaves: Leaves) -> Iterator[tuple[Path, Earlier]]:
    """A folder to write to, whose files take their places in `out` once all of them are complete.

    If the block is left by an exception or by a signal, the folder goes and `out` is as it was.

    Args:
      out: where the files go; made if there is none.
      leaves: the names of what the block writes.

    Yields:
      The folder, and the run in `out` that will be replaced.

    Raises:
      FileExistsError: if something lies by one of the names that no earlier run wrote. If it appears after the start,
        the files are left in a new folder, which the message names.
    """
    earlier = check(out, leaves)
    with workplace(out) as folder:
        new, old = folder / "new", folder / "old"
        new.mkdir()
        old.mkdir()
        yield new, earlier
        with interrupts.lock:
            swap(new, old, out, leaves, earlier)


@contextlib.contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """An empty folder in `out`, which goes afterwards, as do the folders above it that were made for it and are empty.

    Raises:
      OSError: if it cannot be made.
    """
    with interrupts.lock:
        try:
            for place in reversed([out, *out.parents]):
                with contextlib.suppress(FileExistsError):
                    place.mkdir()
                    interrupts.left.insert(0, str(place.absolute()))
            folder = tempfile.mkdtemp(prefix=interrupts.UNFINISHED, dir=out.absolute())
        except BaseException:
            interrupts.remove_all()
            raise
        interrupts.left.insert(0, folder)
    try:
        yield Path(folder)
    finally:
        with interrupts.lock:
            interrupts.remove_all()


def swap(new: Path, old: Path, out: Path, leaves: Leaves, earlier: Earlier) -> None:
    """Moves the earlier run to `old` and the files of `new` to `out`; if that fails, all of them back.

    Raises:
      FileExistsError: if something else lies by one of the names; the files of `new` are then in a new folder.
    """
    moved = []

    def move(source: Path, target: Path) -> None:
        source.rename(target)
        moved.append((source, target))

    try:
        for name in leaves.names:
            if os.path.lexists(out / name):
                move(out / name, old / name)
        for path in foreign(old, leaves.names, earlier):
            raise FileExistsError(path)
        for source in sorted(new.iterdir()):
            if os.path.lexists(out / source.name):
                raise FileExistsError(source.name)
            move(source, out / source.name)
    except OSError as error:
        for source, target in reversed(moved):
            target.rename(source)
        if not isinstance(error, FileExistsError):
            raise
        place = free_in(out)
        new.rename(place)
        raise FileExistsError(
            f"{shown(out / str(error))!r} has appeared or changed since the run began, and is not replaced; "
            f"the files of the run are in {shown(place)!r}"
        ) from error


def earlier_run(out: Path, record: str) -> Earlier:
    """The run whose record lies in a folder, if there is one and nobody edited it."""
    try:
        if (out / record).is_symlink() or not (out / record).is_file():
            return NOTHING
        text = (out / record).read_text()
        content = json.loads(text)
        digest = content.pop("digest")
        if text == sealed(content) and digest == digest_of(printed(content).encode()):
            return Earlier(content["finished"], content["files"] | {record: digest_of(text.encode())})
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):  # no record of ours
        pass
    return NOTHING


def foreign(out: Path, names: Iterable[str], earlier: Earlier) -> Iterator[str]:
    """The paths that lie under some names in a folder and are not as an earlier run wrote them."""
    for name in names:
        path = out / name
        if not os.path.lexists(path):
            continue
        if earlier.digests.get(name) is None or path.is_symlink():
            yield name
        elif path.is_dir():
            if earlier.digests[name] != FOLDER:
                yield name
            yield from foreign(out, (f"{name}/{below}" for below in sorted(os.listdir(path))), earlier)
        elif not path.is_file() or earlier.digests[name] != digest_of(path.read_bytes()):
            yield name


def free_in(out: Path) -> Path:
    """The first of `run-2`, `run-3` and so on that a folder does not hold."""
    return next(place for i in itertools.count(2) if not os.path.lexists(place := out / f"run-{i}"))


def write_record(record: Mapping[str, object], path: Path) -> None:
    """Writes a record as JSON, with the time and all files next to it; a number that is not finite is an error."""
    folder = path.parent
    digests = {
        str(each.relative_to(folder)): FOLDER if each.is_dir() else digest_of(each.read_bytes())
        for each in sorted(folder.rglob("*"))
    }
    finished = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    path.write_text(sealed({**record, "finished": finished, "files": digests}))


def sealed(record: Mapping[str, Any]) -> str:
    """The text of a record with its own digest at the end."""
    return printed({**record, "digest": digest_of(printed(record).encode())})


def printed(record: Mapping[str, Any]) -> str:
    """A record as JSON."""
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def digest_of(content: bytes) -> str:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def shown(path: Path) -> str:
    """A path as it can be printed, whatever bytes its name has."""
    return os.fsencode(path).decode(errors="backslashreplace")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of jaxbox, of Python and of some installed packages, by name."""
    own = {"jaxbox": jaxbox.__version__, "python": platform.python_version()}
    return own | {name: importlib.metadata.version(name) for name in packages}
