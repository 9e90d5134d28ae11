"""The training loop: what a terminal shows of it, its log, its validations, and the checkpoints that it leaves."""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.console
import rich.progress
from flax import nnx

from jaxbox.demo import interrupts
from jaxbox.demo.training import checkpoints, datasets, log, resuming, train

REPORT_EVERY = 10  # steps; reading a loss waits for the devices
AP = "ap"  # the metric by which a model is the best


class Best(NamedTuple):
    """The model that was the best so far: after which step, its metrics, and its state as a dictionary of arrays."""

    step: int
    metrics: dict[str, float]
    state: checkpoints.Arrays


@dataclasses.dataclass
class Loop:
    """A training loop, which can be stopped after any step and gone on with.

    Attributes:
      model: what is trained.
      optimizer: of its parameters.
      batches: what it is trained on.
      steps: how many there are in all.
      batch_size: images a step.
      console: where it is shown how it goes.
      learning_rate: of a step, from 0.
      journal: where losses go; None in a process that does not write.
      store: where the state goes; None if it goes nowhere, or in a process that does not write.
      save_every: steps between checkpoints; 0 if there are none.
      validate: the metrics of a model on images that it is not trained on; None in a process that does not.
      validate_every: steps between validations; 0 if there are none.
      first: the steps that are already made.
      best: the best model of all validations.
      metrics: of the last validation, and `validated` its step.
    """

    model: nnx.Module
    optimizer: nnx.Optimizer
    batches: datasets.Batches
    steps: int
    batch_size: int
    console: rich.console.Console
    learning_rate: Callable[[int], Any]
    journal: log.Log | None = None
    store: checkpoints.Checkpoints | None = None
    save_every: int = 0
    validate: Callable[[nnx.Module], dict[str, float]] | None = None
    validate_every: int = 0
    first: int = 0
    best: Best | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    validated: int = 0
    _pending: list[tuple[int, train.Values]] = dataclasses.field(default_factory=list)
    _began: float = 0.0

    def train(self, values: Iterator[train.Values]) -> None:
        """Trains by asking for the values, and shows how it goes: a bar on a terminal, ten lines elsewhere.

        A signal after the first step is answered after the step that runs: it is saved, and the process ends.

        Args:
          values: the losses of each step that is left, from `train.fit`.

        Raises:
          FloatingPointError: if a loss is not finite.
        """
        progress = rich.progress.Progress(
            rich.progress.TextColumn("        "),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("loss {task.fields[loss]}  {task.fields[rate]} images/s"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
        )
        with progress if self.console.is_terminal else contextlib.nullcontext():
            task = progress.add_task("", total=self.steps, completed=self.first, loss="-", rate="-")
            self._validate(self.first)  # if that was interrupted
            for step, losses in enumerate(values, start=self.first + 1):
                self._pending.append((step, losses))
                if step == self.first + 1:
                    jax.block_until_ready(losses)
                    self._began = time.perf_counter()  # without the compilation
                elif step % REPORT_EVERY == 0 or step == self.steps:
                    loss, rate = self._record(step)
                    progress.update(task, completed=step, loss=f"{loss:.3f}", rate=f"{rate:.0f}")
                    if not self.console.is_terminal and step * 10 // self.steps > (
                        (step - REPORT_EVERY) * 10 // self.steps
                    ):
                        self.console.print(f"         step {step}/{self.steps}  loss {loss:.3f}  {rate:.0f} images/s")
                self._finish_step(step)
        self._record(self.steps)

    def _record(self, step: int) -> tuple[float, float]:
        """Reads the losses up to a step and logs them; returns the last one, and the images a second so far."""
        pending = [(made, {name: float(x) for name, x in losses.items()}) for made, losses in self._pending]
        self._pending.clear()
        elapsed = time.perf_counter() - self._began
        rate = (step - self.first - 1) * self.batch_size / elapsed if step > self.first + 1 else 0.0
        loss = 0.0
        for made, losses in pending:
            loss = losses["loss"]
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} by step {made}; give the losses smaller weights")
            if self.journal is not None:
                measured = {log.LEARNING_RATE: float(self.learning_rate(made - 1)), log.SPEED: round(rate, 1)}
                self.journal.write(made, losses | measured)
        if self.journal is not None:
            self.journal.flush()
        return loss, rate

    def _finish_step(self, step: int) -> None:
        """Saves and validates after a step, if that is due, and ends the process if a signal waits for that."""
        must_validate = self._is_validation_due(step)
        if self.save_every:
            if len(self._pending) > 1:  # no more than two steps are under way: a signal waits for them
                jax.block_until_ready(self._pending[-2])
            number = interrupts.postpone(True)
            if number or step % self.save_every == 0 or step == self.steps or must_validate:
                began = time.perf_counter()
                self._save(step)
                self._began += time.perf_counter() - began
                number = interrupts.postpone(False) or number
                if number and self.store is not None:
                    interrupts.leave(number, is_saved=True)
        self._validate(step)

    def _save(self, step: int) -> None:
        """Writes a checkpoint, once the log holds all that came before it."""
        if self.store is None or self.journal is None:
            return
        self._record(step)
        self.journal.flush(to_disk=True)
        arrays = {"model": pure(self.model), "optimizer": pure(self.optimizer)}
        rest = {"loader": self.batches.get_state(), "batch size": self.batch_size, "best": None}
        rest |= {"validated": self.validated, "metrics": self.metrics}
        if self.best is not None:
            arrays["best"] = self.best.state
            rest["best"] = {"step": self.best.step, "metrics": self.best.metrics}
        self.store.save(checkpoints.Checkpoint(step, arrays, rest))

    def _is_validation_due(self, step: int) -> bool:
        is_time = self.validate_every and (step % self.validate_every == 0 or step == self.steps)
        return bool(is_time and step > self.validated)

    def _validate(self, step: int) -> None:
        """Validates the model after a step, if that is due, and keeps it if it is the best."""
        if not self._is_validation_due(step) or self.validate is None:
            return
        began = time.perf_counter()
        self.metrics, self.validated = self.validate(at_home(self.model)), step
        if self.best is None or self.metrics[AP] > self.best.metrics[AP]:
            self.best = Best(step, self.metrics, pure(self.model))
        if self.journal is not None:
            self.journal.write(step, {f"{log.VALIDATION}{name}": value for name, value in self.metrics.items()})
            self.journal.flush()
        self.console.print(f"         step {step}/{self.steps}  AP {self.metrics[AP]:.3f} on held-out images")
        self._began += time.perf_counter() - began

    def open_log(self, out: Path, folder: Path, begun: resuming.Begun, *, for_tensorboard: bool) -> None:
        """Opens the log, and the checkpoints beside it if any are made, in the process that writes.

        Args:
          out: the folder of the run.
          folder: of the files that it will have.
          begun: the command that began it.
          for_tensorboard: whether the log is written for TensorBoard as well.
        """
        if self.save_every:
            self.store = checkpoints.Checkpoints(out, folder.parent, begun)
        place = self.store.folder if self.store else folder
        self.journal = log.Log(place, for_tensorboard=for_tensorboard, up_to=self.first)

    def close_log(self, folder: Path) -> dict[str, list[float]]:
        """Closes the log, which goes to the other files of the run; returns the losses of all steps, by name."""
        if self.journal is None:
            return {}
        curve = self.journal.curve()
        self.journal.close()
        if self.store:
            shutil.copyfile(self.store.folder / log.NAME, folder / log.NAME)
            if (self.store.folder / log.EVENTS).is_dir():
                shutil.copytree(self.store.folder / log.EVENTS, folder / log.EVENTS)
        return curve

    def keep_best(self) -> dict[str, Any] | None:
        """Makes the model the best one of all validations, if there were any; returns what a record says of it."""
        if self.best is None:
            return None
        put(self.model, self.best.state)
        return {"best": {"step": self.best.step, AP: self.best.metrics[AP]}} | {
            "last": {"step": self.validated, AP: self.metrics[AP]}
        }

    def go_on(self, checkpoint: checkpoints.Checkpoint) -> None:
        """Puts all back to where it was, from a checkpoint that looks as `like` says."""
        put(self.model, checkpoint.arrays["model"])
        put(self.optimizer, checkpoint.arrays["optimizer"])
        if checkpoint.rest["batch size"] != self.batch_size:
            raise OSError(
                f"the run has batches of {checkpoint.rest['batch size']} images, and here they are of "
                f"{self.batch_size}, which divide among the devices; go on with as many devices as before"
            )
        self.batches.set_state(checkpoint.rest["loader"])
        self.first, self.validated = checkpoint.step, checkpoint.rest["validated"]
        self.metrics = checkpoint.rest["metrics"]
        if best := checkpoint.rest["best"]:
            self.best = Best(best["step"], best["metrics"], checkpoint.arrays["best"])

    def like(self, rest: dict[str, Any]) -> checkpoints.Arrays:
        """What the arrays of a checkpoint look like, of the rest of it."""
        arrays = {"model": pure(self.model), "optimizer": pure(self.optimizer)}
        return arrays | ({"best": arrays["model"]} if rest["best"] else {})


def pure(module: nnx.Module | nnx.Optimizer) -> checkpoints.Arrays:
    """The state of a module as a dictionary of NumPy arrays."""
    return jax.device_get(nnx.to_pure_dict(nnx.state(module)))


def put(module: nnx.Module | nnx.Optimizer, arrays: checkpoints.Arrays) -> None:
    """Gives a module a state, in place."""
    state = nnx.state(module)
    nnx.replace_by_pure_dict(state, jax.tree.map(jax.numpy.asarray, arrays))
    nnx.update(module, state)


def at_home(model: nnx.Module) -> nnx.Module:
    """A copy of a model of all processes, each of which holds a whole one, on this process alone."""
    graph, state = nnx.split(model)
    return nnx.merge(graph, jax.tree.map(jax.numpy.asarray, jax.device_get(state)))
