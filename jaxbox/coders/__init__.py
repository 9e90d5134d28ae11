"""Boxes as the numbers that a network predicts, and back; and the places that these numbers start from.

A code has as many numbers as its box, `[..., 2n]`, or `[..., 5]` for a turned one. `encode_*` takes boxes and gives the
numbers to be learned; it is finite, with a finite gradient, for boxes without area too, so that padding may be encoded.
`decode_*` takes the numbers and gives boxes: low corner, then high corner, or center, sides and angle. Leading axes
broadcast. Intervals go in as `boxes.Intervals`, and come out as arrays `[..., 2]`. Half precision is promoted to
float32.

    preparation    what coders do around a formula
    deltas         offsets of centers and logarithms of sides, as seen from anchors
    distances      distances of the sides of a box, from a point or from the sides of another box
    turned         turned boxes as seen from anchors, and angles without a jump
    bins           numbers that are predicted as a distribution over bins
    cells          cells of a grid: their points, and boxes as seen from them
"""

from jaxbox.coders import bins, cells, deltas, distances, turned
from jaxbox.coders.bins import *
from jaxbox.coders.cells import *
from jaxbox.coders.deltas import *
from jaxbox.coders.distances import *
from jaxbox.coders.turned import *

__all__ = []
__all__ += deltas.__all__
__all__ += distances.__all__
__all__ += turned.__all__
__all__ += bins.__all__
__all__ += cells.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
