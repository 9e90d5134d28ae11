r"""Similarities of turned boxes, and of solids that are turned about the vertical.

In the formulas $I$ is the area, or volume, of the intersection, $U$ that of the union, and $C$ that of the hull, the
smallest box of the same kind around both, at any angle. Overlap and hull are exact. Any angle is taken, and any order
of sides that goes with it: `(w, h, t)`, `(h, w, t + pi / 2)` and `(w, h, t + pi)` are one box. A side that is negative
counts as 0.
"""

from __future__ import annotations

import jax
import numpy as np

from jaxbox import _checks
from jaxbox._geometry import Solids, Turned

__all__ = [
    "rotated_diou",
    "rotated_giou",
    "rotated_iou",
    "rotated_mgiou",
    "solid_diou",
    "solid_giou",
    "solid_iou",
    "solid_mgiou",
]

_of_boxes = _checks.checked(_checks.of_boxes("a", "b", layout=_checks.TURNED, options={}))
_of_solids = _checks.checked(_checks.of_boxes("a", "b", layout=_checks.SOLID, options={}))


@_of_boxes
def rotated_iou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Intersection over union of turned boxes.

    $$\mathrm{IoU} = \frac{I}{U}$$

    Args:
      a: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians, from the first axis
        towards the second.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 only for equal boxes. Two empty boxes have 1 if they are
      equal, else 0.

    Gradient:
      Zero at `a == b`, and where the boxes are apart. Boxes that touch are drawn together. The derivative with respect
      to an edge is the length of it that lies in the other box, so that it is exact for edges that are nearly parallel,
      too.

    References:
      Zhou et al., 2019, https://arxiv.org/abs/1908.03851
    """
    return Turned.of(a, b).iou


@_of_boxes
def rotated_giou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Generalized intersection over union of turned boxes.

    $$\mathrm{GIoU} = \mathrm{IoU} - \frac{C - U}{C}$$

    The hull is a rectangle at the angle where it is smallest. For upright boxes that may be no upright one: the value
    is then above `giou`. Codes that take an upright hull, or one along a box, have another value.

    Args:
      a: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. Where two hulls are the smallest, that of one of them, or one half each if they lie along the
      boxes.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    pair = Turned.of(a, b)
    return pair.iou - pair.vacancy


@_of_boxes
def rotated_diou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Distance intersection over union of turned boxes.

    With $\rho$ the distance of the centers and $D$ the smaller diagonal of two rectangles around both, of which one
    lies along `a` and one along `b`,

    $$\mathrm{DIoU} = \mathrm{IoU} - \frac{\rho^2}{D^2}.$$

    The diagonal of the smallest rectangle of all would jump where another one becomes the smallest.

    Args:
      a: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    pair = Turned.of(a, b)
    return pair.iou - pair.distance


@_of_boxes
def rotated_mgiou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Marginalized generalized intersection over union of turned boxes: the mean GIoU of their shadows.

    Both boxes are projected on the normal of every side. Two intervals that reach $e$ and $f$ from centers that are
    $o$ apart have the GIoU $1 - 2 m / (e + f + m)$ with $m = \max(|e - f|, |o|)$.

    $$\mathrm{MGIoU} = 1 - \frac{2}{4} \sum_{n = 1}^{4} \frac{m_n}{e_n + f_n + m_n}$$

    It needs no overlap, and takes less time. It ranks as the IoU does near the target, and measures no area.

    Args:
      a: boxes, `[..., 5]`: center, width, height in any unit of length, and an angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. At equal angles a turn has derivative 0.

    References:
      Le et al., 2025, https://arxiv.org/abs/2504.16443
    """
    return 1 - 2 * Turned.of(a, b).misfit


@_of_solids
def solid_iou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Intersection over union of solids.

    $$\mathrm{IoU} = \frac{I}{U}$$

    Args:
      a: solids, `[..., 7]`: center, width, length, height in any unit of length, and the angle of the width about the
        vertical, in radians, from the first axis towards the second.
      b: solids in the same unit, `[..., 7]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 only for equal solids. Two empty solids have 1 if they are
      equal, else 0.

    Gradient:
      Zero at `a == b`, and where the solids are apart. Solids that touch are drawn together.

    References:
      Zhou et al., 2019, https://arxiv.org/abs/1908.03851
    """
    return Solids.of(a, b).iou


@_of_solids
def solid_giou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Generalized intersection over union of solids.

    $$\mathrm{GIoU} = \mathrm{IoU} - \frac{C - U}{C}$$

    The hull stands upright on the smallest rectangle around both, at any angle.

    Args:
      a: solids, `[..., 7]`: center, width, length, height in any unit of length, and an angle about the vertical, in
        radians.
      b: solids in the same unit, `[..., 7]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[-1, 1]`; 1 only for equal solids.

    Gradient:
      Zero at `a == b`.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    pair = Solids.of(a, b)
    return pair.iou - pair.vacancy


@_of_solids
def solid_diou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Distance intersection over union of solids.

    With $\rho$ the distance of the centers and $D$ the diagonal of a solid around both, whose footprint is the one of
    `rotated_diou`,

    $$\mathrm{DIoU} = \mathrm{IoU} - \frac{\rho^2}{D^2}.$$

    Args:
      a: solids, `[..., 7]`: center, width, length, height in any unit of length, and an angle about the vertical, in
        radians.
      b: solids in the same unit, `[..., 7]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal solids.

    Gradient:
      Zero at `a == b`.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    pair = Solids.of(a, b)
    return pair.iou - pair.distance


@_of_solids
def solid_mgiou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Marginalized generalized intersection over union of solids: the mean GIoU of their shadows.

    As `rotated_mgiou`, on the four normals of the footprints and on the vertical.

    Args:
      a: solids, `[..., 7]`: center, width, length, height in any unit of length, and an angle about the vertical, in
        radians.
      b: solids in the same unit, `[..., 7]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal solids.

    Gradient:
      Zero at `a == b`. At equal angles a turn has derivative 0.

    References:
      Le et al., 2025, https://arxiv.org/abs/2504.16443
    """
    return 1 - 2 * Solids.of(a, b).misfit
