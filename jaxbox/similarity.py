r"""How alike two boxes are: higher is better, and equal boxes have 1.

A similarity broadcasts the leading axes of its arguments, as arithmetic does: `giou(a[:, None], b)` is a matrix, and
`pairwise(giou)(a, b)` is the same one with its name on it.

In the formulas $I$ is the area of the intersection of the boxes, $U$ that of their union, and $C$ that of their hull,
the smallest box around both.
"""

from collections.abc import Callable

import chex
import jax
from jax import lax

from jaxbox import boxes, numerics


def pairwise(function: Callable[[chex.Array, chex.Array], jax.Array]) -> Callable[[chex.Array, chex.Array], jax.Array]:
    """Makes a function of two boxes compare every box of one set with every box of another.

    Args:
      function: a similarity, or a loss: for options write `functools.partial(smooth_l1_loss, beta=0.1)`.

    Returns:
      A function of `a`, `[..., N, 2n]`, and `b`, `[..., M, 2n]`, that returns `[..., N, M]`. The leading axes are those
      of a batch, the same in both.
    """

    def compare_all(a: chex.Array, b: chex.Array) -> jax.Array:
        if a.shape[:-2] != b.shape[:-2] or a.ndim < 2:
            raise ValueError(
                f"Got `a` of shape {a.shape} and `b` of shape {b.shape}, but sets of boxes are `[..., N, 2n]` and "
                "`[..., M, 2n]`, with the same leading axes. Write `a[None]` for a set of one box."
            )
        matrix = jax.vmap(jax.vmap(function, in_axes=(None, 0)), in_axes=(0, None))
        for _ in range(a.ndim - 2):
            matrix = jax.vmap(matrix)
        return matrix(a, b)

    return compare_all


def iou(a: chex.Array, b: chex.Array) -> jax.Array:
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
    return boxes.pair(a, b).iou


def ioa(a: chex.Array, b: chex.Array) -> jax.Array:
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
    return boxes.pair(a, b).ioa


def giou(a: chex.Array, b: chex.Array) -> jax.Array:
    r"""Generalized intersection over union.

    $$\mathrm{GIoU} = \mathrm{IoU} - \frac{C - U}{C}$$

    Unlike IoU it has a gradient where the boxes are apart.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. A flipped box is turned back, since the hull grows with the depth of the inversion.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    pair = boxes.pair(a, b)
    return pair.iou - pair.vacancy


def diou(a: chex.Array, b: chex.Array) -> jax.Array:
    r"""Distance intersection over union.

    With $\rho$ the distance of the centres and $D$ the diagonal of the hull,

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
    pair = boxes.pair(a, b)
    return pair.iou - pair.distance


def ciou(a: chex.Array, b: chex.Array) -> jax.Array:
    r"""Complete intersection over union.

    With $\theta$ the angle between the diagonals of the boxes,

    $$\mathrm{CIoU} = \mathrm{DIoU} - \alpha v, \quad v = \frac{4}{\pi^2} \theta^2, \quad
    \alpha = \frac{v}{(1 - \mathrm{IoU}) + v}.$$

    $\alpha$ is a weight: it is held constant in the gradient, and applies to every pair, whatever its IoU.

    Args:
      a: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 4]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-2, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. That of $v$ is the true one, with the factor $1 / (w^2 + h^2)$ that many copies leave out.

    References:
      Zheng et al., 2020, https://arxiv.org/abs/2005.03572
    """
    boxes.assert_boxes(a=a, b=b, planar=True)
    pair = boxes.pair(a, b)
    v = pair.aspect
    alpha = lax.stop_gradient(numerics.divide(v, (1 - pair.iou) + v))
    return pair.iou - pair.distance - alpha * v
