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


def examples(count):
    """Gives a test at least so many `pairs`, as predictions and targets, `PAIRS_AN_EXAMPLE` at a time."""
    size = PAIR_BYTES * PAIRS_AN_EXAMPLE
    given = hypothesis.given(pairs=st.binary(min_size=size, max_size=size).map(pairs_from))
    quiet = [  # of the size of an example, which is a batch of pairs
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.large_base_example,
    ]
    settings = hypothesis.settings(
        deadline=None, max_examples=count // PAIRS_AN_EXAMPLE, database=None, suppress_health_check=quiet
    )
    return lambda test: settings(given(test))
