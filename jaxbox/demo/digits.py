"""Real handwritten digits, resized and pasted on noisy canvases with their true boxes and classes.

The 1797 digits ship with scikit-learn as 8 x 8 pixel scans. Those used for training are never used for testing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits

CLASSES = 10
CANVAS = 48  # pixels a side of an image
SLOTS = 4  # the most digits an image holds; targets are padded to it
SCAN = 8  # pixels a side of a scan
SCALES = (1.6, 2.6)  # canvas pixels for a pixel of the scan
STRETCH = 1.4  # the most that one side is stretched against the other
PAPERS, CONTRASTS = (0.75, 1.0), (0.5, 0.7)  # grey levels of the paper, and of full ink below it
TEST_SHARE = 5  # one digit in five is held out
INK = 0.3  # a line of a scan with no pixel above this is margin
PLACES = 16  # places tried for each digit before it is left out


class Digits(NamedTuple):
    """Scans of single digits: `scans` `[n, 8, 8]` with ink in `[0, 1]`, and `labels` `[n]`, 0 to 9."""

    scans: np.ndarray
    labels: np.ndarray


class Scenes(NamedTuple):
    """Images with digits on them; the last two axes of a target are padded to `SLOTS`.

    Attributes:
      images: `[batch, CANVAS, CANVAS, 1]`, grey levels in `[0, 1]`, dark ink on light paper.
      boxes: true boxes, `[batch, SLOTS, 4]`, `xyxy` in units of the canvas side; NaN where there is none.
      classes: `[batch, SLOTS]`, 0 to 9; 0 where there is none.
      valid: `[batch, SLOTS]`, True where a slot holds a digit.
    """

    images: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    valid: np.ndarray


def train_and_test_digits() -> tuple[Digits, Digits]:
    """The digits for training and those held out for testing, the same split every time."""
    digits: Any = load_digits()
    scans, labels = digits.images.astype(np.float32) / 16, digits.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(scans))
    test, train = np.split(order, [len(order) // TEST_SHARE])
    return Digits(scans[train], labels[train]), Digits(scans[test], labels[test])


def stream(digits: Digits, count: int, seed: int) -> Iterator[Scenes]:
    """New scenes without end, `count` at a time; the seed fixes them all."""
    rng = np.random.default_rng(seed)
    while True:
        yield compose(digits, count, rng)


def compose(digits: Digits, count: int, rng: np.random.Generator, noise: float = 0.08) -> Scenes:
    """Pastes 1 to 4 digits on each of `count` canvases, each with a scale and an aspect of its own.

    Boxes are whole pixels and touch the ink on all four sides; no two of an image overlap.

    Args:
      digits: the scans to draw from.
      count: how many images to make.
      rng: the only source of chance, so that a seed fixes the images.
      noise: standard deviation of the noise added to every pixel, in grey levels.

    Returns:
      The images with their padded targets.
    """
    chosen = rng.integers(len(digits.scans), size=(count, SLOTS))
    scans = digits.scans[chosen]
    spans = np.stack([ink_span(scans, axis=-2), ink_span(scans, axis=-1)], axis=-2)  # [count, SLOTS, x or y, 2]
    scale = rng.uniform(*SCALES, size=(count, SLOTS, 1))
    stretch = rng.uniform(1, STRETCH, size=(count, SLOTS)) ** rng.choice([-0.5, 0.5], size=(count, SLOTS))
    extent = spans[..., 1] - spans[..., 0]
    sides = np.rint(extent * scale * np.stack([stretch, 1 / stretch], axis=-1)).astype(int)
    boxes, valid = place(sides, rng)

    columns, rows = (interpolation(spans[..., axis, :], boxes[..., axis::2]) for axis in (0, 1))
    ink = np.swapaxes(rows, -1, -2) @ (scans @ columns)  # [count, SLOTS, CANVAS, CANVAS]
    contrast = rng.uniform(*CONTRASTS, size=(count, SLOTS)) * valid
    paper = rng.uniform(*PAPERS, size=(count, 1, 1))
    grain = noise * rng.standard_normal((count, CANVAS, CANVAS), np.float32)
    images = paper - np.einsum("bs,bsij->bij", contrast, ink) + grain
    return Scenes(
        images=np.clip(images, 0, 1).astype(np.float32)[..., None],
        boxes=np.where(valid[..., None], boxes / CANVAS, np.nan).astype(np.float32),
        classes=np.where(valid, digits.labels[chosen], 0),
        valid=valid,
    )


def ink_span(scans: np.ndarray, axis: int) -> np.ndarray:
    """The first and one past the last line of each scan that holds ink, `[..., 2]`, once `axis` is looked along."""
    dark = np.any(scans >= INK, axis=axis)
    return np.stack([np.argmax(dark, axis=-1), dark.shape[-1] - np.argmax(dark[..., ::-1], axis=-1)], axis=-1)


def place(sides: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Finds a place on its canvas for each of the first few boxes, where it overlaps none of those before.

    Args:
      sides: width and height in whole pixels, `[count, SLOTS, 2]`.
      rng: the source of chance.

    Returns:
      Boxes `[count, SLOTS, 4]`, `xyxy` in whole pixels, and which are used `[count, SLOTS]`; the unused are empty.
    """
    count = len(sides)
    wanted = rng.integers(1, SLOTS + 1, size=count)
    boxes, used = np.zeros((count, SLOTS, 4), int), np.zeros((count, SLOTS), bool)
    for slot in range(SLOTS):
        low = rng.integers(0, CANVAS - sides[:, None, slot] + 1, size=(count, PLACES, 2))
        high = low + sides[:, None, slot]
        others = boxes[:, None, :slot]
        apart = (low[:, :, None] >= others[..., 2:]) | (high[:, :, None] <= others[..., :2])
        free = np.all(np.any(apart, axis=-1), axis=-1)  # [count, PLACES]
        first = np.argmax(free, axis=-1)[:, None]
        used[:, slot] = np.take_along_axis(free, first, axis=-1)[:, 0] & (slot < wanted)
        found = np.take_along_axis(np.concatenate([low, high], axis=-1), first[..., None], axis=1)[:, 0]
        boxes[:, slot] = found * used[:, slot, None]
    return boxes, used


def interpolation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The matrix that resizes a span of a scan linearly to a span of a canvas, along one axis.

    Args:
      source: first and one past the last line of the scan, `[..., 2]`.
      target: first and one past the last pixel of the canvas, `[..., 2]`.

    Returns:
      Weights, `[..., 8, CANVAS]`; over the scan they sum to 1 for pixels of the target, and to 0 elsewhere.
    """
    (first, last), (low, high) = np.moveaxis(source, -1, 0)[..., None], np.moveaxis(target, -1, 0)[..., None]
    pixel = np.arange(CANVAS)
    share = (pixel + 0.5 - low) / np.maximum(high - low, 1)  # 0 to 1 across the target
    line = np.clip(first - 0.5 + share * (last - first), first, last - 1).astype(np.float32)
    weights = np.maximum(0, 1 - np.abs(line[..., None, :] - np.arange(SCAN, dtype=np.float32)[:, None]))
    return weights * ((low <= pixel) & (pixel < high))[..., None, :]
