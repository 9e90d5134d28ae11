"""What the tests of whole losses share: numbers of original code, and what padding and permuted slots must not change.

Of a gradient of that code its products with three arrays of signs are held, and its norm. A program is called with
arrays and targets.
"""

import jax
import numpy as np

from jaxbox import detectors


def products(gradient):
    """With the signs that the reference was made with, and the sum of the magnitudes."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(3, *gradient.shape))
    flat = np.float64(gradient).ravel()
    return np.append(signs.reshape(3, -1) @ flat, np.abs(flat).sum())


def assert_products_are(gradient, wanted, tolerance):
    """Of a gradient: within a share of the norm of the original's."""
    np.testing.assert_allclose(products(gradient), wanted, rtol=0, atol=tolerance * max(wanted[-1], 1e-9))


def assert_same_bits(found, wanted):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def assert_padding_changes_no_bit(program, arrays, targets):
    wanted = program(arrays, targets)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(wanted))
    for coordinate, label in ((np.nan, 99), (1e30, -1), (-np.inf, 0)):
        filled = np.where(targets.where[..., None], targets.boxes, np.float32(coordinate))
        labels = np.where(targets.where, targets.labels, np.int32(label))
        assert_same_bits(program(arrays, detectors.Targets(filled, labels, targets.where)), wanted)


def assert_permuted_slots_change_no_bit(program, arrays, targets):
    order = np.random.default_rng(1).permutation(targets.where.shape[1])
    permuted = detectors.Targets(*(part[:, order] for part in targets))
    assert_same_bits(program(arrays, permuted), program(arrays, targets))


OF_BOXES = {
    "boxes",
    "l1",
    "iou",
    "giou",
    "ciou",
    "probiou",
    "angle",
    "dfl",
    "centerness",
}  # terms that are 0 without a target


def assert_finite_without_targets(program, arrays, targets):
    """In all images, in all but one, and in none."""
    for count in (0, 1, len(targets.where)):
        where = np.where(np.arange(len(targets.where))[:, None] < count, targets.where, False)
        (value, terms), gradients = program(arrays, targets._replace(where=where))
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((value, terms, gradients)))
        if not count:
            assert not any(np.any(terms[name]) for name in terms.keys() & OF_BOXES)
