"""Losses of classes, one logit a class, and of distributions that learn from others.

A class is one of K that do not exclude each other, so that each has a sigmoid of its own. In the formulas x is a logit,
p its sigmoid, y its entry of `onehot`, and q the quality of the prediction, such as the IoU with its target. All of
them are `sum(a softplus(-x) + b softplus(x))` with two weights: softplus is minus the logarithm of a probability.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import _checks, numerics
from jaxbox._checks import FACTOR, POSITIVE, SHARE
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "focal_loss",
    "varifocal_loss",
    "matchability_loss",
    "iou_aware_loss",
    "quality_focal_loss",
    "distillation_loss",
]


def _of_classes(
    *arrays: str, one_a_row: str | None, **intervals: _checks.Interval
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a loss of a formula of two arrays `[..., K]` and perhaps one `[...]`, with options in these intervals."""

    def check(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
        first, second = arrays
        given[first] = _checks.floats(first, given[first])
        leading = given[first].shape[:-1]
        if given[first].ndim == 0:
            raise ValueError(f"`{first}` has shape (), but there are several in the last axis. Write `{first}[None]`.")
        given[second] = _checks.array_of(second, given[second])
        if second == "onehot" and given[second].shape == leading:
            raise ValueError(
                f"`onehot` has shape {leading}, but it has a number for each class, {given[first].shape}. If it holds "
                f"the classes write `jax.nn.one_hot(onehot, {given[first].shape[-1]})`."
            )
        given[second] = _checks.floats(second, given[second])
        _checks.assert_equal_shapes({name: given[name] for name in arrays}, lambda: "")
        computed = [given[name] for name in arrays]
        if one_a_row is not None:
            given[one_a_row] = _checks.exactly(one_a_row, _checks.floats(one_a_row, given[one_a_row]), leading)
            computed.append(given[one_a_row])
        given["where"] = _checks.mask(given["where"], leading)
        dtype = _checks.dtype_to_compute_in(computed)
        for name in intervals.keys() - untouched.keys():
            given[name] = _checks.option(name, given[name], intervals[name], leading, dtype)
        return {}

    return _checks.checked(check)


def _prepared(where: jax.Array | np.ndarray | None, *arrays: jax.Array | np.ndarray) -> tuple[jax.Array, ...]:
    """Arrays `[..., K]`, and those of one a row as `[..., 1]`, with zeros where a row is masked, to compute in."""
    rank = arrays[0].ndim
    columns = [array if array.ndim == rank else jnp.expand_dims(array, -1) for array in arrays]
    return numerics.promote(*preparation.masked(where, *columns))


def _power_of_probability(logits: jax.Array, exponent: float | jax.Array | np.ndarray) -> jax.Array:
    """`sigmoid(logits) ** exponent`; as an exponential all its derivatives are products of numbers up to 1."""
    return jnp.exp(-exponent * numerics.softplus(-logits))


def _two_sided(
    where: jax.Array | np.ndarray | None,
    logits: jax.Array,
    positive: _checks.Array,
    negative: _checks.Array,
) -> jax.Array:
    """`sum(positive softplus(-x) + negative softplus(x))` over the classes, 0 where a row is masked."""
    terms = positive * numerics.softplus(-logits) + negative * numerics.softplus(logits)
    return _kept(where, jnp.sum(numerics.fusion_barrier(terms), axis=-1))


def _kept(where: jax.Array | np.ndarray | None, values: jax.Array) -> jax.Array:
    return values if where is None else jnp.where(where, values, 0)


@_of_classes("logits", "onehot", one_a_row=None, alpha=SHARE, gamma=FACTOR)
def focal_loss(
    logits: jax.Array | np.ndarray,
    onehot: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 0.25,
    gamma: float | jax.Array | np.ndarray = 2.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Cross-entropy of classes in which what is classified well counts little: RetinaNet, Deformable DETR, DINO.

    `-sum(alpha y (1 - p)^gamma ln p + (1 - alpha) (1 - y) p^gamma ln(1 - p))` over the classes. With `gamma=0` and
    `alpha=0.5` it is half the binary cross-entropy. Entries of `onehot` between 0 and 1 weigh the two terms; some
    implementations mix the powers too.

    Args:
      logits: one a class, `[..., K]`.
      onehot: 1 for the class of the prediction and 0 for others, `[..., K]`; several 1 for several classes, none for
        the background.
      alpha: weight of the classes that are there; from 0 to 1, `()` or one a prediction, may be traced.
      gamma: how little counts what is classified well; from 0 to 1e15, `()` or one a prediction, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`.

    Raises:
      ValueError: if an option is outside its bounds.

    Gradient:
      That of the formula: the powers of p are differentiated too.

    References:
      Lin et al., 2017, https://arxiv.org/abs/1708.02002
    """
    x, y = _prepared(where, logits, onehot)
    alpha, gamma = map(preparation.of_coordinates, (alpha, gamma))
    positive = alpha * y * _power_of_probability(-x, gamma)
    negative = (1 - alpha) * (1 - y) * _power_of_probability(x, gamma)
    return _two_sided(where, x, positive, negative)


@_of_classes("logits", "onehot", one_a_row="quality", alpha=FACTOR, gamma=FACTOR)
def varifocal_loss(
    logits: jax.Array | np.ndarray,
    onehot: jax.Array | np.ndarray,
    quality: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 0.75,
    gamma: float | jax.Array | np.ndarray = 2.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Cross-entropy against the quality of the box, weighted by it, with fewer of the easy negatives: RT-DETR, D-FINE.

    `-sum(w (t ln p + (1 - t) ln(1 - p)))` over the classes, where `t = y q` and `w = t + alpha (1 - y) p^gamma`. A
    score then tells how good the box is.

    Args:
      logits: one a class, `[..., K]`.
      onehot: 1 for the class of the prediction and 0 for others, `[..., K]`; none for the background.
      quality: IoU of the prediction with its target, `[...]`, in `[0, 1]`; without a target any finite number.
      alpha: weight of what is not there; from 0 to 1e15, `()` or one a prediction, may be traced.
      gamma: how little an easy negative counts; from 0 to 1e15, `()` or one a prediction, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`; its least value is an entropy.

    Raises:
      ValueError: if an option is outside its bounds.

    Gradient:
      `w (p - t)`.
      Held constant: t and w, with the p in it.

    References:
      Zhang et al., 2020, https://arxiv.org/abs/2008.13367
    """
    x, y, q = _prepared(where, logits, onehot, quality)
    alpha, gamma = map(preparation.of_coordinates, (alpha, gamma))
    target = lax.stop_gradient(y * q)
    weight = lax.stop_gradient(target + alpha * (1 - y) * _power_of_probability(x, gamma))
    return _two_sided(where, x, weight * target, weight * (1 - target))


@_of_classes("logits", "onehot", one_a_row="quality", gamma=POSITIVE)
def matchability_loss(
    logits: jax.Array | np.ndarray,
    onehot: jax.Array | np.ndarray,
    quality: jax.Array | np.ndarray,
    *,
    gamma: float | jax.Array | np.ndarray = 1.5,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Cross-entropy against a power of the quality, in which poor matches count in full: DEIM's MAL.

    `-sum(w (t ln p + (1 - t) ln(1 - p)))` over the classes, where `t = y q^gamma` and `w = y + (1 - y) p^gamma`.
    `varifocal_loss` weighs a match by its quality instead, so that a poor one hardly counts.

    Args:
      logits: one a class, `[..., K]`.
      onehot: 1 for the class of the prediction and 0 for others, `[..., K]`; none for the background.
      quality: IoU of the prediction with its target, `[...]`, in `[0, 1]`; without a target any finite number.
      gamma: the power; from 1e-15 to 1e15, `()` or one a prediction, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`; its least value is an entropy.

    Raises:
      ValueError: if `gamma` is outside these bounds.

    Gradient:
      `w (p - t)`.
      Held constant: t and w, with the p in it.

    References:
      Huang et al., 2024, https://arxiv.org/abs/2412.04234
    """
    x, y, q = _prepared(where, logits, onehot, quality)
    gamma = preparation.of_coordinates(gamma)
    target = lax.stop_gradient(y * numerics.power(q, gamma))
    weight = lax.stop_gradient(y + (1 - y) * _power_of_probability(x, gamma))
    return _two_sided(where, x, weight * target, weight * (1 - target))


@_of_classes("logits", "onehot", one_a_row="quality", alpha=SHARE, floor=SHARE)
def iou_aware_loss(
    logits: jax.Array | np.ndarray,
    onehot: jax.Array | np.ndarray,
    quality: jax.Array | np.ndarray,
    *,
    alpha: float | jax.Array | np.ndarray = 0.25,
    floor: float | jax.Array | np.ndarray = 0.01,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Cross-entropy against a mean of score and quality: the IoU-aware loss of RF-DETR, LW-DETR and SAM 3.

    `-sum(y (t ln p + (1 - t) ln(1 - p)) + (1 - y) p^2 ln(1 - p))` over the classes, where `t = max(p^alpha q^(1 -
    alpha), floor)`.

    Args:
      logits: one a class, `[..., K]`.
      onehot: 1 for the class of the prediction and 0 for others, `[..., K]`; none for the background.
      quality: IoU of the prediction with its target, `[...]`, in `[0, 1]`; without a target any finite number.
      alpha: share of the score in the mean; from 0 to 1, `()` or one a prediction, may be traced.
      floor: the least t; from 0 to 1, `()` or one a prediction, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`; its least value is an entropy.

    Raises:
      ValueError: if an option is outside its bounds.

    Gradient:
      `p - t` for the class, and that of the formula for others: their `p^2` is differentiated.
      Held constant: t, with the p in it.

    References:
      Cai et al., 2023, https://arxiv.org/abs/2304.07527
    """
    x, y, q = _prepared(where, logits, onehot, quality)
    alpha, floor = map(preparation.of_coordinates, (alpha, floor))
    score = _power_of_probability(x, alpha) * numerics.power(q, 1 - alpha)
    target = lax.stop_gradient(numerics.maximum(score, floor))
    negative = y * (1 - target) + (1 - y) * _power_of_probability(x, 2)
    return _two_sided(where, x, y * target, negative)


@_of_classes("logits", "onehot", one_a_row="quality", beta=POSITIVE)
def quality_focal_loss(
    logits: jax.Array | np.ndarray,
    onehot: jax.Array | np.ndarray,
    quality: jax.Array | np.ndarray,
    *,
    beta: float | jax.Array | np.ndarray = 2.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Focal loss against the quality of the box: the generalized focal loss of GFL.

    `-sum(|t - p|^beta (t ln p + (1 - t) ln(1 - p)))` over the classes, where `t = y q`. A score then tells how good the
    box is.

    Args:
      logits: one a class, `[..., K]`.
      onehot: 1 for the class of the prediction and 0 for others, `[..., K]`; none for the background.
      quality: IoU of the prediction with its target, `[...]`, in `[0, 1]`; without a target any finite number.
      beta: how little counts what is near t; from 1e-15 to 1e15, `()` or one a prediction, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`; 0 only for scores that are t.

    Raises:
      ValueError: if `beta` is outside these bounds.

    Gradient:
      That of the formula: the p of the power is differentiated too.
      Held constant: t.

    References:
      Li et al., 2020, https://arxiv.org/abs/2006.04388
    """
    x, y, q = _prepared(where, logits, onehot, quality)
    beta = preparation.of_coordinates(beta)
    target = lax.stop_gradient(y * q)
    # Of a class that is not there the distance is p, which has no least number that the slopes could overflow at.
    distance = jnp.where(target == 0, 1, numerics.absolute(target - jax.nn.sigmoid(x)))
    weight = jnp.where(target == 0, _power_of_probability(x, beta), numerics.power(distance, beta))
    return _two_sided(where, x, weight * target, weight * (1 - target))


@_of_classes("student", "teacher", one_a_row="weights", temperature=POSITIVE)
def distillation_loss(
    student: jax.Array | np.ndarray,
    teacher: jax.Array | np.ndarray,
    weights: jax.Array | np.ndarray,
    *,
    temperature: float | jax.Array | np.ndarray = 5.0,
    where: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Divergence of a distribution over bins from that of a teacher, at a temperature: D-FINE's DDF.

    `w T^2 sum(q (ln q - ln p))` over the bins, for the softmax q of the teacher's logits over T and the softmax p of
    the student's. For a high temperature T it is half the variance of the differences of the logits.

    Args:
      student: logits, one a bin, `[..., bins]`; -inf only where the teacher has it too.
      teacher: logits, `[..., bins]`. A bin that cannot be has -inf.
      weights: how much each counts, `[...]`.
      temperature: what the logits are divided by; from 1e-15 to 1e15, `()` or one a distribution, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      The loss in nats, `[...]`, in `[0, inf)`; 0 only for equal distributions.

    Raises:
      ValueError: if `temperature` is outside these bounds.

    Gradient:
      `w T (p - q)`; exactly 0 for the same logits.
      Held constant: the teacher and the weights.

    References:
      Peng et al., 2024, https://arxiv.org/abs/2410.13842
    """
    student, teacher, weights = _prepared(where, student, teacher, weights)
    teacher, weights = lax.stop_gradient((teacher, weights[..., 0]))
    divergence = numerics.divergence(student, teacher, preparation.of_coordinates(temperature))
    return _kept(where, numerics.fusion_barrier(weights * temperature * temperature * divergence))
