"""The pairs of turned boxes that the laws are tested on, in float64 NumPy, `[..., 5]`: never squares only."""

import numpy as np

TARGET = (40.0, 42.5, 40.0, 55.0, 0.4)
QUARTER = np.pi / 2

# Prediction and target by what is particular to them; coordinates up to 1e6, sides of 0 or from 1e-6.
MODERATE = {
    "identical": (TARGET, TARGET),
    "moved": ((47.0, 38.5, 40.0, 55.0, 0.4), TARGET),
    "turned": ((40.0, 42.5, 40.0, 55.0, 0.7), TARGET),
    "a quarter of a turn, with sides swapped": ((40.0, 42.5, 55.0, 40.0, 0.4 + QUARTER), TARGET),
    "half a turn": ((40.0, 42.5, 40.0, 55.0, 0.4 - np.pi), TARGET),
    "an eighth of a turn": ((40.0, 42.5, 30.0, 55.0, np.pi / 4), (40.0, 42.5, 40.0, 50.0, 0.0)),
    "a square that is turned": ((40.0, 42.5, 30.0, 30.0, 0.3), (40.0, 42.5, 30.0, 30.0, 0.0)),
    "near": ((30.0, 35.0, 40.0, 50.0, 0.2), TARGET),
    "inside": ((37.5, 30.0, 25.0, 20.0, 1.0), TARGET),
    "around": ((42.5, 42.5, 75.0, 65.0, -1.0), TARGET),
    "apart": ((95.0, 80.0, 25.0, 36.0, 0.3), TARGET),
    "far": ((1e6, -9e5, 5.0, 3.0, 2.0), TARGET),
    "a million of its own sides away": ((0.0, 0.0, 0.03125, 0.015625, 1.0), (3e4, 2e4, 5e3, 1e4, 0.2)),
    "no width, inside": ((30.0, 35.0, 0.0, 30.0, 0.2), TARGET),
    "no width, apart": ((90.0, 35.0, 0.0, 30.0, 0.2), TARGET),
    "no height": ((40.0, 20.0, 20.0, 0.0, -0.4), TARGET),
    "a point": ((30.0, 20.0, 0.0, 0.0, 0.3), TARGET),
    "a point at the center": ((40.0, 42.5, 0.0, 0.0, 0.4), TARGET),
    "a target of no width": (TARGET, (30.0, 35.0, 0.0, 30.0, 0.2)),
    "a target that is a point": (TARGET, (20.0, 15.0, 0.0, 0.0, 0.0)),
    "equal points": ((3.0, 4.0, 0.0, 0.0, 0.5), (3.0, 4.0, 0.0, 0.0, 0.5)),
    "points that differ by the angle": ((3.0, 4.0, 0.0, 0.0, 0.9), (3.0, 4.0, 0.0, 0.0, 0.5)),
    "points apart": ((3.0, 4.0, 0.0, 0.0, 0.5), (7.0, 5.0, 0.0, 0.0, 0.1)),
    "equal segments": ((6.0, 4.0, 6.0, 0.0, 0.5), (6.0, 4.0, 6.0, 0.0, 0.5)),
    "segments on one line": ((6.0, 4.0, 6.0, 0.0, 0.5), (6.0, 4.0, 3.0, 0.0, 0.5)),
    "crossed segments": ((6.0, 4.0, 6.0, 0.0, 0.5), (5.0, 4.0, 0.0, 6.0, 0.5)),
    "segments that are turned": ((6.0, 4.0, 6.0, 0.0, 0.5), (6.0, 4.0, 6.0, 0.0, 0.2)),
    "an aspect of 1e4": ((5.0, 5.0, 1e4, 1.0, 0.1), (0.0, 0.0, 1.0, 1e4, 0.1)),
    "slivers turned by a little": ((5.0, 5.0, 1e4, 1.0, 0.1), (5.0, 5.0, 1e4, 1.0, 0.1001)),
    "small": ((1e-6, 0.0, 3e-6, 2e-6, 0.5), (0.0, 1e-6, 2e-6, 5e-6, 0.2)),
    "large": ((1e6, 1e6, 9e5, 1e6, 0.5), (-1e6, -1e6, 8e5, 2e5, -2.0)),
    "many turns": ((30.0, 35.0, 40.0, 50.0, 100.0), (40.0, 42.5, 40.0, 55.0, -77.0)),
    "a negative side": ((40.0, 42.5, -20.0, 55.0, 0.4), TARGET),
    "padding": ((0.0,) * 5, (0.0,) * 5),
    "padding against a target": ((0.0,) * 5, TARGET),
}
EXTREME = {
    "points that almost meet": ((1e-19, 0.0, 0.0, 0.0, 0.0), (0.0, 1e-19, 0.0, 0.0, 0.0)),
    "huge": ((-1e15, 1e15, 1e15, 3e14, 0.3), (1e15, -1e15, 2e14, 1e15, 1.3)),
    "huge against tiny": ((-1e15, 1e15, 1e15, 1e15, 0.3), (0.0, 0.0, 1e-15, 2e-15, 0.0)),
    "tiny": ((1e-15, 0.0, 3e-15, 2e-15, 0.3), (0.0, 1e-15, 2e-15, 5e-15, -0.3)),
    "tiny and far": ((0.0, 0.0, 3e-15, 2e-15, 0.0), (1.0, 2.0, 4.0, 2.0, 0.5)),
    "long and thin": ((0.0, 0.0, 1e15, 1e-15, 0.0), (0.0, 0.0, 1e-15, 1e15, 0.0)),
    "a turn of 1e-30": ((0.0, 0.0, 0.0, 4.0, 1e-30), (0.0, 0.0, 3e9, 0.0, 0.0)),
    "ten billion turns": ((0.0, 0.0, 2.0, 4.0, 1e10), (1.0, 1.0, 3.0, 1.0, -1e10)),
}
AWKWARD = MODERATE | EXTREME


def stacked(named):
    """The predictions and the targets of named pairs, `[pairs, 5]` each."""
    predictions, targets = np.moveaxis(np.array(list(named.values())), 1, 0)
    return predictions, targets


def random_boxes(count, seed, spread=1.0):
    """Boxes of sides from 0.3 to 3 and any angle, with centers within `spread` of 0 along each axis."""
    rng = np.random.default_rng(seed)
    center, sides = rng.uniform(-spread, spread, (count, 2)), 3 ** rng.uniform(-1, 1, (count, 2))
    return np.concatenate([center, sides, rng.uniform(-np.pi, np.pi, (count, 1))], axis=-1)


def random_pairs(count, seed, spread=1.0):
    return random_boxes(count, seed, spread), random_boxes(count, seed + 1, spread)


def raw_pairs(count, seed):
    """Lengths of 0 or from 1e-15 to 1e15, angles up to 1e10, and pairs that share what boxes can share."""
    rng = np.random.default_rng(seed)

    def lengths(*shape):
        size = 10 ** rng.uniform(-15, 15, shape)
        return np.choose(rng.integers(0, 6, shape), [0, 10 ** np.round(np.log10(size)), *[size] * 4])

    def boxes():
        angles = 10 ** rng.uniform(-10, 10, (count, 1)) * rng.choice([-1, 1], (count, 1))
        special = rng.choice([0, QUARTER, -QUARTER, np.pi / 4, 1e-7, 1e-30], (count, 1))
        angles = np.where(rng.integers(0, 3, (count, 1)) == 0, special, angles)
        return np.concatenate([lengths(count, 2) * rng.choice([-1, 1], (count, 2)), lengths(count, 2), angles], axis=-1)

    a, b = boxes(), boxes()
    shapes = np.concatenate([a[:, :2], b[:, 2:]], axis=-1)
    centers = np.concatenate([b[:, :2], a[:, 2:]], axis=-1)
    squares = a[:, [0, 1, 2, 2, 4]]
    kind = rng.integers(0, 10, (count, 1))
    return np.choose(kind, [b, shapes, centers, b * (1 + 1e-6), squares, *[a] * 5]), b
