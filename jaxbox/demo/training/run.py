"""A run of `jaxbox train` from start to table: what it tells on the terminal, and the files it leaves."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint
import rich.box
import rich.console
import rich.table
from flax import nnx
from jax.sharding import Mesh
from matplotlib.figure import Figure

from jaxbox import plots
from jaxbox.demo import files
from jaxbox.demo.data import folder
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import checkpoints, datasets, heads, loop, resuming, train

METRICS, DETECTIONS, CURVES, PARAMETERS, LOG, TENSORBOARD = files.TRAINED.names
SHOWN = 12  # test images in the picture of detections
RESERVE = 2**17  # bytes that the parameters take on the disk besides their own
SURE = 0.5  # the lowest score in that picture
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scikit-learn", "pillow", "pycocotools")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made from.

    Attributes:
      head: a name in `heads.HEADS`.
      losses: the weight of each box loss, by its name without `_loss`.
      steps: updates of the model.
      batch_size: images an update; rounded up to a multiple of the devices.
      test_images: how many images of held-out digits to make; a folder has its own.
      seed: of the initial parameters and of the training images.
      out: the folder for the files of the run.
      data: the folder of images to train with; None for digits.
      size: pixels a side of the canvas that these images are put on.
      stride: pixels a side of a cell there.
      width: channels of the features.
      flips: whether left and right of these images may change places.
      save_every: steps between checkpoints; 0 for none.
      validate_every: steps between validations, of which the best model is kept; 0 for none.
      tensorboard: whether the log is written for TensorBoard as well.
      dtype: what most layers compute in.
    """

    head: str
    losses: dict[str, float]
    steps: int
    batch_size: int
    test_images: int
    seed: int
    out: Path
    data: Path | None = None
    size: int = 256
    stride: int = 8
    width: int = 64
    flips: bool = True
    save_every: int = 0
    validate_every: int = 0
    tensorboard: bool = False
    dtype: str = "float32"


def run(
    settings: Settings,
    started: float,
    begun: resuming.Begun,
    contents: folder.Folder | None = None,
    *,
    resumes: bool = False,
) -> None:
    """Trains and evaluates a detector, writes the run to its folder, and prints the table.

    Several processes train together; then the first one does the rest, and the others are silent throughout.

    Args:
      settings: what to do.
      started: when the command began, in seconds of `time.perf_counter`.
      begun: the command, for who resumes the run.
      contents: of the folder of images, if it is not trained with digits.
      resumes: whether the run goes on from its last checkpoint.

    Raises:
      FloatingPointError: if the loss stops being finite.
      OSError: if the checkpoint is damaged, or is not one of this run.
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

        head = heads.HEADS[settings.head]
        if contents is None:
            data = datasets.of_digits(head, batch_size, settings.seed, settings.test_images)
        else:
            canvas = {"size": settings.size, "stride": settings.stride, "width": settings.width}
            data = datasets.of_folder(head, contents, batch_size, settings.seed, flips=settings.flips, **canvas)
        for line in data.told:
            console.print(line)

        architecture = dataclasses.replace(data.architecture, dtype=settings.dtype)
        model = head.model(nnx.Rngs(settings.seed), architecture)
        size = sum(array.size for array in jax.tree.leaves(nnx.state(model, nnx.Param)))
        console.print(f"model    {size:,} parameters, head {settings.head}, on {describe(mesh)}")

        total = " + ".join(f"{weight:g} {name}" for name, weight in settings.losses.items())
        console.print(f"train    {settings.steps} steps of {batch_size} images; box loss {total}")
        trained = loop.Loop(
            model,
            train.make_optimizer(model, settings.steps),
            data.batches,
            steps=settings.steps,
            batch_size=batch_size,
            console=console,
            learning_rate=train.learning_rate(settings.steps),
            save_every=settings.save_every,
            validate=(lambda model: head.evaluate(*find_all(model, data.held_out))) if is_first else None,
            validate_every=settings.validate_every,
        )
        if resumes:
            trained.go_on(checkpoints.read_checkpoint(resuming.folder_of(settings.out), trained.like))
            console.print(f"resume   after step {trained.first}")
        if folder is not None:
            trained.open_log(settings.out, folder, begun, for_tensorboard=settings.tensorboard)
        train_step = train.make_train_step(head.total_loss(settings.losses))
        training_began = time.perf_counter()
        trained.train(train.fit(model, train_step, trained.batches, settings.steps, mesh, trained.optimizer))
        training_ended = time.perf_counter()
        if folder is None:
            return
        train.bring_home(model)
        validation = trained.keep_best()
        curve = trained.close_log(folder)

        console.print(f"test     {data.tests}")
        found, scenes = find_all(model, data.held_out)
        metrics = head.evaluate(found, scenes)

        save(model, folder / PARAMETERS)
        picture_of_detections(scenes, found, data.names).savefig(folder / DETECTIONS, dpi=150)
        picture_of_training(curve).savefig(folder / CURVES, dpi=150)
        seconds = {
            "before training": training_began - started,
            "training": training_ended - training_began,
            "after training": time.perf_counter() - training_ended,
            "all": time.perf_counter() - started,
        }
        record = {
            "settings": dataclasses.asdict(settings)
            | {"out": str(settings.out), "batch_size": batch_size}
            | {"data": settings.data and str(settings.data)},
            "architecture": dataclasses.asdict(architecture),
            "classes": data.names,
            "metrics": metrics,
            "validation": validation,
            "seconds": seconds,
            "device": describe(mesh),
            "versions": files.versions(PACKAGES),
            "curve": curve,
        }
        files.write_record(record, folder / METRICS)
    resuming.remove(resuming.folder_of(settings.out))
    names = [METRICS, DETECTIONS, CURVES, LOG, f"{PARAMETERS}/", *([f"{TENSORBOARD}/"] if settings.tensorboard else [])]
    console.print(f"wrote    {', '.join(names)} in {files.shown(settings.out)}")
    console.print(table(metrics, seconds["all"]))


def find(model: nnx.Module, scenes: Scenes) -> detector.Detections:
    """The detections of a model of any head on images, as NumPy arrays."""
    model.eval()
    return jax.tree.map(np.asarray, compiled(heads.head_of(model).detect)(model, scenes.images))


@functools.cache
def compiled(detect: Callable[..., detector.Detections]) -> Callable[..., detector.Detections]:
    """The jitted function of a head that detects, which is compiled once for each shape of images."""
    return nnx.jit(detect)


def find_all(model: nnx.Module, batches: Iterable[Scenes]) -> tuple[detector.Detections, Scenes]:
    """The detections on batches of images, and their targets; of the images only those to show are kept."""
    found, scenes, shown = [], [], 0
    for batch in batches:
        found.append(find(model, batch))
        scenes.append(batch._replace(images=batch.images[: max(SHOWN - shown, 0)]))
        shown += len(batch.images)
    arrays: Any = map(np.concatenate, zip(*found, strict=True))
    return (
        detector.Detections(*arrays),
        Scenes(*map(np.concatenate, zip(*scenes, strict=True))),
    )


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


def picture_of_detections(scenes: Scenes, found: detector.Detections, names: Sequence[str]) -> Figure:
    """Test images with their true boxes and the detections that score at least `SURE`, by the names of classes."""
    count = min(SHOWN, len(scenes.images))
    columns = min(4, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.6 * columns, 2.75 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in panels[count:]:
        ax.axis("off")
    for i, ax in enumerate(panels[:count]):
        image, true, sure = scenes.images[i], scenes.valid[i], found.scores[i] >= SURE
        plots.draw_image(image[..., 0] if image.shape[-1] == 1 else image, ax=ax)
        known, ours = (in_pixels(boxes, len(image)) for boxes in (scenes.boxes[i][true], found.boxes[i][sure]))
        plots.draw_targets(known, [names[x] for x in scenes.classes[i][true]], ax=ax)
        plots.draw_predictions(ours, [names[x] for x in found.classes[i][sure]], found.scores[i][sure], ax=ax)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False)
    return figure


def in_pixels(found: jax.Array | np.ndarray, size: int) -> np.ndarray:
    """Upright boxes `[n, 4]` or turned ones `[n, 5]` in pixels of a canvas whose side is `size`."""
    numbers = np.asarray(found)
    return np.concatenate([numbers[:, :4] * size, numbers[:, 4:]], axis=-1)


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
    checkpointer = orbax.checkpoint.StandardCheckpointer(multiprocessing_options=checkpoints.alone())
    try:
        with checkpoints.silence(), checkpointer:
            checkpointer.save(folder.absolute(), state)
    except Exception as error:  # of whatever kind: Orbax and what it writes with have many
        raise OSError(f"the parameters cannot be written with Orbax: {checkpoints.said(error)}") from error


def load(out: str | Path) -> heads.Model:
    """Reads the detector of a run back.

    Args:
      out: the folder that `jaxbox train --out` wrote.

    Returns:
      The model, for `find`.

    Raises:
      FileNotFoundError: if that is not the folder of a run.
      ValueError: if its record names no head or no architecture, or the parameters are not those of such a detector.
    """
    place = Path(out)
    for missing, kind in ((place, "folder"), (place / PARAMETERS, "folder"), (place / METRICS, "file")):
        if not (missing.is_file() if kind == "file" else missing.is_dir()):
            raise FileNotFoundError(
                f"there is no {kind} {str(missing)!r}; pass the folder that `jaxbox train --out` wrote, which holds "
                f"{PARAMETERS!r} and {METRICS!r}"
            )
    try:
        record = json.loads((place / METRICS).read_text())
        head = heads.HEADS[record["settings"]["head"]]
        architecture = detector.Architecture.of_record(record["architecture"])
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{str(place / METRICS)!r} does not say which head the detector has, one of {', '.join(heads.HEADS)}, and "
            "its architecture; another version of `jaxbox train` wrote it: train again"
        ) from error
    graph, state = nnx.split(nnx.eval_shape(lambda: head.model(nnx.Rngs(0), architecture)))
    try:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            stored = checkpointer.restore((place / PARAMETERS).absolute(), nnx.to_pure_dict(state))
    except Exception as error:  # of whatever kind, as in `save`
        raise ValueError(
            f"{str(place / PARAMETERS)!r} does not hold the parameters of a detector as `jaxbox train` writes them: "
            f"{checkpoints.said(error)}"
        ) from error
    nnx.replace_by_pure_dict(state, stored)
    model: Any = nnx.merge(graph, state)
    return model
