"""What is asserted about arguments and options, and what to write instead.

`checked` makes a public function of a formula. Every call is checked; then the formula runs, in an eager call as one
compiled program, inside a `jax.jit` as part of that. Shapes are asserted by chex, and a program that calls
`chex.disable_asserts()` turns these assertions off. What is no assertion about a shape, the dtype, the layout and the
values of options, is checked here and stays.

An error says what was passed, what is wanted and what to write. What it puts in backquotes after "write" runs where the
function was called.

    arrays     their dtype, and that their shapes fit
    layouts    what their last axis holds
    matrices   those of rows and columns, their masks, and slots
    options    the numbers that a formula takes beside its boxes
    calls      how a formula becomes a public function
"""

from jaxbox._checks.arrays import (
    Array,
    Shape,
    array_of,
    assert_equal_shapes,
    assert_one_dimension,
    assert_sets,
    assert_shape,
    dtype_to_compute_in,
    exactly,
    fitted,
    floats,
    is_interval,
    kind,
    mask,
    two_masks,
)
from jaxbox._checks.calls import (
    BoxCheck,
    Function,
    Given,
    checked,
    layout_of_rows,
    looks_for_infinities,
    of_boxes,
    options_of_rows,
    pairs,
    similarity_of,
)
from jaxbox._checks.layouts import BOXES, COORDINATES, PLANE, SOLID, TURNED, Layout, laid_out
from jaxbox._checks.matrices import indices, mask_of_side, matrix
from jaxbox._checks.options import (
    BETWEEN_0_AND_1,
    EXPONENT,
    FACTOR,
    FINITE,
    FLOOR,
    FROM_1,
    LEAST_WIDTH,
    LENGTH,
    LOGARITHM,
    LOWER_IOU,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_OR_INFINITE,
    SHARE,
    SHARE_OF_LENGTH,
    UPPER_IOU,
    Interval,
    PerAxis,
    along_axes,
    option,
    thresholds,
)
