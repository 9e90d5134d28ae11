"""Primitives whose derivative JAX leaves undefined or badly chosen, and what XLA is told.

Everything above this layer is made of these and of `+`, `-`, `*`, so a loss is finite, forward and backward, because
they are. This is the only floor of the package with derivatives of its own.

    execution        what XLA is told: the dtype to compute in, coordinates apart, where a fusion ends, pairs in chunks
    rules            primitives whose derivative JAX leaves undefined or badly chosen
    angles           angles of vectors in the plane
    probabilities    logarithms of probabilities that are given by logits
"""

from jaxbox.numerics import angles, execution, probabilities, rules
from jaxbox.numerics.angles import *
from jaxbox.numerics.execution import *
from jaxbox.numerics.probabilities import *
from jaxbox.numerics.rules import *

__all__ = []
__all__ += rules.__all__
__all__ += angles.__all__
__all__ += probabilities.__all__
__all__ += execution.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
