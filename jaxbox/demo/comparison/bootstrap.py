"""How sure an average precision is: the same seeds and images, drawn again and again with replacement.

COCO's average precision is not a mean over images: it ranks the detections of all of them. So each draw of images
ranks them anew, from matches that are found once. An image that is drawn twice counts twice, one that is not drawn
counts nothing.
"""

from typing import NamedTuple

import numpy as np
import scipy.special

from jaxbox import similarity
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import evaluation

METRICS = "ap", "ap75", "mean_iou"  # of `evaluation.METRICS`
LEVEL = 0.95  # of the intervals


class Matches(NamedTuple):
    """Which detections of a model are right, those of a class next to each other, the best scores of it first.

    Attributes:
      images: that they are on, `[n]`.
      classes: `[n]`.
      right: whether each is a match at each of `evaluation.IOUS`, `[10, n]`.
      overlaps: with what it matches at the first of them; 0 where that is nothing, `[n]`.
    """

    images: np.ndarray
    classes: np.ndarray
    right: np.ndarray
    overlaps: np.ndarray


class Draws(NamedTuple):
    """How often each seed and each image is drawn. The first draw has each of them once.

    Attributes:
      seeds: `[draws, seeds]`.
      images: `[draws, images]`.
    """

    seeds: np.ndarray
    images: np.ndarray


def draw(seeds: int, images: int, count: int, rng: np.random.Generator) -> Draws:
    """The seeds and images as they are, and `count` times as many of each, drawn with replacement."""
    drawn = (rng.multinomial(number, np.full(number, 1 / number), size=count) for number in (seeds, images))
    return Draws(*(np.concatenate([np.ones((1, counts.shape[1]), int), counts]) for counts in drawn))


def match(found: detector.Detections, scenes: Scenes) -> Matches:
    """Finds out which detections are right, by COCO's protocol.

    Args:
      found: detections on the images, as NumPy arrays; those that score 0 or are not finite are left out.
      scenes: the images' padded targets.

    Returns:
      The matches of what is left.
    """
    _, classes, scores = map(np.asarray, found)
    alike = similarity.iou if found.boxes.shape[-1] == 4 else similarity.rotated_iou
    is_there, overlaps = evaluation.overlaps_of(found, scenes, alike)
    slots = evaluation.match(overlaps, scores)
    of_slots = np.take_along_axis(overlaps, slots[0][..., None], axis=-1)[..., 0] * (slots[0] >= 0)
    images, _ = np.nonzero(is_there)
    order = np.lexsort((-scores[is_there], classes[is_there]))
    return Matches(
        images[order], classes[is_there][order], slots[:, is_there][:, order] >= 0, of_slots[is_there][order]
    )


def truths(scenes: Scenes) -> np.ndarray:
    """How many true boxes of each class each image has, `[images, CLASSES]`."""
    of_class = scenes.valid[..., None] & (scenes.classes[..., None] == np.arange(digits.CLASSES))
    return np.sum(of_class, axis=1)


def measure(matches: Matches, counts: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """What `evaluation.evaluate` measures of a model, for each draw of images.

    Args:
      matches: of the model.
      counts: from `truths`.
      drawn: how often each image counts, `[draws, images]`.

    Returns:
      `METRICS`, `[draws, 3]`.
    """
    by_threshold = average_precisions(matches, counts, drawn)
    paired = matches.overlaps > 0
    weights = drawn[:, matches.images[paired]]
    mean_iou = weights @ matches.overlaps[paired] / np.maximum(np.sum(weights, axis=1), 1)
    return np.stack([np.mean(by_threshold, axis=0), by_threshold[5], mean_iou], axis=-1)


def average_precisions(matches: Matches, counts: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The average precision over the classes at each of `evaluation.IOUS` for each draw of images, `[10, draws]`."""
    total, present = np.zeros((len(evaluation.IOUS), len(drawn))), np.zeros(len(drawn))
    for name in range(counts.shape[1]):
        count = drawn @ counts[:, name]
        present += count > 0
        of_class = np.flatnonzero(matches.classes == name)
        of_class = of_class[: np.max(np.nonzero(matches.right[:, of_class])[1], initial=-1) + 1]  # the last right one
        right = matches.right[:, of_class]
        weights = drawn[:, matches.images[of_class]]
        above = np.cumsum(weights, axis=1)  # detections that score as high or higher
        for threshold, is_right in enumerate(right):
            # Only at a right one does the recall grow; between two of them, and after the last, the precision falls.
            hits = np.cumsum(weights[:, is_right], axis=1)
            precision = hits / np.maximum(above[:, is_right], 1)
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            reached = np.searchsorted(evaluation.RECALLS, hits / np.maximum(count, 1)[:, None], side="right")
            new = np.diff(reached, axis=1, prepend=0)
            total[threshold] += np.sum(best * new, axis=1) / len(evaluation.RECALLS)
    return total / np.maximum(present, 1)


def interval(values: np.ndarray, drawn: np.ndarray) -> tuple[float, float, float]:
    """A mean over seeds, and the interval that holds it with a probability of `LEVEL`.

    The mean of a few seeds that are drawn again varies less than the mean of as many new ones: by a factor of
    sqrt(1 - 1 / n), and a few seeds do not know how much they vary, for which Student's t is wider than the normal
    distribution. Both are made up for in the part of the variation that is due to the seeds. A single seed has no such
    part: its interval is over the images alone.

    Args:
      values: of each seed for each draw of images, the first of which has each image once, `[draws, seeds]`.
      drawn: how often each seed is drawn, `[draws, seeds]`.

    Returns:
      The mean, and both ends.

    References:
      Hesterberg, 2015, https://doi.org/10.1080/00031305.2015.1089789 (narrowness bias)
    """
    count = values.shape[1]
    mean = np.mean(values, axis=1)
    if count > 1:
        upper = (1 + LEVEL) / 2
        wider = scipy.special.stdtrit(count - 1, upper) / scipy.special.ndtri(upper) * np.sqrt(count / (count - 1))
        mean = mean + wider * np.mean((drawn - 1) * values, axis=1)
    low, high = np.quantile(mean[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(mean[0]), float(low), float(high)
