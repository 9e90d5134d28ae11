"""`jaxbox evaluate`: the detector of a run on a folder of images, by COCO's protocol in pixels of the images."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jaxbox.demo import files
from jaxbox.demo.data import folder
from jaxbox.demo.data.folder import Picture
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import evaluation
from jaxbox.demo.use import finding

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # of COCO's numbers, in its order
NAMES += ("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")
PACKAGES = ("jax", "flax", "orbax-checkpoint", "numpy", "pillow", "pycocotools")


class Truth(NamedTuple):
    """What a detector is measured on.

    Attributes:
      pictures: the images, with boxes whose classes are those of the run.
      remarks: about what was left out, a line each.
    """

    pictures: list[Picture]
    remarks: list[str]


def read(trained: finding.Trained, run: Path, root: Path, *, all_images: bool) -> Truth:
    """Reads a folder of images for a run.

    Args:
      trained: the detector of the run.
      run: its folder.
      root: the folder of images.
      all_images: whether those are measured too that the run would train with.

    Raises:
      ValueError: if the folder cannot be used, or has boxes of a class that the run does not know.
    """
    contents = folder.read(root, turned=trained.is_turned)
    pictures = [*contents.train, *contents.held_out] if all_images else contents.held_out
    used = {contents.names[number] for picture in pictures for number in picture.classes}
    if unknown := sorted(used - set(trained.names)):
        raise ValueError(
            f"{files.shown(root)!r} has boxes of {', '.join(map(repr, unknown[:5]))}, and the run in "
            f"{files.shown(run)!r} knows {', '.join(trained.names[:10])}; give the classes the same names, or train on "
            "this folder"
        )
    if not any(np.any(~picture.crowd) for picture in pictures):
        raise ValueError(f"{files.shown(root)!r} has no box on an image to test with; annotate some, or write --all")
    order = np.array([trained.names.index(name) if name in used else -1 for name in contents.names])
    if trained.is_turned:
        pictures = folder.with_turned_boxes(pictures)
    remarks = [line for line in contents.remarks if not (all_images and "is held out" in line)]
    return Truth([picture._replace(classes=order[picture.classes]) for picture in pictures], remarks)


def evaluate(trained: finding.Trained, truth: Truth, run: Path, root: Path, out: Path | None) -> None:
    """Measures a detector and prints COCO's numbers, or five where boxes are turned.

    Args:
      trained: the detector of a run.
      truth: what it is measured on.
      run: the folder of the run.
      root: the folder of images.
      out: where the numbers go as JSON, if they go anywhere.
    """
    for remark in truth.remarks:
        print(f"         {remark}")
    count = sum(int(np.sum(~picture.crowd)) for picture in truth.pictures)
    print(f"test     {len(truth.pictures)} images with {count} boxes", flush=True)
    found = list(finding.find(trained.model, truth.pictures))
    if trained.is_turned:
        metrics = evaluation.evaluate_turned(*padded(found, truth.pictures))
        for name, value in metrics.items():
            print(f"         {name:9} {value:.3f}")
    else:
        coco = compared(found, truth.pictures, trained.names)
        coco.summarize()
        metrics = dict(zip(NAMES, map(float, coco.stats), strict=True))
    if out is not None:
        with files.staging(out, files.EVALUATED) as (place, _):
            record = {"run": str(run), "folder": str(root), "images": len(truth.pictures), "boxes": count}
            record |= {"metrics": metrics, "versions": files.versions(PACKAGES)}
            files.write_record(record, place / files.EVALUATED.record)
        print(f"wrote    {files.EVALUATED.record} in {files.shown(out)}")


def compared(found: Sequence[finding.Found], pictures: Sequence[Picture], names: Sequence[str]) -> COCOeval:
    """COCO's comparison of upright boxes in pixels, ready to be summarized.

    Args:
      found: on each image.
      pictures: the images, with their boxes.
      names: of the classes.
    """
    known: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for image, (picture, some) in enumerate(zip(pictures, found, strict=True)):
        for box, name, area, crowd in zip(picture.boxes, picture.classes, picture.areas, picture.crowd, strict=True):
            annotation = {"area": float(area), "iscrowd": int(crowd), "id": len(known) + 1}
            known.append(boxed(image, name, box) | annotation)
        for box, name, score in zip(*some, strict=True):
            left, top, right, bottom = map(float, box)
            answer = {"score": float(score), "area": (right - left) * (bottom - top), "id": len(answers) + 1}
            answers.append(boxed(image, name, box) | answer)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        true, ours = (indexed(rows, len(pictures), len(names)) for rows in (known, answers))
        coco = COCOeval(true, ours, "bbox")
        coco.evaluate()
        coco.accumulate()
    return coco


def boxed(image: int, name: int, box: np.ndarray) -> dict[str, Any]:
    """What an annotation and an answer have in common."""
    corner_and_sides, _ = evaluation.coco_box(box)
    return {"image_id": image, "category_id": int(name), "bbox": corner_and_sides}


def indexed(rows: list[dict[str, Any]], images: int, classes: int) -> COCO:
    """Annotations as pycocotools wants them."""
    coco: Any = COCO()
    coco.dataset = {"images": [{"id": i} for i in range(images)], "categories": [{"id": i} for i in range(classes)]}
    coco.dataset["annotations"] = rows
    coco.createIndex()
    return coco


def padded(found: Sequence[finding.Found], pictures: Sequence[Picture]) -> tuple[detector.Detections, Scenes]:
    """Turned boxes that are found and those that are true, in arrays, as `evaluation.evaluate_turned` takes them."""
    n, slots = (max(1, *(len(each.boxes) for each in rows)) for rows in (found, pictures))

    def stacked(rows: Sequence[np.ndarray], length: int, fill: float = 0) -> np.ndarray:
        pads = [[(0, length - len(row)), *[(0, 0)] * (row.ndim - 1)] for row in rows]
        return np.stack([np.pad(row, pad, constant_values=fill) for row, pad in zip(rows, pads, strict=True)])

    arrays: Any = (stacked(rows, n) for rows in zip(*found, strict=True))
    boxes = stacked([picture.boxes.astype(np.float32) for picture in pictures], slots)
    classes = stacked([picture.classes for picture in pictures], slots)
    crowd = stacked([picture.crowd for picture in pictures], slots)
    valid = stacked([~picture.crowd for picture in pictures], slots)
    return detector.Detections(*arrays), Scenes(np.zeros((len(pictures), 0)), boxes, classes, valid, crowd)
