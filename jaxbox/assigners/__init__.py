"""Which target each anchor answers for, in detectors that have thousands of anchors and no matching.

A function gives `slots [..., A]`: the slot of the target of each anchor, M where it has none, as those of `matching`.
Targets may be padded, anywhere and with anything, NaN included. Leading axes are images. Overlaps are of any
similarity, and come from the caller, as does which anchors lie inside which target.

Thresholds of the overlap alone, as in RetinaNet and Faster R-CNN, are `matching.threshold_assignment`.

    choices     what a target takes, and which target an anchor gets that several take
    geometry    by where boxes and points lie: which are inside, ATSS, FCOS
    aligned     by class and place together: YOLOv8, TOOD
    priced      by costs: SimOTA
"""

from jaxbox.assigners import aligned, geometry, priced
from jaxbox.assigners.aligned import *
from jaxbox.assigners.geometry import *
from jaxbox.assigners.priced import *

__all__ = []
__all__ += geometry.__all__
__all__ += aligned.__all__
__all__ += priced.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
