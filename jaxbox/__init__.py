"""Bounding-box losses for JAX.

Import the modules: `from jaxbox import losses`, then `losses.giou_loss(predictions, targets)`. Each module imports only
from the layers above it in this list, and is imported when it is first asked for:

    _checks                   what is asserted about arguments, and what to write instead
    numerics                  primitives whose derivative JAX leaves undefined or badly chosen
    boxes                     what a box is; the geometry of a pair
    similarity                iou, giou and their kin: they broadcast, and higher is better
    losses, reductions        one value a box; masked and weighted means of these
    simulation                regress boxes under a loss: the experiment of the DIoU paper
    plots                     pictures, for which matplotlib is imported when one is drawn
    demo                      the `jaxbox` command
"""

import importlib

TYPE_CHECKING = False  # as in `typing`, whose import takes longer than all else here
if TYPE_CHECKING:
    from jaxbox import boxes as boxes
    from jaxbox import losses as losses
    from jaxbox import numerics as numerics
    from jaxbox import plots as plots
    from jaxbox import reductions as reductions
    from jaxbox import similarity as similarity
    from jaxbox import simulation as simulation

__version__ = "0.1.0"

__all__ = ["boxes", "losses", "numerics", "plots", "reductions", "similarity", "simulation"]


def __getattr__(name: str) -> object:
    """Imports a module when it is first asked for: JAX takes a second, in which a command could say nothing."""
    if name in __all__:
        return importlib.import_module(f"jaxbox.{name}")
    raise AttributeError(f"module 'jaxbox' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The modules, imported or not, and the version."""
    return sorted([*__all__, "__version__"])
