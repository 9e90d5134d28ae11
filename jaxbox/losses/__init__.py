"""Every loss: one value a box.

`name_loss(predictions, targets, *, options, where=None)` takes two arrays of one shape and reduces only their last
axis; the functions in `reductions` do the rest. Rows that `where` masks are replaced before anything is computed, so
they add exactly 0 to the loss and to the gradient, even when they hold NaN. A NaN in a row that is not masked
propagates.

A loss lives in the module of its family, and is called by the name of this package: `losses.giou_loss`. What a family
makes public is public here, without a list to keep.
"""

from jaxbox.losses.coordinates import *
from jaxbox.losses.distributions import *
from jaxbox.losses.overlap import *
