"""Pictures of boxes, of losses and their gradients, of regressions, and of training.

Every function draws on the Axes it is given, or on the current ones, and returns them. matplotlib is imported when
something is drawn. Colours are those of Okabe and Ito, which colour-blind readers can tell apart; dashes say the same.
As in images, y grows downwards. Where boxes are drawn they may be turned, `[n, 5]`: center, sides and angle.

    style       what all pictures share
    boxes       boxes on images, and how they move
    planes      a loss over boxes that differ in two numbers
    curves      training and simulated regressions, step by step
    pictures    figures as small files, for notebooks
"""

from jaxbox.plots import boxes, curves, pictures, planes
from jaxbox.plots import style as style
from jaxbox.plots.boxes import *
from jaxbox.plots.curves import *
from jaxbox.plots.pictures import *
from jaxbox.plots.planes import *

__all__ = []
__all__ += boxes.__all__
__all__ += planes.__all__
__all__ += curves.__all__
__all__ += pictures.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
