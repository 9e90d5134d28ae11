"""Figures as small files, for notebooks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "to_picture"]

SHARPNESS = 144  # dots an inch


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
