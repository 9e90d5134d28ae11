"""Boxes on images, and how they move."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from jaxbox.plots.style import BLUE, VERMILION, axes_of, corners_of, outline, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["draw_image", "draw_predictions", "draw_targets", "draw_trajectories"]

OUTLINES = 6  # boxes drawn along a trajectory


def draw_image(image: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Shows an image so that a box in pixels lies on what it bounds: the origin is the upper left corner of a pixel.

    Args:
      image: grey levels `[height, width]` or colours `[height, width, 3]`, in `[0, 1]`.
      ax: where to draw.

    Returns:
      The Axes, without ticks.
    """
    ax = axes_of(ax)
    image = np.asarray(image)
    height, width = image.shape[:2]
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="nearest")
    # The limits stay, whatever is drawn over it, even a box that leaves it.
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    return ax


def draw_targets(boxes: ArrayLike, labels: Iterable[object] = (), *, ax: Axes | None = None) -> Axes:
    """Outlines true boxes in solid blue, with what they hold written above.

    Args:
      boxes: `xyxy` in the unit of the Axes, `[n, 4]`, or turned ones, `[n, 5]`.
      labels: what each holds, `[n]`, or nothing.
      ax: where to draw.

    Returns:
      The Axes, whose legend calls them "true".
    """
    ax = axes_of(ax)
    outline(ax, boxes, color=BLUE, linestyle="-", linewidth=2.2, label="true")
    for (x, y), label in zip(np.moveaxis(corners_of(boxes), -1, 1), labels, strict=False):
        write(ax, np.min(x), np.min(y), str(label), color=BLUE, va="bottom")
    return ax


def draw_predictions(
    boxes: ArrayLike, labels: Iterable[object] = (), scores: ArrayLike = (), *, ax: Axes | None = None
) -> Axes:
    """Outlines predicted boxes in dashed vermilion, with what they hold and how sure they are written below.

    Args:
      boxes: `xyxy` in the unit of the Axes, `[n, 4]`, or turned ones, `[n, 5]`.
      labels: what each holds, `[n]`, or nothing.
      scores: how sure each is, `[n]`, in `[0, 1]`, or nothing.
      ax: where to draw.

    Returns:
      The Axes, whose legend calls them "predicted".
    """
    ax = axes_of(ax)
    outline(ax, boxes, color=VERMILION, linestyle="--", linewidth=1.6, label="predicted")
    scores = [f"{score:.2f}" for score in np.asarray(scores)]
    written = zip_longest(labels, scores, fillvalue="")
    for (x, y), words in zip(np.moveaxis(corners_of(boxes), -1, 1), written, strict=False):
        write(ax, np.min(x), np.max(y), " ".join(map(str, words)).strip(), color=VERMILION, va="top")
    return ax


def draw_trajectories(
    paths: ArrayLike, targets: ArrayLike, *, unit: str = "px", color: str = VERMILION, ax: Axes | None = None
) -> Axes:
    """Draws how boxes move: outlines at a few steps, from faint to dark, and the path of every center.

    Args:
      paths: boxes step by step, `xyxy`, `[steps, n, 4]`, or turned ones, `[steps, n, 5]`.
      targets: what they should reach, `[n, 4]` or `[n, 5]`.
      unit: the unit of length.
      color: of the boxes that move.
      ax: where to draw.

    Returns:
      The Axes, with as many units to the right as down; the targets are blue.
    """
    ax = axes_of(ax)
    paths, targets = np.asarray(paths), np.asarray(targets)
    shown = np.unique(np.geomspace(1, len(paths), OUTLINES).round().astype(int)) - 1  # boxes move most at first
    for step, opacity in zip(shown, np.linspace(0.3, 1, len(shown)), strict=True):
        outline(ax, paths[step], color=color, linestyle="--", linewidth=1.4, label="predicted", alpha=opacity)
    outline(ax, targets, color=BLUE, linestyle="-", linewidth=2.2, label="target")
    for path in np.moveaxis(paths, 1, 0):
        x, y = np.mean(corners_of(path), axis=1).T
        ax.plot(x, y, color="0.15", linewidth=1.2)
        ax.scatter(x[:1], y[:1], s=22, color="0.15", zorder=3)  # where it starts
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.yaxis.set_inverted(True)
    ax.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})")
    return ax
