"""The whole losses of detectors, each a short composition of the other modules that may be copied and changed.

Arrays go in, and `(loss, terms)` comes out: the number to minimize, and a dictionary of the terms that it is the
weighted sum of, each divided as the detector divides it, one value a layer.

    targets    what an image holds, padded to slots; noised queries whose targets are known
    checks     what is asserted about the arguments
    terms      the terms of predictions whose targets are known
    queries    detectors that match queries to targets: DETR and its kin
    anchors    those that know a target by its overlap with an anchor or a proposal: RetinaNet, Faster R-CNN
    points     those with a prediction at each point of a grid: FCOS, GFL, TOOD
    yolo       those that are assigned by how good the predictions are: YOLOX, YOLOv8, YOLO26
"""

from jaxbox.detectors import anchors, points, queries, targets, terms, yolo
from jaxbox.detectors.anchors import *
from jaxbox.detectors.points import *
from jaxbox.detectors.queries import *
from jaxbox.detectors.targets import *
from jaxbox.detectors.terms import *
from jaxbox.detectors.yolo import *

__all__ = []
__all__ += targets.__all__
__all__ += terms.__all__
__all__ += queries.__all__
__all__ += anchors.__all__
__all__ += points.__all__
__all__ += yolo.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
