"""Losses of the overlap of upright boxes, and of what was put beside it for boxes that do not overlap.

In the formulas I is the area of the intersection of the boxes, U that of their union, and C that of their hull, the
smallest box around both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import boxes, numerics, similarity
from jaxbox._checks import (
    EXPONENT,
    FLOOR,
    FROM_1,
    LOWER_IOU,
    NOT_NEGATIVE,
    PLANE,
    POSITIVE,
    UPPER_IOU,
)
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "iou_loss",
    "squared_iou_loss",
    "log_iou_loss",
    "bounded_iou_loss",
    "giou_loss",
    "diou_loss",
    "ciou_loss",
    "eiou_loss",
    "focal_eiou_loss",
    "extended_iou_loss",
    "siou_loss",
    "alpha_iou_loss",
    "alpha_giou_loss",
    "alpha_diou_loss",
    "alpha_ciou_loss",
    "wiou_loss",
    "focused_wiou_loss",
    "mpdiou_loss",
    "inner_iou_loss",
    "focaler_iou_loss",
    "shape_iou_loss",
    "powerful_iou_loss",
    "focused_powerful_iou_loss",
    "nwd_loss",
]


@preparation.loss()
def iou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the intersection over union.

    `1 - I / U`. It does not depend on the unit or the origin, as L1 and L2 do, but it has no gradient where the boxes
    are
    apart: that is its definition, and what the losses below mend.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, for boxes that are apart, and for a point or a flipped box, which cover nothing.

    References:
      Yu et al., 2016, https://arxiv.org/abs/1608.01471
    """
    return numerics.seam(1 - similarity.iou(*preparation.masked(where, predictions, targets)))


@preparation.loss()
def squared_iou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the squared IoU.

    `1 - IoU^2`. Its slope grows with the IoU.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, and wherever the IoU is 0: for boxes that are apart or only touch, and for a point, a box of
      no width or height, or a flipped box.

    References:
      Rahman and Wang, 2016, https://doi.org/10.1007/978-3-319-50835-1_22
    """
    return numerics.seam(1 - similarity.squared_iou(*preparation.masked(where, predictions, targets)))


@preparation.loss(floor=FLOOR)
def log_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, floor: chex.Numeric = 1e-6, where: chex.Array | None = None
) -> jax.Array:
    """Minus the logarithm of the IoU.

    `-ln max(IoU, floor)`. The floor bounds the loss of boxes that are apart; libraries differ in it.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      floor: the least IoU that counts; from 1e-30 on and below 1, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, -ln floor]`; 0 only for equal boxes.

    Raises:
      ValueError: if `floor` is outside these bounds.

    Gradient:
      Zero for equal boxes, and for an IoU below the floor: for boxes that are apart or only touch, and for a point, a
      box of no width or height, or a flipped box.

    References:
      Yu et al., 2016, https://arxiv.org/abs/1608.01471
    """
    overlap = similarity.iou(*preparation.masked(where, predictions, targets))
    return numerics.seam(-jnp.log(numerics.maximum(overlap, floor)))  # above 0 by the floor


@preparation.loss(beta=NOT_NEGATIVE)
def bounded_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, beta: chex.Numeric = 0.2, where: chex.Array | None = None
) -> jax.Array:
    """Smooth L1 of one minus the best IoU that each coordinate alone allows.

    `sum(smooth_l1(1 - B))` over the coordinates of center and sides, where `B = max(0, (s - 2 |x|) / (s + 2 |x|))` for
    the offset x of the center along a side s of the target, and `B = min(t / s, s / t)` for the side t of the
    prediction.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      beta: where smooth L1 becomes straight, not negative; `()` or one a box, may be traced. Infinity gives 0.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)` in the plane, and up to 6 if a box is flipped; 0 only for
      equal boxes.

    Raises:
      ValueError: if `beta` is negative.

    Gradient:
      Zero for equal boxes. Nothing draws a center that is more than half a side of the target away, be it
      of a box that is apart, of a point or of a flipped box.
      Held constant: the target.

    References:
      Tychsen-Smith and Petersson, 2017, https://arxiv.org/abs/1711.00164
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    pair = boxes.pair(predictions, lax.stop_gradient(targets))
    return numerics.seam(numerics.total(numerics.smooth_absolute(1 - bound, beta) for bound in pair.iou_bounds))


@preparation.loss()
def giou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the generalized IoU.

    `1 - IoU + (C - U) / C`. The second term is the share of the hull that neither box covers; it draws together boxes
    that are apart.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    return numerics.seam(1 - similarity.giou(*preparation.masked(where, predictions, targets)))


@preparation.loss()
def diou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the distance IoU.

    `1 - IoU + rho^2 / D^2`, where rho is the distance of the centers and D the diagonal of the hull.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A flipped box is not turned back: turning it further enlarges D. So does turning a point
      inside out, which no area holds back.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return numerics.seam(1 - similarity.diou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=PLANE)
def ciou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the complete IoU, for boxes in the plane.

    `1 - IoU + rho^2 / D^2 + alpha v`, where v is the squared angle between the diagonals of the boxes over that of a
    right angle, and `alpha = v / ((1 - IoU) + v)`. Alpha applies at every IoU, as in the paper below. A later paper,
    https://arxiv.org/abs/2005.03572, sets it to 0 below an IoU of 0.5, and so does mmdetection.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A flipped box is not turned back: turning it further enlarges D. So does turning a point
      inside out, which no area holds back.
      Held constant: alpha.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return numerics.seam(1 - similarity.ciou(*preparation.masked(where, predictions, targets)))


@preparation.loss()
def eiou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the efficient IoU.

    `1 - IoU + rho^2 / D^2 + sum((t - s)^2 / H^2)`, where t and s are the sides of the boxes along an axis and H that of
    the hull. This is Efficient-IoU; the other loss of that name is `extended_iou_loss`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)` in the plane; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A flipped box inside its target is not turned back: turning it further enlarges the hull.

    References:
      Zhang et al., 2021, https://arxiv.org/abs/2101.08158
    """
    return numerics.seam(1 - similarity.eiou(*preparation.masked(where, predictions, targets)))


@preparation.loss(gamma=EXPONENT)
def focal_eiou_loss(
    predictions: chex.Array, targets: chex.Array, *, gamma: chex.Numeric = 0.5, where: chex.Array | None = None
) -> jax.Array:
    """The efficient IoU loss, weighted by a power of the IoU.

    `IoU^gamma (1 - EIoU)`. The slope of the weight is infinite at an IoU of 0, so it is held constant.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      gamma: the power; above 0, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)` in the plane; 0 for equal boxes, and for boxes that are apart.

    Raises:
      ValueError: if `gamma` is not positive.

    Gradient:
      Zero for equal boxes, and wherever the IoU is 0: nothing moves boxes that are apart or only touch, a point, a
      box of no width or height, or a flipped box, so train with another loss beside it. A step against the gradient may
      raise the loss, as the weight grows with the IoU.
      Held constant: IoU^gamma.

    References:
      Zhang et al., 2021, https://arxiv.org/abs/2101.08158
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    weight = lax.stop_gradient(numerics.power(similarity.iou(predictions, targets), gamma))
    return numerics.seam(weight * eiou_loss(predictions, targets))


@preparation.loss(layout=PLANE, smooth=NOT_NEGATIVE)
def extended_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, smooth: chex.Numeric = 0.1, where: chex.Array | None = None
) -> jax.Array:
    """Smooth L1 of one minus an IoU that is continued below 0 for boxes that are apart.

    `smooth_l1(1 - S / (A + B - S))`, where A and B are the areas of the boxes, and S is that of their intersection, or
    minus that of a gap. mmdetection calls it EIoULoss; Efficient-IoU is `eiou_loss`.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      smooth: where smooth L1 becomes straight, not negative; `()` or one a box, may be traced. Infinity gives 0.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Raises:
      ValueError: if `smooth` is negative.

    Gradient:
      Zero for equal boxes. The formula is not symmetric: for boxes that are apart, their mirror images differ, and a
      point or a flipped box may stay there. A and B count together as 1e-12 of the hull at least, and nothing has a
      gradient if both are 0.

    References:
      Peng and Yu, 2021, https://arxiv.org/abs/2112.01793
    """
    pair = boxes.pair(*preparation.masked(where, predictions, targets))
    return numerics.seam(numerics.smooth_absolute(1 - pair.extended_iou, smooth))


@preparation.loss(layout=PLANE, theta=EXPONENT)
def siou_loss(
    predictions: chex.Array, targets: chex.Array, *, theta: chex.Numeric = 4.0, where: chex.Array | None = None
) -> jax.Array:
    """One minus the SCYLLA IoU, for boxes in the plane.

    `1 - IoU + sum(1 - exp(-gamma (x / H)^2) + (1 - exp(-c))^theta) / 2` over the axes, where x is the offset of the
    center, H the side of the hull, c the difference of the sides over the larger one, and gamma the weight of the
    direction of the offset that `similarity.siou` describes. The offset is a cost: some copies have its sign turned,
    and reward it.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      theta: how little small differences of the sides count; above 0,
        `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Raises:
      ValueError: if `theta` is not positive.

    Gradient:
      Zero for equal boxes.

    References:
      Gevorgyan, 2022, https://arxiv.org/abs/2205.12740
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.siou(*pair, theta=theta))


@preparation.loss(alpha=EXPONENT)
def alpha_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, alpha: chex.Numeric = 3.0, where: chex.Array | None = None
) -> jax.Array:
    """One minus a power of the IoU.

    `1 - IoU^alpha`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes, and wherever the IoU is 0: for boxes that are apart or only touch, and for a point, a box of
      no width or height, or a flipped box.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.alpha_iou(*pair, alpha=alpha))


@preparation.loss(alpha=EXPONENT)
def alpha_giou_loss(
    predictions: chex.Array, targets: chex.Array, *, alpha: chex.Numeric = 3.0, where: chex.Array | None = None
) -> jax.Array:
    """The generalized IoU loss with its terms raised to a power.

    `1 - IoU^alpha + ((C - U) / C)^alpha`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2]`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes, and for a point or a box of no width or height inside its target. It is weak for boxes that
      are apart, where descent may enlarge the box, or not turn back a flipped one.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.alpha_giou(*pair, alpha=alpha))


@preparation.loss(alpha=EXPONENT)
def alpha_diou_loss(
    predictions: chex.Array, targets: chex.Array, *, alpha: chex.Numeric = 3.0, where: chex.Array | None = None
) -> jax.Array:
    """The distance IoU loss with its terms raised to a power.

    `1 - IoU^alpha + (rho^2 / D^2)^alpha`.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes. It is weak for boxes that are apart, where descent may enlarge the box instead.
      A point, a box of no width or height, or a flipped box is turned inside out further, which enlarges D.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.alpha_diou(*pair, alpha=alpha))


@preparation.loss(layout=PLANE, alpha=EXPONENT)
def alpha_ciou_loss(
    predictions: chex.Array, targets: chex.Array, *, alpha: chex.Numeric = 3.0, where: chex.Array | None = None
) -> jax.Array:
    """The complete IoU loss with its terms raised to a power, for boxes in the plane.

    `1 - IoU^alpha + (rho^2 / D^2)^alpha + (beta v)^alpha`, where beta is the weight that `ciou_loss` calls alpha:
    without a gate.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      alpha: the power; above 0, `()` or one a box, may be traced. Above 1 good boxes weigh more.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 3)`; 0 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero for equal boxes. It is weak for boxes that are apart, where descent may enlarge the box instead.
      A point or a flipped box is turned inside out further, which enlarges D.
      Held constant: beta.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.alpha_ciou(*pair, alpha=alpha))


@preparation.loss()
def wiou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """The IoU loss, weighted by the distance of the centers: Wise-IoU version 1.

    `exp(rho^2 / D^2) (1 - IoU)`. Without the gradient of D no box grows to enlarge it.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, e)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. A point or a flipped box stays where its center is that of the target: it covers nothing.
      Held constant: D.

    References:
      Tong et al., 2023, https://arxiv.org/abs/2301.10051
    """
    pair = boxes.pair(*preparation.masked(where, predictions, targets))
    distance = numerics.divide(pair.squared_offset, lax.stop_gradient(pair.squared_diagonal))
    return numerics.seam(jnp.exp(distance) * (1 - pair.iou))


@preparation.loss(mean_loss=POSITIVE, alpha=FROM_1, delta=POSITIVE)
def focused_wiou_loss(
    predictions: chex.Array,
    targets: chex.Array,
    *,
    mean_loss: chex.Numeric,
    alpha: chex.Numeric = 1.9,
    delta: chex.Numeric = 3.0,
    where: chex.Array | None = None,
) -> jax.Array:
    """The WIoU loss with a weight that favours boxes of ordinary quality: Wise-IoU version 3.

    `b / (delta alpha^(b - delta)) exp(rho^2 / D^2) (1 - IoU)`, where b is the IoU loss of the box over the running mean
    of IoU losses; a weight above 1e6 counts as that.
    `reductions.update_mean` keeps that mean, which is an argument and a result of the training step:

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxbox import losses, reductions
    >>> @jax.jit
    ... def step(predictions, targets, mean_loss):
    ...     def loss_of(predictions):
    ...         values = losses.focused_wiou_loss(predictions, targets, mean_loss=mean_loss)
    ...         ious = losses.iou_loss(predictions, targets)
    ...         return reductions.weighted_mean(values), reductions.update_mean(mean_loss, ious, momentum=0.01)
    ...     gradient, mean_loss = jax.grad(loss_of, has_aux=True)(predictions)
    ...     return predictions - 0.1 * gradient, mean_loss
    >>> predictions, targets = jnp.array([[0.0, 0, 4, 4]]), jnp.array([[1.0, 0, 5, 5]])
    >>> mean_loss = jnp.float32(1)
    >>> for _ in range(100):
    ...     predictions, mean_loss = step(predictions, targets, mean_loss)
    >>> print(mean_loss.round(2), losses.iou_loss(predictions, targets).round(2))
    0.51 [0.07]

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      mean_loss: running mean of `iou_loss`; from 1e-15 to 1e15, `()` or one a box, may be traced.
      alpha: base of the weight; from 1 to 1e15, `()` or one a box, may be traced. Below 1 the weight would
        grow with the outlier degree.
      delta: the outlier degree whose weight is 1; from 1e-15 to 1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, inf)`; 0 only for equal boxes.

    Raises:
      ValueError: if an option is outside its bounds.

    Gradient:
      Zero for equal boxes. A point or a flipped box stays where its center is that of the target. A step
      against the gradient may raise the loss, as b is not differentiated.
      Held constant: b and D.

    References:
      Tong et al., 2023, https://arxiv.org/abs/2301.10051
    """
    predictions, targets = preparation.masked(where, predictions, targets)
    iou_losses = 1 - similarity.iou(predictions, targets)
    mean_loss, alpha, delta = (jnp.asarray(option, iou_losses.dtype) for option in (mean_loss, alpha, delta))
    outlier = numerics.divide(iou_losses, mean_loss)
    # Both bounds are beyond what a box of ordinary quality has. They keep the gradients of tiny boxes finite.
    power = jnp.exp(numerics.minimum((delta - outlier) * jnp.log(alpha), 34))
    weight = lax.stop_gradient(numerics.minimum(outlier / delta * power, 1e6))
    return numerics.seam(weight * wiou_loss(predictions, targets))


@preparation.loss()
def mpdiou_loss(
    predictions: chex.Array,
    targets: chex.Array,
    *,
    image_size: chex.Array | Sequence[chex.Numeric],
    where: chex.Array | None = None,
) -> jax.Array:
    """One minus the minimum point distance IoU.

    `1 - IoU + (d1^2 + d2^2) / (w^2 + h^2)`, where d1 and d2 are the distances of the low corners and of the high
    corners, and w and h are the sides of the image. Forks divide by other things; this is the paper.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      image_size: the shape of the image, `(height, width)`, in the unit of the boxes; may be traced. An array
        `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, inf)`; below 3 inside the image, and 0 only for equal boxes.

    Raises:
      ValueError: if `image_size` does not have `n` positive numbers.

    Gradient:
      Zero for equal boxes.

    References:
      Ma and Xu, 2023, https://arxiv.org/abs/2307.07662
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.mpdiou(*pair, image_size=image_size))


@preparation.loss(ratio=POSITIVE)
def inner_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, ratio: chex.Numeric = 0.7, where: chex.Array | None = None
) -> jax.Array:
    """One minus the IoU of the boxes scaled about their own centers.

    `1 - IoU(scaled boxes)`. Combined forms are sums:

    >>> import jax.numpy as jnp
    >>> from jaxbox import losses, similarity
    >>> boxes = jnp.array([0.0, 0, 4, 4]), jnp.array([1.0, 0, 5, 5])
    >>> inner_ciou = losses.ciou_loss(*boxes) + similarity.iou(*boxes) - similarity.inner_iou(*boxes, ratio=0.8)
    >>> print(inner_ciou.round(3))
    0.605

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      ratio: what the sides are multiplied by; from 1e-15 to 1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Raises:
      ValueError: if `ratio` is outside these bounds.

    Gradient:
      Zero for equal boxes, where the scaled boxes are apart, and for a point or a flipped box, which cover nothing. A
      box of no width or height may be scaled out of its target.

    References:
      Zhang et al., 2023, https://arxiv.org/abs/2311.02877
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.inner_iou(*pair, ratio=ratio))


@preparation.loss(ordered=("lower", "upper"), lower=LOWER_IOU, upper=UPPER_IOU)
def focaler_iou_loss(
    predictions: chex.Array,
    targets: chex.Array,
    *,
    lower: chex.Numeric = 0.0,
    upper: chex.Numeric = 0.95,
    where: chex.Array | None = None,
) -> jax.Array:
    """One minus the IoU stretched from an interval to all of [0, 1].

    `1 - clip((IoU - lower) / (upper - lower), 0, 1)`. Combined forms are sums:

    >>> import jax.numpy as jnp
    >>> from jaxbox import losses, similarity
    >>> boxes = jnp.array([0.0, 0, 4, 4]), jnp.array([1.0, 0, 5, 5])
    >>> focaler_giou = losses.giou_loss(*boxes) + similarity.iou(*boxes) - similarity.focaler_iou(*boxes)
    >>> print(focaler_giou.round(3))
    0.514

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      lower: the IoU whose loss is 1; from 0 on, `()` or one a box, may be traced.
      upper: the IoU whose loss is 0; 1 or below, and above `lower` by 1e-6 at least; `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 from `upper` on.

    Raises:
      ValueError: if `lower` is not below `upper`, or one is no IoU.

    Gradient:
      Zero for an IoU outside the interval, so that a box stays where its IoU reaches `upper`, and for boxes that are
      apart, a point or a flipped box, which cover nothing.

    References:
      Zhang and Zhang, 2024, https://arxiv.org/abs/2401.10525
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.focaler_iou(*pair, lower=lower, upper=upper))


@preparation.loss(layout=PLANE, scale=NOT_NEGATIVE)
def shape_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, scale: chex.Numeric = 0.0, where: chex.Array | None = None
) -> jax.Array:
    """One minus the shape IoU, for boxes in the plane.

    `1 - IoU + sum(u x^2 / D^2 + (1 - exp(-u c))^4 / 2)` over the axes, where x is the offset of the center, D the
    diagonal of the hull, c the difference of the sides over the larger one, and u the weights of the shape of the
    target that `similarity.shape_iou` describes.

    Args:
      predictions: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 4]`.
      scale: how much the shape of the target counts, not negative; `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 4)`; 0 only for equal boxes.

    Raises:
      ValueError: if `scale` is negative.

    Gradient:
      Zero for equal boxes. A box that is flipped and apart is not turned back.
      Held constant: the weights u.

    References:
      Zhang and Zhang, 2023, https://arxiv.org/abs/2312.17663
    """
    pair = preparation.masked(where, predictions, targets)
    return numerics.seam(1 - similarity.shape_iou(*pair, scale=scale))


@preparation.loss()
def powerful_iou_loss(predictions: chex.Array, targets: chex.Array, *, where: chex.Array | None = None) -> jax.Array:
    """One minus the powerful IoU: PIoU version 1.

    `1 - IoU + 1 - exp(-p^2)`, where p is the mean distance of the edges in units of the side of the target.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. It vanishes for boxes that are several sides of the target apart.

    References:
      Liu et al., 2024, https://doi.org/10.1016/j.neunet.2023.11.041
    """
    return numerics.seam(1 - similarity.powerful_iou(*preparation.masked(where, predictions, targets)))


@preparation.loss(focus=POSITIVE)
def focused_powerful_iou_loss(
    predictions: chex.Array, targets: chex.Array, *, focus: chex.Numeric = 1.3, where: chex.Array | None = None
) -> jax.Array:
    """The powerful IoU loss with a weight that favours boxes of ordinary quality: PIoU version 2.

    `3 z exp(-z^2) (1 - IoU + 1 - exp(-p^2))`, where `z = focus exp(-p)` and p is the mean distance of the edges in
    units of the side of the target. Nothing is held constant, so that the loss falls again for boxes far from the
    target.

    Args:
      predictions: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      targets: boxes in the same unit, `[..., 2n]`.
      focus: the paper's lambda; from 1e-15 to 1e15, `()` or one a box, may be traced.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2.6)`; 0 only for equal boxes.

    Raises:
      ValueError: if `focus` is outside these bounds.

    Gradient:
      Zero for equal boxes. A box whose edges are more than about one side of the target away is pushed away from it,
      with less and less force, as are a point and a flipped box that are apart.

    References:
      Liu et al., 2024, https://doi.org/10.1016/j.neunet.2023.11.041
    """
    # Promoted here, since the gradients of two uses add up, which must not be done in half precision.
    predictions, targets = numerics.promote(*preparation.masked(where, predictions, targets))
    error = boxes.pair(predictions, targets).edge_error
    # z exp(-z^2) is 0 from 40 on, so that no focus overflows.
    z = jnp.exp(numerics.minimum(jnp.log(focus) - error, math.log(40)))
    return numerics.seam(3 * z * jnp.exp(-z * z) * powerful_iou_loss(predictions, targets))


@preparation.loss(constant=POSITIVE)
def nwd_loss(
    predictions: chex.Array, targets: chex.Array, *, constant: chex.Numeric, where: chex.Array | None = None
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
    return numerics.seam(1 - similarity.nwd(*pair, constant=constant))
