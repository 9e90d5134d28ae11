"""Pictures of boxes and of training.

Every function draws on the Axes it is given, or on the current ones, and returns them. matplotlib is imported when
something is drawn. Colours are those of Okabe and Ito, which colour-blind readers can tell apart; dashes say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

BLUE, VERMILION = "#0072B2", "#D55E00"
COLORS = (BLUE, VERMILION, "#009E73", "#CC79A7")
SMOOTHING = 20  # a curve is smoothed over one part in so many of its length


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
      curves: the values of each curve, `[steps]`, by its name; up to four.
      x: what the steps are.
      y: what the values are, with their unit if they have one.
      ax: where to draw.

    Returns:
      The Axes, with a legend.
    """
    from matplotlib.ticker import LogLocator

    ax = _axes(ax)
    for (name, values), color, linestyle in zip(curves.items(), COLORS, ("-", "--", "-.", ":"), strict=False):
        values = np.asarray(values)
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


def _outline(ax: Axes, boxes: ArrayLike, *, color: str, linestyle: str, linewidth: float, label: str) -> None:
    from matplotlib.collections import PolyCollection

    left, top, right, bottom = np.asarray(boxes).T
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=-1)
    style = {"edgecolors": color, "linestyles": linestyle, "linewidths": linewidth}
    ax.add_collection(PolyCollection(list(corners.reshape(-1, 4, 2)), facecolors="none", label=label, **style))


def _write(ax: Axes, x: float, y: float, text: str, *, color: str, va: str) -> None:
    paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    ax.text(x, y, text, color=color, va=va, fontsize=8, fontweight="bold", bbox=paper)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()
