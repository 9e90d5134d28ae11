"""Training and simulated regressions, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxbox.plots.style import axes_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["draw_curves", "draw_error_curves", "draw_error_map"]

SMOOTHING = 20  # a curve is smoothed over one part in so many of its length


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

    ax = axes_of(ax)
    for name, values, color, linestyle in styled(curves):
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
    ax.set(xlabel=x, ylabel=y)
    ax.grid(color="0.9", which="both")
    ax.legend(frameon=False)
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
    ax = axes_of(ax)
    for name, values, color, linestyle in styled(curves):
        ax.plot(np.arange(1, len(values) + 1), values, color=color, linestyle=linestyle, linewidth=2, label=name)
    ax.set_yscale("log")
    ax.set(xlabel="step", ylabel=y)
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

    ax = axes_of(ax)
    points, errors = np.asarray(points), np.asarray(errors)
    low, high = (np.min(errors), np.max(errors)) if limits is None else limits
    high = max(high, np.finfo(np.float32).tiny)
    norm = LogNorm(max(low, high * 1e-6), high, clip=True)
    ax.scatter(*points.T, c=errors, cmap="cividis_r", norm=norm, s=9)
    ax.set_aspect("equal")
    ax.yaxis.set_inverted(True)
    ax.set(xlabel=f"x of the first center ({unit})", ylabel=f"y of the first center ({unit})")
    return ax
