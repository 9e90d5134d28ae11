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

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import boxes, numerics


def weighted_sum(
    values: chex.Array,
    weights: chex.Array | None = None,
    *,
    where: chex.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The sum of `weights * values`.

    Args:
      values: one value a box, `[...]`.
      weights: how much each counts, `[...]`, not negative; 1 without them.
      where: boolean mask, `[...]`; what is False adds 0, whatever it holds.
      axis_name: names of the mapped axes to sum over as well, inside `shard_map` or `pmap`.

    Returns:
      The sum, a scalar in the unit of the values.

    Gradient:
      Of the values, their weights. The table at the head of `jaxbox.reductions` tells how it combines with `axis_name`.
    """
    values, weights = _masked(values, weights, where)
    return _total(weights * values, axis_name)


def weighted_mean(
    values: chex.Array,
    weights: chex.Array | None = None,
    *,
    where: chex.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The sum of `weights * values` over the sum of the weights, or over 1 where that is less.

    A batch without a box then has loss 0 with gradient 0, where the mean of nothing would be NaN.

    Args:
      values: one value a box, `[...]`.
      weights: how much each counts, `[...]`, not negative; 1 without them.
      where: boolean mask, `[...]`; what is False counts neither above nor below the line, whatever it holds.
      axis_name: names of the mapped axes to sum over as well, above and below the line, inside `shard_map` or `pmap`.

    Returns:
      The mean, a scalar in the unit of the values.

    Gradient:
      Of the values, their weights over the divisor. The table at the head of `jaxbox.reductions` tells how it combines
      with `axis_name`.
    """
    values, weights = _masked(values, weights, where)
    return _total(weights * values, axis_name) / jnp.clip(_total(weights, axis_name), min=1)


def update_mean(
    mean: chex.Numeric,
    values: chex.Array,
    *,
    momentum: chex.Numeric,
    where: chex.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The next running mean of a loss, for `losses.focused_wiou_loss`. State is an argument and a result, as in optax.

    Wise-IoU takes `momentum = 1 - 0.05 ** (1 / steps)`, where steps is how many it takes until the mean should have
    forgotten all but 5 % of where it began, and begins with 1.

    Args:
      mean: the running mean before, a scalar.
      values: one value of `losses.iou_loss` a box, `[...]`.
      momentum: the share of the new values, in `(0, 1)`; may be traced.
      where: boolean mask, `[...]`. Nothing is updated by a batch without a box.
      axis_name: names of the mapped axes to average over as well, inside `shard_map` or `pmap`.

    Returns:
      The running mean after, a scalar.

    Raises:
      ValueError: if `momentum` is not between 0 and 1.

    Gradient:
      None: the mean is held constant.

    References:
      Tong et al., 2023, https://arxiv.org/abs/2301.10051
    """
    numerics.assert_between(0, 1, momentum=momentum)
    values = lax.stop_gradient(values)
    batch_mean = weighted_mean(values, where=where, axis_name=axis_name)
    count = weighted_sum(jnp.ones_like(values), where=where, axis_name=axis_name)
    mean, momentum = (jnp.asarray(number, batch_mean.dtype) for number in (lax.stop_gradient(mean), momentum))
    return jnp.where(count > 0, mean + momentum * (batch_mean - mean), mean)


def _masked(values: chex.Array, weights: chex.Array | None, where: chex.Array | None) -> tuple[jax.Array, jax.Array]:
    boxes.assert_float(values=values)
    if weights is None:
        weights = jnp.ones_like(values)
    boxes.assert_float(weights=weights)
    boxes.assert_shape(values.shape, weights=weights)
    values, weights = numerics.promote(values, weights)
    if where is None:
        return values, weights
    boxes.assert_mask(where, values.shape)
    return jnp.where(where, values, 0), jnp.where(where, weights, 0)


def _total(values: jax.Array, axis_name: str | tuple[str, ...] | None) -> jax.Array:
    total = jnp.sum(numerics.seam(values))
    return total if axis_name is None else lax.psum(total, axis_name)
