"""The geometry of two boxes: the terms that similarities and losses are made of.

upright    boxes whose sides lie along the axes: one `Axis` each, and the `Pair` of both boxes
"""

from jaxbox._geometry.upright import Axis, Pair, area, overlap, sum_of_squares

__all__ = ["Axis", "Pair", "area", "overlap", "sum_of_squares"]
