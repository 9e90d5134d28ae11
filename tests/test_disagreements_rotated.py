"""What other codes make of turned boxes, and what jaxbox does instead: both numbers of each.

The formulas are those of mmrotate 1.0 (`gaussian_dist_loss.py`, its version 1, `kf_iou_loss.py`) and of ultralytics 8.4
(`metrics.py`, `loss.py`), written in JAX so that they have gradients too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import gaussian, losses
from tests import gaussian_cases as cases
from tests import gaussian_reference as reference

# At normalized scale: a box of 1e-3 of the image, half a width beside its target.
SHIFT = np.array([5e-4, 0, 0, 0, 0])
SMALL = np.array([0.5, 0.5, 1e-3, 1e-3, 0.3])
SCALE = np.array([1e3, 1e3, 1e3, 1e3, 1])


def covariance(box, share):
    x, y, w, h, angle = box
    c, s = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[c, -s], [s, c]])
    return jnp.array([x, y]), rotation @ jnp.diag(jnp.array([w * w, h * h]) / share) @ rotation.T


def gwd_with_clamps(a, b):
    """GWD as mmrotate has it, which holds each of four terms above 1e-7."""
    (mean_a, covariance_a), (mean_b, covariance_b) = covariance(a, 4), covariance(b, 4)
    determinant = jnp.linalg.det(covariance_a) * jnp.linalg.det(covariance_b)
    root = jnp.sqrt(jnp.maximum(determinant, 1e-7))
    between = jnp.sqrt(jnp.maximum(jnp.trace(covariance_a @ covariance_b) + 2 * root, 1e-7))
    shapes = jnp.trace(covariance_a) + jnp.trace(covariance_b) - 2 * between
    distance = jnp.sqrt(jnp.maximum(jnp.sum((mean_a - mean_b) ** 2) + shapes, 1e-7))
    size = 2 * jnp.maximum(jnp.maximum(root, 1e-7) ** 0.25, 1e-7)
    return 1 - 1 / (1 + jnp.log1p(distance / size))


def probiou_with_epsilons(a, b, eps=1e-7):
    """One minus ProbIoU as ultralytics has it, and mmrotate with 1e-3."""
    (mean_a, covariance_a), (mean_b, covariance_b) = covariance(a, 12), covariance(b, 12)
    x, y = mean_a - mean_b
    (p, r), (_, q) = covariance_a + covariance_b
    determinant = p * q - r * r
    of_centers = (p * y * y + q * x * x) / (determinant + eps) / 4 - r * x * y / (determinant + eps) / 2
    root = jnp.sqrt(jnp.linalg.det(covariance_a) * jnp.linalg.det(covariance_b))
    of_shapes = jnp.log(determinant / (4 * root + eps) + eps) / 2
    return jnp.sqrt(1 - jnp.exp(-jnp.clip(of_centers + of_shapes, eps, 100)) + eps)


@pytest.mark.usefixtures("x64")
def test_the_peers_formulas_are_the_same_ones_where_their_epsilons_do_not_count():
    for a, b in zip(*cases.random_pairs(20, seed=0), strict=True):
        a, b = (x * [1e3, 1e3, 1e3, 1e3, 1] for x in (a, b))
        np.testing.assert_allclose(gwd_with_clamps(a, b), losses.gwd_loss(a, b), rtol=1e-9)
        np.testing.assert_allclose(probiou_with_epsilons(a, b), losses.probiou_loss(a, b), rtol=1e-5)


def value_and_slope(loss, a, b):
    value, gradient = jax.value_and_grad(loss)(a, b)
    return np.array([value, gradient[0]])


@pytest.mark.parametrize(
    ("theirs", "ours", "clamped", "right"),
    [
        (gwd_with_clamps, losses.gwd_loss, [0.00118, 0], [0.288, 337]),
        (probiou_with_epsilons, losses.probiou_loss, [0.00045, 0], [0.559, 922]),
    ],
)
@pytest.mark.usefixtures("x64")
def test_clamps_leave_nothing_of_the_loss_of_small_boxes(theirs, ours, clamped, right):
    np.testing.assert_allclose(value_and_slope(theirs, SMALL + SHIFT, SMALL), clamped, rtol=0.01)
    np.testing.assert_allclose(value_and_slope(ours, SMALL + SHIFT, SMALL), right, rtol=2e-3)
    # In units of the box both are the same loss.
    wanted = np.divide(right, [1, 1e3])
    np.testing.assert_allclose(value_and_slope(ours, (SMALL + SHIFT) * SCALE, SMALL * SCALE), wanted, rtol=2e-3)
    np.testing.assert_allclose(value_and_slope(theirs, (SMALL + SHIFT) * SCALE, SMALL * SCALE), wanted, rtol=2e-3)


@pytest.mark.parametrize(("eps", "value"), [(1e-7, 4.7e-4), (1e-3, 0.0447)])
def test_an_epsilon_under_the_root_keeps_probiou_of_equal_boxes_from_0(eps, value):
    box = jnp.array([10.0, 20, 8, 4, 0.3])
    np.testing.assert_allclose(probiou_with_epsilons(box, box, eps), value, rtol=0.05)
    assert losses.probiou_loss(box, box) == 0


def test_kfiou_is_a_third_at_best_and_the_loss_0():
    box = cases.random_boxes(20, seed=1)
    np.testing.assert_allclose(reference.kfiou(box, box), 1 / 3, rtol=1e-12)
    np.testing.assert_array_equal(losses.kfiou_loss(jnp.float32(box), jnp.float32(box)), 0)


def kld_version_2(a, b):
    """mmrotate's `kld`: the covariance of the prediction is inverted, so that it is KL(G to P)."""
    (mean_a, covariance_a), (mean_b, covariance_b) = reference.distribution(a), reference.distribution(b)
    inverse, offset = np.linalg.inv(covariance_a), mean_a - mean_b
    of_sizes = np.log(np.linalg.det(covariance_a)) - np.log(np.linalg.det(covariance_b))
    distance = (offset @ inverse @ offset + np.trace(inverse @ covariance_b) + of_sizes) / 2 - 1
    return 1 - 1 / (1 + np.log1p(np.sqrt(distance)))


def kld_version_1(a, b):
    """mmrotate's `kld` before: the covariance of the target is inverted, without the factor of one half or a root."""
    (mean_a, covariance_a), (mean_b, covariance_b) = reference.distribution(a), reference.distribution(b)
    inverse, offset = np.linalg.inv(covariance_b), mean_a - mean_b
    of_sizes = np.log(np.linalg.det(covariance_b)) - np.log(np.linalg.det(covariance_a))
    distance = offset @ inverse @ offset + np.trace(inverse @ covariance_a) + of_sizes - 2
    return 1 - 1 / (1 + np.log1p(distance))


@pytest.mark.usefixtures("x64")
def test_two_versions_of_one_package_have_two_directions_of_the_divergence():
    small, large = np.array([1.0, 2, 2, 1, 0.3]), np.array([2.0, 1, 8, 3, 0.9])
    assert [round(float(gaussian.kl(*pair)), 2) for pair in ((small, large), (large, small))] == [2.06, 18.94]
    np.testing.assert_allclose(kld_version_2(small, large), losses.reverse_kld_loss(small, large), rtol=1e-12)
    doubled = 2 * gaussian.kl(small, large)
    np.testing.assert_allclose(kld_version_1(small, large), 1 - 1 / (1 + np.log1p(doubled)), rtol=1e-12)
    assert abs(kld_version_1(small, large) - losses.kld_loss(small, large)) > 0.1


@pytest.mark.usefixtures("x64")
def test_a_uniform_box_has_a_third_of_the_covariance_and_only_the_offset_sees_it():
    a, b = cases.random_pairs(20, seed=2)
    distance = -np.log(1 - losses.probiou_loss(a, b) ** 2)
    np.testing.assert_allclose(distance, reference.bhattacharyya(a, b, share=12), rtol=1e-9)
    there = np.concatenate([b[:, :2], a[:, 2:]], axis=-1)
    of_shapes = gaussian.bhattacharyya(there, b)
    offset = gaussian.bhattacharyya(a, b) - of_shapes
    np.testing.assert_allclose(distance - of_shapes, 3 * offset, rtol=1e-9, atol=1e-12)


def test_the_angle_loss_is_0_a_quarter_of_a_turn_away_and_largest_for_squares():
    long, square = jnp.array([0.0, 0, 8, 1, 0]), jnp.array([0.0, 0, 3, 3, 0])
    quarter, eighth = (jnp.array([0, 0, 0, 0, turn]) for turn in (np.pi / 2, np.pi / 4))
    np.testing.assert_allclose(losses.angle_loss(long + quarter, long), 0, atol=1e-12)
    assert losses.gwd_loss(long + quarter, long) > 0.3
    np.testing.assert_allclose(losses.angle_loss(square + eighth, square), 1, rtol=1e-6)
    np.testing.assert_allclose(losses.angle_loss(long + eighth, long), np.exp(-(np.log(8) ** 2) / 9), rtol=1e-6)


def test_a_box_of_no_width_stays_one_there_and_grows_here():
    line, target = jnp.array([30.0, 35, 0, 30, 0.2]), jnp.array(cases.TARGET)
    for theirs, ours in [(gwd_with_clamps, losses.gwd_loss), (probiou_with_epsilons, losses.probiou_loss)]:
        assert jax.grad(theirs)(line, target)[2] == 0
        assert jax.grad(ours)(line, target)[2] < -1e-3
