r"""Turned boxes as normal distributions, and the distances of these.

A box `[..., 5]` stands for the normal distribution $\mathcal{N}$ whose mean $\mu$ is its center and whose standard
deviations are its half sides, along its sides. Its covariance is $\Sigma = R\, \mathrm{diag}(w^2, h^2) / 4\, R^\top$
for the rotation $R$ by its angle. ProbIoU alone takes that of a uniform distribution over the box, $\Sigma / 3$.

A distance is 0 for equal boxes and grows from there. It depends neither on which of its angles stands for a box, nor
on the frame of reference. All but Wasserstein's are ratios, which the unit of length does not change, and infinite for
a box without width: below the share `floor` of the longest of the half sides and the distance of the centers, m, a half
side x counts as `m^2 / (2 m - x)`, which is at least `m / 2` and has a slope.

A square box has no angle: all derivatives by its angle are 0.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import _checks, numerics
from jaxbox._checks import SHARE_OF_LENGTH, TURNED
from jaxbox._geometry import Normals

__all__ = ["bhattacharyya", "jeffreys", "kl", "mean_and_covariance", "wasserstein"]


def _distance(**intervals: _checks.Interval) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a distance of a formula that takes `a` and `b`, and options within these intervals."""
    return _checks.checked(_checks.of_boxes("a", "b", layout=TURNED, options=intervals))


@_checks.checked(_checks.of_boxes("boxes", layout=TURNED, options={}))
def mean_and_covariance(boxes: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The normal distribution that a turned box stands for.

    Args:
      boxes: `[..., 5]`, center, width, height, and angle in radians.

    Returns:
      Means, `[..., 2]`, in the unit of the boxes, and covariances, `[..., 2, 2]`, in its square.

    Gradient:
      That of a side at 0 is that of a square.
    """
    ((x, y, w, h, angle),) = numerics.coordinates(boxes)
    c, s = numerics.direction(angle)
    p, q = (numerics.positive_part(side) / 2 for side in (w, h))
    across = c * s * ((p - q) * (p + q))
    rows = [
        numerics.together([c * c * (p * p) + s * s * (q * q), across]),
        numerics.together([across, s * s * (p * p) + c * c * (q * q)]),
    ]
    return numerics.together([x, y]), jnp.stack(rows, axis=-2)


@_distance()
def wasserstein(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    r"""Wasserstein distance of order 2.

    $$W_2^2 = |\mu_a - \mu_b|^2
    + \mathrm{tr}\left(\Sigma_a + \Sigma_b - 2 (\Sigma_b^{1/2} \Sigma_a \Sigma_b^{1/2})^{1/2}\right)$$

    For boxes of one angle it is the distance in `similarity.nwd`. A box without width has a finite one.

    Args:
      a: boxes, `[..., 5]`, center, width, height, and angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.

    Returns:
      A distance in the unit of the boxes, `[...]`, in `[0, inf)`; 0 only for equal boxes.

    Gradient:
      Zero at `a == b`, although the slope is not 0 near it.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2101.11952
    """
    pair = Normals.of(a, b)
    return pair.unit * pair.in_units.wasserstein


@_distance(floor=SHARE_OF_LENGTH)
def kl(
    a: jax.Array | np.ndarray, b: jax.Array | np.ndarray, *, floor: float | jax.Array | np.ndarray = 1e-6
) -> jax.Array:
    r"""Kullback-Leibler divergence of the first distribution from the second, in nats.

    $$\mathrm{KL}(\mathcal{N}_a \parallel \mathcal{N}_b) = \frac{1}{2} \left(
    (\mu_a - \mu_b)^\top \Sigma_b^{-1} (\mu_a - \mu_b) + \mathrm{tr}(\Sigma_b^{-1} \Sigma_a)
    + \ln \frac{|\Sigma_b|}{|\Sigma_a|} - 2 \right)$$

    Lengths count in units of `b`, whose covariance is the one to divide by. It is not symmetric.

    Args:
      a: boxes, `[..., 5]`, center, width, height, and angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.
      floor: share of the longest length below which a half side is raised; from 9e-7 on and below 1, `()` or one a
        pair, may be traced.

    Returns:
      A dimensionless distance, `[...]`, in `[0, inf)`; 0 only for equal boxes.

    Raises:
      ValueError: if `floor` is outside these bounds.

    Gradient:
      Zero at `a == b`.
      Held constant: the longest length.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2106.01883
    """
    pair = Normals.of(a, b).in_units.raised(floor)
    (x, y), (w, h) = pair.offset, pair.half_sides_b
    ratios = (numerics.divide(x, w), numerics.divide(y, h), *(_over(pair.root_b, pair)))
    of_sizes = numerics.log_deficit(
        numerics.divide(pair.root_a, pair.root_b), numerics.divide(pair.growth, pair.root_b)
    )
    return numerics.total(ratio * ratio for ratio in ratios) / 2 + of_sizes


@_distance(floor=SHARE_OF_LENGTH)
def jeffreys(
    a: jax.Array | np.ndarray, b: jax.Array | np.ndarray, *, floor: float | jax.Array | np.ndarray = 1e-6
) -> jax.Array:
    r"""Mean of both Kullback-Leibler divergences: half of Jeffreys' divergence, as rotated detectors take it.

    $$\frac{1}{2} \left(\mathrm{KL}(\mathcal{N}_a \parallel \mathcal{N}_b)
    + \mathrm{KL}(\mathcal{N}_b \parallel \mathcal{N}_a)\right)$$

    The logarithms cancel.

    Args:
      a: boxes, `[..., 5]`, center, width, height, and angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.
      floor: share of the longest length below which a half side is raised; from 9e-7 on and below 1, `()` or one a
        pair, may be traced.

    Returns:
      A dimensionless distance, `[...]`, in `[0, inf)`; 0 only for equal boxes.

    Raises:
      ValueError: if `floor` is outside these bounds.

    Gradient:
      Zero at `a == b`.
      Held constant: the longest length.

    References:
      Yang et al., 2021, https://arxiv.org/abs/2106.01883
    """
    pair = Normals.of(a, b).in_units.raised(floor)
    offsets, sides = (*pair.offset_of_a, *pair.offset), (*pair.half_sides_a, *pair.half_sides_b)
    ratios = (*map(numerics.divide, offsets, sides), *_over(pair.root_a, pair), *_over(pair.root_b, pair))
    of_sizes = numerics.divide(pair.growth, pair.root_a) * numerics.divide(pair.growth, pair.root_b)
    return numerics.total(ratio * ratio for ratio in ratios) / 4 + of_sizes / 2


def _over(root: jax.Array, pair: Normals) -> tuple[jax.Array, jax.Array]:
    """What differs between the shapes, but for their size, in units of a box."""
    return numerics.divide(pair.stretch, root), numerics.divide(pair.twist, root)


@_distance(floor=SHARE_OF_LENGTH)
def bhattacharyya(
    a: jax.Array | np.ndarray, b: jax.Array | np.ndarray, *, floor: float | jax.Array | np.ndarray = 1e-6
) -> jax.Array:
    r"""Bhattacharyya distance: minus the logarithm of how much the distributions overlap.

    $$D = \frac{1}{8} (\mu_a - \mu_b)^\top \Sigma^{-1} (\mu_a - \mu_b)
    + \frac{1}{2} \ln \frac{|\Sigma|}{\sqrt{|\Sigma_a| |\Sigma_b|}}, \quad \Sigma = \frac{\Sigma_a + \Sigma_b}{2}$$

    Args:
      a: boxes, `[..., 5]`, center, width, height, and angle in radians.
      b: boxes in the same unit, `[..., 5]`; leading axes broadcast against `a`.
      floor: share of the longest length below which a half side is raised; from 9e-7 on and below 1, `()` or one a
        pair, may be traced.

    Returns:
      A dimensionless distance, `[...]`, in `[0, inf)`; 0 only for equal boxes.

    Raises:
      ValueError: if `floor` is outside these bounds.

    Gradient:
      Zero at `a == b`.
      Held constant: the longest length.

    References:
      Yang et al., 2022, https://arxiv.org/abs/2209.10839
    """
    pair = Normals.of(a, b).in_units.raised(floor)
    return pair.separation + pair.dissimilarity


def __dir__() -> list[str]:
    return sorted(__all__)
