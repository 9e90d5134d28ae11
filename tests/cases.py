"""The pairs of boxes that the laws are tested on, in float64 NumPy, `[..., 2n]`: never squares only.

A square hides a swapped axis, and a unit square hides a wrong operator.
"""

import dataclasses

import numpy as np

TARGET = (20.0, 15.0, 60.0, 70.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """A pair of boxes of one kind, which unpacks into the two.

    Attributes:
      name: what is particular to it.
      group: what the table of the guarantee calls it.
      prediction: the first box.
      target: the second box.
    """

    name: str
    group: str
    prediction: tuple[float, ...]
    target: tuple[float, ...] = TARGET

    def __iter__(self):
        return iter((self.prediction, self.target))

    @property
    def corners(self):
        """The two boxes by their low and high corners, `[2, 2, 2]`."""
        return np.reshape([self.prediction, self.target], (2, 2, 2))

    @property
    def flipped(self):
        """Whether a high corner is below its low one."""
        return bool(np.any(self.corners[:, 1] < self.corners[:, 0]))

    @property
    def moderate(self):
        """Whether both boxes, and the box around them, are within the bounds of the second derivatives."""
        corners = self.corners
        sides = np.concatenate([np.abs(corners[:, 1] - corners[:, 0]), [np.ptp(corners, axis=(0, 1))]])
        return bool(np.max(np.abs(corners)) <= 1e6 and np.all((sides == 0) | (sides >= 1e-6)))


AWKWARD = {
    case.name: case
    for case in (
        Case("identical", "identical", TARGET),
        Case("concentric", "concentric", (30.0, 32.5, 50.0, 52.5)),
        Case("concentric, of one width", "concentric", (20.0, 30.0, 60.0, 55.0)),
        Case("same shape, moved", "the same shape, moved", (27.0, 11.0, 67.0, 66.0)),
        Case("contained", "one inside the other", (25.0, 20.0, 50.0, 40.0)),
        Case("containing", "one inside the other", (5.0, 10.0, 80.0, 75.0)),
        Case("contained, with a shared edge", "one inside the other", (20.0, 25.0, 45.0, 50.0)),
        Case("touching at an edge", "touching at an edge or a corner", (60.0, 20.0, 90.0, 50.0)),
        Case("touching at a corner", "touching at an edge or a corner", (60.0, 70.0, 75.0, 95.0)),
        Case("near", "near", (10.0, 10.0, 50.0, 60.0)),
        Case("apart along x", "apart", (70.0, 30.0, 95.0, 66.0)),
        Case("apart along both", "apart", (70.0, 90.0, 95.0, 120.0)),
        Case("apart, with edges in line", "apart", (20.0, 80.0, 45.0, 95.0)),
        Case("far", "far, up to a million sides", (4e7, 4e7, 4e7 + 80, 4e7 + 40)),
        Case(
            "a million sides away", "far, up to a million sides", (3e6, -4e6, 3e6 + 5, -4e6 + 3), (0.0, 0.0, 4.0, 7.0)
        ),
        Case(
            "a million of its own sides away",
            "far, up to a million sides",
            (0.0, 0.0, 0.03125, 0.015625),
            (3e4, 2e4, 3.5e4, 3e4),
        ),
        Case("zero width inside", "no width or no height", (30.0, 20.0, 30.0, 50.0)),
        Case("zero width apart", "no width or no height", (90.0, 20.0, 90.0, 50.0)),
        Case("zero height inside", "no width or no height", (30.0, 20.0, 50.0, 20.0)),
        Case("point inside", "a point", (30.0, 20.0, 30.0, 20.0)),
        Case("point at the center", "a point", (40.0, 42.5, 40.0, 42.5)),
        Case("point apart", "a point", (90.0, 80.0, 90.0, 80.0)),
        Case("equal points", "both points or segments", (3.0, 4.0, 3.0, 4.0), (3.0, 4.0, 3.0, 4.0)),
        Case("points apart", "both points or segments", (3.0, 4.0, 3.0, 4.0), (7.0, 5.0, 7.0, 5.0)),
        Case(
            "points that almost meet", "both points or segments", (0.0, 0.0, 0.0, 0.0), (1.3e-19, 9e-20, 1.3e-19, 9e-20)
        ),
        Case("equal segments", "both points or segments", (3.0, 4.0, 9.0, 4.0), (3.0, 4.0, 9.0, 4.0)),
        Case("segments on one line", "both points or segments", (3.0, 4.0, 9.0, 4.0), (5.0, 4.0, 8.0, 4.0)),
        Case("crossed segments", "both points or segments", (3.0, 4.0, 9.0, 4.0), (5.0, 1.0, 5.0, 7.0)),
        Case("target of zero area", "a target without area", (10.0, 10.0, 50.0, 60.0), (20.0, 15.0, 20.0, 15.0)),
        Case("flipped along x", "flipped", (50.0, 20.0, 30.0, 55.0)),
        Case("flipped along y", "flipped", (30.0, 55.0, 50.0, 20.0)),
        Case("flipped along both", "flipped", (50.0, 55.0, 30.0, 20.0)),
        Case("flipped and apart", "flipped", (150.0, 20.0, 110.0, 50.0)),
        Case("extreme aspect", "aspects of 1e4 to 1e30", (0.0, 0.0, 1e4, 1.0), (0.0, 0.0, 1.0, 1e4)),
        Case("extreme aspect, equal", "aspects of 1e4 to 1e30", (0.0, 0.0, 1e4, 1.0), (0.0, 0.0, 1e4, 1.0)),
        Case("the largest of float16", "sides up to 6e4", (-6e4, -6e4, 6e4, 6e4), (-2e4, 1e4, 3e4, 6e4)),
        Case("the smallest of float16", "sides down to 2e-7", (0.0, 0.0, 3e-7, 2e-7), (1e-7, 0.0, 3e-7, 5e-7)),
        Case("huge", "sides up to 1e15", (-1e15, -1e15, 1e15, 1e15), (-3e14, 2e14, 5e14, 1e15)),
        Case("huge and apart", "sides up to 1e15", (9e14, 9e14, 1e15, 1e15), (-1e15, -1e15, -9e14, -8e14)),
        Case("huge against tiny", "sides up to 1e15", (-1e15, -1e15, 1e15, 1e15), (0.0, 0.0, 1e-15, 2e-15)),
        Case("huge and flipped", "flipped", (1e15, 1e15, -1e15, -1e15), (-3e14, 2e14, 5e14, 1e15)),
        Case("tiny", "sides down to 1e-15", (0.0, 0.0, 3e-15, 2e-15), (1e-15, 0.0, 3e-15, 5e-15)),
        Case("tiny and apart", "sides down to 1e-15", (0.0, 0.0, 3e-15, 2e-15), (5e-15, 6e-15, 7e-15, 9e-15)),
        Case("tiny and far", "far, up to a million sides", (0.0, 0.0, 3e-15, 2e-15), (1.0, 2.0, 5.0, 4.0)),
        Case("long and thin", "aspects of 1e4 to 1e30", (0.0, 0.0, 1e15, 1e-15), (0.0, 0.0, 1e-15, 1e15)),
        Case("padding", "padding with zeros", (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        Case("padding against a target", "padding with zeros", (0.0, 0.0, 0.0, 0.0)),
    )
}
AWKWARD_MODERATE = {name: case for name, case in AWKWARD.items() if case.moderate}
AWKWARD_UPRIGHT = {name: case for name, case in AWKWARD.items() if not case.flipped}


def stacked(named):
    """The predictions and the targets of named cases, `[cases, 4]` each."""
    predictions, targets = np.moveaxis(np.array([tuple(case) for case in named.values()]), 1, 0)
    return predictions, targets


def random_boxes(count, seed, n=2, spread=1.0):
    """Boxes of sides from 0.3 to 3, `[count, 2n]`, with centers within `spread` of 0 along each axis."""
    rng = np.random.default_rng(seed)
    middle, sides = rng.uniform(-spread, spread, (count, n)), 3 ** rng.uniform(-1, 1, (count, n))
    return np.concatenate([middle - sides / 2, middle + sides / 2], axis=-1)


def random_pairs(count, seed, n=2, spread=1.0):
    """Two sets of random boxes: about half of the pairs overlap at the default spread, one in thirty at 5."""
    return random_boxes(count, seed, n, spread), random_boxes(count, seed + 1, n, spread)
