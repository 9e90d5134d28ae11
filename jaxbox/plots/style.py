"""What all pictures share: colours, and outlines and words on the Axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from jaxbox import rotated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["BLUE", "COLORS", "DASHES", "GREEN", "VERMILION", "axes_of", "corners_of", "outline", "styled", "write"]

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
COLORS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")


def axes_of(ax: Axes | None) -> Axes:
    """The Axes that a picture was given, or the current ones."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def outline(
    ax: Axes, boxes: ArrayLike, *, color: str, linestyle: str, linewidth: float, label: str, alpha: float = 1
) -> None:
    """Draws the outlines of upright or turned boxes."""
    from matplotlib.collections import PolyCollection

    style = {"edgecolors": color, "linestyles": linestyle, "linewidths": linewidth, "alpha": alpha}
    ax.add_collection(PolyCollection(list(corners_of(boxes)), facecolors="none", label=label, **style))


def corners_of(boxes: ArrayLike) -> np.ndarray:
    """The corners of upright or turned boxes, one after the other around each, `[n, 4, 2]`."""
    boxes = np.asarray(boxes)
    if boxes.shape[-1] == 5:
        return np.asarray(rotated.to_corners(boxes.astype(float)))
    left, top, right, bottom = boxes.T
    return np.stack([left, top, right, top, right, bottom, left, bottom], axis=-1).reshape(-1, 4, 2)


def write(ax: Axes, x: float, y: float, text: str, *, color: str, va: str) -> None:
    """Writes on light paper, so that it can be read over an image."""
    paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    ax.text(x, y, text, color=color, va=va, fontsize=8, fontweight="bold", bbox=paper)


def styled(curves: Mapping[str, ArrayLike]) -> Iterator[tuple[str, np.ndarray, str, str]]:
    """Each curve with its name, a colour and a dash."""
    for (name, values), color, linestyle in zip(curves.items(), cycle(COLORS), cycle(DASHES), strict=False):
        yield name, np.asarray(values), color, linestyle
