"""Losses of coordinates that are predicted as a distribution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics
from jaxbox.losses import preparation

__all__ = ["distribution_focal_loss", "uncertain_l1_loss"]


def _check_distribution(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    logits, targets = (_checks.floats(name, given[name]) for name in ("logits", "targets"))
    if logits.ndim == 0 or (isinstance(logits.shape[-1], int) and logits.shape[-1] < 2):
        raise ValueError(
            f"`logits` has shape {logits.shape}, but a distribution needs at least 2 bins in the last axis."
        )
    leading = logits.shape[:-1]
    sides, numbers = targets.shape[-1] if targets.ndim else 1, logits.shape[-1]
    if targets.shape == (*leading, sides) and sides > 1 and numbers % sides == 0 and numbers > sides:
        raise ValueError(
            f"`logits` has shape {logits.shape} and `targets` {targets.shape}, but there are the logits of one target "
            f"in the last axis. If these are {sides} targets in a row write "
            f"`logits.reshape(*logits.shape[:-1], {sides}, {numbers // sides})`."
        )
    given |= {"logits": logits, "targets": _checks.exactly("targets", targets, leading)}
    given["where"] = _checks.mask(given["where"], leading)
    return {}


def _check_variance(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    names = ("predictions", "log_variance", "targets")
    arrays = {name: _checks.laid_out(name, given[name], _checks.COORDINATES) for name in names}
    _checks.assert_equal_shapes(arrays, lambda: "")
    given |= arrays
    given["where"] = _checks.mask(given["where"], arrays["targets"].shape[:-1])
    return {}


@_checks.checked(_check_distribution)
def distribution_focal_loss(
    logits: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Cross-entropy of a coordinate, predicted as a distribution over bins, against the two bins beside it.

    `-sum(max(0, 1 - |target - k|) log_softmax(logits)_k)` over the bins k: the weights of the two neighbours are
    linear. The minimum is the entropy of these weights, which is 0 only for whole targets.

    Args:
      logits: one a bin, `[..., bins]`, with at least two bins. A bin that cannot be has -inf.
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
    if where is not None:
        logits = jnp.where(jnp.expand_dims(where, -1), logits, 0)
        targets = jnp.where(where, targets, 0)
    logits, targets = numerics.promote(logits, targets)
    inside = jnp.clip(targets, 0, logits.shape[-1] - 1)
    weights = jnp.clip(1 - numerics.absolute(jnp.expand_dims(inside, -1) - _bins(logits)), min=0)
    logarithms = jax.nn.log_softmax(logits)
    # A bin that does not count may have a logit of -inf.
    counted = jnp.where((weights == 0) & jnp.isneginf(logarithms), 0, logarithms)
    loss = -jnp.sum(weights * counted, axis=-1)
    return loss if where is None else jnp.where(where, loss, 0)


def _bins(logits: jax.Array) -> jax.Array:
    return lax.broadcasted_iota(logits.dtype, logits.shape, logits.ndim - 1)


@_checks.checked(_check_variance)
def uncertain_l1_loss(
    predictions: jax.Array | np.ndarray,
    log_variance: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    *,
    where: jax.Array | np.ndarray | None = None,
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

    def of_one(prediction: jax.Array, target: jax.Array, exponent: jax.Array) -> jax.Array:
        a = jnp.clip(exponent, -50, 50)
        return jnp.exp(-a) * numerics.smooth_absolute(prediction - target, 1.0) + a / 2

    return preparation.total(map(of_one, *preparation.coordinates(where, predictions, targets, log_variance)))
