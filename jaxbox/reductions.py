"""Masked and weighted sums and means of losses, and running means, on one device or on many.

The mean of the means of the shards is not the mean, since shards hold different numbers of boxes. So the sum of the
values and the sum of the weights each cross the devices, and are divided afterwards. How a step is written depends on
the transform; `axis_name` is the name of the mapped axis:

    transform                     axis_name  gradient of parameters that every device holds whole
    ----------------------------  ---------  ---------------------------------------------------------------------
    jit with NamedSharding        none       complete: arrays are global, and the compiler inserts the sums
    shard_map                     needed     complete: a replicated input transposes to a sum over the devices
    shard_map(check_vma=False)    needed     take `lax.pmean(gradient, axis_name)`, as under pmap
    pmap                          needed     take `lax.pmean(gradient, axis_name)`: `psum` transposes to `psum`, so
                                             each device holds its own part times the number of devices
"""

from __future__ import annotations

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax

from jaxbox import _checks, numerics

__all__ = ["normalizer", "update_mean", "weighted_mean", "weighted_sum"]


def _check(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    values = _checks.floats("values", given["values"])
    arrays = [values]
    if given.get("weights") is not None:
        given["weights"] = _weights(given["weights"], values.shape)
        arrays.append(given["weights"])
    given |= {"values": values, "where": _checks.mask(given["where"], values.shape)}
    dtype = _checks.dtype_to_compute_in(arrays)
    if "at_least" in given and "at_least" not in untouched:
        given["at_least"] = _checks.option("at_least", given["at_least"], _checks.NOT_NEGATIVE, (), dtype)
    if "momentum" in given:
        given["momentum"] = _checks.option("momentum", given["momentum"], _checks.BETWEEN_0_AND_1, (), dtype)
        given["mean"] = _mean(given["mean"])
    return _axes(given, values.shape)


def _check_counts(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    counts = _checks.array_of("counts", given["counts"])
    if counts.dtype != bool and not jnp.issubdtype(counts.dtype, jnp.integer):
        counts = _checks.floats("counts", counts)
    given["counts"] = counts
    if "least" not in untouched:
        dtype = _checks.dtype_to_compute_in([counts])
        given["least"] = _checks.option("least", given["least"], _checks.NOT_NEGATIVE, (), dtype)
    return _axes(given, counts.shape)


def _weights(value: object, shape: _checks.Shape) -> jax.Array | np.ndarray:
    if isinstance(value, (bool, int, float, np.generic)):
        raise TypeError(
            f"`weights` is {value}, but there is one value a box, {shape}. Write `jnp.full({shape}, weights)`."
        )
    array = _checks.array_of("weights", value)
    if array.dtype == bool:
        raise TypeError("`weights` has dtype bool, which is that of a mask. Write `where=weights`.")
    if jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            f"`weights` has dtype {array.dtype}, but weights are of floating point. If it is a mask, write "
            "`where=weights != 0`, which also keeps out what is masked and not finite; else write "
            "`weights.astype(jnp.float32)`."
        )
    return _checks.fitted("weights", _checks.floats("weights", array), shape)


def _mean(value: float | jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    if isinstance(value, (float, int, np.generic)):
        value = np.asarray(value, value.dtype if isinstance(value, np.generic) else np.float64)
    array = _checks.floats("mean", value)
    _checks.assert_shape(
        lambda: chex.assert_rank(array, 0),
        lambda: f"`mean` has shape {array.shape}, but a running mean is one number. Write `jnp.mean(mean)`.",
    )
    return array


def _axes(given: _checks.Given, shape: _checks.Shape) -> _checks.Given:
    """The names of mapped axes, and the axes as numbers: what a program knows."""
    known = {"axis_name": given["axis_name"]}
    if isinstance(known["axis_name"], list):
        known["axis_name"] = tuple(known["axis_name"])
    if "axis" not in given:
        return known
    axis = given["axis"]
    if isinstance(axis, (np.ndarray, jax.Array)) and not isinstance(axis, core.Tracer):
        axis = np.asarray(axis).tolist()
    axes = axis if isinstance(axis, (tuple, list)) or axis is None else (axis,)
    for one in axes or ():
        if isinstance(one, bool) or not isinstance(one, (int, np.integer)):
            raise TypeError(f"`axis` is {axis!r}, but it is a number or several. Write `axis=0`, for example.")
        if not -len(shape) <= one < len(shape):
            numbers = f"the axes 0 to {len(shape) - 1}" if shape else "no axis"
            raise ValueError(
                f"`axis` is {axis}, but values of shape {shape} have {numbers}. Write `axis=None` for all."
            )
    if len({int(one) % len(shape) for one in axes or ()}) < len(axes or ()):
        raise ValueError(f"`axis` is {axis}, which names an axis twice. Write `axis=None` for all.")
    return known | {"axis": None if axes is None else tuple(int(one) for one in axes)}


@_checks.checked(_check)
def weighted_sum(
    values: jax.Array | np.ndarray,
    weights: jax.Array | np.ndarray | None = None,
    *,
    where: jax.Array | np.ndarray | None = None,
    axis: int | Sequence[int] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The sum of `weights * values`.

    Args:
      values: one value a box, `[...]`.
      weights: how much each counts, `[...]` with axes that may have length 1, not negative; 1 without them. A weight of
        0 times an infinite value is 0.
      where: boolean mask, `[...]` with axes that may have length 1; what is False adds 0, whatever it holds.
      axis: the axes to sum over, all by default.
      axis_name: names of the mapped axes to sum over as well, inside `shard_map` or `pmap`.

    Returns:
      The sum in the unit of the values: a scalar, or an array of the axes that are left.

    Raises:
      ValueError: if a shape or an axis does not fit the values.

    Gradient:
      Of the values, their weights. The table at the head of `jaxbox.reductions` tells how it combines with `axis_name`.
    """
    values, weights = _masked(values, weights, where)
    return _total(weights * values, axis, axis_name)


@_checks.checked(_check)
def weighted_mean(
    values: jax.Array | np.ndarray,
    weights: jax.Array | np.ndarray | None = None,
    *,
    where: jax.Array | np.ndarray | None = None,
    axis: int | Sequence[int] | None = None,
    at_least: float | jax.Array | np.ndarray = 0.0,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The sum of `weights * values` over the sum of the weights; 0 where that is 0, or below 1e-31.

    A batch without a box then has loss 0 with gradient 0, where the mean of nothing would be NaN. Detectors divide by 1
    at least, so that weights that sum to less are not magnified: that is `at_least=1`.

    Args:
      values: one value a box, `[...]`.
      weights: how much each counts, `[...]` with axes that may have length 1, not negative; 1 without them. A weight of
        0 times an infinite value is 0.
      where: boolean mask, `[...]` with axes that may have length 1; what is False counts neither above nor below the
        line, whatever it holds.
      axis: the axes to average over, all by default.
      at_least: the least divisor, not negative; may be traced.
      axis_name: names of the mapped axes to sum over as well, above and below the line, inside `shard_map` or `pmap`.

    Returns:
      The mean in the unit of the values: a scalar, or an array of the axes that are left.

    Raises:
      ValueError: if a shape or an axis does not fit the values, or `at_least` is negative.

    Gradient:
      Of the values, their weights over the divisor. The table at the head of `jaxbox.reductions` tells how it combines
      with `axis_name`.
    """
    values, weights = _masked(values, weights, where)
    divisor = numerics.maximum(_total(weights, axis, axis_name), at_least)
    return numerics.divide(_total(weights * values, axis, axis_name), divisor)


@_checks.checked(_check_counts)
def normalizer(
    counts: jax.Array | np.ndarray,
    *,
    axis: int | Sequence[int] | None = None,
    axis_name: str | tuple[str, ...] | None = None,
    least: float | jax.Array | np.ndarray = 1.0,
) -> jax.Array:
    """What detectors divide the sum of a loss by: the number of targets, averaged over the devices, but at least 1.

    Each device divides its own sum by it, and the mean over the devices of what they get, or of its gradient, is the
    sum over all divided by the count over all. Where that count is below the number of devices, `least` makes it larger
    than one device would have it; `least=1 / lax.psum(1, axis_name)` makes it the same.

    Args:
      counts: a mask of the targets, their numbers, or weights, `[...]`.
      axis: the axes to sum over, all by default.
      axis_name: names of the mapped axes to average over, inside `shard_map` or `pmap`. Under `jit` arrays are global,
        and nothing is to be averaged.
      least: the least result, not negative; may be traced.

    Returns:
      The larger of `least` and the mean over the devices of the sum: a scalar, or an array of the axes that are left,
      of floating point.

    Raises:
      ValueError: if an axis does not fit the counts, or `least` is negative.

    Gradient:
      Of weights, 1 over the number of devices where the sum is larger than `least`.
    """
    if jnp.issubdtype(counts.dtype, jnp.floating):
        (counts,) = numerics.promote(counts)
        total = jnp.sum(numerics.fusion_barrier(counts), axis=axis)
    else:
        total = jnp.sum(counts, axis=axis).astype(jnp.float32)
    return numerics.maximum(total if axis_name is None else lax.pmean(total, axis_name), least)


@_checks.checked(_check)
def update_mean(
    mean: float | jax.Array | np.ndarray,
    values: jax.Array | np.ndarray,
    *,
    momentum: float | jax.Array | np.ndarray,
    where: jax.Array | np.ndarray | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The next running mean of a loss, for `losses.focused_wiou_loss`. State is an argument and a result, as in optax.

    Wise-IoU takes `momentum = 1 - 0.05 ** (1 / steps)`, where steps is how many it takes until the mean should have
    forgotten all but 5 % of where it began, and begins with 1.

    Args:
      mean: the running mean before, a scalar.
      values: one value of `losses.iou_loss` a box, `[...]`. One that is not finite counts as masked, and a mean that is
        not finite in the dtype of `mean` is left out: a batch that went wrong does not stay.
      momentum: the share of the new values, in `(0, 1)`; may be traced.
      where: boolean mask, `[...]` with axes that may have length 1. Nothing is updated by a batch without a box.
      axis_name: names of the mapped axes to average over as well, inside `shard_map` or `pmap`.

    Returns:
      The running mean after, a scalar of the dtype that `mean` has, so that `lax.scan` can carry it.

    Raises:
      ValueError: if `momentum` is not between 0 and 1.

    Gradient:
      None: the mean is held constant.

    References:
      Tong et al., 2023, https://arxiv.org/abs/2301.10051
    """
    mean, values = (jnp.asarray(lax.stop_gradient(x)) for x in (mean, values))
    counted = jnp.isfinite(values) if where is None else jnp.isfinite(values) & where
    batch_mean = weighted_mean(values, where=counted, axis_name=axis_name)
    count = weighted_sum(jnp.ones_like(values), where=counted, axis_name=axis_name)
    before = jnp.asarray(mean, batch_mean.dtype)
    after = (before + momentum * (batch_mean - before)).astype(jnp.result_type(mean))
    return jnp.where((count > 0) & jnp.isfinite(after), after, mean)


def _masked(
    values: jax.Array | np.ndarray, weights: jax.Array | np.ndarray | None, where: jax.Array | np.ndarray | None
) -> tuple[jax.Array, jax.Array]:
    if weights is None:
        weights = jnp.ones_like(values)
    values, weights = numerics.promote(values, weights)
    weights = jnp.broadcast_to(weights, values.shape)
    if where is not None:
        values, weights = jnp.where(where, values, 0), jnp.where(where, weights, 0)
    return jnp.where((weights == 0) & jnp.isinf(values), 0, values), weights


def _total(values: jax.Array, axis: int | Sequence[int] | None, axis_name: str | tuple[str, ...] | None) -> jax.Array:
    total = jnp.sum(numerics.fusion_barrier(values), axis=axis)
    return total if axis_name is None else lax.psum(total, axis_name)


def __dir__() -> list[str]:
    return sorted(__all__)
