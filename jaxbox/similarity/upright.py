r"""Similarities of upright boxes.

In the formulas $I$ is the area of the intersection of the boxes, $U$ that of their union, and $C$ that of their hull,
the smallest box around both.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import _checks, numerics
from jaxbox._checks import PLANE, POSITIVE
from jaxbox._geometry import Pair, area, sum_of_squares

__all__ = ["ciou", "diou", "giou", "ioa", "iou", "mgiou", "nwd"]


def _similarity(
    *, layout: _checks.Layout = _checks.BOXES, **intervals: _checks.Interval
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a similarity of a formula that takes `a` and `b`, in this layout, and options within these intervals."""
    return _checks.checked(_checks.of_boxes("a", "b", layout=layout, options=intervals))


@_similarity()
def iou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Intersection over union, also called the Jaccard index.

    $$\mathrm{IoU} = \frac{I}{U}$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 only for equal boxes. Two empty boxes have 1 if they are
      equal, else 0.

    Gradient:
      Zero at `a == b`, and where the boxes are apart. Boxes that touch are drawn together.

    References:
      Jaccard, 1912, https://doi.org/10.1111/j.1469-8137.1912.tb05611.x
    """
    return Pair.of(a, b).iou


@_similarity()
def ioa(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Intersection over the area of the first box: how much of it the second one covers.

    $$\mathrm{IoA} = \frac{I}{|A|}$$

    It tells which boxes lie inside a crowd region or a tile. It is not symmetric.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless share, `[...]`, in `[0, 1]`; 1 where `b` contains `a`. An empty `a` has 1 if it equals `b`, else
      0.

    Gradient:
      Zero where `b` contains `a` in its interior, and where the boxes are apart.

    References:
      Lin et al., 2014 (the crowd criterion of COCO), https://arxiv.org/abs/1405.0312
    """
    pair = Pair.of(a, b)
    # In units of its own sides: those of the hull can be larger by more than float32 holds.
    sides = [axis.side_a for axis in pair.axes]
    units = None if pair.units is None else [numerics.power_of_two(side) for side in sides]
    own = area(sides, units)
    covered = area((axis.overlap for axis in pair.axes), units)
    return numerics.divide(covered, own, otherwise=pair.equal.astype(own.dtype))


@_similarity()
def giou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Generalized intersection over union.

    $$\mathrm{GIoU} = \mathrm{IoU} - \frac{C - U}{C}$$

    Unlike IoU it has a gradient where the boxes are apart.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. A flipped box is turned back, since the hull grows with the depth of the flip.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    pair = Pair.of(a, b)
    return pair.iou - pair.vacancy


@_similarity()
def diou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Distance intersection over union.

    With $\rho$ the distance of the centers and $D$ the diagonal of the hull,

    $$\mathrm{DIoU} = \mathrm{IoU} - \frac{\rho^2}{D^2}.$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    pair = Pair.of(a, b)
    return pair.iou - pair.distance


@_similarity(layout=PLANE)
def ciou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Complete intersection over union.

    With $\theta$ the angle between the diagonals of the boxes,

    $$\mathrm{CIoU} = \mathrm{DIoU} - \alpha v, \quad v = \frac{4}{\pi^2} \theta^2, \quad
    \alpha = \frac{v}{(1 - \mathrm{IoU}) + v}.$$

    $\alpha$ is a weight: it is held constant in the gradient. It applies at every IoU, as in the paper below; a later
    one, https://arxiv.org/abs/2005.03572, sets it to 0 below an IoU of 0.5, and so does mmdetection.

    Args:
      a: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 4]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-2, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. That of $v$ is the true one, with the factor $1 / (w^2 + h^2)$ that many copies leave out.

    References:
      Zheng et al., 2019, https://arxiv.org/abs/1911.08287
    """
    pair = Pair.of(a, b)
    return pair.iou - pair.distance - pair.weighted_aspect


@_similarity()
def mgiou(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Marginalized generalized intersection over union.

    With $o_t$ the overlap along axis $t$, negative for a gap, and $H_t$ the side of the hull,

    $$\mathrm{MGIoU} = \frac{1}{n} \sum_t \frac{o_t}{H_t}.$$

    It ranks boxes and measures no area. The same formula serves boxes of every shape, with the axes of both.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. A flipped box is turned back, since the hull grows with the depth of the flip.

    References:
      Le et al., 2025, https://arxiv.org/abs/2504.16443
    """
    pair = Pair.of(a, b)
    ratios = [jnp.where(axis.equal, 1, numerics.divide(axis.overlap, axis.hull)) for axis in pair.axes]
    return numerics.total(ratios) / len(ratios)


@_similarity(constant=POSITIVE)
def nwd(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray, *, constant: float | jax.Array | np.ndarray) -> jax.Array:
    r"""Normalized Wasserstein distance of the normal distributions that boxes stand for.

    With $W_2^2 = \rho^2 + \frac{1}{4} \sum_t (\textrm{difference of the sides})^2$,

    $$\mathrm{NWD} = e^{-W_2 / \mathrm{constant}}.$$

    It is smooth where the boxes are apart, which suits boxes of a few pixels.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      constant: the unit of the distance, about the mean side of the boxes, in their unit; from 1e-15 to
        1e15, `()` or one a pair, may be traced.

    Returns:
      A dimensionless similarity, `[...]`, in `(0, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `constant` is outside these bounds.

    Gradient:
      Zero at `a == b`, although the slope is not 0 near it.

    References:
      Wang et al., 2021, https://arxiv.org/abs/2110.13389
    """
    pair = Pair.of(a, b)
    squared_distance = pair.squared_offset + sum_of_squares(axis.side_difference for axis in pair.axes) / 4
    distance = numerics.square_root(squared_distance)
    return jnp.exp(
        -distance / numerics.maximum(jnp.asarray(constant, distance.dtype), float(jnp.finfo(distance.dtype).tiny))
    )
