"""Real handwritten digits, resized, turned or not, and pasted on noisy canvases with their true boxes and classes.

The 1797 digits ship with scikit-learn as 8 x 8 pixel scans. Those used for training are never used for testing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from jaxbox.demo.models.detector import Architecture
from jaxbox.demo.scenes import Scenes

CLASSES = 10
NAMES = tuple(map(str, range(CLASSES)))
CANVAS = 48  # pixels a side of an image
SLOTS = 4  # the most digits an image holds; targets are padded to it
SCAN = 8  # pixels a side of a scan
SCALES = (1.6, 2.6)  # canvas pixels for a pixel of the scan
STRETCH = 1.4  # the most that one side is stretched against the other
PAPERS, CONTRASTS = (0.75, 1.0), (0.5, 0.7)  # grey levels of the paper, and of full ink below it
TEST_SHARE = 5  # one digit in five is held out
INK = 0.3  # a line of a scan with no pixel above this is margin
PLACES = 16  # places tried for each digit before it is left out
UPRIGHT = Architecture(
    classes=CLASSES,
    size=CANVAS,
    channels=1,
    stride=4,
    width=64,
    dilations=(1, 1, 1),
    typical_side=0.33,
    queries=12,  # three times the digits that an image holds
    candidates=32,
)  # of their detector
TURNED = dataclasses.replace(UPRIGHT, typical_side=0.27)


class Digits(NamedTuple):
    """Scans of single digits: `scans` `[n, 8, 8]` with ink in `[0, 1]`, and `labels` `[n]`, 0 to 9."""

    scans: np.ndarray
    labels: np.ndarray


def train_and_test_digits() -> tuple[Digits, Digits]:
    """The digits for training and those held out for testing, the same split every time."""
    digits: Any = load_digits()
    scans, labels = digits.images.astype(np.float32) / 16, digits.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(scans))
    test, train = np.split(order, [len(order) // TEST_SHARE])
    return Digits(scans[train], labels[train]), Digits(scans[test], labels[test])


def compose(
    digits: Digits,
    count: int,
    rng: np.random.Generator,
    noise: float = 0.08,
    scales: tuple[float, float] = SCALES,
) -> Scenes:
    """Pastes 1 to 4 digits on each of `count` canvases, each with a scale and an aspect of its own.

    Boxes are whole pixels and touch the ink on all four sides; no two of an image overlap.

    Args:
      digits: the scans to draw from.
      count: how many images to make.
      rng: the only source of chance, so that a seed fixes the images.
      noise: standard deviation of the noise added to every pixel, in grey levels.
      scales: least and greatest, in canvas pixels for a pixel of the scan.

    Returns:
      The images with their padded targets.
    """
    scans, labels, spans, sides = draw(digits, count, rng, scales)
    boxes, valid = place(np.rint(sides).astype(int), rng)
    columns, rows = (interpolation(spans[..., axis, :], boxes[..., axis::2]) for axis in (0, 1))
    ink = np.swapaxes(rows, -1, -2) @ (scans @ columns)  # [count, SLOTS, CANVAS, CANVAS]
    return Scenes(paint(ink, valid, rng, noise), *targets(boxes / CANVAS, labels, valid))


def compose_turned(
    digits: Digits,
    count: int,
    rng: np.random.Generator,
    noise: float = 0.08,
    scales: tuple[float, float] = SCALES,
) -> Scenes:
    """Pastes 1 to 4 digits on each of `count` canvases, each turned by an angle of its own, from -pi to pi.

    Boxes are turned with the digits and touch the ink on all four sides; not even the upright boxes around two of them
    overlap. What a digit is stays what it was: a 6 and a 9 may look the same.

    Args:
      digits: the scans to draw from.
      count: how many images to make.
      rng: the only source of chance, so that a seed fixes the images.
      noise: standard deviation of the noise added to every pixel, in grey levels.
      scales: least and greatest, in canvas pixels for a pixel of the scan.

    Returns:
      The images with their padded targets, which are turned boxes. The side h is that along which the digit stands.
    """
    scans, labels, spans, sides = draw(digits, count, rng, scales)
    angles = rng.uniform(-np.pi, np.pi, size=(count, SLOTS, 1))
    around = np.abs(np.cos(angles)) * sides + np.abs(np.sin(angles)) * sides[..., ::-1]
    hulls, valid = place(np.ceil(around).astype(int), rng)
    slack = (np.ceil(around) - around) * rng.uniform(-0.5, 0.5, size=around.shape)
    centers = (hulls[..., :2] + hulls[..., 2:]) / 2 + slack
    boxes = np.concatenate([centers, sides, angles], axis=-1)
    ink = np.zeros((count, SLOTS, CANVAS, CANVAS), np.float32)
    ink[valid] = turned_ink(scans[valid], spans[valid], boxes[valid])
    units = boxes / [CANVAS, CANVAS, CANVAS, CANVAS, 1]
    return Scenes(paint(ink, valid, rng, noise), *targets(units, labels, valid))


Compose = Callable[[Digits, int, np.random.Generator], Scenes]


@dataclasses.dataclass
class Stream:
    """New scenes without end, as an iterator of grain: `get_state` and `set_state` resume it.

    Attributes:
      digits: the scans to draw from.
      count: images of a batch of all processes.
      rng: the source of chance.
      compose: makes them.
      process: the number of this process, which gets its part of each batch.
      processes: how many there are.
    """

    digits: Digits
    count: int
    rng: np.random.Generator
    compose: Compose
    process: int
    processes: int

    def __iter__(self) -> "Stream":
        """Itself."""
        return self

    def __next__(self) -> Scenes:
        """The next batch, or this process's part of it."""
        part = self.count // self.processes
        scenes = self.compose(self.digits, self.count, self.rng)
        return Scenes(*(array[self.process * part :][:part] for array in scenes))

    def get_state(self) -> dict[str, Any]:
        """Where it is."""
        return {"rng": self.rng.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes there."""
        self.rng.bit_generator.state = state["rng"]


def stream(
    digits: Digits, count: int, seed: int, compose: Compose = compose, *, process: int = 0, processes: int = 1
) -> Stream:
    """New scenes without end, `count` at a time in all processes; the seed fixes them all."""
    return Stream(digits, count, np.random.default_rng(seed), compose, process, processes)


def draw(
    digits: Digits, count: int, rng: np.random.Generator, scales: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws digits for `count` canvases, each with a scale and an aspect of its own.

    Returns:
      Scans `[count, SLOTS, 8, 8]`, labels `[count, SLOTS]`, the span of the ink of each scan `[count, SLOTS, 2, 2]`,
      along x, then along y, and the sides that it is resized to `[count, SLOTS, 2]`, in pixels.
    """
    chosen = rng.integers(len(digits.scans), size=(count, SLOTS))
    scans = digits.scans[chosen]
    spans = np.stack([ink_span(scans, axis=-2), ink_span(scans, axis=-1)], axis=-2)
    scale = rng.uniform(*scales, size=(count, SLOTS, 1))
    stretch = rng.uniform(1, STRETCH, size=(count, SLOTS)) ** rng.choice([-0.5, 0.5], size=(count, SLOTS))
    extent = spans[..., 1] - spans[..., 0]
    return scans, digits.labels[chosen], spans, extent * scale * np.stack([stretch, 1 / stretch], axis=-1)


def paint(ink: np.ndarray, valid: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Images `[count, CANVAS, CANVAS, 1]` of the ink of digits `[count, SLOTS, CANVAS, CANVAS]` on noisy paper."""
    contrast = rng.uniform(*CONTRASTS, size=valid.shape) * valid
    paper = rng.uniform(*PAPERS, size=(len(ink), 1, 1))
    grain = noise * rng.standard_normal((len(ink), CANVAS, CANVAS), np.float32)
    images = paper - np.einsum("bs,bsij->bij", contrast, ink) + grain
    return np.clip(images, 0, 1).astype(np.float32)[..., None]


def targets(boxes: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, ...]:
    """Boxes in units of the canvas side, classes and masks, as `Scenes` holds them; there is no crowd."""
    where_valid = np.where(valid[..., None], boxes, np.nan).astype(np.float32)
    return where_valid, np.where(valid, labels, 0), valid, np.zeros_like(valid)


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
    low, high = np.moveaxis(target, -1, 0)[..., None]
    pixel = np.arange(CANVAS)
    share = (pixel + 0.5 - low) / np.maximum(high - low, 1)
    return weights_of_lines(source, share) * ((low <= pixel) & (pixel < high))[..., None, :]


def weights_of_lines(source: np.ndarray, share: np.ndarray) -> np.ndarray:
    """What the lines of a scan count for places across a span of it, `[..., 8, n]`; the sum for a place is 1.

    Args:
      source: first and one past the last line of the span, `[..., 2]`.
      share: the places, 0 to 1 across the span, `[..., n]`.
    """
    first, last = np.moveaxis(source, -1, 0)[..., None]
    line = np.clip(first - 0.5 + share * (last - first), first, last - 1).astype(np.float32)
    return np.maximum(0, 1 - np.abs(line[..., None, :] - np.arange(SCAN, dtype=np.float32)[:, None]))


def turned_ink(scans: np.ndarray, spans: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The ink of turned digits, each on a canvas of its own.

    Args:
      scans: `[n, 8, 8]`.
      spans: of their ink, along x, then along y, `[n, 2, 2]`.
      boxes: turned boxes in pixels that the spans are drawn into, `[n, 5]`.

    Returns:
      Ink, `[n, CANVAS, CANVAS]`; at the border of a box in proportion to what it covers of a pixel.
    """
    x, y, w, h, angle = boxes.T[..., None, None].astype(np.float32)
    pixel = np.arange(CANVAS, dtype=np.float32) + 0.5
    dx, dy = pixel - x, pixel[:, None] - y
    along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    inked = np.nonzero((np.abs(along) < w / 2 + 0.5) & (np.abs(across) < h / 2 + 0.5))  # few of all pixels
    digit, *_ = inked
    covered, weights = np.ones(len(digit), np.float32), []
    for axis, (place, side) in enumerate([(along[inked], boxes[digit, 2]), (across[inked], boxes[digit, 3])]):
        covered *= np.minimum(side / 2 + 0.5 - np.abs(place), 1)
        weights.append(weights_of_lines(spans[digit, axis], (place / side + 0.5)[:, None]))
    columns, rows = weights
    ink = np.zeros(along.shape, np.float32)
    ink[inked] = covered * (np.swapaxes(rows, -1, -2) @ scans[digit] @ columns)[:, 0, 0]
    return ink
