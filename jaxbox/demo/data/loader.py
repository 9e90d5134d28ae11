"""Images from a folder to batches, by grain: shuffled, resized, flipped, split over processes, and resumable."""

import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import grain
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxbox import boxes, rotated
from jaxbox.demo.data.folder import Picture
from jaxbox.demo.models.detector import Architecture
from jaxbox.demo.scenes import Scenes

SCALES = (0.6, 1.5)  # of the size that fits the canvas
LEFT = 0.25  # a box of which less is left on the canvas is dropped
SLOTS = 100  # the most boxes an image is trained with
CHUNK = 64  # images that are looked at together where nothing is trained

T = TypeVar("T")


class Canvas(NamedTuple):
    """An image that was put on a canvas, and its boxes, which were not yet moved along.

    Attributes:
      pixels: `[size, size, channels]`, bytes.
      boxes: in pixels of the image as it was, `[slots, 4]` or `[slots, 5]`; 0 where there is none.
      classes: `[slots]`.
      valid: `[slots]`.
      crowd: `[slots]`.
      size: height and width of the image, `[2]`.
      flipped: whether its left is its right now.
      scale: pixels of the canvas for one of the image.
      offset: where its upper left corner lies, x then y, `[2]`.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    valid: np.ndarray
    crowd: np.ndarray
    size: np.ndarray
    flipped: np.bool_
    scale: np.float32
    offset: np.ndarray


def slots_for(pictures: Sequence[Picture]) -> int:
    """As many slots as the image with the most boxes needs, rounded up to a multiple of 4, or `SLOTS`."""
    return min(-(-max(len(picture.boxes) for picture in pictures) // 4) * 4, SLOTS)


def typical_side(pictures: Sequence[Picture]) -> float:
    """The geometric mean of the sides of boxes, in units of the longer side of their image."""
    sides = [side for picture in pictures for side in np.log(np.sqrt(areas(picture.boxes)) / max(picture.size))]
    return round(float(np.exp(np.mean(sides))), 4)


def areas(found: np.ndarray) -> np.ndarray:
    """Of upright boxes or turned ones, `[n]`."""
    sides = found[:, 2:4] - (found[:, :2] if found.shape[-1] == 4 else 0)
    return sides[:, 0] * sides[:, 1]


def training(
    pictures: Sequence[Picture],
    architecture: Architecture,
    batch_size: int,
    seed: int,
    *,
    flips: bool,
    process: int = 0,
    processes: int = 1,
) -> grain.DatasetIterator[Scenes]:
    """Batches without end of a process's share of images, each scaled and placed anew whenever it comes.

    Args:
      pictures: of all processes.
      architecture: says how large a canvas is, and of which channels.
      batch_size: images of this process's part of a batch.
      seed: fixes all of them.
      flips: whether left and right may change places.
      process: the number of this process.
      processes: how many there are; each of them sees images that no other sees.

    Returns:
      An iterator, whose `get_state` and `set_state` resume it.

    Raises:
      ValueError: if there are fewer images than processes.
    """
    if len(pictures) < processes:
        raise ValueError(f"{len(pictures)} images do not suffice for {processes} processes; start fewer")
    look = {"size": architecture.size, "channels": architecture.channels, "slots": slots_for(pictures)}
    own = np.random.SeedSequence([seed, process]).generate_state(1)
    data = grain.MapDataset.source(list(pictures))[process::processes].seed(int(own[0] >> 1)).shuffle().repeat()
    data = data.random_map(functools.partial(jittered, **look, flips=flips))
    data = data.batch(batch_size).map(moved_along)
    return iter(in_threads(data))


def testing(pictures: Sequence[Picture], architecture: Architecture) -> Iterable[Scenes]:
    """All images in their order and whole, `CHUNK` at a time, as often as they are asked for."""
    return in_threads(whole(pictures, architecture).map(moved_along))


def whole(pictures: Sequence[Picture], architecture: Architecture) -> grain.MapDataset[Canvas]:
    """The same on canvases, with their boxes as they were."""
    slots = max(len(picture.boxes) for picture in pictures)  # all: what is left out would count as wrong where found
    look = {"size": architecture.size, "channels": architecture.channels, "slots": max(slots, 1)}
    return grain.MapDataset.source(list(pictures)).map(functools.partial(letterboxed, **look)).batch(CHUNK)


def in_threads(batches: grain.MapDataset[T]) -> grain.IterDataset[T]:
    """Batches that are made ahead, a few, as each is large."""
    threads = min(os.cpu_count() or 1, 8)
    return batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))


def letterboxed(picture: Picture, *, size: int, channels: int, slots: int) -> Canvas:
    """An image on the middle of a canvas, as large as it fits."""
    scale = size / max(picture.size)
    return put(picture, size, channels, slots, scale, place=np.array([0.5, 0.5]), flipped=False)


def jittered(
    picture: Picture, rng: np.random.Generator, *, size: int, channels: int, slots: int, flips: bool
) -> Canvas:
    """An image at any place of a canvas, larger or smaller than it fits, as it is or flipped."""
    scale = size / max(picture.size) * np.exp(rng.uniform(*np.log(SCALES)))
    return put(picture, size, channels, slots, scale, place=rng.uniform(size=2), flipped=flips and rng.uniform() < 0.5)


def put(
    picture: Picture, size: int, channels: int, slots: int, scale: float, place: np.ndarray, flipped: bool
) -> Canvas:
    """Puts an image on a blank canvas.

    Args:
      picture: the image.
      size: pixels a side of the canvas.
      channels: 1 or 3.
      slots: of the targets; boxes beyond them are left out.
      scale: pixels of the canvas for one of the image, the same along x and along y, so that angles stay.
      place: 0 to 1 across what is left over along x and along y.
      flipped: whether its left becomes its right.
    """
    height, width = picture.size
    sides = np.maximum(np.floor(np.array([width, height]) * scale + 1e-6), 1).astype(int)  # along x, then along y
    with Image.open(picture.path) as opened:
        opened.draft(None, (int(sides[0]), int(sides[1])))  # the decoder leaves out what is not seen
        image = opened.convert("L" if channels == 1 else "RGB")
    if flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shown = np.minimum(sides / scale / [width, height], 1) * image.size  # of the image, whole pixels of the canvas
    resized = image.resize(tuple(sides.tolist()), Image.Resampling.BILINEAR, box=(0, 0, *shown.tolist()))
    offset = np.floor((size - sides) * place).astype(int)
    canvas = Image.new(image.mode, (size, size), "white")
    canvas.paste(resized, tuple(offset.tolist()))
    count = min(len(picture.boxes), slots)
    padding = (0, slots - count)
    crowd = np.pad(picture.crowd[:count], padding)
    return Canvas(
        np.asarray(canvas).reshape(size, size, channels),
        np.pad(picture.boxes[:count], (padding, (0, 0))).astype(np.float32),
        np.pad(picture.classes[:count], padding),
        np.pad(~picture.crowd[:count], padding),
        crowd,
        np.array(picture.size, np.float32),
        np.bool_(flipped),
        np.float32(scale),
        offset.astype(np.float32),
    )


def moved_along(batch: Canvas) -> Scenes:
    """Scenes of a batch of canvases: the boxes take the way of their images, and those that are gone are dropped."""
    size = batch.pixels.shape[1]
    move = moved_turned if batch.boxes.shape[-1] == 5 else moved_upright
    with jax.default_device(beside_accelerators()):
        found, stays = jax.device_get(
            move(batch.boxes, batch.size, batch.flipped, batch.scale, batch.offset, canvas=float(size))
        )
    valid, crowd = batch.valid & stays, batch.crowd & stays
    return Scenes(
        batch.pixels.astype(np.float32) / 255,
        np.where((valid | crowd)[..., None], found, np.nan).astype(np.float32),
        np.where(valid | crowd, batch.classes, 0).astype(np.int32),
        valid,
        crowd,
    )


@functools.cache
def beside_accelerators() -> Any:  # noqa: ANN401
    """The processor, so that an accelerator is not asked for a few boxes; None if JAX may not use it."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


@functools.partial(jax.jit, static_argnames="canvas")
def moved_upright(
    found: jax.Array, size: jax.Array, flipped: jax.Array, scale: jax.Array, offset: jax.Array, *, canvas: float
) -> tuple[jax.Array, jax.Array]:
    """Boxes in units of the canvas side, `[batch, slots, 4]`, and which of them stay."""
    found = jnp.where(flipped[:, None, None], boxes.flip_horizontally(found, size), found)
    found = boxes.translate(boxes.resize(found, size, size * scale[:, None]), offset)
    seen = boxes.clip(found, jnp.array([0, 0, canvas, canvas], jnp.float32))
    stays = (boxes.area(seen) >= LEFT * boxes.area(found)) & jnp.all(boxes.sides(seen) >= 1, axis=-1)
    return seen / canvas, stays


@functools.partial(jax.jit, static_argnames="canvas")
def moved_turned(
    found: jax.Array, size: jax.Array, flipped: jax.Array, scale: jax.Array, offset: jax.Array, *, canvas: float
) -> tuple[jax.Array, jax.Array]:
    """The same of turned boxes, which no canvas cuts off: they stay if their center does."""
    found = jnp.where(flipped[:, None, None], rotated.flip_horizontally(found, size), found)
    found = rotated.translate(rotated.resize(found, jnp.broadcast_to(scale[:, None], found.shape[:-1])), offset)
    center, sides = found[..., :2], found[..., 2:4]
    stays = jnp.all((center >= 0) & (center <= canvas) & (sides >= 1), axis=-1)
    return rotated.resize(found, 1 / canvas), stays
