"""The terms of two boxes that formulas are made of, each against its meaning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses
from jaxbox._geometry import Pair
from jaxbox.losses import overlap
from tests import cases, reference


def test_boxes_of_different_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"Got `a` of shape \(4,\) and `b` of shape \(6,\)"):
        Pair.of(jnp.zeros(4), jnp.zeros(6))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.usefixtures("x64")
def test_the_hull_is_the_smallest_box_around_upright_boxes(n):
    a, b = cases.random_pairs(200, seed=1, n=n, spread=3.0)
    low, high = reference.corners(reference.hull(a, b))
    np.testing.assert_allclose(np.stack([axis.hull for axis in Pair.of(a, b).axes], axis=-1), high - low, rtol=1e-12)


def test_the_hull_grows_when_a_box_is_turned_inside_out():
    fixed = jnp.array([0.0, 4.0])
    widths = [Pair.of(jnp.array([1.0 + turn, 2.0 - turn]), fixed).axes[0].hull for turn in (0.5, 1.0, 1.5)]
    np.testing.assert_array_equal(widths, [4, 5, 6])


def test_the_offset_of_the_centers_does_not_cancel():
    a, b = cases.random_pairs(200, seed=2)
    far_a, far_b = np.float32(a + 1e5), np.float32(b + 1e5)
    exact = reference.center(np.float64(far_a)) - reference.center(np.float64(far_b))
    np.testing.assert_allclose(
        np.stack([axis.offset for axis in Pair.of(far_a, far_b).axes], axis=-1), exact, rtol=0, atol=1e-7
    )


def test_a_side_that_is_right_is_not_pushed():
    fixed = jnp.array([1.0, 2.0, 4.0, 7.0])
    slope = jax.jacfwd(lambda x: jnp.stack([axis.side_change for axis in Pair.of(x, fixed).axes]))(fixed + 0.5)
    np.testing.assert_array_equal(slope, 0)


def test_the_bound_of_a_center_that_is_right_is_not_pushed():
    fixed, centered = jnp.array([1.0, 2.0, 4.0, 7.0]), jnp.array([2.0, 3.0, 3.0, 6.0])
    slope = jax.jacfwd(lambda x: jnp.stack([overlap._bound_of_offset(axis) for axis in Pair.of(x, fixed).axes]))(
        centered
    )
    np.testing.assert_array_equal(slope, 0)


def test_an_edge_error_is_in_sides_without_regard_to_sign_and_a_thousand_at_most():
    box = jnp.array([1.0, 2.0, 4.0, 7.0])
    flipped, point = jnp.array([5.0, 3.0, 3.0, 5.0]), jnp.array([9.0, 9.0, 9.0, 9.0])
    np.testing.assert_allclose(Pair.of(box, flipped).edge_error, (4 / 2 + 1 / 2 + 1 / 2 + 2 / 2) / 4, rtol=1e-6)
    np.testing.assert_allclose(Pair.of(box, point).edge_error, 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "slope"),
    [
        # An edge in line with that of the other box: its distance has derivative 0, the overlap one half.
        (*cases.AWKWARD["apart, with edges in line"], [5, None, None, None]),
        # A flipped box whose high edge is at the corner of the hull: the overlap counts, not the corner.
        ((3.0, 0.0, 1.0, 2.0), (1.0, 0.0, 5.0, 2.0), [None, None, 2, None]),
    ],
)
def test_the_slope_of_a_signed_intersection_where_two_edges_meet(a, b, slope):
    found = jax.grad(lambda a: overlap._signed_intersection(Pair.of(a, jnp.array(b))))(jnp.array(a))
    for number, wanted in zip(found, slope, strict=True):
        assert wanted is None or number == wanted


def test_extended_iou_of_empty_boxes_has_no_gradient():
    a, b = (jnp.array(x) for x in cases.AWKWARD["points apart"])
    np.testing.assert_array_equal(jax.grad(losses.extended_iou_loss)(a, b), 0)


def extended_iou(a, b):
    return 1 - losses.extended_iou_loss(a, b, smooth=0.0)


@pytest.mark.usefixtures("x64")
def test_areas_count_as_a_trillionth_of_the_hull_at_least():
    tall, wide = jnp.array([0.0, 0.0, 1e-13, 1.0]), jnp.array([0.0, 0.0, 1.0, 1e-13])
    np.testing.assert_allclose(extended_iou(tall, wide), 1e-26 / 1e-12, rtol=1e-2)


def test_the_terms_of_a_pair_broadcast():
    a, b = cases.random_pairs(6, seed=3)
    matrix = Pair.of(jnp.float32(a)[:, None], jnp.float32(b))
    for term in (matrix.iou, matrix.vacancy, matrix.distance, matrix.aspect, matrix.equal):
        assert term.shape == (6, 6)
