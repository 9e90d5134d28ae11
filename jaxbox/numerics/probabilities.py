"""Logarithms of probabilities that are given by logits: finite, with exact derivatives, for every finite logit."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["divergence", "softplus"]


@jax.custom_jvp
def _softplus(x):
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


_softplus.defjvps(lambda dx, _, x: jax.nn.sigmoid(x) * dx)


def softplus(x: jax.Array) -> jax.Array:
    """`log(1 + exp(x))`, with the derivative `sigmoid(x)`: minus the logarithm of the probability `sigmoid(-x)`.

    JAX's derivative is the exponential of a difference, which has lost digits of a large `x`.

    Args:
      x: any real numbers.

    Returns:
      `softplus(x)`, `[0, inf)`.
    """
    return _softplus(x)


def _compared(excess, others):
    """The probabilities of the others, how much the logits exceed these, less the mean, and whether that is little."""
    weights = jax.nn.softmax(others)
    mean = jnp.sum(weights * jnp.where(weights == 0, 0, excess), axis=-1, keepdims=True)
    # A bin that neither has is a difference of infinities, which is not near.
    near = jnp.all(jnp.abs(excess - mean) < 1, axis=-1, keepdims=True)
    return weights, jnp.where(near | (weights > 0), excess - mean, 0), near


@jax.custom_jvp
def _divergence(excess, logits, others):
    weights, beyond, near = _compared(excess, others)
    u = jnp.where(near, beyond, 0)
    # exp(u) - 1 - u by its series, all terms of which count: what it leaves out is below the precision.
    last = 12 if u.dtype == jnp.float32 else 20
    series = functools.reduce(lambda rest, k: 1 + u * rest / k, range(last, 2, -1), jnp.ones_like(u))
    little = jnp.log1p(jnp.sum(weights * u * u * series / 2, axis=-1, keepdims=True))
    differences = jax.nn.log_softmax(others) - jax.nn.log_softmax(logits)
    large = jnp.sum(weights * jnp.where(weights == 0, 0, differences), axis=-1, keepdims=True)
    return jnp.where(near, little, jnp.maximum(large, 0))[..., 0]


@_divergence.defjvp
def _divergence_jvp(primals, tangents):
    (excess, logits, others), (_, dlogits, dothers) = primals, tangents  # what exceeds is that of the two
    value = _divergence(excess, logits, others)
    weights, beyond, near = _compared(excess, others)
    # The difference of the probabilities, as a product where it would cancel.
    little = weights * jnp.expm1(jnp.where(near, beyond - value[..., None], 0))
    slope = jnp.where(near, little, jax.nn.softmax(logits) - weights)
    return value, jnp.sum(slope * dlogits - weights * beyond * dothers, axis=-1)


def divergence(logits: jax.Array, others: jax.Array, temperature: float | jax.Array | np.ndarray = 1.0) -> jax.Array:
    """The Kullback-Leibler divergence of the distribution of the first logits from that of the others.

    `sum(q (ln q - ln p))` for the softmax p of the first and q of the others. The usual difference of two log-softmax
    is off by the precision times the logarithms; this one is right for logits that nearly agree, which flat
    distributions do, and exactly 0, with derivative 0, for the same logits.

    Args:
      logits: `[..., bins]`; -inf only where the others have -inf too.
      others: `[..., bins]`. A bin that cannot be has -inf.
      temperature: what the logits are divided by, above 0, `()` or `[..., 1]`; may be traced.

    Returns:
      The divergence, `[...]`, in `[0, inf)`.
    """
    # Their difference before the division, and without the largest one: a program may subtract products unrounded.
    largest = (lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True)) for x in (logits, others))
    below = ((x - most) / temperature for x, most in zip((logits, others), largest, strict=True))
    return _divergence((logits - others) / temperature, *below)
