"""A loss over boxes that differ in two numbers: its landscape, and where its gradient sends them.

A loss of boxes has many inputs, and a picture two axes: a `Plane` says which boxes lie on a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import boxes as layouts
from jaxbox.plots.style import BLUE, GREEN, VERMILION, axes_of, outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from numpy.typing import ArrayLike

__all__ = ["Plane", "center_plane", "draw_gradient_field", "draw_landscape", "size_plane", "turn_plane"]

Loss = Callable[[jax.Array, jax.Array], jax.Array]

FINE, COARSE = 72, 15  # values of a landscape, and arrows of a field, along each axis
TARGET, OVERLAP, UPRIGHT = "target", "inside: the boxes overlap", "inside: not flipped"
BORDERS = {TARGET: (BLUE, "-"), OVERLAP: (BLUE, "--"), UPRIGHT: (GREEN, "-.")}  # no two look alike
SHADES = 12  # of blue
CONTOURS = 8  # levels of a landscape, between the lowest and the highest
FLAT = 1e-6  # a gradient of this part of the largest one counts as zero: what float32 leaves where terms cancel


class Plane(NamedTuple):
    """The predicted boxes of a picture: they differ in two numbers, which are its axes.

    Attributes:
      place: makes a box, `[4]`, of two numbers, `[2]`.
      low: the least of each number, `[2]`.
      high: the greatest of each, `[2]`.
      at_target: the two numbers of the target, `[2]`.
      labels: what each number is, with its unit.
      outlines: rectangles on the plane that explain it, `xyxy`, by what they mean.
    """

    place: Callable[[jax.Array], jax.Array]
    low: np.ndarray
    high: np.ndarray
    at_target: np.ndarray
    labels: tuple[str, str]
    outlines: dict[str, np.ndarray]


def center_plane(target: ArrayLike, *, sides: ArrayLike, reach: float, unit: str = "px") -> Plane:
    """Boxes of one size, with their centers around that of a target.

    Args:
      target: a box, `xyxy`, `[4]`.
      sides: the width and the height of the predicted boxes, `[2]`.
      reach: how far a center goes from that of the target, along each axis.
      unit: the unit of length.

    Returns:
      A plane of centers. Its outlines are the target, to scale, and where a box begins to touch it.
    """
    corners, sides = np.asarray(target, np.float32), np.asarray(sides, np.float32)
    middle = (corners[:2] + corners[2:]) / 2
    return Plane(
        place=lambda center: layouts.cxcywh_to_xyxy(jnp.concatenate([center, sides])),
        low=middle - reach,
        high=middle + reach,
        at_target=middle,
        labels=(f"center x ({unit})", f"center y ({unit})"),
        outlines={TARGET: corners, OVERLAP: corners + np.concatenate([-sides, sides]) / 2},
    )


def size_plane(
    target: ArrayLike, *, center: ArrayLike, smallest: float = 0.0, largest: float, unit: str = "px"
) -> Plane:
    """Boxes with one center, of all sizes.

    Args:
      target: a box, `xyxy`, `[4]`.
      center: that of the predicted boxes, `[2]`.
      smallest: the least width and height; below 0 the boxes are flipped.
      largest: the greatest width and height.
      unit: the unit of length.

    Returns:
      A plane of sizes. Its outline, if there are flipped boxes, is the border of those that are not.
    """
    corners, center = np.asarray(target, np.float32), np.asarray(center, np.float32)
    upright = {UPRIGHT: np.array([0, 0, largest, largest])} if smallest < 0 else {}
    return Plane(
        place=lambda sides: layouts.cxcywh_to_xyxy(jnp.concatenate([center, sides])),
        low=np.full(2, smallest),
        high=np.full(2, largest),
        at_target=corners[2:] - corners[:2],
        labels=(f"width ({unit})", f"height ({unit})"),
        outlines=upright,
    )


def turn_plane(target: ArrayLike, *, sides: ArrayLike, reach: float, unit: str = "px") -> Plane:
    """Turned boxes of one size, whose centers lie along the first side of a target, and at all angles.

    Args:
      target: a turned box, `[5]`: center, sides, and an angle in radians.
      sides: the width and the height of the predicted boxes, `[2]`.
      reach: how far a center goes from that of the target.
      unit: the unit of length.

    Returns:
      A plane of the offset of the center and of the turn in degrees, a quarter of a turn to both sides.
    """
    known, sides = np.asarray(target, np.float32), np.asarray(sides, np.float32)
    along = np.stack([np.cos(known[4]), np.sin(known[4])])

    def place(numbers: jax.Array) -> jax.Array:
        offset, degrees = numbers
        center = known[:2] + offset * along
        return jnp.concatenate([center, sides, (known[4] + jnp.deg2rad(degrees))[None]])

    return Plane(
        place=place,
        low=np.array([-reach, -90]),
        high=np.array([reach, 90]),
        at_target=np.zeros(2),
        labels=(f"offset of the center ({unit})", "turn (degrees)"),
        outlines={},
    )


def draw_landscape(loss: Loss, target: ArrayLike, plane: Plane, *, ax: Axes | None = None) -> Axes:
    """Draws a loss over a plane of predicted boxes, the darker the higher, with contours; a cross is the target.

    Args:
      loss: a function of predictions and targets, `[n, 4]` each, that returns one value a box, such as
        `losses.giou_loss`; of turned boxes `[n, 5]`.
      target: a box, `xyxy`, `[4]`, or a turned one, `[5]`.
      plane: the predicted boxes, from `center_plane`, `size_plane` or `turn_plane`.
      ax: where to draw.

    Returns:
      The Axes, with the outlines of the plane. `ax.figure.colorbar(ax.images[0], ax=ax, label="loss")` adds a scale.
    """
    ax = axes_of(ax)
    grid = _grid(plane, FINE)
    values = np.asarray(_on_plane(loss, target, plane)(_places(plane)))[: FINE**2].reshape(FINE, FINE)
    style = {"cmap": _light_blues(), "extent": _extent(plane), "aspect": "auto"}
    ax.imshow(values, interpolation="bilinear", interpolation_stage="data", **style)  # in the shades of the map alone
    if np.ptp(values) > 0:
        levels = np.linspace(np.min(values), np.max(values), CONTOURS + 2)[1:-1]
        ax.contour(*np.moveaxis(grid, -1, 0), values, levels=levels, colors="0.35", linewidths=0.5)
    return _finish(ax, plane)


def draw_gradient_field(
    loss: Loss, target: ArrayLike, plane: Plane, *, arrows: int = COARSE, ax: Axes | None = None
) -> Axes:
    """Draws where a loss sends boxes: arrows point downhill, and a dot is a box that stays; a cross is the target.

    All arrows are of one length; the darker the ground below one, the steeper the loss. A dot is where the gradient by
    the two numbers of the plane is zero.

    Args:
      loss: a function of predictions and targets, `[n, 4]` each, that returns one value a box, such as
        `losses.giou_loss`; of turned boxes `[n, 5]`.
      target: a box, `xyxy`, `[4]`, or a turned one, `[5]`.
      plane: the predicted boxes, from `center_plane`, `size_plane` or `turn_plane`.
      arrows: how many along each axis.
      ax: where to draw.

    Returns:
      The Axes, with the outlines of the plane. `ax.figure.colorbar(ax.images[0], ax=ax)` adds a scale: the length of
      the gradient, in sides of the picture, over that of the longest.
    """
    from matplotlib.colors import PowerNorm

    ax = axes_of(ax)
    places = _places(plane, arrows)
    on_plane = _on_plane(loss, target, plane)
    gradients = jax.grad(lambda numbers: jnp.sum(on_plane(numbers)))(places)
    # In sides of the picture, so that the arrows are those of a reader, whatever the units of the two numbers.
    extent = plane.high - plane.low
    gradients = np.asarray(gradients) * (extent / np.max(extent))
    lengths = np.linalg.norm(gradients, axis=-1)
    largest = max(np.max(lengths), np.finfo(np.float32).tiny)
    steepness = (lengths[: FINE**2] / largest).reshape(FINE, FINE)
    norm = PowerNorm(0.4, 0, 1)  # the flat parts matter most
    style = {"cmap": _light_blues(), "extent": _extent(plane), "aspect": "auto"}
    ax.imshow(steepness, norm=norm, interpolation="nearest", **style)

    places, gradients, lengths = (values[FINE**2 :] for values in (places, gradients, lengths))
    flat = lengths <= FLAT * largest
    downhill = -gradients[~flat] / lengths[~flat, None] * extent
    (x, y), (u, v) = places[~flat].T, (downhill / np.linalg.norm(downhill, axis=-1, keepdims=True)).T
    ax.quiver(x, y, u, v, angles="xy", pivot="mid", scale=1.4 * arrows, width=0.006, color="0.15")
    ax.scatter(*places[flat].T, s=14, facecolors="white", edgecolors=VERMILION, linewidths=1.3, label="gradient zero")
    return _finish(ax, plane)


def _grid(plane: Plane, count: int) -> np.ndarray:
    """The middles of `count` times `count` equal parts of a plane, `[count, count, 2]`."""
    share = (np.arange(count) + 0.5) / count
    axes = [low + share * (high - low) for low, high in zip(plane.low, plane.high, strict=True)]
    return np.stack(np.meshgrid(*axes), axis=-1).astype(np.float32)


def _places(plane: Plane, arrows: int = COARSE) -> np.ndarray:
    """Where a loss is looked at: on the fine grid, then on the coarse one, `[n, 2]`.

    A landscape needs only the first; but XLA compiles each operation for each length anew.
    """
    return np.concatenate([_grid(plane, count).reshape(-1, 2) for count in (FINE, arrows)])


def _on_plane(loss: Loss, target: ArrayLike, plane: Plane) -> Callable[[jax.Array | np.ndarray], jax.Array]:
    """The loss as a function of the numbers of a plane, `[n, 2]`.

    It is not compiled: all losses together are drawn ten times faster by the few operations that they share.
    """
    corners = jnp.asarray(target, jnp.float32)

    def at(numbers: jax.Array | np.ndarray) -> jax.Array:
        predictions = jax.vmap(plane.place)(jnp.asarray(numbers))
        return loss(predictions, jnp.broadcast_to(corners, predictions.shape))

    return at


def _extent(plane: Plane) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = plane.low, plane.high
    return left, right, bottom, top


def _light_blues() -> Colormap:
    """From white to a blue on which black can still be read."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("light blues", ["white", "#56B4E9"], N=SHADES)


def _finish(ax: Axes, plane: Plane) -> Axes:
    for name, border in plane.outlines.items():
        color, linestyle = BORDERS.get(name, ("black", ":"))
        outline(ax, border[None], color=color, linestyle=linestyle, linewidth=1.6, label=name)
    ax.plot(*plane.at_target, marker="+", markersize=11, markeredgewidth=2.4, color=BLUE, zorder=3)
    left, right, bottom, top = _extent(plane)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_box_aspect(1)
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1])
    return ax
