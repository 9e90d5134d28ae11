"""The pairs of turned boxes and of solids that the laws are tested on, beside those of `cases.py`."""

import numpy as np

from tests.cases import Case

TARGET = (40.0, 42.5, 40.0, 55.0, 0.3)
SQUARE = (40.0, 42.5, 30.0, 30.0, 0.3)
ACROSS, ALONG = np.array([np.cos(0.3), np.sin(0.3)]), np.array([-np.sin(0.3), np.cos(0.3)])  # of the target's frame


def in_frame(x, y, w, h, turn=0.0):
    """A box that is given in the frame of the target."""
    return (*(np.array(TARGET[:2]) + x * ACROSS + y * ALONG), w, h, TARGET[4] + turn)


def by(name, group, prediction, target=TARGET):
    return Case(name, group, tuple(map(float, prediction)), tuple(map(float, target)))


TURNS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
AWKWARD_TURNED = {
    case.name: case
    for case in (
        by("identical", "identical", TARGET),
        by("by a quarter turn", "the same box by another angle", in_frame(0, 0, 55, 40, np.pi / 2)),
        by("by half a turn", "the same box by another angle", in_frame(0, 0, 40, 55, np.pi)),
        *(by(f"turned by {turn}", "almost the same box", in_frame(0, 0, 40, 55, turn)) for turn in TURNS),
        by("turned by an eighth", "turned", in_frame(0, 0, 40, 55, np.pi / 4)),
        by("a square, turned by an eighth", "turned", in_frame(0, 0, 30, 30, np.pi / 4), SQUARE),
        by("concentric", "concentric", in_frame(0, 0, 20, 20)),
        by("concentric and turned", "concentric", in_frame(0, 0, 30, 70, 0.5)),
        by("same shape, moved", "the same shape, moved", in_frame(7, -4, 40, 55)),
        by("contained", "one inside the other", in_frame(5, -8, 15, 20, 0.4)),
        by("containing", "one inside the other", in_frame(3, 4, 100, 120, -0.7)),
        by("contained, with a shared edge", "one inside the other", in_frame(-10, 5, 20, 15)),
        by("a corner on an edge", "one inside the other", in_frame(0, 27.5 - 10 * np.sqrt(2), 20, 20, np.pi / 4)),
        by("touching at an edge", "touching at an edge or a corner", in_frame(35, 3, 30, 20)),
        by("touching at a corner", "touching at an edge or a corner", in_frame(30, 40, 20, 25)),
        by("a corner that touches an edge", "touching at an edge or a corner", in_frame(20 + 10, 0, 10, 10, np.pi / 4)),
        by("near", "near", in_frame(15, 9, 25, 60, 0.7)),
        by("a cross", "near", in_frame(1, 2, 120, 8, 0.2)),
        by("apart along x", "apart", in_frame(60, 5, 20, 30, 0.4)),
        by("apart along both", "apart", in_frame(60, 75, 20, 30, -0.6)),
        by("far", "far, up to a million sides", (4e7, 4e7, 80, 40, 1.0)),
        by("a million sides away", "far, up to a million sides", (3e6, -4e6, 5, 3, 0.5), (0, 0, 4, 7, -0.4)),
        by("zero width inside", "no width or no height", in_frame(-5, -5, 0, 30)),
        by("zero width inside, turned", "no width or no height", in_frame(-5, -5, 0, 20, 0.5)),
        by("zero width apart", "no width or no height", in_frame(50, -5, 0, 30, 0.5)),
        by("zero height inside", "no width or no height", in_frame(-5, -5, 20, 0)),
        by("a negative width", "no width or no height", in_frame(-5, -5, -3, 30, 0.2)),
        by("point inside", "a point", in_frame(-5, -5, 0, 0, 0.2)),
        by("point at the center", "a point", in_frame(0, 0, 0, 0)),
        by("point apart", "a point", in_frame(50, 40, 0, 0)),
        by("equal points", "both points or segments", (3, 4, 0, 0, 0.2), (3, 4, 0, 0, 0.2)),
        by("points apart", "both points or segments", (3, 4, 0, 0, 0.2), (7, 5, 0, 0, 0.3)),
        by("equal segments", "both points or segments", (6, 4, 6, 0, 0.2), (6, 4, 6, 0, 0.2)),
        by("crossed segments", "both points or segments", (6, 4, 6, 0, 0.2), (5, 4, 7, 0, 1.1)),
        by("target of zero area", "a target without area", (30, 35, 40, 50, 0.4), (20, 15, 0, 0, 0.1)),
        by("extreme aspect", "aspects of 1e4 to 1e30", (0, 0, 1e4, 1, 0.3), (0, 0, 1e4, 1, 1.2)),
        by("slivers on one line", "aspects of 1e4 to 1e30", (3, 0, 40, 4e-5, 0), (0, 0, 40, 4e-5, 0)),
        by("slivers across", "aspects of 1e4 to 1e30", (3, 0, 40, 4e-5, 0.5), (0, 0, 40, 4e-5, 0)),
        by("long and thin", "aspects of 1e4 to 1e30", (0, 0, 1e15, 1e-15, 0.3), (0, 0, 1e-15, 1e15, 0.2)),
        by("huge", "sides up to 1e15", (0, 0, 1e15, 8e14, 0.3), (1e14, 6e14, 8e14, 1e15, -0.4)),
        by("huge against tiny", "sides up to 1e15", (0, 0, 1e15, 8e14, 0.3), (0, 0, 1e-15, 2e-15, 0.4)),
        by("tiny", "sides down to 1e-15", (0, 0, 3e-15, 2e-15, 0.3), (1e-15, 0, 3e-15, 5e-15, 0.5)),
        by("tiny and far", "far, up to a million sides", (0, 0, 3e-15, 2e-15, 0.3), (1, 2, 5, 4, 0.5)),
        by("many turns", "many turns", (3, 4, 5, 6, 1e4), (3, 4, 5, 7, -1e4)),
        by("padding", "padding with zeros", (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
        by("padding against a target", "padding with zeros", (0, 0, 0, 0, 0)),
    )
}

# By symmetry two rectangles around both are the smallest.
KINKS = frozenset({"turned by an eighth", "a square, turned by an eighth"})

HEIGHTS = {  # the vertical centers and heights of two solids
    "one height": ((3.0, 12.0), (3.0, 12.0)),
    "moved": ((5.5, 9.0), (3.0, 12.0)),
    "apart": ((30.0, 8.0), (3.0, 12.0)),
    "flat": ((4.0, 0.0), (3.0, 12.0)),
}
FOOTPRINTS = ["identical", "turned by 0.0001", "concentric", "contained", "touching at an edge", "near"]
FOOTPRINTS += ["apart along x", "zero width inside", "point inside", "equal points", "points apart", "crossed segments"]
FOOTPRINTS += ["extreme aspect", "padding", "padding against a target", "tiny"]


def solid(footprint, z, height):
    x, y, w, h, angle = footprint
    return x, y, z, w, h, height, angle


AWKWARD_SOLIDS = {
    f"{name}, {how}": by(
        f"{name}, {how}",
        AWKWARD_TURNED[name].group,
        *(solid(box, *place) for box, place in zip(AWKWARD_TURNED[name], places, strict=True)),
    )
    for name in FOOTPRINTS
    for how, places in HEIGHTS.items()
}


# The faces of solids of one height coincide: a small step leads into either slope.
KINKS_OF_SOLIDS = frozenset(name for name in AWKWARD_SOLIDS if name.endswith("one height"))


def random_turned(count, seed, n=2, spread=1.0):
    """Turned boxes, or solids for n = 3, of sides from 0.3 to 3 and any angle, with centers within `spread` of 0."""
    rng = np.random.default_rng(seed)
    middle, sides = rng.uniform(-spread, spread, (count, n)), 3 ** rng.uniform(-1, 1, (count, n))
    return np.concatenate([middle, sides, rng.uniform(-np.pi, np.pi, (count, 1))], axis=-1)
