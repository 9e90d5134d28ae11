"""Which target an anchor answers for, by where boxes and points lie."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxbox import _checks, numerics
from jaxbox.assigners.choices import Array, best_chooser, first_of, number, over_images, sizes_of_levels
from jaxbox.boxes import center
from jaxbox.similarity import iou

__all__ = ["atss", "inside", "near", "rotated_inside", "smallest_inside"]


def _check_points(given: _checks.Given) -> int:
    """Checks points `[A, n]`, and gives A."""
    points = given["points"] = _checks.floats("points", given["points"])
    if points.ndim != 2 or 2 * points.shape[-1] not in _checks.BOXES.lengths:
        raise ValueError(
            f"`points` has shape {points.shape}, but it is `[A, 2]`, the same for all images. Write `points[0]` if it "
            "has an axis of images."
        )
    return points.shape[0]


def _check_targets(given: _checks.Given, layout: _checks.Layout = _checks.BOXES) -> _checks.Shape:
    """Checks targets `[..., M, 2n]` and their mask, and gives the shape of one value a target."""
    targets = given["targets"] = _checks.laid_out("targets", given["targets"], layout)
    if targets.ndim < 2:
        raise ValueError(
            f"`targets` has shape {targets.shape}, but it is `[..., M, {targets.shape[-1]}]`. For one target write "
            "`targets[None]`."
        )
    given["where"] = _checks.mask(given.get("where"), targets.shape[:-1])
    return targets.shape[:-1]


def _one_dimension(given: _checks.Given) -> None:
    points, targets = given["points"], given["targets"]
    if 2 * points.shape[-1] != targets.shape[-1]:
        raise ValueError(
            f"`points` has shape {points.shape} and `targets` has shape {targets.shape}, but boxes have two numbers "
            "for each of a point."
        )


def _check_inside(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    _check_points(given)
    _check_targets(given)
    _one_dimension(given)
    _check_least_side(given)
    return {}


def _check_least_side(given: _checks.Given) -> None:
    if given["least_side"] is not None:
        dtype = _checks.dtype_to_compute_in([given["targets"]])
        given["least_side"] = _checks.option("least_side", given["least_side"], _checks.NOT_NEGATIVE, (), dtype)


@_checks.checked(_check_inside)
def inside(
    points: Array,
    targets: Array,
    *,
    least_side: float | Array | None = None,
    where: Array | None = None,
) -> jax.Array:
    """Which points lie inside which targets, not on a side.

    Args:
      points: `[A, n]`, such as the centers of anchors, in any unit.
      targets: boxes, `[..., M, 2n]`, low corner, then high corner, in the same unit.
      least_side: targets with shorter sides count as boxes with sides of this about the same center; may be traced.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      Whether the point is inside, boolean, `[..., A, M]`; False for padding.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit.

    Gradient:
      None: booleans.
    """
    points, targets = numerics.promote(points, targets)
    takes_part = _taking_part(targets, where)
    found = takes_part[..., None, :]
    for place, low, high in _axes(points, targets):
        if least_side is not None:
            half, middle = jnp.asarray(least_side, low.dtype) / 2, low / 2 + high / 2
            is_short = high - low < 2 * half
            low, high = jnp.where(is_short, middle - half, low), jnp.where(is_short, middle + half, high)
        found &= (low < place) & (place < high)
    return found


def _check_rotated_inside(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    _check_points(given)
    _check_targets(given, _checks.TURNED)
    if given["points"].shape[-1] != 2:
        raise ValueError(
            f"`points` has shape {given['points'].shape}, but turned boxes lie in the plane: `[A, 2]`. Write "
            "`points[:, :2]`."
        )
    _check_least_side(given)
    return {}


@_checks.checked(_check_rotated_inside)
def rotated_inside(
    points: Array,
    targets: Array,
    *,
    least_side: float | Array | None = None,
    where: Array | None = None,
) -> jax.Array:
    """Which points lie inside which turned targets, not on a side.

    Args:
      points: `[A, 2]`, such as the centers of anchors, in any unit.
      targets: turned boxes, `[..., M, 5]`: center, sides, and an angle in radians, in the same unit.
      least_side: shorter sides of targets count as this; may be traced.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      Whether the point is inside, boolean, `[..., A, M]`; False for padding.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit.

    Gradient:
      None: booleans.
    """
    points, targets = (lax.stop_gradient(x) for x in numerics.promote(points, targets))
    found = _taking_part(targets, where)[..., None, :]
    (x, y), columns = numerics.coordinates(points, targets)
    center_x, center_y, *sides, angle = (jnp.expand_dims(column, -2) for column in columns)
    cosine, sine = numerics.direction(angle)
    dx, dy = _of_points(x, targets.ndim) - center_x, _of_points(y, targets.ndim) - center_y
    for offset, side in zip((dx * cosine + dy * sine, dy * cosine - dx * sine), sides, strict=True):
        # Boxes are held constant, so that the absolute value and the maximum may be those of jnp.
        longer = side if least_side is None else jnp.maximum(side, jnp.asarray(least_side, side.dtype))
        found &= 2 * jnp.abs(offset) < longer
    return found


def _check_near(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    count = _check_points(given)
    _check_targets(given)
    _one_dimension(given)
    _check_of_points(given, "radius", (count,), "one number")
    return {}


@_checks.checked(_check_near)
def near(points: Array, targets: Array, *, radius: Array, where: Array | None = None) -> jax.Array:
    """Which points are near the centers of which targets.

    Args:
      points: `[A, n]`, such as the centers of anchors, in any unit.
      targets: boxes, `[..., M, 2n]`, low corner, then high corner, in the same unit.
      radius: how near a center is on every axis, `[A]`, such as 2.5 strides; infinity for no limit.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      Whether the center is nearer than that, boolean, `[..., A, M]`; False for padding.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit.

    Gradient:
      None: booleans.
    """
    points, targets, radius = (lax.stop_gradient(x) for x in numerics.promote(points, targets, radius))
    found = _taking_part(targets, where)[..., None, :]
    for place, low, high in _axes(points, targets):
        # Boxes are held constant, so that the absolute value may be that of jnp.
        found &= jnp.abs(place - (low / 2 + high / 2)) < _of_points(radius, targets.ndim)
    return found


def _check_atss(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    anchors = given["anchors"] = _checks.laid_out("anchors", given["anchors"], _checks.BOXES)
    if anchors.ndim != 2:
        raise ValueError(
            f"`anchors` has shape {anchors.shape}, but it is `[A, 4]`, the same for all images. Write `anchors[0]` if "
            "it has an axis of images."
        )
    _check_targets(given)
    _checks.assert_one_dimension({"anchors": anchors, "targets": given["targets"]})
    return {
        "level_sizes": sizes_of_levels(given["level_sizes"], len(anchors)),
        "candidates": number("candidates", given["candidates"], 9),
    }


@_checks.checked(_check_atss)
def atss(
    anchors: Array,
    targets: Array,
    *,
    level_sizes: Sequence[int],
    candidates: int = 9,
    where: Array | None = None,
) -> jax.Array:
    """ATSS: the anchors near a target whose IoU stands out among those near it.

    Of each level the `candidates` anchors whose centers are nearest to that of the target are looked at. Those of them
    answer for it whose IoU is at least the mean of all plus their standard deviation (of a sample), and whose center is
    inside. An anchor of several targets answers for the one that it overlaps most, the first of equal ones.

    Args:
      anchors: boxes, `[A, 4]`, low corner, then high corner, level by level.
      targets: boxes, `[..., M, 4]`, in the same unit.
      level_sizes: how many anchors each level has.
      candidates: how many of each level are looked at.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      The slot of the target of each anchor, `[..., A]`, int32, M where it has none.

    Raises:
      TypeError: if an array has a dtype that does not fit, or a number of anchors is none.
      ValueError: if a shape does not fit, or the levels have another number of anchors in all.

    Gradient:
      None: boxes are held constant.

    References:
      Zhang et al., 2019, https://arxiv.org/abs/1912.02424
    """
    anchors, targets = (lax.stop_gradient(x) for x in numerics.promote(anchors, targets))
    takes_part = _taking_part(targets, where)
    safe = jnp.where(takes_part[..., None], targets, jnp.zeros_like(targets))
    # A copy for each image: on explicit axes JAX refuses to index what is whole by what is spread.
    nothing = jnp.sum(jnp.zeros_like(safe), axis=(-2, -1), keepdims=True)
    own = jnp.expand_dims(anchors, range(nothing.ndim - 2)) + nothing
    return over_images(functools.partial(_atss, tuple(level_sizes), candidates), safe, own, takes_part)


def _atss(
    level_sizes: tuple[int, ...], candidates: int, targets: jax.Array, anchors: jax.Array, takes_part: jax.Array
) -> jax.Array:
    points = center(anchors)
    apart = numerics.total(
        ((low / 2 + high / 2) - place) ** 2 for place, low, high in _axes(points, targets)
    ).T  # [M, A], squared
    near, start = [], 0
    for size in level_sizes:
        _, places = lax.top_k(-apart[:, start : start + size], min(candidates, size))
        near.append(places + start)
        start += size
    places = jnp.concatenate(near, axis=-1)
    overlaps = iou(anchors[places], targets[:, None])
    # Boxes are held constant, so that the root may be that of jnp.
    mean = jnp.mean(overlaps, axis=-1, keepdims=True)
    spread = jnp.sqrt(jnp.sum((overlaps - mean) ** 2, axis=-1, keepdims=True) / max(places.shape[-1] - 1, 1))
    low, high = jnp.split(targets[:, None], 2, axis=-1)
    is_inside = jnp.all((low < points[places]) & (points[places] < high), axis=-1)
    is_chosen = (overlaps >= mean + spread) & is_inside & takes_part[:, None]
    return best_chooser(places, is_chosen, overlaps, len(anchors))


def _check_smallest(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
    del untouched
    count = _check_points(given)
    _check_targets(given)
    _one_dimension(given)
    _check_of_points(given, "ranges", (count, 2), "least and greatest")
    _check_of_points(given, "radius", (count,), "one number")
    return {}


def _check_of_points(given: _checks.Given, name: str, shape: _checks.Shape, said: str) -> None:
    array = given[name] = _checks.floats(name, given[name])
    if array.shape != shape:
        raise ValueError(
            f"`{name}` has shape {array.shape}, but it is {shape}: {said} for each point. For the same everywhere "
            f"write `jnp.broadcast_to({name}, {shape})`."
        )


@_checks.checked(_check_smallest)
def smallest_inside(
    points: Array,
    targets: Array,
    *,
    ranges: Array,
    radius: Array,
    where: Array | None = None,
) -> jax.Array:
    """FCOS: the smallest target around a point, near enough to its center and of a size that is the level's.

    A point answers for a target that it is inside of, whose center is nearer than `radius` on every axis, and whose
    furthest side is nearer than the greater one of `ranges` and further than the lesser one. Of several it is the
    one with the smallest area, the first of equal ones.

    Args:
      points: `[A, 2]`, the centers of the cells of all levels.
      targets: boxes, `[..., M, 4]`, low corner, then high corner, in the same unit.
      ranges: `[A, 2]`, least and greatest distance of the furthest side; infinity for no limit.
      radius: `[A]`, of a center; infinity for no limit.
      where: which targets take part, boolean, `[..., M]`.

    Returns:
      The slot of the target of each point, `[..., A]`, int32, M where it has none.

    Raises:
      TypeError: if an array has a dtype that does not fit.
      ValueError: if a shape does not fit.

    Gradient:
      None: boxes are held constant.

    References:
      Tian et al., 2019, https://arxiv.org/abs/1904.01355
    """
    points, targets, ranges, radius = (lax.stop_gradient(x) for x in numerics.promote(points, targets, ranges, radius))
    fits = inside(points, targets, where=where) & near(points, targets, radius=radius)
    ((least, greatest),) = numerics.coordinates(ranges)
    least, greatest = (_of_points(x, fits.ndim) for x in (least, greatest))
    # Boxes are held constant, so that the maximum may be that of jnp.
    furthest, area = jnp.zeros((), points.dtype), jnp.ones((), points.dtype)
    for place, low, high in _axes(points, targets):
        furthest = jnp.maximum(furthest, jnp.maximum(place - low, high - place))
        area = area * (high - low)
    fits &= (least < furthest) & (furthest < greatest)
    return first_of(jnp.where(fits, area, jnp.inf), targets.shape[-2])


def _of_points(x: jax.Array, rank: int) -> jax.Array:
    """One value a point, `[A]`, as rows, `[..., A, 1]`."""
    return jnp.expand_dims(x[:, None], range(rank - 2))


def _axes(points: jax.Array, targets: jax.Array) -> Iterator[tuple[jax.Array, jax.Array, jax.Array]]:
    """For each axis the places of points `[..., A, 1]`, and the ends of targets `[..., 1, M]`."""
    places, ends = numerics.coordinates(points, targets)
    for place, low, high in zip(places, ends[: len(places)], ends[len(places) :], strict=True):
        yield _of_points(place, targets.ndim), jnp.expand_dims(low, -2), jnp.expand_dims(high, -2)


def _taking_part(targets: jax.Array, where: Array | None) -> jax.Array:
    """Which targets take part: those that are not masked and not NaN."""
    takes_part = ~jnp.any(jnp.isnan(targets), axis=-1)
    return takes_part if where is None else takes_part & jnp.asarray(where)
