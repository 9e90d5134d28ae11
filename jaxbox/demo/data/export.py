"""A run of `jaxbox digits`: images of digits and their boxes, written to a folder in COCO's layout."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxbox import rotated
from jaxbox.demo import files
from jaxbox.demo.data import digits
from jaxbox.demo.scenes import Scenes

RECORD, TRAIN, TEST, IMAGES = files.DIGITS.names
PACKAGES = ("jax", "numpy", "scikit-learn", "pillow")
CHUNK = 256  # images that are made at a time
TEST_SEED = 2**32  # no seed that can be asked for


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is written.

    Attributes:
      images: how many to train with.
      test_images: how many of held-out digits.
      rotated: whether digits are turned, with quads.
      seed: of the images to train with.
      out: the folder.
    """

    images: int
    test_images: int
    rotated: bool
    seed: int
    out: Path


def run(settings: Settings) -> None:
    """Writes the images and their annotations, all of them or none."""
    with files.staging(settings.out, files.DIGITS) as (folder, earlier):
        if earlier.finished:
            print(f"out      {files.shown(settings.out)}, where this replaces what was written {earlier.finished}")
        (folder / IMAGES).mkdir()
        trained, tested = digits.train_and_test_digits()
        for name, drawn, count, seed in (
            (TRAIN, trained, settings.images, settings.seed),
            (TEST, tested, settings.test_images, TEST_SEED),
        ):
            write(folder, name, drawn, count, np.random.default_rng(seed), settings.rotated)
            print(f"wrote    {name}, {count} images", flush=True)
        record = {"settings": dataclasses.asdict(settings) | {"out": str(settings.out)}}
        files.write_record(record | {"versions": files.versions(PACKAGES)}, folder / RECORD)
    print(f"in       {files.shown(settings.out)}; `jaxbox train --data` takes it", flush=True)


def write(
    folder: Path, name: str, drawn: digits.Digits, count: int, rng: np.random.Generator, is_rotated: bool
) -> None:
    """Writes some images to a folder, and a file of their annotations."""
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": digit} for number, digit in enumerate(digits.NAMES, start=1)],
    }
    compose = digits.compose_turned if is_rotated else digits.compose
    for start in range(0, count, CHUNK):
        scenes = compose(drawn, min(CHUNK, count - start), rng)
        annotate(content, scenes, start)
        for image, entry in zip(scenes.images, content["images"][start:], strict=True):
            entry["file_name"] = f"{Path(name).stem}-{entry['id']:06}.png"
            pixels = np.rint(image[..., 0] * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / IMAGES / entry["file_name"])
    (folder / name).write_text(json.dumps(content))


def annotate(content: dict[str, list[dict[str, Any]]], scenes: Scenes, start: int) -> None:
    """Adds the images of scenes, the first of which has the number after `start`, and what is on them."""
    for number, (found, classes, valid) in enumerate(zip(*scenes[1:4], strict=True), start=start + 1):
        content["images"].append({"id": number, "width": digits.CANVAS, "height": digits.CANVAS})
        for box, digit in zip(found[valid] * scale(found), classes[valid], strict=True):
            quad = [] if len(box) == 4 else [np.asarray(rotated.to_corners(box)).round(3).ravel().tolist()]
            x0, y0, x1, y1 = (box if len(box) == 4 else np.asarray(rotated.to_xyxy(box))).round(3).tolist()
            content["annotations"].append(
                {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": int(digit) + 1}
                | {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                | {"segmentation": quad}
            )


def scale(found: np.ndarray) -> np.ndarray:
    """What the numbers of a box, `[n, 4]` or `[n, 5]`, are multiplied by to be pixels."""
    return np.array([digits.CANVAS] * 4 + [1] * (found.shape[-1] - 4))
