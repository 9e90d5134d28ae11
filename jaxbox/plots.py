"""Pictures of boxes, of losses and their gradients, of regressions, and of training.

Every function draws on the Axes it is given, or on the current ones, and returns them. matplotlib is imported when
something is drawn. Colours are those of Okabe and Ito, which colour-blind readers can tell apart; dashes say the same.
As in images, y grows downwards.

A loss of boxes has four inputs, and a picture two axes: a `Plane` says which boxes lie on a picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, zip_longest
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import boxes as layouts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

Loss = Callable[[jax.Array, jax.Array], jax.Array]

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
COLORS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
SMOOTHING = 20  # a curve is smoothed over one part in so many of its length
FINE, COARSE = 72, 15  # values of a landscape, and arrows of a field, along each axis
TARGET, OVERLAP, UPRIGHT = "target", "inside: the boxes overlap", "inside: not flipped"
BORDERS = {TARGET: (BLUE, "-"), OVERLAP: (BLUE, "--"), UPRIGHT: (GREEN, "-.")}  # no two look alike
SHARPNESS = 144  # dots an inch
SHADES = 12  # of blue
CONTOURS = 8  # levels of a landscape, between the lowest and the highest
FLAT = 1e-6  # a gradient of this part of the largest one counts as zero: what float32 leaves where terms cancel
OUTLINES = 6  # boxes drawn along a trajectory


def draw_image(image: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Shows an image so that a box in pixels lies on what it bounds: the origin is the upper left corner of a pixel.

    Args:
      image: grey levels `[height, width]` or colours `[height, width, 3]`, in `[0, 1]`.
      ax: where to draw.

    Returns:
      The Axes, without ticks.
    """
    ax = _axes(ax)
    image = np.asarray(image)
    height, width = image.shape[:2]
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="nearest")
    ax.set_xlim(0, width)  # whatever is drawn over it, even a box that leaves it
    ax.set_ylim(height, 0)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def draw_targets(boxes: ArrayLike, labels: Iterable[object] = (), *, ax: Axes | None = None) -> Axes:
    """Outlines true boxes in solid blue, with what they hold written above.

    Args:
      boxes: `xyxy` in the unit of the Axes, `[n, 4]`.
      labels: what each holds, `[n]`, or nothing.
      ax: where to draw.

    Returns:
      The Axes, whose legend calls them "true".
    """
    ax = _axes(ax)
    _outline(ax, boxes, color=BLUE, linestyle="-", linewidth=2.2, label="true")
    for (left, top, _, _), label in zip(np.asarray(boxes), labels, strict=False):
        _write(ax, left, top, str(label), color=BLUE, va="bottom")
    return ax


def draw_predictions(
    boxes: ArrayLike, labels: Iterable[object] = (), scores: ArrayLike = (), *, ax: Axes | None = None
) -> Axes:
    """Outlines predicted boxes in dashed vermilion, with what they hold and how sure they are written below.

    Args:
      boxes: `xyxy` in the unit of the Axes, `[n, 4]`.
      labels: what each holds, `[n]`, or nothing.
      scores: how sure each is, `[n]`, in `[0, 1]`, or nothing.
      ax: where to draw.

    Returns:
      The Axes, whose legend calls them "predicted".
    """
    ax = _axes(ax)
    _outline(ax, boxes, color=VERMILION, linestyle="--", linewidth=1.6, label="predicted")
    scores = [f"{score:.2f}" for score in np.asarray(scores)]
    for (left, _, _, bottom), words in zip(np.asarray(boxes), zip_longest(labels, scores, fillvalue=""), strict=False):
        _write(ax, left, bottom, " ".join(map(str, words)).strip(), color=VERMILION, va="top")
    return ax


def draw_curves(curves: Mapping[str, ArrayLike], *, x: str = "step", y: str = "loss", ax: Axes | None = None) -> Axes:
    """Draws positive values step by step on a logarithmic axis, faintly, and their running mean over them.

    Args:
      curves: the values of each curve, `[steps]`, by its name.
      x: what the steps are.
      y: what the values are, with their unit if they have one.
      ax: where to draw.

    Returns:
      The Axes, with a legend.
    """
    from matplotlib.ticker import LogLocator

    ax = _axes(ax)
    for name, values, color, linestyle in _styled(curves):
        steps = np.arange(1, len(values) + 1)
        window = max(len(values) // SMOOTHING, 1)
        weights = np.ones(window)
        mean = np.convolve(values, weights, "same") / np.convolve(np.ones_like(values), weights, "same")
        ax.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        ax.plot(steps, mean, color=color, linestyle=linestyle, linewidth=2, label=name)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(color="0.9", which="both")
    ax.legend(frameon=False)
    return ax


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


def draw_landscape(loss: Loss, target: ArrayLike, plane: Plane, *, ax: Axes | None = None) -> Axes:
    """Draws a loss over a plane of predicted boxes, the darker the higher, with contours; a cross is the target.

    Args:
      loss: a function of predictions and targets, `[n, 4]` each, that returns one value a box, such as
        `losses.giou_loss`.
      target: a box, `xyxy`, `[4]`.
      plane: the predicted boxes, from `center_plane` or `size_plane`.
      ax: where to draw.

    Returns:
      The Axes, with the outlines of the plane. `ax.figure.colorbar(ax.images[0], ax=ax, label="loss")` adds a scale.
    """
    ax = _axes(ax)
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
        `losses.giou_loss`.
      target: a box, `xyxy`, `[4]`.
      plane: the predicted boxes, from `center_plane` or `size_plane`.
      arrows: how many along each axis.
      ax: where to draw.

    Returns:
      The Axes, with the outlines of the plane. `ax.figure.colorbar(ax.images[0], ax=ax)` adds a scale: the length of
      the gradient over that of the longest.
    """
    from matplotlib.colors import PowerNorm

    ax = _axes(ax)
    places = _places(plane, arrows)
    on_plane = _on_plane(loss, target, plane)
    gradients = jax.grad(lambda numbers: jnp.sum(on_plane(numbers)))(places)
    lengths = np.linalg.norm(gradients, axis=-1)
    largest = max(np.max(lengths), np.finfo(np.float32).tiny)
    steepness = (lengths[: FINE**2] / largest).reshape(FINE, FINE)
    norm = PowerNorm(0.4, 0, 1)  # the flat parts matter most
    style = {"cmap": _light_blues(), "extent": _extent(plane), "aspect": "auto"}
    ax.imshow(steepness, norm=norm, interpolation="nearest", **style)

    places, gradients, lengths = (values[FINE**2 :] for values in (places, np.asarray(gradients), lengths))
    flat = lengths <= FLAT * largest
    (x, y), (u, v) = places[~flat].T, (-gradients[~flat] / lengths[~flat, None]).T
    ax.quiver(x, y, u, v, angles="xy", pivot="mid", scale=1.4 * arrows, width=0.006, color="0.15")
    ax.scatter(*places[flat].T, s=14, facecolors="white", edgecolors=VERMILION, linewidths=1.3, label="gradient zero")
    return _finish(ax, plane)


def draw_trajectories(
    paths: ArrayLike, targets: ArrayLike, *, unit: str = "px", color: str = VERMILION, ax: Axes | None = None
) -> Axes:
    """Draws how boxes move: outlines at a few steps, from faint to dark, and the path of every center.

    Args:
      paths: boxes step by step, `xyxy`, `[steps, n, 4]`.
      targets: what they should reach, `xyxy`, `[n, 4]`.
      unit: the unit of length.
      color: of the boxes that move.
      ax: where to draw.

    Returns:
      The Axes, with as many units to the right as down; the targets are blue.
    """
    ax = _axes(ax)
    paths, targets = np.asarray(paths), np.asarray(targets)
    shown = np.unique(np.geomspace(1, len(paths), OUTLINES).round().astype(int)) - 1  # boxes move most at first
    for step, opacity in zip(shown, np.linspace(0.3, 1, len(shown)), strict=True):
        _outline(ax, paths[step], color=color, linestyle="--", linewidth=1.4, label="predicted", alpha=opacity)
    _outline(ax, targets, color=BLUE, linestyle="-", linewidth=2.2, label="target")
    for path in np.moveaxis(paths, 1, 0):
        x, y = (path[:, :2] + path[:, 2:]).T / 2
        ax.plot(x, y, color="0.15", linewidth=1.2)
        ax.scatter(x[:1], y[:1], s=22, color="0.15", zorder=3)  # where it starts
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.yaxis.set_inverted(True)
    ax.set_xlabel(f"x ({unit})")
    ax.set_ylabel(f"y ({unit})")
    return ax


def draw_error_curves(
    curves: Mapping[str, ArrayLike], *, y: str = "total error, all cases (length)", ax: Axes | None = None
) -> Axes:
    """Draws the total error of simulated regressions after each step, on a logarithmic axis.

    Args:
      curves: the error after each step, `[steps]`, by the name of a loss; those of `simulation.Regression`.
      y: what the error is, with its unit.
      ax: where to draw.

    Returns:
      The Axes, with a legend.
    """
    ax = _axes(ax)
    for name, values, color, linestyle in _styled(curves):
        ax.plot(np.arange(1, len(values) + 1), values, color=color, linestyle=linestyle, linewidth=2, label=name)
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel(y)
    ax.grid(color="0.9")
    ax.legend(frameon=False)
    return ax


def draw_error_map(
    points: ArrayLike,
    errors: ArrayLike,
    *,
    limits: tuple[float, float] | None = None,
    unit: str = "length",
    ax: Axes | None = None,
) -> Axes:
    """Draws the error that is left of the boxes that started at each point, the darker the larger; logarithmic.

    Args:
      points: where the boxes started, `[n, 2]`; those of `simulation.Grid`.
      errors: one value a point, `[n]`, not negative, such as `simulation.sum_by_point` of the final errors.
      limits: the least and the greatest error that colours tell apart, to compare pictures; from the errors without it.
      unit: the unit of length.
      ax: where to draw.

    Returns:
      The Axes. `ax.figure.colorbar(ax.collections[0], ax=ax)` adds a scale.
    """
    from matplotlib.colors import LogNorm

    ax = _axes(ax)
    points, errors = np.asarray(points), np.asarray(errors)
    low, high = (np.min(errors), np.max(errors)) if limits is None else limits
    high = max(high, np.finfo(np.float32).tiny)
    norm = LogNorm(max(low, high * 1e-6), high, clip=True)
    ax.scatter(*points.T, c=errors, cmap="cividis_r", norm=norm, s=9)
    ax.set_aspect("equal")
    ax.yaxis.set_inverted(True)
    ax.set_xlabel(f"x of the first center ({unit})")
    ax.set_ylabel(f"y of the first center ({unit})")
    return ax


class Picture(NamedTuple):
    """A figure as a PNG of few colours, which keeps a notebook small; the notebook shows one that ends a cell.

    Attributes:
      png: the bytes of the file.
      width: how wide it is shown, in units of 1/72 inch.
      height: how high.
    """

    png: bytes
    width: int
    height: int

    def __repr__(self) -> str:
        """Its size, without the bytes of the file."""
        return f"Picture({self.width} x {self.height})"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.png, {"width": self.width, "height": self.height}


def to_picture(figure: Figure, *, colors: int = 32) -> Picture:
    """Renders a figure with 144 dots an inch and closes it, so that a notebook does not show it a second time.

    Args:
      figure: what to render.
      colors: how many the picture keeps, at most 256: the commonest. The others become the nearest of these.

    Returns:
      The picture.
    """
    import matplotlib.pyplot as plt
    from PIL import Image

    sharp, small = io.BytesIO(), io.BytesIO()
    figure.savefig(sharp, dpi=SHARPNESS, format="png")
    plt.close(figure)
    pixels = np.asarray(Image.open(sharp).convert("RGB"), np.int32)
    found, places, counts = np.unique(pixels.reshape(-1, 3) @ [2**16, 2**8, 1], return_inverse=True, return_counts=True)
    parts = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1)
    kept = parts[np.argsort(-counts, kind="stable")[:colors]]
    nearest = np.argmin(sum((parts[:, None, i] - kept[:, i]) ** 2 for i in range(3)), axis=-1)
    image = Image.fromarray(nearest[places].reshape(pixels.shape[:2]).astype(np.uint8))
    image.putpalette(kept.astype(np.uint8).tobytes())
    image.save(small, "PNG", optimize=True, dpi=(SHARPNESS, SHARPNESS))
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    return Picture(small.getvalue(), width, height)


def _styled(curves: Mapping[str, ArrayLike]) -> Iterator[tuple[str, np.ndarray, str, str]]:
    for (name, values), color, linestyle in zip(curves.items(), cycle(COLORS), cycle(DASHES), strict=False):
        yield name, np.asarray(values), color, linestyle


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
    for name, outline in plane.outlines.items():
        color, linestyle = BORDERS.get(name, ("black", ":"))
        _outline(ax, outline[None], color=color, linestyle=linestyle, linewidth=1.6, label=name)
    ax.plot(*plane.at_target, marker="+", markersize=11, markeredgewidth=2.4, color=BLUE, zorder=3)
    left, right, bottom, top = _extent(plane)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_box_aspect(1)
    ax.set_xlabel(plane.labels[0])
    ax.set_ylabel(plane.labels[1])
    return ax


def _outline(
    ax: Axes, boxes: ArrayLike, *, color: str, linestyle: str, linewidth: float, label: str, alpha: float = 1
) -> None:
    from matplotlib.collections import PolyCollection

    left, top, right, bottom = np.asarray(boxes).T
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=-1)
    style = {"edgecolors": color, "linestyles": linestyle, "linewidths": linewidth, "alpha": alpha}
    ax.add_collection(PolyCollection(list(corners.reshape(-1, 4, 2)), facecolors="none", label=label, **style))


def _write(ax: Axes, x: float, y: float, text: str, *, color: str, va: str) -> None:
    paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    ax.text(x, y, text, color=color, va=va, fontsize=8, fontweight="bold", bbox=paper)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()
