"""How good detections are: average precision as COCO computes it, and the overlap of matched boxes."""

import contextlib
import io
from typing import Any

import jax
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jaxbox.demo import detector, digits


def evaluate(found: detector.Detections, scenes: digits.Scenes) -> dict[str, float]:
    """Compares detections with the truth.

    Args:
      found: detections on the images, as NumPy arrays; those that score 0 or are not finite are left out.
      scenes: the images' padded targets.

    Returns:
      `ap50` and `ap75`, average precision over the classes at an IoU of 0.5 and of 0.75; `ap`, its mean over ten IoUs
      from 0.5 to 0.95; `matched`, the share of true boxes that a detection of their class overlaps with an IoU of 0.5
      or more, and `mean_iou`, the mean IoU of these with the one that scores highest. All are in `[0, 1]`, and 0 if
      there is no detection or no digit.
    """
    truth: Any = COCO()
    truth.dataset = {
        "info": {},  # `loadRes` copies it
        "images": [{"id": image} for image in range(len(scenes.images))],
        "categories": [{"id": name} for name in range(digits.CLASSES)],
        "annotations": [],
    }
    for number, (image, slot) in enumerate(np.argwhere(scenes.valid), start=1):
        box, area = coco_box(scenes.boxes[image, slot])
        truth.dataset["annotations"].append(
            {"id": number, "image_id": int(image), "category_id": int(scenes.classes[image, slot]), "bbox": box}
            | {"area": area, "iscrowd": 0}
        )
    answers = [
        {"image_id": int(image), "category_id": int(found.classes[image, i]), "score": float(found.scores[image, i])}
        | {"bbox": coco_box(found.boxes[image, i])[0]}
        for image, i in np.argwhere((found.scores > 0) & np.all(np.isfinite(found.boxes), axis=-1))
    ]
    if not answers or not truth.dataset["annotations"]:  # which pycocotools does not take
        return dict.fromkeys(("mean_iou", "matched", "ap50", "ap75", "ap"), 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.createIndex()
        coco = COCOeval(truth, truth.loadRes(answers), "bbox")
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    overlaps = matched_overlaps(coco)
    return {
        "mean_iou": float(np.mean(overlaps)) if overlaps else 0.0,
        "matched": len(overlaps) / int(np.sum(scenes.valid)),
        "ap50": float(coco.stats[1]),
        "ap75": float(coco.stats[2]),
        "ap": float(coco.stats[0]),
    }


def matched_overlaps(coco: COCOeval) -> list[float]:
    """The IoU of every true box that has a match at the first threshold, once `coco.evaluate()` has run."""
    overlaps: list[float] = []
    tables: Any = coco.ious
    for result in coco.evalImgs:
        if result is None or result["aRng"] != coco.params.areaRng[0]:  # other ranges of area hold the same boxes again
            continue
        table = tables[result["image_id"], result["category_id"]]
        for detection, truth in enumerate(result["dtMatches"][0]):
            if truth > 0:
                overlaps.append(float(table[detection][result["gtIds"].index(int(truth))]))
    return overlaps


def coco_box(box: jax.Array | np.ndarray) -> tuple[list[float], float]:
    """Low corner and sides of an `xyxy` box, and its area."""
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right - left, bottom - top], (right - left) * (bottom - top)
