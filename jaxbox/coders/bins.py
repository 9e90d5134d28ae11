"""Numbers that are predicted as a distribution over bins."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax

from jaxbox import _checks, numerics
from jaxbox._checks import POSITIVE

__all__ = ["expected_bin", "fine_bins", "fractional_bin"]


def _check_logits(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    logits = given["logits"] = _checks.floats("logits", given["logits"])
    if logits.ndim == 0:
        raise ValueError("`logits` has shape (), but the bins are its last axis. Write `logits[None]`.")
    if given["values"] is not None:
        values = given["values"] = _values(given["values"])
        if values.shape != logits.shape[-1:]:
            raise ValueError(
                f"`values` has shape {values.shape}, but `logits` of shape {logits.shape} have {logits.shape[-1]} bins."
            )
    return {}


def _check_distances(_: str, given: _checks.Given, __: _checks.Given) -> _checks.Given:
    given["distances"] = _checks.floats("distances", given["distances"])
    values = given["values"] = _values(given["values"])
    if values.shape[0] < 2:
        raise ValueError(f"`values` has shape {values.shape}, but there are at least 2 bins.")
    if not isinstance(values, core.Tracer) and not np.all(np.diff(np.asarray(values, np.float64)) > 0):
        raise ValueError("`values` are those of the bins, each above the one before. Write `jnp.unique(values)`.")
    return {}


def _values(value: object) -> _checks.Array:
    values = _checks.floats("values", value)
    if values.ndim != 1:
        raise ValueError(f"`values` has shape {values.shape}, but it is one number a bin, `[bins]`.")
    return values


def _check_bins(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    bins = given["bins"]
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 3 or bins % 2 == 0:
        raise ValueError(f"`bins` is {bins!r}, but it is an odd number, 3 or above: one bin is in the middle.")
    for name in given.keys() - untouched.keys() - {"bins"}:
        given[name] = _checks.option(name, given[name], POSITIVE, (), np.dtype(jnp.result_type(float)))
    return {"bins": int(bins)}


@_checks.checked(_check_logits)
def expected_bin(logits: jax.Array | np.ndarray, values: jax.Array | np.ndarray | None = None) -> jax.Array:
    """The mean of a distribution over bins: decodes what `losses.distribution_focal_loss` trains.

    Args:
      logits: one a bin, `[..., bins]`. A bin that cannot be has -inf.
      values: what each bin stands for, `[bins]`, such as `fine_bins()`; by default its index.

    Returns:
      Means in the unit of the values, `[...]`, between the least and the largest of them.
    """
    if values is None:
        (logits,) = numerics.promote(logits)
        values = lax.broadcasted_iota(logits.dtype, logits.shape[-1:], 0)
    logits, values = numerics.promote(logits, values)
    return jnp.sum(jax.nn.softmax(logits) * _in_front(values, logits.ndim - 1), axis=-1)


@_checks.checked(_check_distances)
def fractional_bin(distances: jax.Array | np.ndarray, values: jax.Array | np.ndarray) -> jax.Array:
    """The index of a number among the values of bins, with a fraction between two of them.

    What `losses.distribution_focal_loss` takes as targets. `expected_bin` of the two bins beside it, weighted by the
    fraction, is the number again.

    Args:
      distances: numbers in the unit of the values, `[...]`; those beyond an end count as the end.
      values: what each bin stands for, `[bins]`, ascending, such as `fine_bins()`.

    Returns:
      Coordinates in bins, `[...]`, in `[0, bins - 1]`.

    Raises:
      ValueError: if `values` are not ascending.

    Gradient:
      One over the width of the bin, the mean of two at a value, and 0 beyond an end.
    """
    distances, values = numerics.promote(distances, values)
    low, width = (_in_front(x, distances.ndim) for x in (values[:-1], values[1:] - values[:-1]))
    # Each bin below is worth 1, and the one that it is in its share.
    shares = numerics.clip(numerics.divide(jnp.expand_dims(distances, -1) - low, width), 0, 1)
    return jnp.sum(shares, axis=-1)


def _in_front(values: jax.Array, missing: int) -> jax.Array:
    return jnp.expand_dims(values, range(missing))


@_checks.checked(_check_bins)
def fine_bins(
    bins: int = 33,
    *,
    reach: float | jax.Array | np.ndarray = 0.5,
    curvature: float | jax.Array | np.ndarray = 4.0,
) -> jax.Array:
    """The values of D-FINE's bins, close together near 0 and far apart beyond.

    `+-((1 + r)^(2 i / (bins - 3)) - 1)` for the bins i = 0, 1, ... from the middle, where `r = reach curvature`; the
    outermost two are `+-2 r`.

    Args:
      bins: how many, an odd number from 3 on.
      reach: how far the sides of a box move, as a part of the sides of its reference, but for the outermost bins; from
        1e-15 to 1e15, may be traced.
      curvature: as in `encode_fine`; from 1e-15 to 1e15, may be traced.

    Returns:
      Values, `[bins]`, ascending.

    Raises:
      ValueError: if an argument is outside its bounds.

    References:
      Peng et al., 2024, https://arxiv.org/abs/2410.13842
    """
    reach, curvature = (jnp.asarray(option, jnp.result_type(float)) for option in (reach, curvature))
    most = bins // 2 - 1  # the last one but one
    exponents = jnp.arange(1, most + 1, dtype=reach.dtype) / max(most, 1)
    inner = jnp.expm1(exponents * jnp.log1p(reach * curvature))
    positive = jnp.concatenate([inner, (2 * reach * curvature)[None]])
    return jnp.concatenate([-positive[::-1], jnp.zeros_like(positive[:1]), positive])
