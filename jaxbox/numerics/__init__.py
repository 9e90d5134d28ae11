"""Primitives whose derivative JAX leaves undefined or badly chosen, and what XLA is told.

Everything above this layer is made of these and of `+`, `-`, `*`, so a loss is finite, forward and backward, because
they are. This is the only floor of the package with derivatives of its own.

    execution        what XLA is told: the dtype to compute in, coordinates apart, where a fusion ends, pairs in chunks
    batches          problems of a batch: each device its own, and leading axes that some arrays have not
    rules            primitives whose derivative JAX leaves undefined or badly chosen
    units            powers of two as units of length
    angles           angles of vectors in the plane, and turns by an angle
    clipping         the overlap of two turned rectangles, and the smallest rectangle around both
    probabilities    logarithms of probabilities that are given by logits
"""

from jaxbox.numerics import angles, batches, clipping, execution, probabilities, rules, units
from jaxbox.numerics.angles import *
from jaxbox.numerics.batches import *
from jaxbox.numerics.clipping import *
from jaxbox.numerics.execution import *
from jaxbox.numerics.probabilities import *
from jaxbox.numerics.rules import *
from jaxbox.numerics.units import *

__all__ = []
__all__ += rules.__all__
__all__ += units.__all__
__all__ += angles.__all__
__all__ += clipping.__all__
__all__ += probabilities.__all__
__all__ += batches.__all__
__all__ += execution.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
