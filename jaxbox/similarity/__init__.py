"""How alike two boxes are: higher is better, and equal boxes have 1.

A similarity broadcasts the leading axes of its arguments, as arithmetic does: `giou(a[:, None], b)` is a matrix, and
`pairwise(giou)(a, b)` is the same one with its name on it.

    pairs      every box of one set with every box of another
    upright    boxes whose sides lie along the axes
    rotated    boxes that are turned, and solids that are turned about the vertical
"""

from jaxbox.similarity import pairs, rotated, upright
from jaxbox.similarity.pairs import *
from jaxbox.similarity.rotated import *
from jaxbox.similarity.upright import *

__all__ = []
__all__ += pairs.__all__
__all__ += upright.__all__
__all__ += rotated.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
