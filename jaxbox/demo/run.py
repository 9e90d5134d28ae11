"""A run of `jaxbox train` from start to table: what it tells on the terminal, and the files it leaves."""

import contextlib
import dataclasses
import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint
import rich.box
import rich.console
import rich.progress
import rich.table
from flax import nnx
from jax.sharding import Mesh
from matplotlib.figure import Figure

from jaxbox import boxes, plots
from jaxbox.demo import detector, digits, evaluation, files, heads, train

METRICS, DETECTIONS, CURVES, PARAMETERS = files.TRAINED.names
TEST_SEED = 2  # of the test images, which are the same for every run
REPORT_EVERY = 10  # steps; reading a loss waits for the devices
SHOWN = 12  # test images in the picture of detections
RESERVE = 2**17  # bytes that the parameters take on the disk besides their own
SURE = 0.5  # the lowest score in that picture
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn", "pycocotools")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made from.

    Attributes:
      head: a name in `heads.HEADS`.
      losses: the weight of each box loss, by its name without `_loss`.
      steps: updates of the model.
      batch_size: images an update; rounded up to a multiple of the devices.
      test_images: how many images of held-out digits to make.
      seed: of the initial parameters and of the training images.
      out: the folder for the files of the run.
    """

    head: str
    losses: dict[str, float]
    steps: int
    batch_size: int
    test_images: int
    seed: int
    out: Path


def run(settings: Settings, started: float) -> None:
    """Trains and evaluates a detector, writes the run to its folder, and prints the table.

    Several processes train together; then the first one does the rest, and the others are silent throughout.

    Args:
      settings: what to do.
      started: when the command began, in seconds of `time.perf_counter`.

    Raises:
      FloatingPointError: if the loss stops being finite.
    """
    is_first = jax.process_index() == 0
    console = rich.console.Console(highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=not is_first)
    staging = files.staging(settings.out, files.TRAINED)
    with staging if is_first else contextlib.nullcontext((None, files.NOTHING)) as (folder, earlier):
        if earlier.finished:
            console.print(f"out      {files.shown(settings.out)}, where this run replaces that of {earlier.finished}")
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        batch_size = -(-settings.batch_size // mesh.size) * mesh.size
        if batch_size != settings.batch_size:
            console.print(
                f"batch    {settings.batch_size} images do not divide among {mesh.size} devices: {batch_size}"
            )

        train_digits, test_digits = digits.train_and_test_digits()
        console.print(
            f"digits   {len(train_digits.labels)} to train with, {len(test_digits.labels)} others to test with"
        )

        head = heads.HEADS[settings.head]
        model = head.model(nnx.Rngs(settings.seed))
        size = sum(array.size for array in jax.tree.leaves(nnx.state(model, nnx.Param)))
        console.print(f"model    {size:,} parameters, head {settings.head}, on {describe(mesh)}")

        total = " + ".join(f"{weight:g} {name}" for name, weight in settings.losses.items())
        console.print(f"train    {settings.steps} steps of {batch_size} images; box loss {total}")
        train_step = train.make_train_step(head.total_loss(settings.losses))
        batches = digits.stream(train_digits, batch_size, settings.seed)
        values = train.fit(model, train_step, batches, settings.steps, mesh)
        training_began = time.perf_counter()
        curve = watch(values, settings.steps, batch_size, console)
        training_ended = time.perf_counter()
        if folder is None:
            return
        train.bring_home(model)

        console.print(f"test     {settings.test_images} images of held-out digits")
        scenes = digits.compose(test_digits, settings.test_images, np.random.default_rng(TEST_SEED))
        found = find(model, scenes)
        metrics = evaluation.evaluate(found, scenes)

        save(model, folder / PARAMETERS)
        picture_of_detections(scenes, found).savefig(folder / DETECTIONS, dpi=150)
        picture_of_training(curve).savefig(folder / CURVES, dpi=150)
        seconds = {
            "before training": training_began - started,
            "training": training_ended - training_began,
            "after training": time.perf_counter() - training_ended,
            "all": time.perf_counter() - started,
        }
        record = {
            "settings": dataclasses.asdict(settings) | {"out": str(settings.out), "batch_size": batch_size},
            "metrics": metrics,
            "seconds": seconds,
            "device": describe(mesh),
            "versions": files.versions(PACKAGES),
            "curve": curve,
        }
        files.write_record(record, folder / METRICS)
    console.print(
        f"wrote    {', '.join((METRICS, DETECTIONS, CURVES, PARAMETERS + '/'))} in {files.shown(settings.out)}"
    )
    console.print(table(metrics, seconds["all"]))


def watch(
    values: Iterator[train.Values], steps: int, batch_size: int, console: rich.console.Console
) -> dict[str, list[float]]:
    """Trains by asking for the values, and shows how it goes: a bar on a terminal, ten lines elsewhere.

    Args:
      values: the losses of each step, from `train.fit`.
      steps: how many there are.
      batch_size: images a step.
      console: where to show it.

    Returns:
      The losses of all steps, by name.

    Raises:
      FloatingPointError: if a loss is not finite.
    """
    progress = rich.progress.Progress(
        rich.progress.TextColumn("        "),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("loss {task.fields[loss]}  {task.fields[rate]} images/s"),
        rich.progress.TimeRemainingColumn(),
        console=console,
    )
    history = []
    began = time.perf_counter()
    with progress if console.is_terminal else contextlib.nullcontext():
        task = progress.add_task("", total=steps, loss="-", rate="-")
        for step, losses in enumerate(values, start=1):
            history.append(losses)
            if step == 1:
                jax.block_until_ready(losses)
                began = time.perf_counter()  # without the compilation
            elif step % REPORT_EVERY == 0 or step == steps:
                loss = float(losses["loss"])
                if not np.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss} by step {step}; give the losses smaller weights")
                rate = (step - 1) * batch_size / (time.perf_counter() - began)
                progress.update(task, completed=step, loss=f"{loss:.3f}", rate=f"{rate:.0f}")
                if not console.is_terminal and step * 10 // steps > (step - REPORT_EVERY) * 10 // steps:
                    console.print(f"         step {step}/{steps}  loss {loss:.3f}  {rate:.0f} images/s")
    return {name: [float(losses[name]) for losses in history] for name in history[0]}


def find(model: nnx.Module, scenes: digits.Scenes) -> detector.Detections:
    """The detections of a model of any head on images, as NumPy arrays."""
    model.eval()
    return jax.tree.map(np.asarray, nnx.jit(heads.head_of(model).detect)(model, scenes.images))


def describe(mesh: Mesh) -> str:
    """The devices of a mesh in words."""
    kinds = sorted({device.device_kind for device in mesh.devices.flat})
    count = len({device.process_index for device in mesh.devices.flat})
    processes = f" of {count} processes" * (count > 1)
    return f"{mesh.size} device{'s' * (mesh.size > 1)}{processes} ({', '.join(kinds)})"


def table(metrics: dict[str, float], seconds: float) -> rich.table.Table:
    """The result of a run in one row."""
    result = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for title in ("mean IoU of matched boxes", "AP at .5", "AP at .75", "AP .5:.95", "time"):
        result.add_column(title, justify="right")
    scores = (f"{metrics[name]:.3f}" for name in ("mean_iou", "ap50", "ap75", "ap"))
    result.add_row(*scores, f"{seconds:.0f} s")
    return result


def picture_of_detections(scenes: digits.Scenes, found: detector.Detections) -> Figure:
    """Test images with their true boxes and the detections that score at least `SURE`."""
    columns = 4
    figure = Figure(figsize=(2.6 * columns, 2.75 * SHOWN / columns), layout="constrained")
    panels = figure.subplots(SHOWN // columns, columns).ravel()
    size = (digits.CANVAS, digits.CANVAS)
    for i, ax in enumerate(panels):
        plots.draw_image(scenes.images[i, ..., 0], ax=ax)
        true, sure = scenes.valid[i], found.scores[i] >= SURE
        targets = boxes.normalized_to_absolute(scenes.boxes[i][true], size)
        predictions = boxes.normalized_to_absolute(found.boxes[i][sure], size)
        plots.draw_targets(targets, scenes.classes[i][true], ax=ax)
        plots.draw_predictions(predictions, found.classes[i][sure], found.scores[i][sure], ax=ax)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False)
    return figure


def picture_of_training(curve: dict[str, list[float]]) -> Figure:
    """The losses of a run over its steps."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    plots.draw_curves(curve, ax=figure.subplots())
    return figure


def save(model: nnx.Module, folder: Path) -> None:
    """Writes a model's parameters and batch statistics to a new folder, from this process alone.

    Raises:
      OSError: if there is no room for them, which Orbax would tell on hundreds of lines, or if Orbax fails.
    """
    state = jax.device_get(nnx.to_pure_dict(nnx.state(model)))
    reserve = folder.with_name("reserve")
    size = sum(array.nbytes for array in jax.tree.leaves(state))
    reserve.write_bytes(bytes(size + RESERVE))  # or it raises here
    reserve.unlink()
    this = jax.process_index()
    alone = orbax.checkpoint.options.MultiprocessingOptions(primary_host=this, active_processes={this})
    checkpointer = orbax.checkpoint.StandardCheckpointer(multiprocessing_options=alone)
    try:
        with silence(), checkpointer:
            checkpointer.save(folder.absolute(), state)
    except Exception as error:  # of whatever kind: Orbax and what it writes with have many
        raise OSError(f"the parameters cannot be written with Orbax: {said(error)}") from error


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


def load(out: str | Path) -> nnx.Module:
    """Reads the detector of a run back.

    Args:
      out: the folder that `jaxbox train --out` wrote.

    Returns:
      The model, for `find`.

    Raises:
      FileNotFoundError: if that is not the folder of a run.
      ValueError: if its record names no head, or the parameters are not those of a detector with that head.
    """
    place = Path(out)
    for missing, kind in ((place, "folder"), (place / PARAMETERS, "folder"), (place / METRICS, "file")):
        if not (missing.is_file() if kind == "file" else missing.is_dir()):
            raise FileNotFoundError(
                f"there is no {kind} {str(missing)!r}; pass the folder that `jaxbox train --out` wrote, which holds "
                f"{PARAMETERS!r} and {METRICS!r}"
            )
    try:
        head = heads.HEADS[json.loads((place / METRICS).read_text())["settings"]["head"]]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{str(place / METRICS)!r} does not say which head the detector has, one of {', '.join(heads.HEADS)}; "
            "another version of `jaxbox train` wrote it: train again"
        ) from error
    graph, state = nnx.split(nnx.eval_shape(lambda: head.model(nnx.Rngs(0))))
    try:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            stored = checkpointer.restore((place / PARAMETERS).absolute(), nnx.to_pure_dict(state))
    except Exception as error:  # of whatever kind, as in `save`
        raise ValueError(
            f"{str(place / PARAMETERS)!r} does not hold the parameters of a detector as `jaxbox train` writes them: "
            f"{said(error)}"
        ) from error
    nnx.replace_by_pure_dict(state, stored)
    return nnx.merge(graph, state)


def said(error: BaseException) -> str:
    """The first line of an error, by its first cause, which knows best."""
    while error.__cause__ is not None:
        error = error.__cause__
    first_line, _, _ = str(error).partition("\n")
    return first_line[:200].rstrip(". ") or type(error).__name__
