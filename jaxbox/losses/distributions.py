"""Losses of coordinates that are predicted as a distribution."""

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import boxes, numerics
from jaxbox.losses import preparation


def distribution_focal_loss(logits: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """Cross-entropy of a coordinate, predicted as a distribution over bins, against the two bins beside it.

    `-sum(max(0, 1 - |target - k|) log_softmax(logits)_k)` over the bins k: the weights of the two neighbours are
    linear. The minimum is the entropy of these weights, which is 0 only for whole targets.

    Args:
      logits: one a bin, `[..., bins]`, with at least two bins.
      targets: coordinates in bins, `[...]`; those outside `[0, bins - 1]` are clipped to it.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if `targets` is not one number a row of logits, or there is one bin.

    Gradient:
      Softmax minus the weights of the bins; that of the target is 0 outside the bins.

    References:
      Li et al., 2020, https://arxiv.org/abs/2006.04388
    """
    boxes.assert_float(logits=logits, targets=targets)
    boxes.assert_shape(logits.shape[:-1], targets=targets)
    if logits.ndim == 0 or logits.shape[-1] < 2:
        raise ValueError(
            f"`logits` has shape {logits.shape}, but a distribution needs at least 2 bins in the last axis."
        )
    if where is not None:
        boxes.assert_mask(where, targets.shape)
        logits = jnp.where(jnp.expand_dims(where, -1), logits, 0)
        targets = jnp.where(where, targets, 0)
    logits, targets = numerics.promote(logits, targets)
    inside = jnp.clip(targets, 0, logits.shape[-1] - 1)
    weights = jnp.clip(1 - numerics.absolute(jnp.expand_dims(inside, -1) - _bins(logits)), min=0)
    loss = -jnp.sum(weights * jax.nn.log_softmax(logits, axis=-1), axis=-1)
    return loss if where is None else jnp.where(where, loss, 0)


def expected_bin(logits: chex.Array) -> jax.Array:
    """Decodes a coordinate that was trained with `distribution_focal_loss`: the mean of its distribution.

    Args:
      logits: one a bin, `[..., bins]`.

    Returns:
      Coordinates in bins, `[...]`, in `[0, bins - 1]`.
    """
    boxes.assert_float(logits=logits)
    (logits,) = numerics.promote(logits)
    return jnp.sum(jax.nn.softmax(logits, axis=-1) * _bins(logits), axis=-1)


def _bins(logits: jax.Array) -> jax.Array:
    return lax.broadcasted_iota(logits.dtype, logits.shape, logits.ndim - 1)


def gaussian_box_loss(
    predictions: chex.Array, log_variance: chex.Array, targets: chex.Array, *, where: chex.Array | None = None
) -> jax.Array:
    """Sum of the errors of the coordinates, each over its predicted variance: the KL loss.

    `sum(exp(-a) smooth_l1(d) + a / 2)`, where d is prediction minus target, and a the logarithm of the variance.
    Predicting the logarithm keeps the variance positive.

    Args:
      predictions: coordinates in any layout, `[..., k]`, in a unit in which an error of 1 is large.
      log_variance: logarithm of the variance of each, `[..., k]`; beyond -50 and 50 it counts as these.
      targets: coordinates in the same layout and unit, `[..., k]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss, `[...]`, in `(-inf, inf)`: it has no least value, as the variance may shrink with the error.

    Gradient:
      `exp(-a) clip(d, -1, 1)`, which is 0 at the target.

    References:
      He et al., 2018, https://arxiv.org/abs/1809.08545
    """
    boxes.assert_aligned(predictions=predictions, log_variance=log_variance, targets=targets)
    predictions, log_variance, targets = numerics.promote(predictions, log_variance, targets)
    predictions, targets = preparation.prepared(predictions, targets, where)
    if where is not None:
        log_variance = jnp.where(jnp.expand_dims(where, -1), log_variance, 0)
    errors, exponents = numerics.unstack(predictions - targets, jnp.clip(log_variance, -50, 50))
    pairs = zip(errors, exponents, strict=True)
    return numerics.seam(numerics.total(jnp.exp(-a) * numerics.smooth_absolute(d, 1.0) + a / 2 for d, a in pairs))
