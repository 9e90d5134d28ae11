"""What the detector of a run finds on images, in pixels of the images as they are, and `jaxbox detect`."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from jaxbox import plots
from jaxbox.demo import files
from jaxbox.demo.data import folder, loader
from jaxbox.demo.data.folder import Picture
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import heads, run

RECORD = files.DETECTED.record
PACKAGES = ("jax", "flax", "orbax-checkpoint", "numpy", "pillow")
SHOWN = 640  # the least pixels of the longer side of a picture
INCH = 100  # pixels of a picture


class Trained(NamedTuple):
    """The detector of a run, with the names of its classes."""

    model: Any
    names: tuple[str, ...]

    @property
    def is_turned(self) -> bool:
        """Whether its boxes are turned."""
        return heads.head_of(self.model).boxes == "turned"


class Found(NamedTuple):
    """What is found on an image, best first.

    Attributes:
      boxes: in pixels of the image, `xyxy`, `[n, 4]`, or turned boxes, `[n, 5]`.
      classes: `[n]`, from 0.
      scores: `[n]`.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def trained(out: Path) -> Trained:
    """Reads the detector of a run, made on whatever machine, for a device of this one.

    Raises:
      FileNotFoundError: if that is not the folder of a run.
      ValueError: if there are not the parameters of a detector, or no names of its classes.
    """
    model: Any = run.load(out)
    names = json.loads((out / run.METRICS).read_text()).get("classes")  # which `load` has read
    if not isinstance(names, list) or len(names) != model.architecture.classes:
        raise ValueError(f"{files.shown(out / run.METRICS)!r} does not have a name for each class; train again")
    return Trained(model, tuple(map(str, names)))


def look(paths: Sequence[Path]) -> list[Picture]:
    """Images that can be read, in their order, with no boxes.

    Raises:
      ValueError: if one is missing or cannot be read.
    """
    pictures = []
    for path in paths:
        found, size, _, fault = folder.look({"file_name": str(path)}, [Path()])
        if found is None:
            raise ValueError(f"{files.shown(path)!r} {fault}; write the names of images, such as photo.jpg")
        pictures.append(Picture(found, size, np.zeros((0, 4), np.float32), *np.zeros((3, 0), np.int32)))
    return pictures


def find(model: Any, pictures: Sequence[Picture]) -> Iterator[Found]:  # noqa: ANN401
    """What a detector finds on images, one after the other.

    Args:
      model: of any head, with an `architecture`.
      pictures: the images, which are put on canvases as in a test.
    """
    architecture: detector.Architecture = model.architecture
    sizes = (picture.size for picture in pictures)
    for canvases in loader.in_threads(loader.whole(pictures, architecture)):
        images = canvases.pixels.astype(np.float32) / 255
        nothing = np.zeros((len(images), 0))
        detections = run.find(model, Scenes(images, nothing, nothing, nothing, nothing))
        scales: Any = canvases.scale  # now an array, `[batch]`
        for row in zip(*detections, scales, canvases.offset, sizes, strict=False):
            boxes, classes, scores, scale, offset, (height, width) = row
            boxes = run.in_pixels(boxes, architecture.size)
            if boxes.shape[-1] == 4:
                boxes = np.clip((boxes - np.tile(offset, 2)) / scale, 0, [width, height, width, height])
            else:
                boxes = np.concatenate([(boxes[:, :2] - offset) / scale, boxes[:, 2:4] / scale, boxes[:, 4:]], axis=-1)
            is_there = (scores > 0) & np.all(np.isfinite(boxes), axis=-1)
            yield Found(boxes[is_there], classes[is_there], scores[is_there])


def detect(
    detecting: Trained,
    pictures: Sequence[Picture],
    names: Sequence[str],
    score: float,
    source: Path,
    out: Path,
    leaves: files.Leaves,
) -> None:
    """Prints what is found on images, a line of JSON each, and writes a picture of each to a folder.

    Args:
      detecting: finds it.
      pictures: the images.
      names: of the files of their pictures.
      score: the lowest that is told.
      source: the folder of the run.
      out: the folder to write to.
      leaves: what is left there.
    """
    lines = []
    with files.staging(out, leaves) as (place, _):
        for picture, found, name in zip(pictures, find(detecting.model, pictures), names, strict=True):
            sure = Found(*(rows[found.scores >= score] for rows in found))
            lines.append(line_of(picture, sure, detecting.names))
            print(json.dumps(lines[-1]), flush=True)
            drawn(picture, sure, detecting.names).savefig(place / name, dpi=INCH, bbox_inches="tight", pad_inches=0.05)
        record = {"run": str(source), "score": score, "images": lines, "versions": files.versions(PACKAGES)}
        files.write_record(record, place / RECORD)
    print(f"wrote    {len(names)} pictures and {RECORD} in {files.shown(out)}", file=sys.stderr)


def line_of(picture: Picture, found: Found, names: Sequence[str]) -> dict[str, Any]:
    """What is found on an image, as JSON holds it."""
    return {
        "file": files.shown(picture.path),
        "boxes": np.round(found.boxes.astype(float), 3).tolist(),
        "classes": [names[x] for x in found.classes],
        "scores": np.round(found.scores.astype(float), 4).tolist(),
    }


def drawn(picture: Picture, found: Found, names: Sequence[str]) -> Figure:
    """An image with what is found on it."""
    with Image.open(picture.path) as opened:
        image = np.asarray(opened.convert("RGB")) / 255
    height, width = picture.size
    scale = max(SHOWN / max(height, width), 1) / INCH
    figure = Figure(figsize=(width * scale, height * scale))
    ax = plots.draw_image(image, ax=figure.add_axes((0, 0, 1, 1)))
    plots.draw_predictions(found.boxes, [names[x] for x in found.classes], found.scores, ax=ax)
    return figure
