"""Losses of the overlap of turned boxes, and of solids that are turned about the vertical.

In the formulas I is the area, or volume, of the intersection, U that of the union, and C that of the hull, the smallest
box of the same kind around both, at any angle. Overlap and hull are exact. Any angle is taken, and any order of sides
that goes with it: `(w, h, t)`, `(h, w, t + pi / 2)` and `(w, h, t + pi)` are one box. A side that is negative counts as
0.
"""

from __future__ import annotations

import jax
import numpy as np

from jaxbox import numerics, similarity
from jaxbox._checks import SOLID, TURNED
from jaxbox._geometry import Solids, Turned
from jaxbox.losses import preparation

__all__ = [  # in the order of the tables
    "rotated_iou_loss",
    "rotated_giou_loss",
    "rotated_diou_loss",
    "rotated_mgiou_loss",
    "solid_iou_loss",
    "solid_giou_loss",
    "solid_diou_loss",
    "solid_mgiou_loss",
]


@preparation.loss(layout=TURNED)
@numerics.in_chunks
def rotated_iou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the intersection over union of turned boxes.

    `1 - I / U`. It has no gradient where the boxes are apart.

    Args:
      predictions: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians, from the
        first axis towards the second.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes, for boxes that are apart, and for a point, which covers nothing. That of an edge is the
      length of it in the other box, so that it is exact for edges that are nearly parallel, too. The second derivative
      grows as one over the difference of the angles.

    References:
      Zhou et al., 2019, https://arxiv.org/abs/1908.03851
    """
    return numerics.fusion_barrier(1 - similarity.rotated_iou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=TURNED)
def rotated_giou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the generalized IoU of turned boxes.

    `1 - IoU + (C - U) / C`. The hull is a rectangle at the angle where it is smallest, so that upright boxes have at
    most their `giou_loss`. Codes that take an upright hull have a loss that is not 0 for equal boxes.

    Args:
      predictions: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians, from the
        first axis towards the second.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2]`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. Where two hulls are the smallest, that of one of them, or one half each if they lie along
      the boxes.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    return numerics.fusion_barrier(1 - similarity.rotated_giou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=TURNED)
@numerics.in_chunks
def rotated_diou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the distance IoU of turned boxes.

    `1 - IoU + rho^2 / D^2`, where rho is the distance of the centers and D the smaller diagonal of two rectangles
    around both, one along the prediction and one along the target.

    Args:
      predictions: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians, from the
        first axis towards the second.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. Where both diagonals are equal, one half each.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return numerics.fusion_barrier(1 - similarity.rotated_diou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=TURNED)
@numerics.in_chunks
def rotated_mgiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Half of one minus the marginalized generalized IoU of turned boxes.

    `mean(m / (e + f + m))` over the normals of the sides of both, where the boxes reach e and f along the normal from
    centers that are o apart, and `m = max(|e - f|, |o|)`: half of one minus the GIoU of two intervals. It needs no
    overlap, and takes less time. It ranks as the IoU does near the target, and measures no area.

    Args:
      predictions: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians, from the
        first axis towards the second.
      targets: boxes in the same unit, `[..., 5]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal boxes.

    Gradient:
      Zero for equal boxes. At equal angles a turn has derivative 0.

    References:
      Le et al., 2025, https://arxiv.org/abs/2504.16443
    """
    return numerics.fusion_barrier(Turned.of(*preparation.masked(where, predictions, targets)).misfit)


@preparation.loss(layout=SOLID)
@numerics.in_chunks
def solid_iou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the intersection over union of solids.

    `1 - I / U`. It has no gradient where the solids are apart.

    Args:
      predictions: solids, `[..., 7]`: center, width, length, height in any unit of length, and the angle of the width
        about the vertical, in radians, from the first axis towards the second.
      targets: solids in the same unit, `[..., 7]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1]`; 0 only for equal solids.

    Gradient:
      Zero for equal solids, for solids that are apart, and for one without volume.

    References:
      Zhou et al., 2019, https://arxiv.org/abs/1908.03851
    """
    return numerics.fusion_barrier(1 - similarity.solid_iou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=SOLID)
def solid_giou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the generalized IoU of solids.

    `1 - IoU + (C - U) / C`. The hull stands upright on the smallest rectangle around both footprints, at any angle.

    Args:
      predictions: solids, `[..., 7]`: center, width, length, height in any unit of length, and the angle of the width
        about the vertical, in radians, from the first axis towards the second.
      targets: solids in the same unit, `[..., 7]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2]`; 0 only for equal solids.

    Gradient:
      Zero for equal solids.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    return numerics.fusion_barrier(1 - similarity.solid_giou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=SOLID)
@numerics.in_chunks
def solid_diou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """One minus the distance IoU of solids.

    `1 - IoU + rho^2 / D^2`, where rho is the distance of the centers and D the diagonal of a solid around both, whose
    footprint is the one of `rotated_diou_loss`.

    Args:
      predictions: solids, `[..., 7]`: center, width, length, height in any unit of length, and the angle of the width
        about the vertical, in radians, from the first axis towards the second.
      targets: solids in the same unit, `[..., 7]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 2)`; 0 only for equal solids.

    Gradient:
      Zero for equal solids.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    return numerics.fusion_barrier(1 - similarity.solid_diou(*preparation.masked(where, predictions, targets)))


@preparation.loss(layout=SOLID)
@numerics.in_chunks
def solid_mgiou_loss(
    predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, *, where: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Half of one minus the marginalized generalized IoU of solids.

    `mean(m / (e + f + m))`, as in `rotated_mgiou_loss`, over the four normals of the footprints and the vertical.

    Args:
      predictions: solids, `[..., 7]`: center, width, length, height in any unit of length, and the angle of the width
        about the vertical, in radians, from the first axis towards the second.
      targets: solids in the same unit, `[..., 7]`.
      where: boolean mask, `[...]`; rows that are False add 0 to the loss and to every gradient.

    Returns:
      A dimensionless loss, `[...]`, in `[0, 1)`; 0 only for equal solids.

    Gradient:
      Zero for equal solids. At equal angles a turn has derivative 0.

    References:
      Le et al., 2025, https://arxiv.org/abs/2504.16443
    """
    return numerics.fusion_barrier(Solids.of(*preparation.masked(where, predictions, targets)).misfit)
