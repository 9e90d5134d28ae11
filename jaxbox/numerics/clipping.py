"""The overlap of two turned rectangles, and the smallest rectangle around both, each with one rule for its derivative.

Everything is in the frame of the second rectangle, whose center is the origin and whose sides lie along the axes, with
half sides, and in a unit in which the largest length is about 1.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxbox.numerics.angles import versine
from jaxbox.numerics.execution import settled
from jaxbox.numerics.rules import absolute, clip, divide, is_zero, square_root, total

__all__ = ["smallest_rectangle", "turned_overlap"]

Lengths = tuple[jax.Array, jax.Array]


# How much of each edge lies inside the other rectangle.


def _within(x, low, high):
    """`jnp.clip` in comparisons, of which XLA makes an instruction each on a CPU: its minimum takes care of NaN."""
    return jnp.where(x > high, high, jnp.where(x < low, low, x))


@jax.custom_jvp
def _crossing(distance, slope, reciprocal, reach):
    del slope
    return _within(distance * reciprocal, -reach, reach)


@_crossing.defjvp
def _crossing_jvp(primals, tangents):
    (_, slope, _, reach), (ddistance, dslope, _, dreach) = primals, tangents
    place = _crossing(*primals)
    beyond = jnp.abs(place) >= reach
    moved = divide(ddistance - place * dslope, jnp.where(beyond, 1, slope))
    return place, jnp.where(beyond, jnp.sign(place) * dreach, moved)


def _places(middle, bound, slope, reciprocal, reach, nudge=0):
    """Where an edge enters and leaves a strip, as lengths along the edge from its center, within its ends.

    The strip reaches as far as `bound` on both sides of `middle`; the edge moves through it by `slope` a length.
    """
    enters = _crossing(middle - bound - nudge, slope, reciprocal, reach)
    leaves = _crossing(middle + bound + nudge, slope, reciprocal, reach)
    return enters, leaves


def _slopes(cosine, sine):
    """Cosine and sine, which is not negative, with their reciprocals; and what makes the border of a strip part of it.

    An edge along a strip is in it or not: it counts as one that crosses it at once. What is added to the strip is the
    smallest number, and its product with the reciprocal is longer than any edge.
    """
    flat = is_zero(sine)
    tiny = float(jnp.finfo(sine.dtype).tiny)
    one = jnp.ones_like(sine)
    reciprocal = jnp.where(flat, 2 / tiny, one / jnp.where(flat, one, sine))
    return (cosine, one / cosine), (sine, reciprocal), jnp.where(flat, tiny * one, 0)


def _edges(half_sides, bounds, offset, slopes):
    """The parts of the four edges of a rectangle inside another: right, left, top, bottom.

    Args:
      half_sides: of the rectangle.
      bounds: half sides of the other one, in whose frame all is.
      offset: of the centers.
      slopes: what `_slopes` gives.

    Returns:
      For each edge where it enters and leaves the strip along the second axis, and where both strips.
    """
    (p, q), (a, b), (u, v) = half_sides, bounds, offset
    (c, per_c), (s, per_s), nudge = slopes
    found = []
    for side in (p, -p):
        x, y = u + side * c, v + side * s
        enters, leaves = _places(-y, b, c, per_c, q)
        enters_x, leaves_x = _places(x, a, s, per_s, q, nudge)
        found.append((enters, leaves, clip(enters_x, enters, leaves), clip(leaves_x, enters, leaves)))
    for side in (q, -q):
        x, y = u - side * s, v + side * c
        enters, leaves = _places(-y, b, s, per_s, p, nudge)
        enters_x, leaves_x = _places(-x, a, c, per_c, p)
        found.append((enters, leaves, clip(enters_x, enters, leaves), clip(leaves_x, enters, leaves)))
    return found


def _mirrored(offset, cosine, sine):
    """The offset and the slopes where the turn is not negative: a mirror changes no area. And the sign of the turn."""
    sign = jnp.where(sine < 0, -jnp.ones_like(sine), 1)
    u, v = offset
    return (u, v * sign), _slopes(cosine, sine * sign), sign


# The area that both cover.


@jax.custom_jvp
def _overlap(half_sides_a, half_sides_b, offset, turn, cosine, sine):
    del turn
    (p, q), (a, b) = half_sides_a, half_sides_b
    (u, v), slopes, _ = _mirrored(offset, cosine, sine)
    (c, _), (s, _), _ = slopes
    # A curve whose outside is clamped to the border of a rectangle surrounds what is left of it: the area is the
    # integral of x dy, for x from any place, along the clamped edges of the first. Edges of both would not close: two
    # crossings of nearly parallel ones, each computed on its own, differ by the precision over the turn.
    place = jnp.clip(u, -a, a)  # near a small rectangle, which keeps its precision then
    away = u - place
    fluxes = []
    starts = [(p * c, -s), (-p * c, -s), (-q * s, c), (q * s, c)]
    for (x, slope), (enters, leaves, inside, outside) in zip(
        starts, _edges(half_sides_a, half_sides_b, (u, v), slopes), strict=True
    ):
        first, last = (_within(away + (x + at * slope), -a - place, a - place) for at in (enters, leaves))
        middle = (inside + outside) / 2
        fluxes.append(first * (middle - enters) + last * (leaves - middle))
    right, left, top, bottom = fluxes
    area = c * (right - left) + s * (bottom - top)
    along, across = c * u + s * v, c * v - s * u
    apart = (jnp.abs(u) >= a + (p * c + q * s)) | (jnp.abs(v) >= b + (q * c + p * s))
    apart |= (jnp.abs(along) >= p + (a * c + b * s)) | (jnp.abs(across) >= q + (b * c + a * s))
    largest = jnp.minimum((2 * p) * (2 * q), (2 * a) * (2 * b))
    return jnp.where(apart, 0, jnp.clip(area, 0, largest))


@functools.partial(_overlap.defjvp, symbolic_zeros=True)
def _overlap_jvp(primals, tangents):
    half_sides_a, half_sides_b, offset, _, cosine, sine = primals
    (dp, dq), (da, db), (du, dv), dturn, _, _ = tangents
    (p, q), (a, b) = half_sides_a, half_sides_b
    (u, v), slopes, sign = _mirrored(offset, cosine, sine)
    (c, per_c), (s, per_s), nudge = slopes
    slopes = (c, settled(per_c)), (s, settled(per_s)), nudge
    # The border moves where it is border of both: the velocity along the normal, times the length inside the other.
    # Edges that lie on each other, and not beside each other, share theirs.
    whole = jnp.ones_like(u)
    on_each_other = p + u == a, p - u == a, q + v == b, q - v == b
    shares = [jnp.where((nudge > 0) & same, whole / 2, whole) for same in on_each_other]
    (right, right_moment), (left, left_moment), (top, top_moment), (bottom, bottom_moment) = (
        _length_and_moment(edge, share)
        for edge, share in zip(_edges((p, q), (a, b), (u, v), slopes), shares, strict=True)
    )
    across, along = right - left, top - bottom
    moves = [
        (dp, lambda: right + left),
        (dq, lambda: top + bottom),
        (du, lambda: across * c - along * s),
        (dv, lambda: sign * (across * s + along * c)),
        (dturn, lambda: sign * ((left_moment - right_moment) + (top_moment - bottom_moment))),
    ]
    if not (_is_none(da) and _is_none(db)):
        # The second one in the frame of the first, mirrored again: its top is what was its bottom.
        offset_of_a = -(c * u + s * v), c * v - s * u
        edges = _edges((a, b), (p, q), offset_of_a, slopes)
        shares = [shares[0], shares[1], shares[3], shares[2]]
        of_b = [_length_and_moment(edge, share)[0] for edge, share in zip(edges, shares, strict=True)]
        moves += [(da, lambda: of_b[0] + of_b[1]), (db, lambda: of_b[2] + of_b[3])]
    area = settled(_overlap(*primals))
    return area, _moved(area, moves)


def _length_and_moment(edge, share):
    _, _, inside, outside = edge
    length = (outside - inside) * share
    return settled(length), settled((inside + outside) / 2 * length)


def _is_none(tangent):
    return isinstance(tangent, SymbolicZero)


def _moved(value, moves):
    """The sum of slopes times tangents, of those that move."""
    terms = [slope() * tangent for tangent, slope in moves if not _is_none(tangent)]
    return total(terms) if terms else jnp.zeros_like(value)


def turned_overlap(
    half_sides_a: Lengths, half_sides_b: Lengths, offset: Lengths, turn: jax.Array, cosine: jax.Array, sine: jax.Array
) -> jax.Array:
    """The area that two turned rectangles have in common.

    The derivative with respect to an edge is its length inside the other rectangle, so that it has no small
    denominator, whatever the turn. Where edges lie on each other, each has half of it; where the rectangles touch from
    outside, all of it: they are drawn together. The second derivative is that of the lengths, and grows as one over the
    turn.

    Args:
      half_sides_a: of the first, along its own axes, not negative.
      half_sides_b: of the second, along the axes of the frame.
      offset: center of the first.
      turn: of the first, within `[-pi / 4, pi / 4]`. Only derivatives are taken with respect to it.
      cosine: of the turn.
      sine: of the turn. Both are functions of the turn, whose derivatives are not asked for.

    Returns:
      The area, from 0 to the smaller of both; 0 where they are apart.
    """
    return _overlap(half_sides_a, half_sides_b, offset, turn, cosine, sine)


# The smallest rectangle around both.


def _side(e, f, offset):
    """The side of a rectangle around two shapes that reach `e` and `f` from centers so far apart along it."""
    return e + f + jnp.maximum(jnp.abs(e - f), jnp.abs(offset))


def _directions(signs_a, signs_b, half_sides_a, half_sides_b, offset, turn, sine):
    """The vector from a corner of the second to one of the first: its length, and the unit vector along it."""
    (i, j), (k, m), (p, q), (a, b), (u, v) = signs_a, signs_b, half_sides_a, half_sides_b, offset
    fall = versine(turn)
    # Sides are subtracted first: corners that are near each other lose nothing.
    dx = u + ((i * p - k * a) - (i * p * fall + j * q * sine))
    dy = v + ((j * q - m * b) - (j * q * fall - i * p * sine))
    square = dx * dx + dy * dy
    # Shorter ones than the rounding of a corner have no direction.
    length = square_root(jnp.where(is_zero(square), 0, square))
    return length, (divide(dx, length), divide(dy, length))


def _extents(half_sides_a, half_sides_b, offset, cosine, sine, direction):
    """What both rectangles reach along a direction and across it, and the offset there."""
    (p, q), (a, b), (u, v), (ex, ey) = half_sides_a, half_sides_b, offset, direction
    along, across = cosine * ex + sine * ey, cosine * ey - sine * ex
    sizes = absolute(along), absolute(across), absolute(ex), absolute(ey)
    (size_along, size_across, size_x, size_y) = sizes
    of_a = p * size_along + q * size_across, p * size_across + q * size_along
    of_b = a * size_x + b * size_y, a * size_y + b * size_x
    return (along, across), sizes, of_a, of_b, (u * ex + v * ey, v * ex - u * ey)


def _best_bridge(half_sides_a, half_sides_b, offset, turn, cosine, sine):
    """The signs of the two corners whose line bears the smallest rectangle, of those that an edge of the hull can join.

    An edge of the hull that joins two corners has a normal along which both are the farthest ones of their rectangles.
    With a turn of an eighth at most these are corners of the same signs, or the next ones in the sense of the turn.
    """
    rank = cosine.ndim
    column = (-1, *(1,) * rank)
    i, j = (jnp.asarray(signs, cosine.dtype).reshape(column) for signs in ([1, -1, -1, 1] * 2, [1, 1, -1, -1] * 2))
    second = jnp.asarray([False] * 4 + [True] * 4).reshape(column)
    operands = jax.tree.map(lambda x: jnp.expand_dims(x, 0), (half_sides_a, half_sides_b, offset, turn, cosine, sine))
    half_sides_a, half_sides_b, offset, turn, cosine, sine = operands
    sense = jnp.where(sine < 0, -1, jnp.ones_like(sine))
    k, m = jnp.where(second, -sense * j, i), jnp.where(second, sense * i, j)
    length, direction = _directions((i, j), (k, m), half_sides_a, half_sides_b, offset, turn, sine)
    _, _, of_a, of_b, apart = _extents(half_sides_a, half_sides_b, offset, cosine, sine, direction)
    area = jnp.where(length > 0, _side(of_a[0], of_b[0], apart[0]) * _side(of_a[1], of_b[1], apart[1]), jnp.inf)
    area = settled(area)
    smallest = jnp.min(area, axis=0)
    which = jnp.arange(8, dtype=jnp.int32).reshape(column)
    first = jnp.min(jnp.where(area <= smallest[None], which, 7), axis=0)
    i, j = (
        jnp.where((first + 1) % 4 < 2, 1, -jnp.ones_like(smallest)),
        jnp.where(first % 4 < 2, 1, -jnp.ones_like(smallest)),
    )
    sense = sense[0]
    k, m = jnp.where(first >= 4, -sense * j, i), jnp.where(first >= 4, sense * i, j)
    return smallest, tuple(map(settled, (i, j, k, m)))


@jax.custom_jvp
def _bridged(signs_a, signs_b, half_sides_a, half_sides_b, offset, turn, cosine, sine):
    _, direction = _directions(signs_a, signs_b, half_sides_a, half_sides_b, offset, turn, sine)
    _, _, of_a, of_b, apart = _extents(half_sides_a, half_sides_b, offset, cosine, sine, direction)
    return settled(_side(of_a[0], of_b[0], apart[0]) * _side(of_a[1], of_b[1], apart[1]))


@functools.partial(_bridged.defjvp, symbolic_zeros=True)
def _bridged_jvp(primals, tangents):
    (i, j), (k, m), half_sides_a, half_sides_b, offset, turn, cosine, sine = primals
    _, _, (dp, dq), (da, db), (du, dv), dturn, _, _ = tangents
    (p, q), (a, b) = half_sides_a, half_sides_b
    length, (ex, ey) = _directions((i, j), (k, m), half_sides_a, half_sides_b, offset, turn, sine)
    (along, across), sizes, of_a, of_b, (o, n) = _extents(half_sides_a, half_sides_b, offset, cosine, sine, (ex, ey))
    (size_along, size_across, size_x, size_y) = sizes
    (w_a, w_b, w_o), (h_a, h_b, h_o) = _shares(of_a[0], of_b[0], o), _shares(of_a[1], of_b[1], n)
    w = of_a[0] * w_a + of_b[0] * w_b + o * w_o
    h = of_a[1] * h_a + of_b[1] * h_b + n * h_o
    # The rectangle grows with what the boxes reach, and with their offset, each along its sides.
    wa, wb, wo, ha, hb, ho = h * w_a, h * w_b, h * w_o, w * h_a, w * h_b, w * h_o
    sign_along, sign_across, sign_x, sign_y = (lax.stop_gradient(jnp.sign(x)) for x in (along, across, ex, ey))
    # Its direction turns with the two corners: what that does as far as the first is concerned, and in all.
    leaned = wa * (q * sign_across * along - p * sign_along * across) + ha * (
        p * sign_across * along - q * sign_along * across
    )
    turned = leaned + wb * (b * sign_y * ex - a * sign_x * ey) + hb * (a * sign_y * ex - b * sign_x * ey)
    turned = turned + (wo * n - ho * o)
    pull = settled(divide(turned, length))
    # Between concentric rectangles the bridge on the other side is as good, and pulls the other way: one half each.
    u, v = offset
    moves_apart = jnp.where((u == 0) & (v == 0), 0, jnp.ones_like(pull))
    moves = [
        (dp, lambda: wa * size_along + ha * size_across - pull * (i * across)),
        (dq, lambda: wa * size_across + ha * size_along + pull * (j * along)),
        (da, lambda: wb * size_x + hb * size_y + pull * (k * ey)),
        (db, lambda: wb * size_y + hb * size_x - pull * (m * ex)),
        (du, lambda: moves_apart * (wo * ex - (ho + pull) * ey)),
        (dv, lambda: moves_apart * (wo * ey + (ho + pull) * ex)),
        (dturn, lambda: pull * (i * p * along + j * q * across) - leaned),
    ]
    area = _bridged(*primals)
    return area, _moved(area, moves)


def _shares(e, f, offset):
    """The slopes of `_side`. They are settled: along a bridge both lengths are equal but for their rounding."""
    of_sides = jnp.abs(e - f) > jnp.abs(offset)
    larger = settled(lax.stop_gradient(jnp.where(of_sides, jnp.sign(e - f), 0)))
    signed = settled(lax.stop_gradient(jnp.where(of_sides, 0, jnp.sign(offset))))
    return 1 + larger, 1 - larger, signed


def smallest_rectangle(
    aligned: jax.Array,
    half_sides_a: Lengths,
    half_sides_b: Lengths,
    offset: Lengths,
    turn: jax.Array,
    cosine: jax.Array,
    sine: jax.Array,
) -> jax.Array:
    """The area of the smallest rectangle around two turned rectangles, at any angle.

    One of its sides lies on an edge of their hull: an edge of one of the two, or a line from a corner of one to a
    corner of the other.

    Args:
      aligned: the area of the smaller one of those along the sides of either rectangle.
      half_sides_a: of the first, along its own axes, not negative.
      half_sides_b: of the second, along the axes of the frame.
      offset: center of the first.
      turn: of the first, within `[-pi / 4, pi / 4]`. Only derivatives are taken with respect to it.
      cosine: of the turn.
      sine: of the turn. Both are functions of the turn, whose derivatives are not asked for.

    Returns:
      The area.
    """
    frame = half_sides_a, half_sides_b, offset
    smallest, (i, j, k, m) = lax.stop_gradient(_best_bridge(*lax.stop_gradient((*frame, turn, cosine, sine))))
    # A line that is an edge as well, as between equal rectangles, wins by rounding only.
    margin = 1 - 16 * float(jnp.finfo(smallest.dtype).eps)
    wins = settled(jnp.where(smallest < lax.stop_gradient(aligned) * margin, 1, jnp.zeros_like(smallest)))
    return jnp.where(wins > 0, _bridged((i, j), (k, m), *frame, turn, cosine, sine), aligned)
