"""How good detections are: average precision as COCO computes it, and the overlap of matched boxes."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jaxbox import similarity
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes

METRICS = "mean_iou", "matched", "ap50", "ap75", "ap"
IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def evaluate(found: detector.Detections, scenes: Scenes) -> dict[str, float]:
    """Compares detections with the truth.

    Args:
      found: detections on the images, as NumPy arrays; those that score 0 or are not finite are left out.
      scenes: the images' padded targets.

    Returns:
      `ap50` and `ap75`, average precision over the classes at an IoU of 0.5 and of 0.75; `ap`, its mean over ten IoUs
      from 0.5 to 0.95; `matched`, the share of true boxes that a detection of their class overlaps with an IoU of 0.5
      or more, and `mean_iou`, the mean IoU of these with the one that scores highest. All are in `[0, 1]`, and 0 if
      there is no detection or no box. A detection in a crowd of its class that matches no box is left out.
    """
    truth: Any = COCO()
    truth.dataset = {
        "info": {},  # `loadRes` copies it
        "images": [{"id": image} for image in range(len(scenes.valid))],
        "categories": [{"id": int(name)} for name in np.unique(scenes.classes)],
        "annotations": [],
    }
    boxes, crowds = np.argwhere(scenes.valid), np.argwhere(scenes.crowd)
    for number, (image, slot) in enumerate([*boxes, *crowds], start=1):  # COCO sorts them like this
        box, area = coco_box(scenes.boxes[image, slot])
        truth.dataset["annotations"].append(
            {"id": number, "image_id": int(image), "category_id": int(scenes.classes[image, slot]), "bbox": box}
            | {"area": area, "iscrowd": int(number > len(boxes))}
        )
    answers = [
        {"image_id": int(image), "category_id": int(found.classes[image, i]), "score": float(found.scores[image, i])}
        | {"bbox": coco_box(found.boxes[image, i])[0]}
        for image, i in np.argwhere((found.scores > 0) & np.all(np.isfinite(found.boxes), axis=-1))
    ]
    if not answers or not len(boxes):  # which pycocotools does not take
        return dict.fromkeys(METRICS, 0.0)
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
            if truth > 0 and not result["dtIgnore"][0][detection]:  # a crowd is no match
                overlaps.append(float(table[detection][result["gtIds"].index(int(truth))]))
    return overlaps


def coco_box(box: jax.Array | np.ndarray) -> tuple[list[float], float]:
    """Low corner and sides of an `xyxy` box, and its area."""
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right - left, bottom - top], (right - left) * (bottom - top)


def evaluate_turned(found: detector.Detections, scenes: Scenes) -> dict[str, float]:
    """Compares detections of turned boxes with the truth, by COCO's protocol over the exact IoU, which COCO has not.

    A true box and a detection of its class are a match if their IoU reaches the threshold. The detections of an image
    choose in the order of their scores, each the free box that it overlaps most. Then precision at a recall is the best
    one at this recall or above, and its mean over 101 recalls and over the classes is the average precision.

    Args:
      found: detections on the images, as NumPy arrays; those that score 0 or are not finite are left out.
      scenes: the images' padded targets.

    Returns:
      What `evaluate` returns.
    """
    boxes, classes, scores = map(np.asarray, found)
    is_there, overlaps = overlaps_of(found, scenes, similarity.rotated_iou)
    slots = match(overlaps, scores)
    in_crowd = share_in_crowd(boxes, classes, is_there, scenes) >= IOUS[:, None, None]
    precisions = [
        average_precision(
            slots[:, of_class] >= 0,
            scores[of_class],
            np.sum(scenes.valid & (scenes.classes == name)),
            counts=(slots[:, of_class] >= 0) | ~in_crowd[:, of_class],
        )
        for name in np.unique(scenes.classes[scenes.valid])
        for of_class in [is_there & (classes == name)]
    ]
    if not precisions:
        return dict.fromkeys(METRICS, 0.0)
    first = slots[0]
    matched = np.take_along_axis(overlaps, first[..., None], axis=-1)[..., 0][first >= 0]
    ap = np.mean(precisions, axis=0)
    return {
        "mean_iou": float(np.mean(matched)) if len(matched) else 0.0,
        "matched": len(matched) / int(np.sum(scenes.valid)),
        "ap50": float(ap[0]),
        "ap75": float(ap[5]),
        "ap": float(np.mean(ap)),
    }


def overlaps_of(
    found: detector.Detections, scenes: Scenes, alike: Callable[..., jax.Array]
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections there are, and how far each overlaps each true box of its class.

    Args:
      found: detections on the images.
      scenes: the images' padded targets.
      alike: a similarity such as `similarity.iou`.

    Returns:
      Those that score more than 0 and are finite, `[images, n]`, and the overlaps `[images, n, slots]`; 0 for what
      cannot be a match.
    """
    boxes, classes, scores = map(np.asarray, found)
    is_there = (scores > 0) & np.all(np.isfinite(boxes), axis=-1)
    overlaps = np.array(similarity.pairwise(alike)(boxes, scenes.boxes, where=(is_there, scenes.valid)))
    overlaps[classes[..., None] != scenes.classes[:, None]] = 0
    return is_there, overlaps


def match(overlaps: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The true box that each detection matches at each of `IOUS`.

    Args:
      overlaps: `[images, n, slots]`; 0 for what cannot be a match.
      scores: `[images, n]`.

    Returns:
      Slots, `[10, images, n]`; -1 where there is no match.
    """
    images, slots = np.arange(len(overlaps)), np.arange(overlaps.shape[-1])
    matched = np.full((len(IOUS), *scores.shape), -1)
    is_free = np.ones((len(IOUS), len(images), len(slots)), bool)
    for detection in np.argsort(-scores, axis=1, kind="stable").T:  # the best of each image, then the second best ...
        overlap = overlaps[images, detection]
        fits = is_free & (overlap >= IOUS[:, None, None])
        best = np.argmax(np.where(fits, overlap, -1), axis=-1)
        matched[:, images, detection] = chosen = np.where(np.any(fits, axis=-1), best, -1)
        is_free &= chosen[..., None] != slots
    return matched


def share_in_crowd(boxes: np.ndarray, classes: np.ndarray, is_there: np.ndarray, scenes: Scenes) -> np.ndarray:
    """The greatest share of each turned box `[images, n, 5]` that lies in a crowd of its class, `[images, n]`."""
    iou = np.array(similarity.pairwise(similarity.rotated_iou)(boxes, scenes.boxes, where=(is_there, scenes.crowd)))
    iou[classes[..., None] != scenes.classes[:, None]] = 0
    areas = np.where(is_there, np.prod(boxes[..., 2:4], axis=-1), 0)
    crowds = np.where(scenes.crowd, np.prod(scenes.boxes[..., 2:4], axis=-1), 0)
    overlap = iou / (1 + iou) * (areas[..., None] + crowds[:, None])
    return np.max(overlap / np.where(areas > 0, areas, 1)[..., None], axis=-1, initial=0)


def average_precision(is_match: np.ndarray, scores: np.ndarray, count: int, counts: np.ndarray) -> np.ndarray:
    """The average precision of a class at each of `IOUS`, `[10]`.

    Args:
      is_match: whether each detection of the class is a match at each of them, `[10, n]`.
      scores: `[n]`.
      count: the true boxes of the class.
      counts: the detections that are right or wrong, and not left out, `[10, n]`.
    """
    order = np.argsort(-scores, kind="stable")
    hits, all_of_them = (np.cumsum(them[:, order], axis=-1) for them in (is_match, counts))
    precision = hits / np.maximum(all_of_them, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=-1)[:, ::-1]
    places = [np.searchsorted(row / count, RECALLS) for row in hits]  # the first detection that reaches the recall
    return np.array([np.mean(np.append(row, 0)[place]) for row, place in zip(best, places, strict=True)])
