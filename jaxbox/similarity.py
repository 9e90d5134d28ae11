r"""How alike two boxes are: higher is better, and equal boxes have 1.

A similarity broadcasts the leading axes of its arguments, as arithmetic does: `giou(a[:, None], b)` is a matrix, and
`pairwise(giou)(a, b)` is the same one with its name on it.

In the formulas $I$ is the area of the intersection of the boxes, $U$ that of their union, and $C$ that of their hull,
the smallest box around both.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import _checks, boxes, numerics
from jaxbox._checks import (
    EXPONENT,
    LOWER_IOU,
    NOT_NEGATIVE,
    PLANE,
    POSITIVE,
    UPPER_IOU,
)

__all__ = [
    "alpha_ciou",
    "alpha_diou",
    "alpha_giou",
    "alpha_iou",
    "ciou",
    "diou",
    "eiou",
    "focaler_iou",
    "giou",
    "inner_iou",
    "ioa",
    "iou",
    "mpdiou",
    "nwd",
    "pairwise",
    "powerful_iou",
    "shape_iou",
    "siou",
    "squared_iou",
]


def _similarity(
    *, layout: _checks.Layout = _checks.BOXES, ordered: tuple[str, ...] = (), **intervals: _checks.Interval
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a similarity of a formula that takes `a` and `b`; its arguments are those of `preparation.loss`."""
    return _checks.checked(_checks.of_boxes("a", "b", layout=layout, ordered=ordered, options=intervals))


def pairwise(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Makes a function of two boxes compare every box of one set with every box of another.

    Its gradient is that of broadcasting, but for many pairs it is computed some rows at a time, in little memory.

    Args:
      function: a similarity, or a loss: for options write `functools.partial(smooth_l1_loss, beta=0.1)`. Any other one
        is compiled with the matrix, as by `jax.jit`, for as long as that function is kept.

    Returns:
      A function of `a`, `[..., N, 2n]`, and `b`, `[..., M, 2n]`, that returns `[..., N, M]`; leading axes broadcast.
      Its argument `where` holds two masks, `[..., N]` and `[..., M]`, or None for one of them. A pair with a box that
      they mask has 0, whatever the box holds, and gradient 0.

    Raises:
      TypeError: if `function` is none.
    """
    if not callable(function):
        raise TypeError(
            f"`pairwise` takes a function of two boxes, not a {type(function).__name__}. "
            "Write `similarity.pairwise(similarity.iou)(a, b)`."
        )
    of_rows, options = _without_options(function)
    known = {name: value for name, value in options.items() if _is_known(value)}
    check = getattr(of_rows, "check", None)
    is_ours = isinstance(check, _checks.BoxCheck)
    program = _program_of(of_rows) if is_ours else _matrix_program(of_rows)
    layout = check.layout if is_ours else _checks.COORDINATES

    def compare_all(
        a: chex.Array, b: chex.Array, *, where: tuple[chex.Array | None, chex.Array | None] | None = None
    ) -> jax.Array:
        sets = {"a": _checks.laid_out("a", a, layout), "b": _checks.laid_out("b", b, layout)}
        _checks.assert_sets(sets)
        masks = _checks.two_masks(where, *(rows.shape[:-1] for rows in sets.values()))
        are_intervals = _checks.is_interval(a) or _checks.is_interval(b)
        checked = _checks.options_of_rows(of_rows, options, list(sets.values()))
        given = {name: value for name, value in checked.items() if name not in known}
        key = tuple(known.items()), are_intervals, _checks.looks_for_infinities()
        return program(key, given, *sets.values(), *masks)

    return compare_all


def _without_options(function: Callable[..., jax.Array]) -> tuple[Callable[..., jax.Array], dict[str, Any]]:
    if isinstance(function, functools.partial) and not function.args:
        return function.func, function.keywords
    return function, {}


def _is_known(option: object) -> bool:
    """Whether an option can be a constant of a program: it holds no array, and hashes."""
    holds_array = any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(option))
    return not holds_array and option.__hash__ is not None


def _matrix_program(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The program of all pairs: of a key, options, two sets and two masks.

    The key holds what the program knows while it is traced: options, whether rows are intervals, and whether JAX looks
    for infinities.
    """

    def matrix_of(
        key: tuple[tuple[tuple[str, Any], ...], bool, bool],
        given: dict[str, Any],
        a: jax.Array,
        b: jax.Array,
        where_a: jax.Array | None,
        where_b: jax.Array | None,
    ) -> jax.Array:
        known, are_intervals, _ = key

        def of_two(x: jax.Array, y: jax.Array) -> jax.Array:
            pair = (boxes.Intervals(x), boxes.Intervals(y)) if are_intervals else (x, y)
            return _checks.from_outside(function)(*pair, **dict(known), **given)

        batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        matrix = numerics.all_pairs(of_two)
        for _ in batch:
            matrix = jax.vmap(matrix)
        values = matrix(*(_repeated(_kept(*rows), batch, 2) for rows in ((a, where_a), (b, where_b))))
        if where_a is not None:
            values = jnp.where(jnp.expand_dims(_repeated(where_a, batch, 1), -1), values, jnp.zeros((), values.dtype))
        if where_b is not None:
            values = jnp.where(jnp.expand_dims(_repeated(where_b, batch, 1), -2), values, jnp.zeros((), values.dtype))
        return values

    return jax.jit(matrix_of, static_argnums=0, inline=True)


_program_of = functools.lru_cache(maxsize=256)(_matrix_program)


def _kept(rows: jax.Array, where: jax.Array | None) -> jax.Array:
    return rows if where is None else jnp.where(jnp.expand_dims(where, -1), rows, 0)


def _repeated(array: jax.Array, batch: tuple[int, ...], own: int) -> jax.Array:
    """The array with leading axes `batch` before `own` axes of its own."""
    shape = (*batch, *array.shape[array.ndim - own :])
    return array if array.shape == shape else jnp.broadcast_to(array, shape)


@_similarity()
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


@_similarity()
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


@_similarity()
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
      Zero at `a == b`. A flipped box is turned back, since the hull grows with the depth of the flip.

    References:
      Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    pair = boxes.pair(a, b)
    return pair.iou - pair.vacancy


@_similarity()
def diou(a: chex.Array, b: chex.Array) -> jax.Array:
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
    pair = boxes.pair(a, b)
    return pair.iou - pair.distance


@_similarity(layout=PLANE)
def ciou(a: chex.Array, b: chex.Array) -> jax.Array:
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
    pair = boxes.pair(a, b)
    return pair.iou - pair.distance - pair.weighted_aspect


@_similarity()
def squared_iou(a: chex.Array, b: chex.Array) -> jax.Array:
    r"""The square of intersection over union.

    $$\mathrm{IoU}^2$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`, and where the boxes are apart.

    References:
      Rahman and Wang, 2016 (overlap as a loss), https://doi.org/10.1007/978-3-319-50835-1_22
    """
    return jnp.square(boxes.pair(a, b).iou)


@_similarity()
def eiou(a: chex.Array, b: chex.Array) -> jax.Array:
    r"""Efficient intersection over union.

    With $\Delta_t$ the difference of the sides along an axis and $H_t$ the side of the hull,

    $$\mathrm{EIoU} = \mathrm{DIoU} - \sum_t \frac{\Delta_t^2}{H_t^2}.$$

    Peng and Yu's loss of the same name is `losses.extended_iou_loss`.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-3, 1]` in the plane; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`.

    References:
      Zhang et al., 2021, https://arxiv.org/abs/2101.08158
    """
    pair = boxes.pair(a, b)
    change = map(numerics.divide, pair.side_differences, pair.hull)
    return pair.iou - pair.distance - boxes.sum_of_squares(list(change))


@_similarity(layout=PLANE, theta=EXPONENT)
def siou(a: chex.Array, b: chex.Array, *, theta: chex.Numeric = 4.0) -> jax.Array:
    r"""SCYLLA intersection over union.

    With $x, y$ the offsets of the centers, $\rho$ their distance, $H_t$ the sides of the hull, and $c_t$ the difference
    of the sides along an axis over the larger one,

    $$\mathrm{SIoU} = \mathrm{IoU} - \frac{\Delta + \Omega}{2}, \quad
    \Delta = \sum_t 1 - e^{-\gamma (t / H_t)^2}, \quad \gamma = 2 - \frac{2 |x y|}{\rho^2}, \quad
    \Omega = \sum_t (1 - e^{-c_t})^\theta.$$

    The fraction in $\gamma$ is the sine of twice the angle of the offset, in closed form: the arcsine that the paper
    takes has an infinite slope where the offset lies along an axis.

    Args:
      a: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 4]`; leading axes broadcast against `a`.
      theta: how little small differences of the sides count; above 0,
        `()` or one a pair, may be traced.

    Returns:
      A dimensionless similarity, `[...]`, in `(-2, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `theta` is not positive.

    Gradient:
      Zero at `a == b`.

    References:
      Gevorgyan, 2022, https://arxiv.org/abs/2205.12740
    """
    pair = boxes.pair(a, b)
    x, y = map(numerics.absolute, pair.offsets)
    # Of the quotient, and not of squares, which can be too small to divide by.
    slope = numerics.divide(numerics.minimum(x, y), numerics.maximum(x, y))
    gamma = 2 - 2 * slope / (1 + slope * slope)
    shares = map(numerics.divide, pair.offsets, pair.hull)
    offset_cost = numerics.total(-jnp.expm1(-gamma * jnp.square(share)) for share in shares)
    return pair.iou - (offset_cost + _shape_cost(pair.side_changes, theta)) / 2


def _shape_cost(changes: Iterable[jax.Array], theta: chex.Numeric) -> jax.Array:
    return numerics.total(numerics.power(-jnp.expm1(-change), theta) for change in changes)


@_similarity(alpha=EXPONENT)
def alpha_iou(a: chex.Array, b: chex.Array, *, alpha: chex.Numeric = 3.0) -> jax.Array:
    r"""Power of intersection over union.

    $$\mathrm{IoU}^\alpha$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      alpha: the power; above 0, `()` or one a pair, may be traced. Above 1 good boxes weigh more.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero at `a == b`, and where the boxes are apart.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    return numerics.power(boxes.pair(a, b).iou, alpha)


@_similarity(alpha=EXPONENT)
def alpha_giou(a: chex.Array, b: chex.Array, *, alpha: chex.Numeric = 3.0) -> jax.Array:
    r"""Generalized IoU with both of its terms raised to a power.

    $$\mathrm{IoU}^\alpha - \left(\frac{C - U}{C}\right)^\alpha$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      alpha: the power; above 0, `()` or one a pair, may be traced. Above 1 good boxes weigh more.

    Returns:
      A dimensionless similarity, `[...]`, in `[-1, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero at `a == b`.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = boxes.pair(a, b)
    return numerics.power(pair.iou, alpha) - numerics.power(pair.vacancy, alpha)


@_similarity(alpha=EXPONENT)
def alpha_diou(a: chex.Array, b: chex.Array, *, alpha: chex.Numeric = 3.0) -> jax.Array:
    r"""Distance IoU with both of its terms raised to a power.

    $$\mathrm{IoU}^\alpha - \left(\frac{\rho^2}{D^2}\right)^\alpha$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      alpha: the power; above 0, `()` or one a pair, may be traced. Above 1 good boxes weigh more.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero at `a == b`.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = boxes.pair(a, b)
    return numerics.power(pair.iou, alpha) - numerics.power(pair.distance, alpha)


@_similarity(layout=PLANE, alpha=EXPONENT)
def alpha_ciou(a: chex.Array, b: chex.Array, *, alpha: chex.Numeric = 3.0) -> jax.Array:
    r"""Complete IoU with its three terms raised to a power.

    $$\mathrm{IoU}^\alpha - \left(\frac{\rho^2}{D^2}\right)^\alpha - (\beta v)^\alpha$$

    Args:
      a: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 4]`; leading axes broadcast against `a`.
      alpha: the power; above 0, `()` or one a pair, may be traced. Above 1 good boxes weigh more.

    Returns:
      A dimensionless similarity, `[...]`, in `(-2, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `alpha` is not positive.

    Gradient:
      Zero at `a == b`. $\beta$, the weight that `ciou` calls $\alpha$, is held constant; it has no gate.

    References:
      He et al., 2021, https://arxiv.org/abs/2110.13675
    """
    pair = boxes.pair(a, b)
    powers = (numerics.power(term, alpha) for term in (pair.iou, pair.distance, pair.weighted_aspect))
    iou_power, distance_power, aspect_power = powers
    return iou_power - distance_power - aspect_power


@_similarity()
def mpdiou(a: chex.Array, b: chex.Array, *, image_size: chex.Array | Sequence[chex.Numeric]) -> jax.Array:
    r"""Minimum point distance intersection over union.

    With $d_1, d_2$ the distances of the low corners and of the high corners,

    $$\mathrm{MPDIoU} = \mathrm{IoU} - \frac{d_1^2 + d_2^2}{w_\mathrm{image}^2 + h_\mathrm{image}^2}.$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      image_size: the shape of the image, `(height, width)`, in the unit of the boxes; may be traced. An array
        `[..., n]` holds one an image, and its leading axes are the first ones of the boxes.

    Returns:
      A dimensionless similarity, `[...]`, in `(-inf, 1]`; above -2 inside the image, and 1 only for equal boxes.

    Raises:
      ValueError: if `image_size` does not have `n` positive numbers.

    Gradient:
      Zero at `a == b`.

    References:
      Ma and Xu, 2023, https://arxiv.org/abs/2307.07662
    """
    pair = boxes.pair(a, b)
    # In units of the longest side, so that no square is too small or too large.
    size = jnp.asarray(image_size)
    unit = jnp.max(size, axis=-1)
    shape = size / jnp.expand_dims(unit, -1)
    moves = [move / unit for move in pair.low_offsets + pair.high_offsets]
    return pair.iou - boxes.sum_of_squares(moves) / jnp.sum(shape * shape, axis=-1)


@_similarity(ratio=POSITIVE)
def inner_iou(a: chex.Array, b: chex.Array, *, ratio: chex.Numeric = 0.7) -> jax.Array:
    r"""Intersection over union of the boxes scaled about their own centers.

    With $a_r$ the box $a$ with its sides multiplied by $r$, $\mathrm{InnerIoU}(a, b) = \mathrm{IoU}(a_r, b_r)$. A ratio
    below 1 looks at the cores of boxes that overlap well, one above 1 reaches boxes that are apart.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      ratio: what the sides are multiplied by; from 1e-15 to 1e15, `()` or one a pair, may be traced.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `ratio` is outside these bounds.

    Gradient:
      Zero at `a == b`, and where the scaled boxes are apart.

    References:
      Zhang et al., 2023, https://arxiv.org/abs/2311.02877
    """
    return boxes.pair(a, b).scaled(ratio).iou


@_similarity(ordered=("lower", "upper"), lower=LOWER_IOU, upper=UPPER_IOU)
def focaler_iou(a: chex.Array, b: chex.Array, *, lower: chex.Numeric = 0.0, upper: chex.Numeric = 0.95) -> jax.Array:
    r"""Intersection over union, stretched from an interval to all of `[0, 1]`.

    $$\mathrm{clip}\left(\frac{\mathrm{IoU} - \mathrm{lower}}{\mathrm{upper} - \mathrm{lower}}, 0, 1\right)$$

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.
      lower: the IoU that becomes 0; from 0 on, `()` or one a pair, may be traced.
      upper: the IoU that becomes 1; 1 or below, and above `lower` by 1e-6 at least; `()` or one a pair, may be traced.

    Returns:
      A dimensionless similarity, `[...]`, in `[0, 1]`; 1 from `upper` on.

    Raises:
      ValueError: if `lower` is not below `upper`, or one is no IoU.

    Gradient:
      Zero for an IoU outside the interval, so that a box stays where its IoU reaches `upper`.

    References:
      Zhang and Zhang, 2024, https://arxiv.org/abs/2401.10525
    """
    overlap = boxes.pair(a, b).iou
    lower, upper = (jnp.asarray(bound, overlap.dtype) for bound in (lower, upper))
    width = numerics.maximum(upper - lower, _checks.LEAST_WIDTH)
    return 1 - numerics.clip((upper - overlap) / width, 0, 1)


@_similarity(layout=PLANE, scale=NOT_NEGATIVE)
def shape_iou(a: chex.Array, b: chex.Array, *, scale: chex.Numeric = 0.0) -> jax.Array:
    r"""Intersection over union less penalties weighted by the shape of the target.

    With $x, y$ the offsets of the centers, $D$ the diagonal of the hull, $c_t$ the difference of the sides along an
    axis over the larger one, and the weights $u_x = 2 h^s / (w^s + h^s)$ and $u_y = 2 w^s / (w^s + h^s)$ of the sides
    of $b$,

    $$\mathrm{IoU} - \frac{u_x x^2 + u_y y^2}{D^2} - \frac{1}{2} \sum_t (1 - e^{-u_t c_t})^4.$$

    Args:
      a: boxes, `[..., 4]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 4]`; leading axes broadcast against `a`.
      scale: how much the shape counts, not negative; `()` or one a pair, may be traced. 0 makes both weights 1.

    Returns:
      A dimensionless similarity, `[...]`, in `(-3, 1]`; 1 only for equal boxes.

    Raises:
      ValueError: if `scale` is negative.

    Gradient:
      Zero at `a == b`. The weights are held constant.

    References:
      Zhang and Zhang, 2023, https://arxiv.org/abs/2312.17663
    """
    pair = boxes.pair(a, b)
    weights = _shape_weights(pair.sides_b, scale)
    away = numerics.total(weight * jnp.square(offset) for weight, offset in zip(weights, pair.offsets, strict=True))
    changes = map(operator.mul, weights, pair.side_changes)
    return pair.iou - numerics.divide(away, pair.squared_diagonal) - _shape_cost(changes, 4.0) / 2


def _shape_weights(sides: Sequence[jax.Array], scale: chex.Numeric) -> list[jax.Array]:
    w, h = (lax.stop_gradient(numerics.absolute(side)) for side in sides)
    # Nothing here is differentiated, so that the power may be that of jnp, where 0 to the power of 0 is 1. Over the
    # longer side, one of both powers is 1 for every scale.
    shares = [numerics.divide(side, numerics.maximum(w, h), otherwise=1) for side in (h, w)]
    powers = [jnp.power(share, lax.stop_gradient(jnp.asarray(scale, share.dtype))) for share in shares]
    return [2 * power / numerics.total(powers) for power in powers]


@_similarity()
def powerful_iou(a: chex.Array, b: chex.Array) -> jax.Array:
    r"""Powerful intersection over union, with a penalty in units of the target.

    With $p$ the mean over the edges of their distance, divided by the side of $b$ that they end,

    $$\mathrm{PIoU} = \mathrm{IoU} - (1 - e^{-p^2}).$$

    It does not grow when a box is made larger, as penalties over the hull do. It is not the pixel IoU of the same
    letters.

    Args:
      a: boxes, `[..., 2n]`, low corner, then high corner, in any unit of length.
      b: boxes in the same unit, `[..., 2n]`; leading axes broadcast against `a`.

    Returns:
      A dimensionless similarity, `[...]`, in `(-1, 1]`; 1 only for equal boxes.

    Gradient:
      Zero at `a == b`. The penalty saturates, so that it vanishes a few sides of the target away.

    References:
      Liu et al., 2024, https://doi.org/10.1016/j.neunet.2023.11.041
    """
    pair = boxes.pair(a, b)
    return pair.iou + jnp.expm1(-jnp.square(pair.edge_error))


@_similarity(constant=POSITIVE)
def nwd(a: chex.Array, b: chex.Array, *, constant: chex.Numeric) -> jax.Array:
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
    distance = numerics.square_root(boxes.pair(a, b).squared_wasserstein)
    return jnp.exp(-distance / numerics.maximum(jnp.asarray(constant, distance.dtype), jnp.finfo(distance.dtype).tiny))


def __dir__() -> list[str]:
    return sorted(__all__)
