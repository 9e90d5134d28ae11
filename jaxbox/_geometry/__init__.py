"""The geometry of two boxes: the terms that similarities and losses are made of.

A term is computed when it is first asked for. One that a single formula uses stands beside that formula.

    upright     boxes whose sides lie along the axes: one `Axis` each, and the `Pair` of both boxes
    rotated     rectangles that are turned: the `Turned` pair, and `Solids` that stand on such
    gaussian    the `Normals` that turned rectangles stand for, and upright boxes in units of their lengths
"""

from jaxbox._geometry.gaussian import Normals, raised_axes
from jaxbox._geometry.rotated import Solids, Turned
from jaxbox._geometry.upright import Axis, Pair, area, overlap, sum_of_squares

__all__ = ["Axis", "Normals", "Pair", "Solids", "Turned", "area", "overlap", "raised_axes", "sum_of_squares"]
