"""A run of `jaxbox compare`: the same detector from the same starts under each loss, and what sets the losses apart."""

import contextlib
import dataclasses
import functools
import itertools
import json
import shlex
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.progress
from flax import nnx

from jaxbox.demo import files, interrupts
from jaxbox.demo.comparison import ranking
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import datasets, heads, loop, train

RECORD, PAGE, PICTURE = files.COMPARED.names
TRAININGS, SETTINGS = "trainings", "settings.json"  # what is kept, whatever becomes of the rest
SMALL = 0.5  # of the usual side of a digit
WEIGHT = 2.0  # of GIoU, as in DETR
STARTS, IMAGES = 5, 64  # over which the pull of a loss at the start is a mean
SHARED = ("head", "l1", "weights", "steps", "batch_size", "test_images", "small")  # settings of every training
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a comparison is made from.

    Attributes:
      head: a name in `heads.HEADS`.
      losses: names of box losses without `_loss`; the one in `ranking.REFERENCES` is among them.
      seeds: how many starts each loss has, from seed 0.
      l1: the weight of L1 beside each loss.
      weights: of losses, in place of those that have the same pull.
      steps: updates of a model.
      batch_size: images an update.
      test_images: how many images of held-out digits to make.
      small: whether the digits are half as large.
      out: the folder for the files.
    """

    head: str
    losses: tuple[str, ...]
    seeds: int
    l1: float
    weights: Mapping[str, float]
    steps: int
    batch_size: int
    test_images: int
    small: bool
    out: Path

    @property
    def shared(self) -> dict[str, object]:
        """What a training is made from besides its loss and its seed, as JSON has it."""
        values = dataclasses.asdict(self)
        return {**{name: values[name] for name in SHARED}, "versions": files.versions(PACKAGES)}


class Outcome(NamedTuple):
    """What became of a training.

    Attributes:
      found: the detections on the test images, as NumPy arrays; none if the training diverged.
      weight: what the loss counted.
      diverged: the step by which the loss was not finite; 0 if it always was.
      seconds: how long it took, with the compilation if it was the first of its loss.
    """

    found: detector.Detections
    weight: float
    diverged: int
    seconds: float


def check(settings: Settings) -> None:
    """Finds out whether the trainings in the folder, if there are any, can be gone on with.

    Raises:
      FileExistsError: if they were made with other settings, or by something else.
    """
    place = settings.out / TRAININGS
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    other = f"write --out {shlex.quote(files.shown(files.free_in(settings.out)))}"
    try:
        before: Any = json.loads((place / SETTINGS).read_text())
        differ = {name: (before[name], now) for name, now in settings.shared.items() if before[name] != now}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FileExistsError(
            f"{files.shown(place)!r} was not written by `jaxbox compare`, or was changed since; move it, or {other}"
        ) from error
    if differ:
        said = "; ".join(f"{name.replace('_', '-')} was {was} and is {now}" for name, (was, now) in differ.items())
        raise FileExistsError(
            f"{files.shown(place)!r} holds trainings with other settings ({said}); ask for the same again to go on "
            f"with them, or {other}"
        )


def run_comparison(settings: Settings, started: float) -> None:
    """Trains what was not trained yet, compares the losses, writes the result to the folder, and prints the table.

    Args:
      settings: what to do.
      started: when the command began, in seconds of `time.perf_counter`.

    Raises:
      FileExistsError: if the folder holds something else.
      ValueError: if a training that is kept there cannot be read.
    """
    console = rich.console.Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    check(settings)
    place = settings.out / TRAININGS
    if not (place / SETTINGS).exists():
        keep(place / SETTINGS, lambda path: path.write_text(json.dumps(settings.shared, indent=1) + "\n"))
    wanted = list(itertools.product(settings.losses, range(settings.seeds)))
    outcomes = {key: read(path) for key in wanted if (path := file_of(place, *key)).exists()}
    console.print(
        f"train    {len(wanted)} times {settings.steps} steps of {settings.batch_size} images: "
        f"{len(settings.losses)} losses, {settings.seeds} seeds, head {settings.head}"
    )
    if outcomes:
        console.print(f"         {len(outcomes)} of them are in {files.shown(place)} and are not trained again")
    trainer = Trainer(settings)
    for key, outcome in train_all(trainer, [key for key in wanted if key not in outcomes], outcomes, console):
        outcomes[key] = outcome
        keep(file_of(place, *key), functools.partial(write, outcome))

    console.print(f"draw     {ranking.DRAWS} times from {settings.seeds} seeds and {settings.test_images} test images")
    results = ranking.rank({key: outcomes[key] for key in wanted}, trainer.scenes, ranking.REFERENCES[settings.head])
    notes = ranking.notes(results, settings.seeds)
    with files.staging(settings.out, files.COMPARED) as (folder, earlier):
        if earlier.finished:
            console.print(f"out      {files.shown(settings.out)}, where this replaces what was of {earlier.finished}")
        title = describe(settings)
        (folder / PAGE).write_text(ranking.page(results, title, notes))
        ranking.picture(results, title).savefig(folder / PICTURE, dpi=150)
        record = {
            "settings": settings.shared | {"losses": settings.losses, "seeds": settings.seeds},
            "reference": results.reference,
            "draws": ranking.DRAWS,
            "losses": [row.record() for row in results.rows],
            "trainings": [
                {"loss": loss, "seed": seed, "weight": outcome.weight, "diverged": outcome.diverged}
                | {"seconds": outcome.seconds}
                | results.measured[loss, seed]
                for (loss, seed), outcome in outcomes.items()
            ],
            "seconds of all trainings": sum(outcome.seconds for outcome in outcomes.values()),
            "seconds of this call": time.perf_counter() - started,
            "device": jax.devices()[0].device_kind,
        }
        files.write_record(record, folder / RECORD)
    console.print(f"wrote    {', '.join((RECORD, PAGE, PICTURE))} in {files.shown(settings.out)}")
    ranking.print_table(results, console)
    for note in notes:
        console.print(note, soft_wrap=not console.is_terminal)


def describe(settings: Settings) -> str:
    """A comparison in a line."""
    return (
        f"{settings.seeds} trainings a loss, {settings.steps} steps of {settings.batch_size} images, head "
        f"{settings.head}, {f'{settings.l1:g} L1 beside' if settings.l1 else 'nothing beside'}, "
        f"{'small digits, ' * settings.small}{settings.test_images} test images"
    )


# What is kept.


def file_of(place: Path, loss: str, seed: int) -> Path:
    """Where a training is kept."""
    return place / f"{loss}-{seed}.npz"


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file of the trainings, which appears there once it is complete."""
    with files.workplace(path.parent) as folder:
        write(folder / path.name)
        with interrupts.lock:
            (folder / path.name).replace(path)


def write(outcome: Outcome, path: Path) -> None:
    """Writes what became of a training."""
    rest = {name: value for name, value in outcome._asdict().items() if name != "found"}
    np.savez_compressed(path, **outcome.found._asdict(), **rest)


def read(path: Path) -> Outcome:
    """Reads what became of a training.

    Raises:
      ValueError: if the file holds something else.
    """
    try:
        with np.load(path) as arrays:
            found = detector.Detections(*(arrays[name] for name in detector.Detections._fields))
            weight, diverged, seconds = (arrays[name].item() for name in Outcome._fields[1:])
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{files.shown(path)!r} does not hold a training of `jaxbox compare`; remove it, and it is trained again"
        ) from error
    return Outcome(found, weight, diverged, seconds)


# How it is trained.


def train_all(
    trainer: "Trainer",
    missing: list[tuple[str, int]],
    earlier: Mapping[tuple[str, int], Outcome],
    console: rich.console.Console,
) -> Iterator[tuple[tuple[str, int], Outcome]]:
    """Trains, a loss after the other, and shows how it goes: a line a training, and a bar on a terminal.

    Args:
      trainer: of the detectors.
      missing: the losses and seeds to train with, those of a loss next to each other.
      earlier: what is there already; another seed of a loss has the same weight.
      console: where to show it.

    Yields:
      Loss and seed, and what became of them.
    """
    progress = rich.progress.Progress(
        rich.progress.TextColumn("        "),
        rich.progress.BarColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        speed_estimate_period=600,
    )
    weights = {loss: outcome.weight for (loss, _), outcome in earlier.items()}
    began, done, steps = time.perf_counter(), 0, trainer.settings.steps
    with progress if console.is_terminal else contextlib.nullcontext():
        task = progress.add_task("", total=len(missing) * steps)
        for loss, keys in itertools.groupby(missing, key=lambda key: key[0]):
            start = time.perf_counter()
            weight = weights.get(loss) or trainer.weight_of(loss)
            step = trainer.make_step(loss, weight)
            for _, seed in keys:
                progress.update(task, description=f"{loss}, seed {seed}")
                trained = trainer.train(step, seed, lambda: progress.advance(task, loop.REPORT_EVERY))
                outcome = Outcome(trained.found, weight, trained.diverged, time.perf_counter() - start)
                yield (loss, seed), outcome
                done += 1
                progress.update(task, completed=done * steps)
                left = (time.perf_counter() - began) / done * (len(missing) - done)
                said = f"diverged by step {outcome.diverged}" if outcome.diverged else "trained"
                console.print(
                    f"         {loss}, seed {seed}: {said} in {outcome.seconds:.0f} s; {done} of {len(missing)}, "
                    f"about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"
                )
                start = time.perf_counter()


class Trained(NamedTuple):
    """The detections of a model, as NumPy arrays, and the step by which its loss was not finite, or 0."""

    found: detector.Detections
    diverged: int


Step = Callable[[Any, Scenes], tuple[Any, train.Values]]  # of the state of a model and its optimizer, and a batch


class Trainer:
    """Trains detectors that differ in the loss and the seed alone, one after the other.

    On two x86 cores a step of 16 images took 0.022 to 0.030 s, beside other work. Five seeds side by side under `vmap`
    took 0.117 s for each: XLA has no fast convolution there whose kernels differ over a batch. In a `lax.scan` a step
    took 0.65 s. To compile a step took 3.7 s, so it is compiled once for all seeds of a loss.

    Attributes:
      settings: what they are made from.
      scenes: the test images.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.head = settings, heads.HEADS[settings.head]
        self.architecture = self.head.architecture
        compose: Any = self.head.compose
        if settings.small:
            side = SMALL * self.architecture.typical_side
            self.architecture = dataclasses.replace(self.architecture, typical_side=side)
            low, high = digits.SCALES
            compose = functools.partial(compose, scales=(SMALL * low, SMALL * high))
        self.compose: digits.Compose = compose
        self.train_digits, test_digits = digits.train_and_test_digits()
        self.scenes = self.compose(test_digits, settings.test_images, np.random.default_rng(datasets.TEST_SEED))
        self.graph, _ = nnx.split(self.build(0))
        self.starts = functools.cache(lambda seed: nnx.state(self.build(seed)))
        self.pull_of = functools.cache(self.measure_pull)
        self.detect = jax.jit(self.detect_eagerly)

    def build(self, seed: int) -> tuple[nnx.Module, nnx.Optimizer]:
        """A model as it starts, and its optimizer."""
        model = self.head.model(nnx.Rngs(seed), self.architecture)
        model.train()
        return model, train.make_optimizer(model, self.settings.steps)

    def make_step(self, loss: str, weight: float) -> Step:
        """The jitted step under a loss, which is the same for every seed."""
        weights = {loss: weight}
        if self.settings.l1:
            weights["l1"] = weights.get("l1", 0) + self.settings.l1
        total_loss = self.head.total_loss(weights)

        @jax.jit
        def step(state: Any, batch: Scenes) -> tuple[Any, train.Values]:  # noqa: ANN401
            model, optimizer = nnx.merge(self.graph, state)
            gradients, values = nnx.grad(total_loss, has_aux=True)(model, batch)
            optimizer.update(model, gradients)
            return nnx.state((model, optimizer)), values

        return step

    def train(self, step: Step, seed: int, report: Callable[[], None]) -> Trained:
        """Trains from one start.

        Args:
          step: from `make_step`.
          seed: of the initial parameters and of the training images.
          report: called every `loop.REPORT_EVERY` steps.
        """
        state, steps = self.starts(seed), self.settings.steps
        batches = digits.stream(self.train_digits, self.settings.batch_size, seed, self.compose)
        for i, batch in zip(range(1, steps + 1), batches, strict=False):
            state, values = step(state, batch)
            if i % loop.REPORT_EVERY == 0 or i == steps:  # reading a loss waits for the device
                if not np.isfinite(float(values["loss"])):
                    return Trained(self.nothing(), diverged=i)
                report()
        return Trained(jax.tree.map(np.asarray, self.detect(state, self.scenes.images)), diverged=0)

    def detect_eagerly(self, state: Any, images: np.ndarray) -> detector.Detections:  # noqa: ANN401
        """What a model finds on images."""
        model, _ = nnx.merge(self.graph, state)
        model.eval()
        return self.head.detect(model, images)

    def nothing(self) -> detector.Detections:
        """No detections."""
        found = jax.eval_shape(self.detect, self.starts(0), self.scenes.images)
        return jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), found)

    def weight_of(self, loss: str) -> float:
        """What a loss counts: what was asked for, or as much as gives it the pull of GIoU at the start.

        Losses have units of their own. With a weight of 2, L2 pulls at a box of the start a 32nd as hard as GIoU does:
        it would be compared for its unit. So the weight is chosen by one rule for all, to three digits: the mean over
        the cells that answer for a box of the norm of the loss's gradient with respect to this box is that of GIoU
        with a weight of `WEIGHT`, over `IMAGES` images and `STARTS` starts. What a loss does from there on is its own.

        Raises:
          FloatingPointError: if a loss does not pull at all at the start.
        """
        if loss in self.settings.weights:
            return self.settings.weights[loss]
        reference = ranking.REFERENCES[self.settings.head]
        weight = self.settings.weights.get(reference, WEIGHT)
        if loss == reference:
            return weight
        ratio = self.pull_of(reference) / self.pull_of(loss) if self.pull_of(loss) else np.inf
        if not np.isfinite(ratio):
            raise FloatingPointError(
                f"{loss} has no gradient at the start by which its weight can be chosen; write --weight {loss}=1, "
                "or what else it should count"
            )
        return float(f"{weight * ratio:.3g}")

    def measure_pull(self, loss: str) -> float:
        """The mean norm of a loss's gradient with respect to a box that a cell predicts at the start."""
        batch, looks = self.first_looks
        total_loss = self.head.total_loss({loss: 1.0})

        @jax.jit
        def pull(batch: Scenes, logits: jax.Array, boxes: jax.Array) -> jax.Array:
            def box_loss(boxes: jax.Array) -> jax.Array:
                return total_loss(Held(logits, boxes, self.architecture), batch)[1]["box loss"]

            # The loss is a mean over the cells that answer for a box, and so is the sum of its gradients.
            return jnp.sum(jnp.linalg.norm(jax.grad(box_loss)(boxes), axis=-1))

        return float(np.mean([pull(batch, *outputs) for outputs in looks]))

    @functools.cached_property
    def first_looks(self) -> tuple[Scenes, list[tuple[jax.Array, jax.Array]]]:
        """Images to train with, and what models that are not trained see on them: logits and boxes."""
        batch = self.compose(self.train_digits, IMAGES, np.random.default_rng(0))
        look = nnx.jit(lambda model, images: model(images))
        return batch, [look(self.build(seed)[0], batch.images) for seed in range(STARTS)]


class Held(NamedTuple):
    """A stand-in for a model that has looked already."""

    logits: jax.Array
    boxes: jax.Array
    architecture: detector.Architecture

    def __call__(self, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:  # noqa: ARG002
        """What it saw."""
        return self.logits, self.boxes
