"""What is asserted about arguments and options, and what to write instead.

`checked` makes a public function of a formula. Every call is checked; then the formula runs, in an eager call as one
compiled program, inside a `jax.jit` as part of that. Shapes are asserted by chex, and a program that calls
`chex.disable_asserts()` turns these assertions off. What is no assertion about a shape, the dtype, the layout and the
values of options, is checked here and stays.

An error says what was passed, what is wanted and what to write. What it puts in backquotes after "write" runs where the
function was called.

    arrays     their dtype, what their last axis holds, and that their shapes fit
    options    the numbers that a formula takes beside its boxes
    calls      how a formula becomes a public function
"""

from jaxbox._checks.arrays import (
    BOXES as BOXES,
)
from jaxbox._checks.arrays import (
    COORDINATES as COORDINATES,
)
from jaxbox._checks.arrays import (
    PLANE as PLANE,
)
from jaxbox._checks.arrays import (
    Layout as Layout,
)
from jaxbox._checks.arrays import (
    Shape as Shape,
)
from jaxbox._checks.arrays import (
    array_of as array_of,
)
from jaxbox._checks.arrays import (
    assert_equal_shapes as assert_equal_shapes,
)
from jaxbox._checks.arrays import (
    assert_one_dimension as assert_one_dimension,
)
from jaxbox._checks.arrays import (
    assert_sets as assert_sets,
)
from jaxbox._checks.arrays import (
    assert_shape as assert_shape,
)
from jaxbox._checks.arrays import (
    dtype_to_compute_in as dtype_to_compute_in,
)
from jaxbox._checks.arrays import (
    fitted as fitted,
)
from jaxbox._checks.arrays import (
    floats as floats,
)
from jaxbox._checks.arrays import (
    is_interval as is_interval,
)
from jaxbox._checks.arrays import (
    laid_out as laid_out,
)
from jaxbox._checks.arrays import (
    mask as mask,
)
from jaxbox._checks.arrays import (
    two_masks as two_masks,
)
from jaxbox._checks.calls import (
    Function as Function,
)
from jaxbox._checks.calls import (
    Given as Given,
)
from jaxbox._checks.calls import (
    checked as checked,
)
from jaxbox._checks.calls import (
    from_outside as from_outside,
)
from jaxbox._checks.calls import (
    of_boxes as of_boxes,
)
from jaxbox._checks.calls import (
    pairs as pairs,
)
from jaxbox._checks.options import (
    BETWEEN_0_AND_1 as BETWEEN_0_AND_1,
)
from jaxbox._checks.options import (
    EXPONENT as EXPONENT,
)
from jaxbox._checks.options import (
    FINITE as FINITE,
)
from jaxbox._checks.options import (
    FLOOR as FLOOR,
)
from jaxbox._checks.options import (
    FROM_1 as FROM_1,
)
from jaxbox._checks.options import (
    LEAST_WIDTH as LEAST_WIDTH,
)
from jaxbox._checks.options import (
    LOWER_IOU as LOWER_IOU,
)
from jaxbox._checks.options import (
    NOT_NEGATIVE as NOT_NEGATIVE,
)
from jaxbox._checks.options import (
    POSITIVE as POSITIVE,
)
from jaxbox._checks.options import (
    POSITIVE_OR_INFINITE as POSITIVE_OR_INFINITE,
)
from jaxbox._checks.options import (
    UPPER_IOU as UPPER_IOU,
)
from jaxbox._checks.options import (
    Interval as Interval,
)
from jaxbox._checks.options import (
    option as option,
)
