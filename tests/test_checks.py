"""The options of every interval at its ends, and what a call of a checked function is in a program."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import _checks, boxes, coders, losses, reductions, similarity, simulation
from jaxbox._checks import options

BOX = np.array([[0.0, 0, 2, 3]])
INF = math.inf
LEAST = 5e-324  # the smallest number above 0
LARGEST = float(np.finfo(np.float64).max)


def below(number):
    return math.nextafter(number, -INF)


def above(number):
    return math.nextafter(number, INF)


def loss(name, **others):
    return functools.partial(getattr(losses, name), BOX, BOX, **others)


def with_height(image_size):
    return losses.mpdiou_loss(BOX, BOX, image_size=(image_size, 4.0))


MOMENTUM = functools.partial(reductions.update_mean, 1.0, BOX)
FOCUSED, FLOOR = loss("focused_wiou_loss", mean_loss=0.5), loss("log_iou_loss")
FOCAL = functools.partial(losses.focal_loss, BOX, BOX)
DECODE = functools.partial(coders.decode_deltas, BOX, BOX)
UPPER, LOWER = loss("focaler_iou_loss"), loss("focaler_iou_loss", upper=1.0)
UP_TO_1E15, BEYOND_1E15 = (1e-15, 1e15), (0.0, below(1e-15), above(1e15))
# An interval, a call with an option of it, the numbers at its ends, the next ones outside, what is wanted, an example.
INTERVALS = [
    ("POSITIVE", loss("balanced_l1_loss"), "gamma", UP_TO_1E15, BEYOND_1E15, "from 1e-15 to 1e15", 1.0),
    ("LENGTH", with_height, "image_size", UP_TO_1E15, BEYOND_1E15, "from 1e-15 to 1e15", None),
    ("POSITIVE_OR_INFINITE", loss("balanced_l1_loss"), "alpha", (LEAST, INF), (0.0,), "above 0", 1.0),
    ("NOT_NEGATIVE", loss("huber_loss"), "delta", (0.0, INF), (-LEAST,), "0 or above", 1.0),
    ("EXPONENT", loss("alpha_iou_loss"), "alpha", (LEAST, INF), (0.0,), "above 0", 2.0),
    ("FINITE", functools.partial(boxes.scale, BOX), "factor", (-LARGEST, LARGEST), (-INF, INF), "finite", 1.0),
    ("FROM_1", FOCUSED, "alpha", (1.0, 1e15), (below(1.0), above(1e15)), "from 1 to 1e15", 1.5),
    ("FACTOR", FOCAL, "gamma", (0.0, 1e15), (-LEAST, above(1e15)), "from 0 to 1e15", 1.0),
    ("SHARE", FOCAL, "alpha", (0.0, 1.0), (-LEAST, above(1.0)), "from 0 to 1", 0.5),
    ("LOGARITHM", DECODE, "largest", (0.0, 50.0), (-LEAST, above(50.0)), "from 0 to 50", 4.0),
    ("BETWEEN_0_AND_1", MOMENTUM, "momentum", (LEAST, below(1.0)), (0.0, 1.0), "above 0 and below 1", 0.5),
    ("FLOOR", FLOOR, "floor", (1e-30, below(1.0)), (below(1e-30), 1.0), "from 1e-30 on, and below 1", 1e-6),
    (
        "SHARE_OF_LENGTH",
        loss("gcd_loss"),
        "floor",
        (9e-7, below(1.0)),
        (below(9e-7), 1.0),
        "from 9e-7 on, and below 1",
        1e-6,
    ),
    ("LOWER_IOU", LOWER, "lower", (0.0, 1 - 1e-6), (-LEAST, above(1 - 1e-6)), "from 0 to 1 - 1e-06", 0.0),
    ("UPPER_IOU", UPPER, "upper", (1e-6, 1.0), (below(1e-6), above(1.0)), "from 1e-06 to 1", 1.0),
]


@pytest.mark.parametrize(
    ("call", "option", "inside", "outside", "wanted", "example"),
    [row[1:] for row in INTERVALS],
    ids=[row[0] for row in INTERVALS],
)
@pytest.mark.usefixtures("x64")
def test_an_option_may_be_at_the_ends_of_its_interval_and_no_step_beyond(
    call, option, inside, outside, wanted, example
):
    for number in inside:
        call(**{option: np.float64(number)})  # which is no default
    for number in (*outside, math.nan):
        with pytest.raises(ValueError, match=f"`{option}` is {number}, but it must be ") as caught:
            call(**{option: number})
        advice = "" if example is None else f" Write `{option}={example}`, for example."
        assert str(caught.value) == f"`{option}` is {number}, but it must be {wanted}.{advice}"


def test_every_interval_is_among_them_and_one_is_for_exponents():
    intervals = {name: value for name, value in vars(options).items() if isinstance(value, _checks.Interval)}
    assert intervals.keys() == {row[0] for row in INTERVALS}
    assert [name for name, interval in intervals.items() if interval.is_exponent] == ["EXPONENT"]


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.longdouble, np.float64)],
)
@pytest.mark.usefixtures("x64")
def test_an_array_of_numpy_has_the_dtype_of_one_of_jax(dtype, wanted):
    assert losses.l1_loss(BOX.astype(dtype), BOX.astype(dtype)).dtype == wanted


def test_a_whole_number_that_no_other_number_is_as_large_as_counts_as_infinite():
    assert losses.huber_loss(BOX, BOX + 1, delta=10**30) == losses.l2_loss(BOX, BOX + 1)
    assert losses.huber_loss(BOX, BOX + 1, delta=10**400) == losses.l2_loss(BOX, BOX + 1)
    for number, shown in ((10**400, "inf"), (-(10**400), "-inf")):
        with pytest.raises(ValueError, match=f"`constant` is {shown}, but it must be from 1e-15 to 1e15"):
            losses.nwd_loss(BOX, BOX, constant=number)


def test_of_more_than_eight_numbers_the_first_bad_one_is_named_with_its_place():
    for count, shown in ((8, r"\[ 1.  1.  1. -1.  1.  1.  1.  1.\]"), (9, r"-1.0 at \[3\]")):
        pair, numbers = np.ones((count, 4)), np.ones(count)
        numbers[3] = -1
        with pytest.raises(ValueError, match=f"`beta` is {shown}, but it must be 0 or above"):
            losses.smooth_l1_loss(pair, pair, beta=numbers)


def test_numbers_beyond_float32_are_rounded_without_an_error_of_numpy():
    extremes, zeros = np.full((2, 4), [1e300, 1e-300, -1e300, 1e-40]), np.zeros((2, 4))
    with np.errstate(all="raise"):
        for delta in (1e300, np.float64(1e-300), np.full(2, 1e-40)):
            value = losses.huber_loss(extremes, zeros, delta=delta, where=np.zeros(2, bool))
            np.testing.assert_array_equal(value, 0)


def test_the_sizes_of_an_image_may_be_of_several_kinds():
    normalized = np.float32(np.linspace(0, 1, 24).reshape(2, 3, 4))
    expected = boxes.normalized_to_absolute(normalized, (480.0, 640.0))

    def convert(height):
        return boxes.normalized_to_absolute(normalized, (height, 640.0))

    np.testing.assert_array_equal(jax.jit(convert)(480.0), expected)
    np.testing.assert_array_equal(convert(np.full((2, 1), 480.0)), expected)
    np.testing.assert_array_equal(convert(jnp.full((2, 3), 480)), expected)


def test_the_pairs_of_a_simulation_have_one_shape():
    with pytest.raises(ValueError, match=r"Got `anchors` of shape \(2, 4\) and `targets` of shape \(3, 4\), but"):
        simulation.simulate(simulation.exact(losses.giou_loss), np.ones((2, 4)), np.ones((3, 4)))


def shows_what_is_inlined():
    """Whether the text of a program still has a call that is to be inlined, as from jax 0.12 on."""
    return "name=" in str(jax.make_jaxpr(lambda x: jax.jit(jnp.sin, inline=True)(x))(1.0))


@pytest.mark.skipif(shows_what_is_inlined(), reason="this version of jax inlines later")
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (losses.giou_loss, "giou_loss"),
        (similarity.pairwise(similarity.iou), "matrix_of"),
        (similarity.pairwise(lambda a, b: similarity.iou(a, b)), "matrix_of"),
    ],
)
def test_a_program_holds_what_it_calls_and_no_call(call, name):
    program = str(jax.make_jaxpr(call)(np.ones((2, 4), np.float32), np.ones((2, 4), np.float32)))
    assert f"name={name}" not in program


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: losses.l1_loss(BOX, BOX, beta=1),
            "losses.l1_loss: got an unexpected keyword argument 'beta'. "
            "Its arguments are (predictions, targets, *, where=None).",
        ),
        (
            lambda: similarity.pairwise(losses.nwd_loss)(BOX, BOX),
            "losses.nwd_loss: missing a required argument: 'constant'. "
            "Its arguments are (predictions, targets, *, constant, where=None).",
        ),
        (
            lambda: similarity.pairwise(losses.mpdiou_loss)(BOX, BOX),
            "losses.mpdiou_loss: missing a required argument: 'image_size'. "
            "Its arguments are (predictions, targets, *, image_size, where=None).",
        ),
    ],
)
def test_arguments_that_a_function_has_not_or_needs_are_told_without_their_types(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    # Python 3.12 and newer say which kind of argument it is.
    assert str(caught.value).replace("required keyword-only argument", "required argument") == said
