"""Every loss: one value a box.

`name_loss(predictions, targets, *, options, where=None)` takes two arrays of one shape and reduces only their last
axis; the functions in `reductions` do the rest. Rows that `where` masks are replaced before anything is computed, so
they add exactly 0 to the loss and to the gradient, even when they hold NaN. A NaN in a row that is not masked
propagates.

A loss lives in the module of its family, which names it in `__all__`, and is called by the name of this package:
`losses.giou_loss`.
"""

from jaxbox.losses import coordinates, distributions, overlap
from jaxbox.losses.coordinates import *
from jaxbox.losses.distributions import *
from jaxbox.losses.overlap import *

__all__ = []
__all__ += coordinates.__all__
__all__ += overlap.__all__
__all__ += distributions.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
