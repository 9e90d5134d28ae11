"""The folder that a command leaves behind: its files appear there all at once, or not at all."""

import contextlib
import importlib.metadata
import json
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jaxbox


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder to write to, whose files take their places in `out` once all of them are complete.

    If the block is left by an exception, the folder goes and `out` is as it was.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))
    new, old = folder / "new", folder / "old"
    new.mkdir()
    old.mkdir()
    try:
        yield new
        for path in list(new.iterdir()):
            if (out / path.name).exists():
                (out / path.name).rename(old / path.name)
            path.rename(out / path.name)
    finally:
        shutil.rmtree(folder)
        if is_new and not any(out.iterdir()):
            out.rmdir()


def write_record(record: Mapping[str, object], path: Path) -> None:
    """Writes a record as JSON; a number that is not finite is an error."""
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of jaxbox, of Python and of some installed packages, by name."""
    own = {"jaxbox": jaxbox.__version__, "python": platform.python_version()}
    return own | {name: importlib.metadata.version(name) for name in packages}
