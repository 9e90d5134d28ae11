"""Bounding-box losses for JAX.

Import the modules: `from jaxbox import losses`, then `losses.giou_loss(predictions, targets)`. Each module imports only
from the layers above it in this list:

    _checks                   what is asserted about arguments, and what to write instead
    numerics                  primitives whose derivative JAX leaves undefined or badly chosen
    boxes                     what a box is; the geometry of a pair
    similarity                iou, giou and their kin: they broadcast, and higher is better
    losses, reductions        one value a box; masked and weighted means of these
    simulation                regress boxes under a loss: the experiment of the DIoU paper
    plots                     pictures, for which matplotlib is imported when one is drawn
    demo                      the `jaxbox` command
"""

from jaxbox import boxes as boxes
from jaxbox import losses as losses
from jaxbox import numerics as numerics
from jaxbox import plots as plots
from jaxbox import reductions as reductions
from jaxbox import similarity as similarity
from jaxbox import simulation as simulation

__version__ = "0.1.0"
