"""Losses of coordinates one by one, in any layout: their sum over the last axis is one value a box."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import numerics
from jaxbox._checks import COORDINATES, NOT_NEGATIVE, POSITIVE, POSITIVE_OR_INFINITE
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "l1_loss",
    "l2_loss",
    "smooth_l1_loss",
    "huber_loss",
    "balanced_l1_loss",
    "log_cosh_loss",
]


@preparation.loss(layout=COORDINATES)
def l1_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Sum of the absolute errors of the coordinates.

    `sum(|d|)`, where d is prediction minus target. optax and torch return one value a coordinate instead, or their
    mean. DETR takes this loss of centers and sides in units of the image: convert with `boxes.xyxy_to_cxcywh` first.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the unit of the coordinates, `[...]`, in `[0, inf)`.

    Gradient:
      The sign of each error; 0 where it is 0.

    References:
      Carion et al., 2020, https://arxiv.org/abs/2005.12872
    """
    errors = preparation.errors(where, predictions, targets)
    return preparation.total_of_simple(numerics.absolute(error) for error in errors)


@preparation.loss(layout=COORDINATES)
def l2_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Half the sum of the squared errors of the coordinates.

    `sum(d^2 / 2)`, where d is prediction minus target: `optax.l2_loss`, summed over the coordinates. torch leaves out
    the half, and takes the mean.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the squared unit of the coordinates, `[...]`, in `[0, inf)`.

    Gradient:
      The errors themselves.

    References:
      Girshick et al., 2013, https://arxiv.org/abs/1311.2524
    """
    errors = preparation.errors(where, predictions, targets)
    return preparation.total_of_simple(error * error / 2 for error in errors)


@preparation.loss(layout=COORDINATES, beta=NOT_NEGATIVE)
def smooth_l1_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    beta: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Sum of the absolute errors of the coordinates, each rounded off near 0.

    `sum(d^2 / (2 beta) if |d| < beta else |d| - beta / 2)`, where d is prediction minus target. Its slope far from the
    target is 1 for every beta; that of `huber_loss` is delta, and the two agree only at 1.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      beta: where the parabola ends, in the unit of the coordinates, not negative, `()` or one a box; may be traced. 0
        gives `l1_loss`, infinity gives 0.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the unit of the coordinates, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if `beta` is negative.

    Gradient:
      `clip(d, -beta, beta) / beta`.

    References:
      Girshick, 2015, https://arxiv.org/abs/1504.08083
    """
    errors = preparation.errors(where, predictions, targets)
    beta = preparation.of_coordinates(beta)
    return preparation.total(numerics.smooth_absolute(error, beta) for error in errors)


@preparation.loss(layout=COORDINATES, delta=NOT_NEGATIVE)
def huber_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    delta: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Sum of half the squared errors of the coordinates, each growing only linearly beyond delta.

    `sum(d^2 / 2 if |d| < delta else delta (|d| - delta / 2))`, where d is prediction minus target. It is delta times
    `smooth_l1_loss` with that beta, and the two agree only at 1.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      delta: where the parabola ends, in the unit of the coordinates, not negative, `()` or one a box; may be traced.
        Infinity gives `l2_loss`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the squared unit of the coordinates, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if `delta` is negative.

    Gradient:
      `clip(d, -delta, delta)`.

    References:
      Huber, 1964, https://doi.org/10.1214/aoms/1177703732
    """
    errors = preparation.errors(where, predictions, targets)
    delta = preparation.of_coordinates(delta)
    return preparation.total(numerics.straightened_square(error, delta) for error in errors)


@preparation.loss(layout=COORDINATES, alpha=POSITIVE_OR_INFINITE, gamma=POSITIVE, beta=POSITIVE)
def balanced_l1_loss(
    predictions: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 0.5,
    gamma: float | jax.Array | np.ndarray = 1.5,
    beta: float | jax.Array | np.ndarray = 1.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Sum of the errors of the coordinates, with more weight on the small ones than smooth L1 gives.

    `beta sum(alpha / b ((1 + z) ln(1 + z) - z) + gamma max(e - 1, 0))`, where `e = |d| / beta` for the error d, `b =
    exp(gamma / alpha) - 1` and `z = b min(e, 1)`. Its slope is 0 at 0 for every beta; the common generalization has
    slope `alpha (1 / beta - 1)` there.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      alpha: slope scale near 0; above 0, `()` or one a box, may be traced. Infinity gives a parabola.
      gamma: slope far from 0; from 1e-15 to 1e15, `()` or one a box, may be traced.
      beta: where the straight part begins, in the unit of the coordinates; from 1e-15 to 1e15, `()` or one
        a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in the unit of the coordinates, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if an option is outside its bounds.

    Gradient:
      `alpha ln(b |d| / beta + 1)` with the sign of d, up to gamma; 0 where d is 0.

    References:
      Pang et al., 2019, https://arxiv.org/abs/1904.02701
    """
    errors = preparation.errors(where, predictions, targets)
    alpha, gamma, beta = map(preparation.of_coordinates, (alpha, gamma, beta))

    def balanced(error: jax.Array) -> jax.Array:
        size = numerics.absolute(error)
        width = jnp.asarray(beta, error.dtype)
        near = numerics.minimum(numerics.divide(size, width), 1)
        return width * numerics.balanced_integral(near, alpha, gamma) + gamma * numerics.maximum(size - width, 0)

    return preparation.total(map(balanced, errors))


@preparation.loss(layout=COORDINATES)
def log_cosh_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Sum of the logarithms of the hyperbolic cosines of the errors.

    `sum(ln cosh d)`, where d is prediction minus target: half the square of a small error, and `|d| - ln 2` of a large
    one.

    Args:
      predictions: coordinates in any layout and unit, `[..., k]`.
      targets: coordinates in the same layout and unit, `[..., k]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss, `[...]`, in `[0, inf)`; the unit of the coordinates decides which errors are small.

    Gradient:
      `tanh(d)`.

    References:
      Chen et al., 2019, https://openreview.net/forum?id=rkglvsC9Ym
    """
    errors = preparation.errors(where, predictions, targets)
    return preparation.total(map(numerics.log_cosh, errors))
