"""Losses of boxes that stand for normal distributions, most of them for turned boxes.

A turned box is `[..., 5]`: center, width, height, and an angle in radians. Its mean is its center and its standard
deviations are its half sides; the distances are those of `jaxbox.gaussian`, which says what a box without width counts
as, and what of that is held constant. A square box has no angle: all derivatives by its angle are 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import gaussian, numerics, similarity
from jaxbox._checks import FROM_1, POSITIVE, SHARE_OF_LENGTH, TURNED
from jaxbox._geometry import Normals, Pair, Turned, raised_axes
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "nwd_loss",
    "gcd_loss",
    "gwd_loss",
    "kld_loss",
    "reverse_kld_loss",
    "jeffreys_loss",
    "bhattacharyya_loss",
    "probiou_loss",
    "kfiou_loss",
    "rotated_nwd_loss",
    "angle_loss",
]

FLOOR = 1e-6  # share of the longest length of a pair below which a half side of a turned box is raised


@preparation.loss(constant=POSITIVE)
def nwd_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    constant: float | jax.Array | np.ndarray,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the normalized Wasserstein distance.

    `1 - exp(-W / constant)`, where `W^2 = rho^2 + sum((t - s)^2) / 4` and t and s are the sides of the boxes along an
    axis.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      constant: the unit of the distance, about the mean side of the boxes, in their unit; from 1e-15 to
        1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes.

    Raises:
      ValueError: if `constant` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.

    References:
      Wang et al., 2021, https://arxiv.org/abs/2110.13389
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.fusion_barrier(1 - similarity.nwd(*pair, constant=constant))


@preparation.loss(floor=SHARE_OF_LENGTH)
def gcd_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    floor: float | jax.Array | np.ndarray = 1e-6,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the exponential of the Gaussian combined distance, of upright boxes.

    `1 - exp(-sqrt(sum((x / t)^2 + (x / s)^2 + ((t - s) / s)^2 / 4 + ((t - s) / t)^2 / 4) / 2))`, where x is the offset
    of the center along an axis and t and s are the sides of the boxes. It is `nwd_loss` without a constant: lengths are
    measured in sides of both boxes. Below the share `floor` of the longest of sides and offsets, m, a side x counts as
    `m^2 / (2 m - x)`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      floor: share of the longest length below which a side is raised; from 9e-7 on and below 1, `()` or one a box, may
        be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes.

    Raises:
      ValueError: if `floor` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them. It vanishes for boxes that are many of their sides
      apart, as are those of no width: a point, and a flipped box, which counts as one.
      Held constant: the longest length.

    References:
      Guan et al., 2025, https://arxiv.org/abs/2510.27649
    """
    axes = raised_axes(Pair.of(*preparation.masked(where, predictions, targets)), floor)
    of_centers = [numerics.divide(x, side) for x, t, s in axes for side in (t, s)]
    of_sides = [numerics.divide((t - s) / 2, side) for _, t, s in axes for side in (t, s)]
    squared_distance = numerics.total(ratio * ratio for ratio in of_centers + of_sides) / 2
    return numerics.fusion_barrier(-jnp.expm1(-numerics.square_root(squared_distance)))


def _bounded(
    distance: jax.Array, tau: float | jax.Array | np.ndarray, where: jax.Array | np.ndarray | None
) -> jax.Array:
    """`1 - 1 / (tau + log(1 + d))`, as one quotient, which keeps its digits near 0; 0 where a row is masked."""
    growth = jnp.log1p(distance)  # of what is not negative
    bounded = numerics.divide(growth + (tau - 1), growth + tau)
    return numerics.fusion_barrier(bounded if where is None else jnp.where(where, bounded, 0))


@preparation.loss(layout=TURNED, tau=FROM_1)
@numerics.in_chunks
def gwd_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    tau: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Gaussian Wasserstein distance in units of the boxes, bent to stay below 1.

    `1 - 1 / (tau + ln(1 + d))` for `d = W / (w h w* h* / 16)^(1/4) / 2`, where W is `gaussian.wasserstein` and w, h, w*
    and h* are the sides of both boxes.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      tau: from 1 to 1e15, `()` or one a box, may be traced. Equal boxes have `1 - 1 / tau`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes, with the default `tau`.

    Raises:
      ValueError: if `tau` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.
      Held constant: the longest length.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2101.11952
    """
    pair = Normals.of(*preparation.masked(where, predictions, targets)).in_units
    raised = pair.raised(FLOOR)
    size = numerics.square_root(numerics.square_root(raised.root_a * raised.root_b))
    return _bounded(numerics.divide(pair.wasserstein, 2 * size), tau, where)


@preparation.loss(layout=TURNED, tau=FROM_1)
@numerics.in_chunks
def kld_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    tau: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Kullback-Leibler divergence of the prediction from the target, bent to stay below 1.

    `1 - 1 / (tau + ln(1 + sqrt(KL(P to G))))`, where `KL(P to G)` is `gaussian.kl(predictions, targets)`: lengths count
    in units of the target. The divergence with the roles exchanged is `reverse_kld_loss`.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      tau: from 1 to 1e15, `()` or one a box, may be traced. Equal boxes have `1 - 1 / tau`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes, with the default `tau`.

    Raises:
      ValueError: if `tau` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.
      Held constant: the longest length.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2106.01883
    """
    divergence = gaussian.kl(*preparation.masked(where, predictions, targets))
    return _bounded(numerics.square_root(divergence), tau, where)


@preparation.loss(layout=TURNED, tau=FROM_1)
@numerics.in_chunks
def reverse_kld_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    tau: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Kullback-Leibler divergence of the target from the prediction, bent to stay below 1.

    `1 - 1 / (tau + ln(1 + sqrt(KL(G to P))))`, where `KL(G to P)` is `gaussian.kl(targets, predictions)`: lengths count
    in units of the prediction, which grows to reach a target. mmrotate calls it kld.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      tau: from 1 to 1e15, `()` or one a box, may be traced. Equal boxes have `1 - 1 / tau`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes, with the default `tau`.

    Raises:
      ValueError: if `tau` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.
      Held constant: the longest length.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2106.01883
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    return _bounded(numerics.square_root(gaussian.kl(targets, predictions)), tau, where)


@preparation.loss(layout=TURNED, tau=FROM_1)
@numerics.in_chunks
def jeffreys_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    tau: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Mean of both Kullback-Leibler divergences, bent to stay below 1.

    `1 - 1 / (tau + ln(1 + sqrt(J)))`, where J is `gaussian.jeffreys`.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      tau: from 1 to 1e15, `()` or one a box, may be traced. Equal boxes have `1 - 1 / tau`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes, with the default `tau`.

    Raises:
      ValueError: if `tau` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.
      Held constant: the longest length.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2106.01883
    """
    divergence = gaussian.jeffreys(*preparation.masked(where, predictions, targets))
    return _bounded(numerics.square_root(divergence), tau, where)


@preparation.loss(layout=TURNED, tau=FROM_1)
@numerics.in_chunks
def bhattacharyya_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    tau: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Bhattacharyya distance, bent to stay below 1.

    `1 - 1 / (tau + ln(1 + sqrt(D)))`, where D is `gaussian.bhattacharyya`. Unlike `probiou_loss` it has a gradient
    where the boxes are far apart.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      tau: from 1 to 1e15, `()` or one a box, may be traced. Equal boxes have `1 - 1 / tau`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes, with the default `tau`.

    Raises:
      ValueError: if `tau` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.
      Held constant: the longest length.

    References:
      Yang et al., 2022, https://arxiv.org/abs/2209.10839
    """
    distance = gaussian.bhattacharyya(*preparation.masked(where, predictions, targets))
    return _bounded(numerics.square_root(distance), tau, where)


@preparation.loss(layout=TURNED)
@numerics.in_chunks
def probiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Hellinger distance of the distributions, which is one minus the probabilistic IoU.

    `sqrt(1 - exp(-D))`, where D is the Bhattacharyya distance of normal distributions with the covariance of a uniform
    one over the box, sides squared over 12: the offset counts three times of what it does in `gaussian.bhattacharyya`.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them. It vanishes for boxes that are several sides apart,
      where `bhattacharyya_loss` has one.
      Held constant: the longest length.

    References:
      Llerena et al., 2021, https://arxiv.org/abs/2106.06072
    """
    pair = Normals.of(*preparation.masked(where, predictions, targets)).in_units.raised(FLOOR)
    distance = 3 * pair.separation + pair.dissimilarity
    return numerics.fusion_barrier(numerics.square_root(-jnp.expm1(-distance)))


@preparation.loss(layout=TURNED)
@numerics.in_chunks
def kfiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus three times the Kalman filter IoU, which is 1/3 for equal boxes.

    `1 - 3 V / (A + B - V)`, where A, B and V are the roots of the determinants of the covariances of the boxes and of
    the product of their densities. It sees shape and angle only, as if the boxes were at one place: put a loss of the
    centers beside it. With K one minus this loss, over 3, the logarithmic form is `-jnp.log(K)` and the exponential one
    `jnp.exp(1 - K) - 1`; of equal boxes these are not 0.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for boxes of equal shape and angle.

    Gradient:
      Zero for equal boxes, and by the centers. Of two boxes without area the loss is flat, if both are points or lie
      along one line.

    References:
      Yang et al., 2022, https://arxiv.org/abs/2201.12558
    """
    boxes = preparation.masked(where, predictions, targets)
    return numerics.fusion_barrier(preparation.propagated(Normals.of(*boxes).shapes.kfiou_deficit, *boxes))


@preparation.loss(layout=TURNED, constant=POSITIVE)
@numerics.in_chunks
def rotated_nwd_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    constant: float | jax.Array | np.ndarray,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """One minus the normalized Wasserstein distance of turned boxes.

    `1 - exp(-W / constant)`, where W is `gaussian.wasserstein`. For boxes of angle 0 it is `nwd_loss`.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      constant: the unit of the distance, about the mean side of the boxes, in their unit; from 1e-15 to 1e15, `()` or
        one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes.

    Raises:
      ValueError: if `constant` is outside these bounds.

    Gradient:
      Zero for equal boxes, although the slope is not 0 near them.

    References:
      Wang et al., 2021, https://arxiv.org/abs/2110.13389
    """
    distance = gaussian.wasserstein(*preparation.masked(where, predictions, targets))
    return numerics.fusion_barrier(-jnp.expm1(-numerics.divide(distance, jnp.asarray(constant, distance.dtype))))


@preparation.loss(layout=TURNED)
def angle_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Squared sine of twice the turn between the boxes, as YOLO26 puts it beside a loss of the boxes.

    `exp(-(ln(w* / h*) / 3)^2) sin(2 t)^2`, where t is the difference of the angles and w* and h* are the sides of the
    target. It is 0 at every quarter of a turn, whatever the sides: it sharpens an angle that another loss has brought
    near. The weight is largest for squares, which have no angle, and falls with the aspect.

    Args:
      predictions: boxes, `[..., 5]`, center, width, height, and angle in radians.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 for boxes of equal angle, or a quarter of a turn apart, and for a
      target without width.

    Gradient:
      Zero for equal boxes, and by centers and sides.
      Held constant: the weight.

    References:
      Jocher and Qiu, 2026, https://github.com/ultralytics/ultralytics
    """
    boxes = preparation.masked(where, predictions, targets)
    pair = Turned.of(*boxes)
    # Nothing here is differentiated, so that maximum and minimum may be those of jnp.
    sides = [lax.stop_gradient(side) for side in pair.half_sides_b]
    aspect = numerics.divide(jnp.minimum(*sides), jnp.maximum(*sides))
    weight = jnp.where(aspect <= 0, 0, jnp.exp(-jnp.square(numerics.logarithm(aspect) / 3)))
    return numerics.fusion_barrier(preparation.propagated(weight * jnp.square(2 * pair.cosine * pair.sine), *boxes))
