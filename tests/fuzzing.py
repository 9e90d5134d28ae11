"""Pairs of boxes from raw bytes, for hypothesis."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

PAIR_BYTES = 4 * 9  # eight coordinates, and how the edges of the two boxes lie to each other
PAIRS_AN_EXAMPLE = 200  # about what hypothesis lets one example hold
RELATIONS = 8


def pairs_from(data):
    """Boxes from raw bytes: any float32 up to 1e15, tiny and denormal ones too, with sides of 0 or at least 1e-15.

    Edges of random bits never coincide. So along each axis a number from the data picks the edges of the prediction:
    free, equal, one of them shared, touching, no side, next to each other; and whether both boxes are upright.
    """
    words = np.frombuffer(data, np.uint32).reshape(-1, 9)
    exponents = (words[:, :8] >> 23 & 0xFF) % (127 + 50)  # below 2**50, which is 1.1e15
    coordinates = (words[:, :8] & 0x807FFFFF | exponents << 23).view(np.float32).clip(-1e15, 1e15)
    pairs = coordinates.reshape(-1, 2, 2, 2)  # pair, box, corner, axis
    for axis in range(2):
        choice = words[:, 8] >> 8 * axis
        (low, high), (low_star, high_star) = np.moveaxis(pairs[..., axis].copy(), 0, -1)
        near_low, near_high = (np.nextafter(edge, np.float32(0)) for edge in (low_star, high_star))
        relation = choice % RELATIONS
        lows = [low, low_star, low_star, high_star, high_star, low, near_low, low]
        highs = [high, high_star, high, high, low_star, low, near_high, high]
        pairs[:, 0, 0, axis], pairs[:, 0, 1, axis] = np.choose(relation, lows), np.choose(relation, highs)
        pairs[:, 1, 1, axis] = np.where(relation == RELATIONS - 1, low_star, high_star)  # no side of the target
        upright = np.broadcast_to((choice & 32 > 0)[:, None, None], pairs.shape[:3])
        pairs[..., axis] = np.where(upright, np.sort(pairs[..., axis], axis=-1), pairs[..., axis])
    low, high = pairs[:, :, 0], pairs[:, :, 1]
    pairs[:, :, 1] = np.where(np.abs(high - low) < 1e-15, low, high)
    return pairs[:, 0].reshape(-1, 4), pairs[:, 1].reshape(-1, 4)


def turned_pairs_from(data, n, largest):
    """Turned boxes, or solids for n = 3, from raw bytes: any float32 up to `largest`, sides of 0 or at least 1e-15.

    The data also pick how a prediction lies to its target: free, equal, moved, turned, of other sides, by a side beside
    it, or without a side.
    """
    width = 2 * n + 1
    words = np.frombuffer(data[: len(data) // (8 * width + 4) * (8 * width + 4)], np.uint32).reshape(-1, 2 * width + 1)
    exponents = (words[:, :-1] >> 23 & 0xFF) % (127 + 50)
    numbers = (words[:, :-1] & 0x807FFFFF | exponents << 23).view(np.float32).clip(-largest, largest)
    predictions, targets = np.split(numbers, 2, axis=-1)
    targets, predictions = targets.copy(), predictions.copy()
    for boxes in (predictions, targets):
        boxes[:, -1] = boxes[:, -1].clip(-1e10, 1e10)
        sides = boxes[:, n : 2 * n] = np.where(
            words[:, -1:] & 256 > 0, np.abs(boxes[:, n : 2 * n]), boxes[:, n : 2 * n]
        )
        boxes[:, n : 2 * n][np.abs(sides) < 1e-15] = 0
    relation = words[:, -1] % RELATIONS
    centers, sides, angles = slice(0, n), slice(n, 2 * n), slice(2 * n, None)
    same = {1: [centers, sides, angles], 2: [sides, angles], 3: [centers, sides], 4: [centers, angles], 5: [angles]}
    for choice, columns in same.items():
        for column in columns:
            predictions[relation == choice, column] = targets[relation == choice, column]
    beside = relation == 6  # along the first side of an upright target
    targets[beside, -1] = predictions[beside, -1] = 0
    predictions[beside, 1:n] = targets[beside, 1:n]
    predictions[beside, 0] = targets[beside, 0] + (targets[beside, n] + predictions[beside, n]) / 2
    targets[relation == 7, n] = 0
    return predictions.clip(-largest, largest), targets


def examples(count):
    """Gives a test the `data` of at least so many pairs of upright boxes, `PAIRS_AN_EXAMPLE` at a time."""
    size = PAIR_BYTES * PAIRS_AN_EXAMPLE
    raw = st.binary(min_size=size, max_size=size).map(lambda data: np.frombuffer(data, np.uint8))  # shown in a line
    given = hypothesis.given(data=raw)
    quiet = [  # of the size of an example, which is a batch of pairs
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.large_base_example,
    ]
    settings = hypothesis.settings(
        deadline=None, max_examples=count // PAIRS_AN_EXAMPLE, database=None, suppress_health_check=quiet
    )
    return lambda test: settings(given(test))
