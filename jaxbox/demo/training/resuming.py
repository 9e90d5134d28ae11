"""A run of `jaxbox train` that is not finished: what it leaves in its folder, and how another process goes on with it.

The folder `checkpoints` appears with the first checkpoint and goes when the run is finished. It holds the command that
began the run, its log, and a folder a checkpoint.
"""

import argparse
import contextlib
import importlib
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jaxbox
from jaxbox.demo import arguments, files, interrupts

COMMAND = "command.json"
SAVED = 500  # steps between checkpoints, where they are made without being asked for
OURS = (COMMAND, files.LOG, files.TENSORBOARD)  # besides the checkpoints


def add_options(parser: arguments.Parser) -> None:
    """Adds the options of a run that survives to those of `jaxbox train`."""
    parser.add_argument(
        "--save-every",
        metavar="N",
        type=arguments.whole(0, 10**9, SAVED),
        help="steps between checkpoints, with which a run that is interrupted can be resumed; 0 for none (default: "
        f"{SAVED} with --data, else 0)",
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        type=arguments.folder,
        help="go on with the run that was interrupted in this folder, with the options that it began with",
    )
    parser.add_argument(
        "--validate-every",
        metavar="N",
        type=arguments.whole(0, 10**9, 100),
        default=0,
        help="steps between measurements on held-out images, of which the best model is kept; 0 for none, which keeps "
        "the last one (default: 0)",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write what log.jsonl holds for TensorBoard as well; needs the package tensorboardX",
    )


def check(chosen: argparse.Namespace) -> None:
    """Ends with status 2 if a run may not begin, or cannot be logged as was chosen."""
    if chosen.resume is None:
        try:
            require_none(chosen.out)
        except FileExistsError as error:
            chosen.complain(f"argument --out: {error}")
    if chosen.tensorboard:
        try:
            importlib.import_module("tensorboardX")
        except ModuleNotFoundError:
            chosen.complain(
                "argument --tensorboard: the package `tensorboardX` is missing; write "
                "`uv sync --extra demo --extra tensorboard` or `pip install tensorboardX`"
            )


def words_of(chosen: argparse.Namespace) -> list[str]:
    """What was typed after the name of the command."""
    words = list(chosen.words)
    return words[words.index(chosen.command) + 1 :]


def what_began(chosen: argparse.Namespace) -> tuple[argparse.Namespace, "Begun"]:
    """What was chosen when the run began that is to be resumed, and the command that began it.

    Ends with status 2 if there is no such run, or if something else is chosen now.
    """
    out: Path = chosen.resume
    parser: arguments.Parser = chosen.parser
    try:
        command = begun(out)
    except ValueError as error:
        parser.error(f"argument --resume: {error}")
    first = parser.parse_args(command.words)
    first.out, first.resume = out, out
    first.data = first.data and command.within / first.data
    for name, value in arguments.given(words_of(chosen), parser).items():
        before, flag = getattr(first, name), parser.flag_of[name]
        is_same = value.absolute() == before.absolute() if isinstance(before, Path) else value == before
        if not is_same:
            how = f"with {flag} {before}" if isinstance(before, (str, int, Path)) else f"without this {flag}"
            parser.error(
                f"argument {flag}: the run in {files.shown(out)!r} began {how}, and goes on so; leave {flag} out"
            )
    return argparse.Namespace(**{**vars(chosen), **vars(first)}), command


class Begun(NamedTuple):
    """The command that began a run: the `words` after `jaxbox train`, and the folder that it was typed `within`."""

    words: Sequence[str]
    within: Path


def folder_of(out: Path) -> Path:
    """Where the checkpoints of a run are."""
    return out / files.CHECKPOINTS


def steps_in(folder: Path) -> list[int]:
    """The steps after which training can go on, the last one last; an unfinished checkpoint has another name."""
    paths = folder.iterdir() if folder.is_dir() else []
    return sorted(int(path.name) for path in paths if is_step(path.name) and path.is_dir())


def is_step(name: str) -> bool:
    """Whether a checkpoint may have this name."""
    return name.isascii() and name.isdecimal() and not name.startswith("0")


def begun(out: Path) -> Begun:
    """The command that began the unfinished run in a folder.

    Raises:
      ValueError: if there is none.
    """
    folder = folder_of(out)
    if not steps_in(folder):
        earlier = files.earlier_run(out, files.TRAINED.record).finished
        why = f"its run was finished at {earlier}" if earlier else "no checkpoint is in it"
        raise ValueError(
            f"there is no run to go on with in {files.shown(out)!r}: {why}; write that of a run with --save-every "
            "that was interrupted"
        )
    try:
        content = json.loads((folder / COMMAND).read_text())
        words, within = content["words"], content["within"]
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return Begun(words, Path(within))
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        pass
    raise ValueError(
        f"{files.shown(folder / COMMAND)!r} does not say how the run began; remove {files.shown(folder)!r} and "
        "train again"
    )


def write_command(folder: Path, command: Begun) -> None:
    """Writes down in a folder how a run began."""
    content = {"words": list(command.words), "within": str(command.within), "jaxbox": jaxbox.__version__}
    (folder / COMMAND).write_text(json.dumps(content, indent=1) + "\n")


def command_for(out: Path) -> str:
    """What to type to go on with the run in a folder."""
    return f"jaxbox train --resume {shlex.quote(files.shown(out))}"


def require_none(out: Path) -> None:
    """Refuses a folder with an unfinished run, or with other files in their place.

    Raises:
      FileExistsError: says what to write.
    """
    folder = folder_of(out)
    if not os.path.lexists(folder):
        return
    elsewhere = f"--out {shlex.quote(files.shown(files.free_in(out)))}"
    if steps := steps_in(folder):
        raise FileExistsError(
            f"{files.shown(folder)!r} holds step {steps[-1]} of a run that is not finished; write "
            f"`{command_for(out)}` to go on with it, remove it, or write {elsewhere}"
        )
    raise FileExistsError(
        f"{files.shown(folder)!r} was not written by `jaxbox train` and is not replaced; move it, or write {elsewhere}"
    )


def lock(folder: Path) -> int:
    """Keeps other processes from going on with the same run, as far as the system can tell them.

    Args:
      folder: of the checkpoints.

    Returns:
      The file descriptor that holds the lock, for as long as the process lives.

    Raises:
      BlockingIOError: if another process has it.
    """
    number = os.open(folder / COMMAND, os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(number)
        raise BlockingIOError(f"another process trains in {files.shown(folder)!r}") from error
    except (ImportError, OSError):  # Windows, or a file system without locks
        pass
    return number


def clean(out: Path, workplace: Path) -> None:
    """Removes what processes that were killed have left in the folder of a run, which is not in its `workplace`."""
    for path in out.glob(f"{interrupts.UNFINISHED}*"):
        if path.name != workplace.name:
            shutil.rmtree(path)


def remove(folder: Path) -> None:
    """Removes the checkpoints of a run that is finished, and what belongs to them; other files stay."""
    for name in os.listdir(folder) if folder.is_dir() else []:
        path = folder / name
        step, _, rest = name.partition(".")
        is_checkpoint = is_step(step) and (not rest or "tmp" in rest)
        if path.is_dir() and (is_checkpoint or name == files.TENSORBOARD):
            shutil.rmtree(path)
        elif name in OURS:
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
