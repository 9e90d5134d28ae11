"""What a row of the table takes: upright boxes, turned ones, or solids with a yaw, and the pairs that its laws see."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from tests import cases, fuzzing, turned_cases


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """Boxes of one layout.

    Attributes:
      random_boxes: makes so many of them, from a seed.
      awkward: named pairs.
      positions: the columns that move with the origin.
      lengths: the columns that are lengths, which an angle is not.
      sides: the lengths of the sides of boxes, negative where one is flipped.
      pairs_from: makes pairs of them from raw bytes.
      target: the box that most awkward pairs have as their second one.
      kinks: pairs at or near a kink: a step of a millionth crosses it, or rounding decides which slope is taken.
    """

    random_boxes: Callable[..., np.ndarray]
    awkward: Mapping[str, cases.Case]
    positions: tuple[int, ...]
    lengths: tuple[int, ...]
    sides: Callable[[np.ndarray], np.ndarray]
    pairs_from: Callable[[bytes], tuple[np.ndarray, np.ndarray]]
    target: tuple[float, ...]
    kinks: frozenset[str] = frozenset()

    @property
    def width(self) -> int:
        """How many numbers a box has."""
        return self.random_boxes(1, seed=0).shape[-1]

    def random_pairs(self, count: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Two sets of random boxes, as `cases.random_pairs`."""
        return self.random_boxes(count, seed, spread=spread), self.random_boxes(count, seed + 1, spread=spread)

    def moved(self, boxes: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
        """The boxes around another origin."""
        moved = boxes.copy()
        moved[..., self.positions] += np.asarray(offset, boxes.dtype)
        return moved

    def scaled(self, boxes: np.ndarray, factor: float | np.ndarray) -> np.ndarray:
        """The boxes, or their differentials, in another unit of length."""
        scaled = boxes.copy()
        scaled[..., self.lengths] *= np.asarray(factor, boxes.dtype)
        return scaled

    def flipped(self, case: cases.Case) -> bool:
        """Whether a box of a pair has a negative side."""
        return bool(np.any(self.sides(np.array([*case])) < 0))

    def is_moderate(self, case: cases.Case) -> bool:
        """Whether both boxes, and the box around them, are within the bounds of the second derivatives."""
        if self is UPRIGHT:
            return case.moderate
        pair = np.array([*case])
        sides = np.abs(self.sides(pair))
        return bool(np.max(np.abs(pair)) <= 1e6 and np.all((sides == 0) | (sides >= 1e-6)))

    @functools.cached_property
    def moderate(self) -> dict[str, cases.Case]:
        """The awkward pairs of these."""
        return {name: case for name, case in self.awkward.items() if self.is_moderate(case)}

    @functools.cached_property
    def before_a_slope(self) -> dict[str, cases.Case]:
        """The moderate pairs that a small step is tried from."""
        wanted = {name: case for name, case in self.moderate.items() if case.target == self.target}
        return {name: case for name, case in wanted.items() if name not in self.kinks}

    @functools.cached_property
    def not_flipped(self) -> dict[str, cases.Case]:
        """The awkward pairs of boxes without a negative side."""
        return {name: case for name, case in self.awkward.items() if not self.flipped(case)}


def upright_sides(boxes: np.ndarray) -> np.ndarray:
    low, high = np.split(boxes, 2, axis=-1)
    return high - low


UPRIGHT = Shape(
    cases.random_boxes,
    cases.AWKWARD,
    positions=(0, 1, 2, 3),
    lengths=(0, 1, 2, 3),
    sides=upright_sides,
    pairs_from=fuzzing.pairs_from,
    target=cases.TARGET,
)
TURNED = Shape(
    turned_cases.random_turned,
    turned_cases.AWKWARD_TURNED,
    positions=(0, 1),
    lengths=(0, 1, 2, 3),
    sides=lambda boxes: boxes[..., 2:4],
    pairs_from=functools.partial(fuzzing.turned_pairs_from, n=2, largest=1e15),
    target=turned_cases.TARGET,
    kinks=turned_cases.KINKS,
)
SOLIDS = Shape(
    functools.partial(turned_cases.random_turned, n=3),
    turned_cases.AWKWARD_SOLIDS,
    positions=(0, 1, 2),
    lengths=(0, 1, 2, 3, 4, 5),
    sides=lambda boxes: boxes[..., 3:6],
    pairs_from=functools.partial(fuzzing.turned_pairs_from, n=3, largest=1e10),
    target=turned_cases.solid(turned_cases.TARGET, 3.0, 12.0),
    kinks=turned_cases.KINKS_OF_SOLIDS,
)
