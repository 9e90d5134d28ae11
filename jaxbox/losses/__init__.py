"""Every loss: one value a box.

`name_loss(predictions, targets, *, options, where=None)` takes two arrays of one shape and reduces only their last
axis; a loss of classes takes logits, one a class, instead. The functions in `reductions` do the rest. Rows that `where`
masks are replaced before anything is computed, so they add exactly 0 to the loss and to the gradient, even when they
hold NaN. A NaN in a row that is not masked propagates.

A loss lives in the module of its family, which names it in `__all__`, and is called by the name of this package:
`losses.giou_loss`.

    preparation      what losses do around a formula
    coordinates      coordinates one by one, in any layout
    distributions    coordinates that are predicted as a distribution
    overlap          the overlap of upright boxes, and what draws together boxes that do not overlap
    powers           the IoU and its kin, bent or rescaled
    focused          losses of the others with a weight that says which boxes count
    rotated          the overlap of turned boxes, and of solids that are turned about the vertical
    gaussian         boxes that stand for normal distributions, most of them turned
    classes          classes by their logits, with the quality of the box, and distributions that learn from others
"""

from jaxbox.losses import classes, coordinates, distributions, focused, gaussian, overlap, powers, rotated
from jaxbox.losses.classes import *
from jaxbox.losses.coordinates import *
from jaxbox.losses.distributions import *
from jaxbox.losses.focused import *
from jaxbox.losses.gaussian import *
from jaxbox.losses.overlap import *
from jaxbox.losses.powers import *
from jaxbox.losses.rotated import *

__all__ = []
__all__ += coordinates.__all__
__all__ += distributions.__all__
__all__ += overlap.__all__
__all__ += powers.__all__
__all__ += focused.__all__
__all__ += rotated.__all__
__all__ += gaussian.__all__
__all__ += classes.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
