"""What `jaxbox train` trains on and measures with: digits, or what is in a folder."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxbox.demo.data import digits
from jaxbox.demo.data.folder import Folder, with_turned_boxes
from jaxbox.demo.models.detector import Architecture
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training.heads import Head

TEST_SEED = 2  # of the digits to test with, which are the same for every run
DILATIONS = 1, 2, 4  # things are larger than a digit, on more cells
CANDIDATES = 100  # as many as COCO counts


class Batches(Protocol):
    """Where batches come from: an iterator that can be put back to where it was."""

    def __iter__(self) -> Iterator[Scenes]:
        """Itself."""
        ...

    def get_state(self) -> Any:  # noqa: ANN401
        """Where it is, as JSON can hold it."""
        ...

    def set_state(self, state: Any) -> None:  # noqa: ANN401
        """Goes to where it was."""
        ...


class Dataset(NamedTuple):
    """What a detector is trained on and measured with.

    Attributes:
      told: about it, a line each.
      names: of the classes.
      architecture: of a detector for it.
      batches: to train with, this process's parts; `get_state` and `set_state` resume them.
      held_out: to test with, as often as asked for.
      tests: how many images that are, in words.
    """

    told: list[str]
    names: tuple[str, ...]
    architecture: Architecture
    batches: Batches
    held_out: Iterable[Scenes]
    tests: str


def of_digits(head: Head, batch_size: int, seed: int, test_images: int) -> Dataset:
    """Digits on canvases.

    Args:
      head: which boxes it predicts.
      batch_size: images a step, in all processes.
      seed: of the images to train with.
      test_images: how many to test with.
    """
    trained, tested = digits.train_and_test_digits()
    share = {"process": jax.process_index(), "processes": jax.process_count()}
    return Dataset(
        [f"digits   {len(trained.labels)} to train with, {len(tested.labels)} others to test with"],
        digits.NAMES,
        head.architecture,
        digits.stream(trained, batch_size, seed, head.compose, **share),
        [head.compose(tested, test_images, np.random.default_rng(TEST_SEED))],
        f"{test_images} images of held-out digits",
    )


def of_folder(
    head: Head, contents: Folder, batch_size: int, seed: int, *, size: int, stride: int, width: int, flips: bool
) -> Dataset:
    """Images in a folder.

    Args:
      head: which boxes it predicts.
      contents: of the folder.
      batch_size: images a step, in all processes.
      seed: of their order, and of how they are scaled and placed.
      size: pixels a side of the canvas.
      stride: pixels a side of a cell.
      width: channels of the features.
      flips: whether left and right may change places.

    Raises:
      ValueError: if there are fewer images than processes.
    """
    from jaxbox.demo.data import loader  # grain takes seconds

    trained, tested = contents.train, contents.held_out
    if head.boxes == "turned":
        trained, tested = with_turned_boxes(trained), with_turned_boxes(tested)
    slots = loader.slots_for(trained)
    counts = np.array([len(picture.boxes) for picture in trained])
    count, left_out = np.sum(counts), np.sum(np.maximum(counts - slots, 0))
    told = [
        f"folder   {len(trained)} images with {count} boxes to train with, {len(tested)} to test with; "
        f"{len(contents.names)} classes: {shortened(contents.names)}",
        *(f"         {remark}" for remark in contents.remarks),
    ]
    if left_out:
        told.append(f"         {left_out} boxes are left out, those beyond {slots} an image")
    architecture = Architecture(
        classes=len(contents.names),
        size=size,
        channels=contents.channels,
        stride=stride,
        width=width,
        dilations=DILATIONS,
        typical_side=loader.typical_side(trained),
        queries=min(3 * slots, (size // stride) ** 2),
        candidates=CANDIDATES,
    )
    process, processes = jax.process_index(), jax.process_count()
    batches = loader.training(
        trained, architecture, batch_size // processes, seed, flips=flips, process=process, processes=processes
    )
    tests = f"{len(tested)} images that were held out"
    return Dataset(told, contents.names, architecture, batches, loader.testing(tested, architecture), tests)


def shortened(names: tuple[str, ...]) -> str:
    """A few names and how many more there are."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{', '.join(names[:10])}{more}"
