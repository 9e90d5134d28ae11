"""Bounding-box losses for JAX.

Import the modules: `from jaxbox import losses`, then `losses.giou_loss(predictions, targets)`. A module imports only
from lower layers than its own, and is imported when it is first asked for:

    layer  modules                what they are
    0      _checks                what is asserted about arguments, and what to write instead
    0      numerics               primitives whose derivative JAX leaves undefined or badly chosen; what XLA is told
    1      boxes                  what a box is: layouts, measures, edits
    1      rotated                turned boxes and solids: what they are made of and written as
    1      _assignment            how the assignment problem is solved
    2      _geometry              the terms that the formulas of two boxes are made of
    2      coders                 boxes to numbers that a network predicts, and back
    2      matching               which target each prediction answers for: arrays only
    3      similarity             iou, giou and their kin: they broadcast, and higher is better
    3      gaussian               turned boxes as normal distributions, and the distances of these
    4      losses                 one value a box
    4      costs                  what a prediction costs for a target, for a matching
    4      assigners              which target each of many anchors answers for
    4      suppression            which of the boxes that overlap are kept
    4      reductions             masked and weighted sums and means of losses, and what to divide by
    5      detectors              the whole losses of detectors
    5      simulation             regress boxes under a loss: the experiment of the DIoU paper
    5      plots                  pictures, for which matplotlib is imported when one is drawn
    6      demo                   the `jaxbox` command
    7      __main__               its entry
"""

import importlib

TYPE_CHECKING = False  # as in `typing`, whose import takes longer than all else here
if TYPE_CHECKING:
    from jaxbox import assigners as assigners
    from jaxbox import boxes as boxes
    from jaxbox import coders as coders
    from jaxbox import costs as costs
    from jaxbox import detectors as detectors
    from jaxbox import gaussian as gaussian
    from jaxbox import losses as losses
    from jaxbox import matching as matching
    from jaxbox import numerics as numerics
    from jaxbox import plots as plots
    from jaxbox import reductions as reductions
    from jaxbox import rotated as rotated
    from jaxbox import similarity as similarity
    from jaxbox import simulation as simulation
    from jaxbox import suppression as suppression

__version__ = "0.1.0"

__all__ = [
    "assigners",
    "boxes",
    "coders",
    "costs",
    "detectors",
    "gaussian",
    "losses",
    "matching",
    "numerics",
    "plots",
    "reductions",
    "rotated",
    "similarity",
    "simulation",
    "suppression",
]


def __getattr__(name: str) -> object:
    """Imports a module when it is first asked for: JAX takes a second, in which a command could say nothing."""
    if name in __all__:
        return importlib.import_module(f"jaxbox.{name}")
    raise AttributeError(f"module 'jaxbox' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The modules, imported or not, and the version."""
    return sorted([*__all__, "__version__"])
