"""The pairs of boxes that the laws are tested on, in float64 NumPy, `[..., 2n]`: never squares only.

A square hides a swapped axis, and a unit square hides a wrong operator.
"""

import numpy as np

TARGET = (20.0, 15.0, 60.0, 70.0)

# One prediction a kind for `TARGET`, or a pair of its own.
AWKWARD = {
    "identical": (TARGET, TARGET),
    "concentric": ((30.0, 32.5, 50.0, 52.5), TARGET),
    "concentric, of one width": ((20.0, 30.0, 60.0, 55.0), TARGET),
    "same shape, moved": ((27.0, 11.0, 67.0, 66.0), TARGET),
    "contained": ((25.0, 20.0, 50.0, 40.0), TARGET),
    "containing": ((5.0, 10.0, 80.0, 75.0), TARGET),
    "contained, with a shared edge": ((20.0, 25.0, 45.0, 50.0), TARGET),
    "touching at an edge": ((60.0, 20.0, 90.0, 50.0), TARGET),
    "touching at a corner": ((60.0, 70.0, 75.0, 95.0), TARGET),
    "near": ((10.0, 10.0, 50.0, 60.0), TARGET),
    "apart along x": ((70.0, 30.0, 95.0, 66.0), TARGET),
    "apart along both": ((70.0, 90.0, 95.0, 120.0), TARGET),
    "apart, with edges in line": ((20.0, 80.0, 45.0, 95.0), TARGET),
    "far": ((4e7, 4e7, 4e7 + 80, 4e7 + 40), TARGET),
    "a million sides away": ((3e6, -4e6, 3e6 + 5, -4e6 + 3), (0.0, 0.0, 4.0, 7.0)),
    "a million of its own sides away": ((0.0, 0.0, 0.03125, 0.015625), (3e4, 2e4, 3.5e4, 3e4)),
    "zero width inside": ((30.0, 20.0, 30.0, 50.0), TARGET),
    "zero width apart": ((90.0, 20.0, 90.0, 50.0), TARGET),
    "zero height inside": ((30.0, 20.0, 50.0, 20.0), TARGET),
    "point inside": ((30.0, 20.0, 30.0, 20.0), TARGET),
    "point at the center": ((40.0, 42.5, 40.0, 42.5), TARGET),
    "point apart": ((90.0, 80.0, 90.0, 80.0), TARGET),
    "equal points": ((3.0, 4.0, 3.0, 4.0), (3.0, 4.0, 3.0, 4.0)),
    "points apart": ((3.0, 4.0, 3.0, 4.0), (7.0, 5.0, 7.0, 5.0)),
    "points that almost meet": ((0.0, 0.0, 0.0, 0.0), (1.3e-19, 9e-20, 1.3e-19, 9e-20)),
    "equal segments": ((3.0, 4.0, 9.0, 4.0), (3.0, 4.0, 9.0, 4.0)),
    "segments on one line": ((3.0, 4.0, 9.0, 4.0), (5.0, 4.0, 8.0, 4.0)),
    "crossed segments": ((3.0, 4.0, 9.0, 4.0), (5.0, 1.0, 5.0, 7.0)),
    "target of zero area": ((10.0, 10.0, 50.0, 60.0), (20.0, 15.0, 20.0, 15.0)),
    "flipped along x": ((50.0, 20.0, 30.0, 55.0), TARGET),
    "flipped along y": ((30.0, 55.0, 50.0, 20.0), TARGET),
    "flipped along both": ((50.0, 55.0, 30.0, 20.0), TARGET),
    "flipped and apart": ((150.0, 20.0, 110.0, 50.0), TARGET),
    "extreme aspect": ((0.0, 0.0, 1e4, 1.0), (0.0, 0.0, 1.0, 1e4)),
    "extreme aspect, equal": ((0.0, 0.0, 1e4, 1.0), (0.0, 0.0, 1e4, 1.0)),
    "the largest of float16": ((-6e4, -6e4, 6e4, 6e4), (-2e4, 1e4, 3e4, 6e4)),
    "the smallest of float16": ((0.0, 0.0, 3e-7, 2e-7), (1e-7, 0.0, 3e-7, 5e-7)),
    "huge": ((-1e15, -1e15, 1e15, 1e15), (-3e14, 2e14, 5e14, 1e15)),
    "huge and apart": ((9e14, 9e14, 1e15, 1e15), (-1e15, -1e15, -9e14, -8e14)),
    "huge against tiny": ((-1e15, -1e15, 1e15, 1e15), (0.0, 0.0, 1e-15, 2e-15)),
    "huge and flipped": ((1e15, 1e15, -1e15, -1e15), (-3e14, 2e14, 5e14, 1e15)),
    "tiny": ((0.0, 0.0, 3e-15, 2e-15), (1e-15, 0.0, 3e-15, 5e-15)),
    "tiny and apart": ((0.0, 0.0, 3e-15, 2e-15), (5e-15, 6e-15, 7e-15, 9e-15)),
    "tiny and far": ((0.0, 0.0, 3e-15, 2e-15), (1.0, 2.0, 5.0, 4.0)),
    "long and thin": ((0.0, 0.0, 1e15, 1e-15), (0.0, 0.0, 1e-15, 1e15)),
    "padding": ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    "padding against a target": ((0.0, 0.0, 0.0, 0.0), TARGET),
}


def is_moderate(pair):
    """Whether both boxes, and the box around them, are within the bounds of the second derivatives."""
    corners = np.reshape(pair, (2, 2, 2))
    sides = np.concatenate([np.abs(corners[:, 1] - corners[:, 0]), [np.ptp(corners, axis=(0, 1))]])
    return np.max(np.abs(corners)) <= 1e6 and np.all((sides == 0) | (sides >= 1e-6))


AWKWARD_MODERATE = {name: pair for name, pair in AWKWARD.items() if is_moderate(pair)}


def stacked(kinds):
    """The predictions and the targets of named pairs, `[kinds, 4]` each."""
    predictions, targets = np.moveaxis(np.array(list(kinds.values())), 1, 0)
    return predictions, targets


def random_boxes(count, seed, n=2, spread=1.0):
    """Boxes of sides from 0.3 to 3, `[count, 2n]`, with centers within `spread` of 0 along each axis."""
    rng = np.random.default_rng(seed)
    middle, sides = rng.uniform(-spread, spread, (count, n)), 3 ** rng.uniform(-1, 1, (count, n))
    return np.concatenate([middle - sides / 2, middle + sides / 2], axis=-1)


def random_pairs(count, seed, n=2, spread=1.0):
    """Two sets of random boxes: about half of the pairs overlap at the default spread, one in thirty at 5."""
    return random_boxes(count, seed, n, spread), random_boxes(count, seed + 1, n, spread)
