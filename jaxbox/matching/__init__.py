"""Which target each prediction answers for: arrays only, inside `jit`.

An assignment is `slots`, `[..., N]`: the slot of the target that a prediction answers for, and M, one past the last of
M slots, where it answers for none. It says the matching of queries one to one, several queries a target, groups and
layers as leading axes, and the many anchors of a target alike. Targets are padded to M slots, padding lies anywhere and
may hold NaN.

    assignment   one to one, at the least total cost
    slots        by thresholds of a similarity; what is done with slots
"""

from jaxbox.matching import assignment, slots
from jaxbox.matching.assignment import *
from jaxbox.matching.slots import *

__all__ = []
__all__ += assignment.__all__
__all__ += slots.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
