"""Arrays on the disk, by Orbax: the parameters of a run, and the checkpoints that its training goes on from."""

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint

from jaxbox.demo import files, interrupts
from jaxbox.demo.training import resuming

KEPT = 2  # checkpoints: should the last one be damaged, the one before it is there
ARRAYS, REST = "arrays", "rest"

Arrays = dict[str, Any]  # of NumPy arrays, at any depth


class Checkpoint(NamedTuple):
    """A moment of training.

    Attributes:
      step: the last one that was made.
      arrays: the state of model and optimizer.
      rest: what JSON can hold: where the loader is, and what was the best.
    """

    step: int
    arrays: Arrays
    rest: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run, written by one process.

    The first one is made in a folder that goes with an interrupt, and takes its place when it is whole.

    Args:
      out: the folder of the run.
      workplace: a folder in `out` that goes in the end.
      command: which began the run.

    Raises:
      BlockingIOError: if another process goes on with the run.
    """

    def __init__(self, out: Path, workplace: Path, command: resuming.Begun) -> None:
        self._out, self._home = out, resuming.folder_of(out)
        self.folder = self._home
        is_new = not resuming.steps_in(self._home)
        if is_new:
            self.folder = workplace / files.CHECKPOINTS
            self.folder.mkdir()
            resuming.write_command(self.folder, command)
        self._lock = resuming.lock(self.folder)
        if not is_new:
            resuming.clean(out, workplace)
            self._tell()
        self.last = max(resuming.steps_in(self.folder), default=0)

    def save(self, checkpoint: Checkpoint) -> None:
        """Adds a checkpoint, unless that step has one.

        Raises:
          OSError: if it cannot be written.
          FileExistsError: if something has appeared in the place of the checkpoints.
        """
        if checkpoint.step > self.last:
            write_checkpoint(self.folder, checkpoint)
            self.last = checkpoint.step
        if self.folder != self._home:
            with interrupts.lock:
                resuming.require_none(self._out)
                self.folder.rename(self._home)
                self.folder = self._home
        self._tell()

    def _tell(self) -> None:
        interrupts.kept.append((max(resuming.steps_in(self.folder)), resuming.command_for(self._out)))


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint to a folder, from this process alone, and removes those before the last few.

    Raises:
      OSError: if it cannot be written.
    """
    items = {
        ARRAYS: orbax.checkpoint.args.StandardSave(checkpoint.arrays),
        REST: orbax.checkpoint.args.JsonSave(checkpoint.rest),
    }
    try:
        with silence(), manager(folder, cleanup_tmp_directories=True) as written:
            written.save(checkpoint.step, args=orbax.checkpoint.args.Composite(**items))
    except Exception as error:  # of whatever kind: Orbax and what it writes with have many
        raise OSError(f"step {checkpoint.step} cannot be written with Orbax: {said(error)}") from error


def read_checkpoint(folder: Path, like: Callable[[dict[str, Any]], Arrays]) -> Checkpoint:
    """Reads the last checkpoint in a folder.

    Args:
      folder: where they are.
      like: what the arrays look like, of the rest of the checkpoint.

    Raises:
      OSError: if it is damaged, or not one of this run.
    """
    step = resuming.steps_in(folder)[-1]
    kind = orbax.checkpoint.args
    try:
        with silence(), manager(folder) as stored:
            rest = stored.restore(step, args=kind.Composite(**{REST: kind.JsonRestore()}))[REST]
            wanted = jax.tree.map(np.asarray, like(rest))
            arrays = stored.restore(step, args=kind.Composite(**{ARRAYS: kind.StandardRestore(wanted)}))[ARRAYS]
        for a, b in zip(jax.tree.leaves(arrays), jax.tree.leaves(wanted), strict=True):
            if (a.shape, a.dtype) != (b.shape, b.dtype):
                raise ValueError(f"an array is {a.dtype}{list(a.shape)} and should be {b.dtype}{list(b.shape)}")
    except Exception as error:  # of whatever kind, as above
        before = len(resuming.steps_in(folder)) > 1
        raise OSError(
            f"{files.shown(folder / str(step))!r} does not hold a checkpoint of this run as `jaxbox train` writes it "
            f"({said(error)}); remove it {'to go on with the one before it' if before else 'and train again'}"
        ) from error
    return Checkpoint(step, arrays, rest)


def manager(folder: Path, **options: Any) -> orbax.checkpoint.CheckpointManager:  # noqa: ANN401
    """Orbax's manager of checkpoints, for this process alone, with further options."""
    options |= {"create": False, "enable_async_checkpointing": False, "multiprocessing_options": alone()}
    all_options = orbax.checkpoint.CheckpointManagerOptions(max_to_keep=KEPT, **options)
    return orbax.checkpoint.CheckpointManager(folder.absolute(), options=all_options)


def alone() -> orbax.checkpoint.options.MultiprocessingOptions:
    """Tells Orbax not to wait for other processes."""
    this = jax.process_index()
    return orbax.checkpoint.options.MultiprocessingOptions(primary_host=this, active_processes={this})


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps what threads log and print off standard error: each of Orbax's would print what it raises."""
    disabled, hook = logging.root.manager.disable, sys.unraisablehook
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
        sys.unraisablehook = hook  # but if Orbax fails, threads of its own raise for a while after it
    finally:
        logging.disable(disabled)


def said(error: BaseException) -> str:
    """The first line of an error, by its first cause, which knows best."""
    while error.__cause__ is not None:
        error = error.__cause__
    first_line, _, _ = str(error).partition("\n")
    return first_line[:200].rstrip(". ") or type(error).__name__
