"""The laws of the library, each one a test over every loss.

A loss enters by one row in `LOSSES`: its reference, its range, its options, and for each law that it cannot keep, the
reason.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbox import boxes, losses, similarity
from tests import cases, fuzzing, reference


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """What the tests know of a loss.

    The flags from `has_a_unit` on weaken one test each, and what they hold is the reason. `upper_if_flipped` is the
    range of a loss whose docstring gives flipped boxes another one.
    """

    loss: Callable[..., jax.Array]
    reference: Callable[..., np.ndarray]
    upper: float
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    dimensions: tuple[int, ...] = (1, 2, 3)
    planar: bool = False
    any_layout: bool = False
    holds_predictions: bool = False
    holds_targets: bool = False
    upper_if_flipped: float | None = None
    has_a_unit: str = ""
    may_climb: str = ""
    reaches_the_target_only_from: tuple[Callable[..., np.ndarray], str] | None = None

    @property
    def name(self) -> str:
        return self.loss.__name__

    def __call__(self, predictions, targets, **kwargs):
        if getattr(predictions, "shape", ())[-1:] == (2,) and not self.any_layout:
            predictions, targets = boxes.Intervals(predictions), boxes.Intervals(targets)
        return self.loss(predictions, targets, **self.options, **kwargs)


def overlapping_cores(starts, targets):
    return reference.inner_iou(starts, targets, ratio=0.7) > 0.02


def near_centers(starts, targets):
    return np.all(np.abs(reference.offset(starts, targets)) < 0.4 * reference.sides(targets), axis=-1)


def near_edges(starts, targets):
    return reference.powerful_penalty(starts, targets) < 0.7


A_LENGTH = "it is measured in the unit of the coordinates"
coordinate_row = partial(Row, upper=np.inf, any_layout=True, has_a_unit=A_LENGTH)
OVERLAP = (overlapping_cores, "intersection over union is 0, without a gradient, for all boxes that are apart")
POWERS = (overlapping_cores, "the powers of its terms are flat where the boxes are apart")
WEIGHT_IS_HELD = "its weight is held in the gradient, and may grow by more along the step than the rest falls"

LOSSES = [
    coordinate_row(losses.l1_loss, reference.l1_loss),
    coordinate_row(losses.l2_loss, reference.l2_loss),
    coordinate_row(losses.smooth_l1_loss, reference.smooth_l1_loss, options={"beta": 0.5}),
    coordinate_row(losses.huber_loss, reference.huber_loss, options={"delta": 0.5}),
    coordinate_row(losses.balanced_l1_loss, reference.balanced_l1_loss, options={"beta": 0.5}),
    coordinate_row(losses.log_cosh_loss, reference.log_cosh_loss),
    Row(losses.iou_loss, reference.iou_loss, 1, reaches_the_target_only_from=OVERLAP),
    Row(losses.squared_iou_loss, reference.squared_iou_loss, 1, reaches_the_target_only_from=OVERLAP),
    Row(losses.log_iou_loss, reference.log_iou_loss, -np.log(1e-6), reaches_the_target_only_from=OVERLAP),
    Row(
        losses.bounded_iou_loss,
        reference.bounded_iou_loss,
        4,
        holds_targets=True,
        upper_if_flipped=6,
        reaches_the_target_only_from=(near_centers, "its bound is 0 for a center half a side of the target away"),
    ),
    Row(losses.giou_loss, reference.giou_loss, 2),
    Row(losses.diou_loss, reference.diou_loss, 2),
    Row(losses.ciou_loss, reference.ciou_loss, 3, dimensions=(2,), planar=True, holds_predictions=True),
    Row(losses.eiou_loss, reference.eiou_loss, 4),
    Row(
        losses.focal_eiou_loss,
        reference.focal_eiou_loss,
        4,
        holds_predictions=True,
        reaches_the_target_only_from=(overlapping_cores, "its weight is a power of IoU"),
        may_climb=WEIGHT_IS_HELD,
    ),
    Row(losses.extended_iou_loss, reference.extended_iou_loss, 2, dimensions=(2,), planar=True),
    Row(losses.siou_loss, reference.siou_loss, 3, dimensions=(2,), planar=True),
    Row(losses.alpha_iou_loss, reference.alpha_iou_loss, 1, reaches_the_target_only_from=OVERLAP),
    Row(losses.alpha_giou_loss, reference.alpha_giou_loss, 2, reaches_the_target_only_from=POWERS),
    Row(losses.alpha_diou_loss, reference.alpha_diou_loss, 2, reaches_the_target_only_from=POWERS),
    Row(
        losses.alpha_ciou_loss,
        reference.alpha_ciou_loss,
        3,
        dimensions=(2,),
        planar=True,
        holds_predictions=True,
        reaches_the_target_only_from=POWERS,
    ),
    Row(losses.wiou_loss, reference.wiou_loss, np.e, holds_predictions=True),
    Row(
        losses.focused_wiou_loss,
        reference.focused_wiou_loss,
        np.inf,
        options={"mean_loss": 0.4},
        holds_predictions=True,
        may_climb=WEIGHT_IS_HELD,
    ),
    Row(
        losses.mpdiou_loss,
        reference.mpdiou_loss,
        np.inf,
        options={"image_size": (3.0, 4.0)},
        dimensions=(2,),
        has_a_unit="its penalty is measured in images",
    ),
    Row(
        losses.inner_iou_loss,
        reference.inner_iou_loss,
        1,
        options={"ratio": 0.75},  # a number that binary has, so that edges coincide alike in every precision
        reaches_the_target_only_from=OVERLAP,
    ),
    Row(
        losses.focaler_iou_loss,
        reference.focaler_iou_loss,
        1,
        options={"upper": 0.98},  # it stops at the upper IoU
        reaches_the_target_only_from=OVERLAP,
    ),
    Row(losses.shape_iou_loss, reference.shape_iou_loss, 4, {"scale": 0.5}, (2,), planar=True, holds_targets=True),
    Row(
        losses.powerful_iou_loss,
        reference.powerful_iou_loss,
        2,
        reaches_the_target_only_from=(overlapping_cores, "its penalty saturates a few sides of the target away"),
    ),
    Row(
        losses.focused_powerful_iou_loss,
        reference.focused_powerful_iou_loss,
        2.6,
        reaches_the_target_only_from=(near_edges, "its weight makes the loss fall again far from the target"),
    ),
    Row(losses.nwd_loss, reference.nwd_loss, 1, {"constant": 2.0}, has_a_unit="its constant is a length"),
]


def rows(wanted=bool):
    return pytest.mark.parametrize("row", [row for row in LOSSES if wanted(row)], ids=lambda row: row.name)


every_loss = rows()
every_loss_without_a_unit = rows(lambda row: not row.has_a_unit)

CHUNK = 512


def along(function, predictions, targets, tangent):
    """The value of a function of two boxes and its derivative along one direction, in forward mode."""
    return jax.jvp(function, (predictions, targets), tuple(jnp.split(tangent, 2)))


def masked(row, predictions, targets, keep):
    values = row(predictions, targets, where=keep)
    return jnp.sum(values), values


TRANSFORMS = {
    "value": jax.vmap,
    "value and gradients": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "value and gradients, not optimized": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "value and gradients in half precision": lambda row: jax.vmap(jax.value_and_grad(row, argnums=(0, 1))),
    "forward mode": lambda row: jax.vmap(partial(along, row)),
    "second derivative": lambda row: jax.vmap(partial(along, jax.grad(row))),
    "masked": lambda row: jax.value_and_grad(partial(masked, row), argnums=(0, 1), has_aux=True),
}


@functools.cache
def compiled(name: str, transform: str, *signature: object):
    """One compiled program a loss and transform, which all tests share: compiling is what takes the time."""
    del signature  # part of the key: each has a program of its own
    row = next(row for row in LOSSES if row.name == name)
    # Values and gradients are compiled as users have them. The others would take most of the time to compile; what is
    # asked of them is a value within rounding, finiteness, or that one program gives the same bits twice.
    quickly = None if transform == "value and gradients" else {"xla_backend_optimization_level": 0}
    return jax.jit(TRANSFORMS[transform](row), compiler_options=quickly)


def run(transform, row, *arrays, dtype="float32"):
    """Applies a transform of a loss to arrays `[count, ...]`, in chunks of one shape; returns NumPy."""
    count, n = len(arrays[0]), arrays[0].shape[-1] // 2
    padded = [np.pad(np.asarray(x), [(0, -count % CHUNK), (0, 0)]).astype(dtype) for x in arrays]
    function = compiled(row.name, transform, dtype, n)
    chunks = [function(*(x[k : k + CHUNK] for x in padded)) for k in range(0, len(padded[0]), CHUNK)]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *chunks)


def value_and_gradients(row, predictions, targets, dtype="float32"):
    return run("value and gradients", row, predictions, targets, dtype=dtype)


def in_every_direction(predictions, targets):
    """Each pair once for each of its coordinates, and the directions, `[count, 4n]`."""
    width = 2 * predictions.shape[-1]
    repeated = [np.repeat(x, width, axis=0) for x in (predictions, targets)]
    return *repeated, np.tile(np.eye(width), (len(predictions), 1))


def expected(row, predictions, targets, held=None):
    extra = {"held": held} if row.holds_predictions and held is not None else {}
    return row.reference(predictions, targets, **row.options, **extra)


def central_differences(function, x):
    step = 2e-7
    moves = step * np.eye(x.shape[-1])
    return np.stack([(function(x + move) - function(x - move)) / (2 * step) for move in moves], axis=-1)


# Their arguments are not two arrays of boxes; tests/test_distributions.py has them.
OF_DISTRIBUTIONS = {"distribution_focal_loss", "uncertain_l1_loss"}


# The table.


def test_every_public_loss_has_a_row():
    public = {name for name, _ in inspect.getmembers(losses, inspect.isfunction) if name.endswith("_loss")}
    assert public == {row.name for row in LOSSES} | OF_DISTRIBUTIONS


# Law 1: a box is its low corner, then its high corner, in 1, 2 or 3 dimensions.


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_value_is_that_of_the_reference(row):
    for n in row.dimensions:
        pairs = cases.random_pairs(CHUNK, seed=n, n=n)
        value = run("value", row, *pairs, dtype="float64")
        np.testing.assert_allclose(value, expected(row, *pairs), rtol=1e-12, atol=1e-12)


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_gradient_is_that_of_the_reference(row):
    predictions, targets = cases.random_pairs(CHUNK, seed=10)
    _, (of_predictions, of_targets) = value_and_gradients(row, predictions, targets, dtype="float64")
    by_prediction = central_differences(partial(expected, row, targets=targets, held=predictions), predictions)
    np.testing.assert_allclose(of_predictions, by_prediction, rtol=1e-6, atol=1e-7)
    if not row.holds_predictions and not row.holds_targets:
        by_target = central_differences(partial(expected, row, predictions), targets)
        np.testing.assert_allclose(of_targets, by_target, rtol=1e-6, atol=1e-7)


@every_loss
def test_forward_mode_gives_the_gradient_of_reverse_mode(row):
    parts = cases.random_pairs(80, seed=20), cases.stacked(cases.AWKWARD)
    pairs = [np.concatenate(x) for x in zip(*parts, strict=True)]
    reverse = np.concatenate(value_and_gradients(row, *pairs)[1], axis=-1)
    forward = run("forward mode", row, *in_every_direction(*pairs))[1].reshape(reverse.shape)
    sides = np.maximum(*(np.abs(x[:, 2:] - x[:, :2]) for x in pairs))
    terms = 1 if row.has_a_unit else np.tile(1 / np.maximum(sides, 1e-15), 4)  # what cancels in a component of 0
    scale = np.max(np.abs(reverse.reshape(-1, 2, 4)), axis=-1, keepdims=True)
    error = np.abs(forward - reverse)
    assert np.all(error <= np.broadcast_to(1e-4 * scale, (len(scale), 2, 4)).reshape(error.shape) + 3e-7 * terms)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iou_loss", 0.5263157895),
        ("giou_loss", 0.5763157895),
        ("diou_loss", 0.5519305435),
        ("ciou_loss", 0.5519319320),
        ("l1_loss", 35),
        ("smooth_l1_loss", 33),
    ],
)
@pytest.mark.usefixtures("x64")
def test_worked_values(name, value):
    predictions, targets = jnp.array([10.0, 10, 50, 60]), jnp.array([20.0, 15, 60, 70])
    np.testing.assert_allclose(getattr(losses, name)(predictions, targets), value, rtol=1e-9)


# Law 2: predictions and targets, then options by name; one value a box.


@every_loss
def test_the_signature_is_predictions_targets_options_where(row):
    parameters = list(inspect.signature(row.loss).parameters.values())
    assert [parameter.name for parameter in parameters[:2]] == ["predictions", "targets"]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters[2:])
    assert parameters[-1].name == "where"
    forbidden = {"reduction", "eps", "epsilon", "mode", "format", "fmt", "axis"}
    assert not forbidden & {parameter.name for parameter in parameters}
    assert not any(isinstance(parameter.default, bool) for parameter in parameters)


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    given = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    return {name: default for name, default in given.items() if name not in ("where", "held")}


@pytest.mark.parametrize(
    "function",
    [
        function
        for module in (losses, similarity)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if hasattr(reference, name) and defaults(function)
    ],
    ids=lambda function: function.__name__,
)
def test_the_options_have_the_defaults_of_the_reference(function):
    of_reference = defaults(getattr(reference, function.__name__))
    assert defaults(function) == of_reference
    pair = [jnp.asarray(x, jnp.float32) for x in cases.random_pairs(4, seed=41)]
    needed = {"mean_loss": 0.5} if function is losses.focused_wiou_loss else {}
    np.testing.assert_array_equal(function(*pair, **needed), function(*pair, **needed, **of_reference))


@every_loss
def test_there_is_one_value_a_box(row):
    for shape in [(), (3,), (2, 3), (0,)]:
        box = jax.ShapeDtypeStruct((*shape, 4), jnp.float32)
        assert jax.eval_shape(row, box, box).shape == shape
        assert jax.eval_shape(partial(row, where=jnp.ones(shape, bool)), box, box).shape == shape


@every_loss
def test_jit_eager_and_vmap_agree(row):
    pairs = [jnp.asarray(x, jnp.float32) for x in cases.stacked(cases.AWKWARD)]
    eager = row(*pairs)
    np.testing.assert_allclose(jax.jit(row)(*pairs), eager, rtol=1e-5, atol=3e-7)
    np.testing.assert_allclose(jax.vmap(row)(*pairs), eager, rtol=1e-5, atol=3e-7)


@every_loss
def test_a_shape_is_traced_once_whatever_the_numeric_options(row):
    numeric = {name for name, value in inspect.signature(row.loss).parameters.items() if type(value.default) is float}
    traces = []

    @jax.jit
    def traced(predictions, targets, options):
        traces.append(options)
        return row.loss(predictions, targets, **{**row.options, **options})

    pair = cases.random_pairs(4, seed=40)
    for factor in (1.0, 1.5):
        options = {name: factor * inspect.signature(row.loss).parameters[name].default for name in numeric}
        value = traced(*(jnp.asarray(x, jnp.float32) for x in pair), options)
        np.testing.assert_allclose(value, row.reference(*pair, **{**row.options, **options}), rtol=2e-5, atol=2e-6)
    assert len(traces) == 1


# Law 3: losses refuse to broadcast, and say what was passed, what is wanted and what to write.


@every_loss
def test_shapes_that_differ_are_refused(row):
    with pytest.raises(ValueError, match="but a loss takes pairs and does not broadcast") as caught:
        row(jnp.zeros((3, 4)), jnp.zeros((1, 4)))
    assert "Got `predictions` of shape (3, 4) and `targets` of shape (1, 4)" in str(caught.value)
    assert "write `jnp.broadcast_to(targets, predictions.shape)`" in str(caught.value)


@every_loss
def test_integers_are_refused(row):
    with pytest.raises(
        TypeError, match=r"`targets` has dtype int32, but only floating point has a gradient\."
    ) as caught:
        jax.jit(row)(jnp.zeros((3, 4)), jnp.zeros((3, 4), jnp.int32))
    assert "Write `targets.astype(jnp.float32)`." in str(caught.value)


@every_loss
def test_a_list_is_refused(row):
    message = r"`predictions` is a list, not an array. Write `jnp.asarray\(predictions, jnp.float32\)`."
    with pytest.raises(TypeError, match=message):
        row([0.0, 0.0, 1.0, 1.0], jnp.zeros(4))


@every_loss
def test_a_scalar_is_refused(row):
    with pytest.raises(ValueError, match=r"`?predictions`? .*shape \(\)"):
        row(jnp.float32(0), jnp.float32(0))


@every_loss
def test_a_mask_of_another_shape_or_dtype_is_refused(row):
    pair = jnp.zeros((3, 4)), jnp.zeros((3, 4))
    with pytest.raises(ValueError, match=r"`where` has shape \(3, 1\), but there is one value a box, \(3,\)"):
        row(*pair, where=jnp.ones((3, 1), bool))
    with pytest.raises(ValueError, match=r"`where` has shape \(2,\), but there is one value a box, \(3,\)"):
        row(*pair, where=jnp.ones(2, bool))
    with pytest.raises(TypeError, match=r"`where` has dtype float32, but a mask is boolean\. Write `where != 0`"):
        row(*pair, where=jnp.ones(3))
    with pytest.raises(TypeError, match="`where` is a list, not an array"):
        row(*pair, where=[True, False, True])


@every_loss
def test_a_mask_may_have_axes_of_length_1(row):
    predictions, targets = (x.astype(np.float32).reshape(2, 3, 4) for x in cases.random_pairs(6, seed=111))
    images = np.array([[True], [False]])
    masked_rows = row(predictions, targets, where=images)
    np.testing.assert_array_equal(masked_rows, row(predictions, targets, where=np.repeat(images, 3, axis=1)))
    np.testing.assert_array_equal(masked_rows[1], 0)


@every_loss
def test_a_last_axis_that_is_no_box_is_refused(row):
    if row.any_layout:
        assert row(jnp.zeros((3, 5)), jnp.zeros((3, 5))).shape == (3,)
        return
    with pytest.raises(ValueError, match=r"`predictions` has shape \(3, 5\), but a box is `\[..., 2n\]`") as caught:
        row(jnp.zeros((3, 5)), jnp.zeros((3, 5)))
    assert "write `predictions[..., :4]`" in str(caught.value)
    if row.planar:
        with pytest.raises(ValueError, match=r"`predictions` has shape \(3, 6\), but this takes boxes in the plane"):
            row(jnp.zeros((3, 6)), jnp.zeros((3, 6)))


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (losses.smooth_l1_loss, {"beta": -1.0}),
        (losses.huber_loss, {"delta": -0.5}),
        (losses.balanced_l1_loss, {"alpha": 0.0}),
        (losses.balanced_l1_loss, {"gamma": 0.0}),
        (losses.balanced_l1_loss, {"beta": 0.0}),
        (losses.log_iou_loss, {"floor": 0.0}),
        (losses.log_iou_loss, {"floor": 1.0}),
        (losses.bounded_iou_loss, {"beta": -0.2}),
        (losses.focal_eiou_loss, {"gamma": -1.0}),
        (losses.extended_iou_loss, {"smooth": -0.1}),
        (losses.siou_loss, {"theta": 0.0}),
        (losses.alpha_iou_loss, {"alpha": 0.0}),
        (losses.alpha_giou_loss, {"alpha": -3.0}),
        (losses.focused_wiou_loss, {"mean_loss": 0.0}),
        (losses.focused_wiou_loss, {"mean_loss": 0.5, "alpha": 0.0}),
        (losses.focused_wiou_loss, {"mean_loss": 0.5, "delta": -3.0}),
        (losses.mpdiou_loss, {"image_size": (0, 640)}),
        (losses.inner_iou_loss, {"ratio": 0.0}),
        (losses.focaler_iou_loss, {"lower": 0.95}),
        (losses.shape_iou_loss, {"scale": -1.0}),
        (losses.focused_powerful_iou_loss, {"focus": 0.0}),
        (losses.nwd_loss, {"constant": jnp.nan}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_an_option_that_makes_no_sense_is_refused_with_its_value(loss, options):
    name, value = list(options.items())[-1]
    value = value[0] if name == "image_size" else value
    with pytest.raises(ValueError, match=f"`{name}` is {value}, but it must"):
        loss(jnp.zeros(4), jnp.zeros(4), **options)


def test_one_bad_number_among_the_options_of_many_boxes_is_refused():
    for loss in (losses.smooth_l1_loss, losses.balanced_l1_loss):
        with pytest.raises(ValueError, match=r"`beta` is \[ 0.5 -1. \], but it must"):
            loss(jnp.zeros((2, 4)), jnp.zeros((2, 4)), beta=np.array([0.5, -1.0]))


def test_an_option_that_turns_out_to_be_0_gives_no_nan():
    loss = jax.jit(lambda beta: losses.balanced_l1_loss(jnp.zeros(4), jnp.ones(4), beta=beta))
    assert jnp.isfinite(loss(0.0))


def test_bounded_iou_holds_its_targets():
    pair = [jnp.asarray(x, jnp.float32) for x in cases.random_pairs(50, seed=47)]
    np.testing.assert_array_equal(jax.grad(lambda *x: jnp.sum(losses.bounded_iou_loss(*x)), 1)(*pair), 0)


def test_bounded_iou_draws_back_a_center_that_is_half_a_side_away():
    def pull(distance):
        return jax.grad(losses.bounded_iou_loss)(jnp.array([distance, 0, distance + 2, 2]), jnp.array([0.0, 0, 2, 2]))

    np.testing.assert_allclose(pull(1.0), pull(1 - 2**-10), rtol=1e-2)
    np.testing.assert_array_equal(pull(1.25), 0)


@pytest.mark.parametrize(("kind", "alike"), [("points apart", -1), ("crossed segments", 0), ("equal points", 1)])
def test_extended_iou_of_empty_boxes_is_decided(kind, alike):
    a, b = (jnp.array(x) for x in cases.AWKWARD[kind])
    assert 1 - losses.extended_iou_loss(a, b, smooth=0.0) == alike


@rows(lambda row: row.options.keys() - {"image_size"} or defaults(row.loss))
def test_options_in_half_precision_are_promoted(row):
    options = defaults(row.loss) | row.options
    half = {name: jnp.bfloat16(value) for name, value in options.items() if name != "image_size"}
    pair = [jnp.asarray(x, jnp.float32) for x in cases.random_pairs(4, seed=48)]
    assert row.loss(*pair, **row.options | half).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
def test_focaler_iou_begins_at_the_lower_iou():
    pairs = cases.random_pairs(200, seed=46)
    value = losses.focaler_iou_loss(*pairs, lower=0.2, upper=0.4)
    np.testing.assert_allclose(value, reference.focaler_iou_loss(*pairs, lower=0.2, upper=0.4), rtol=1e-12, atol=1e-12)
    assert {0.0, 1.0} < set(value.tolist())


@pytest.mark.parametrize(
    "loss", [losses.alpha_iou_loss, losses.alpha_giou_loss, losses.alpha_diou_loss, losses.alpha_ciou_loss]
)
def test_a_power_below_1_keeps_every_gradient_finite(loss):
    predictions, targets = (jnp.asarray(x, jnp.float32) for x in cases.stacked(cases.AWKWARD))
    gradients = jax.jit(jax.vmap(jax.grad(lambda *pair: loss(*pair, alpha=0.5), (0, 1))))(predictions, targets)
    assert np.all(np.isfinite(gradients))


def test_the_weights_of_shape_iou_are_held_constant():
    predictions, targets = (jnp.asarray(x, jnp.float32) for x in cases.stacked(cases.AWKWARD))
    slopes = jax.jacfwd(lambda scale: losses.shape_iou_loss(predictions, targets, scale=scale))
    np.testing.assert_array_equal(slopes(0.5), 0)
    np.testing.assert_array_equal(slopes(0.0), 0)


def test_an_image_size_that_does_not_fit_the_boxes_is_refused():
    with pytest.raises(ValueError, match=r"`image_size` is \(480, 640, 3\), but boxes of 4 numbers need 2"):
        losses.mpdiou_loss(jnp.zeros(4), jnp.zeros(4), image_size=(480, 640, 3))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.usefixtures("x64")
def test_mpdiou_takes_intervals_and_solids(n):
    pairs, image_size = cases.random_pairs(50, seed=45, n=n), (3.0, 4.0, 5.0)[:n]
    given = map(boxes.Intervals, pairs) if n == 1 else pairs
    value = losses.mpdiou_loss(*given, image_size=image_size)
    np.testing.assert_allclose(value, reference.mpdiou_loss(*pairs, image_size=image_size), rtol=1e-12)


# Law 4: no additive epsilon, so a loss of ratios depends neither on the unit nor on the origin.


@every_loss_without_a_unit
@pytest.mark.parametrize("exponent", [-40, -10, 10, 40])
def test_the_unit_of_length_changes_no_bit(row, exponent):
    predictions, targets = (x.astype(np.float32) for x in cases.random_pairs(CHUNK, seed=50))
    value, (gradient, _) = value_and_gradients(row, predictions, targets)
    factor = np.float32(2.0**exponent)
    scaled, (scaled_gradient, _) = value_and_gradients(row, factor * predictions, factor * targets)
    np.testing.assert_array_equal(scaled, value)
    np.testing.assert_array_equal(scaled_gradient * factor, gradient)


@every_loss
def test_the_origin_changes_no_bit(row):
    whole = [np.round(64 * x).astype(np.float32) for x in cases.random_pairs(CHUNK, seed=60)]
    value, (gradient, _) = value_and_gradients(row, *whole)
    moved, (moved_gradient, _) = value_and_gradients(row, *(x + np.float32([512, -256, 512, -256]) for x in whole))
    np.testing.assert_array_equal(moved, value)
    np.testing.assert_array_equal(moved_gradient, gradient)


def float32_errors(row, offset, count=100_000):
    """How far float32 is from float64 over random pairs, for boxes with the same rounded coordinates.

    Args:
      row: a row of the table.
      offset: 0 for boxes inside `[0, 1]`; else added to the coordinates of boxes with sides from 0.3 to 3.
      count: how many pairs.

    Returns:
      The worst error of the value against the reference, relative where that is above 1. The worst error of a
      derivative, relative to the largest one of the pair, or to 1 a side of the target where that is larger.
    """
    pairs = [x + offset if offset else (x + 2.5) / 5 for x in cases.random_pairs(count, seed=70)]
    single = [x.astype(np.float32) for x in pairs]
    double = [x.astype(np.float64) for x in single]
    value, gradients = value_and_gradients(row, *single)
    _, exact_gradients = value_and_gradients(row, *double, dtype="float64")
    exact = expected(row, *double)
    error = np.abs(value - exact) / np.maximum(np.abs(exact), 1)
    gradient, exact_gradient = (np.concatenate(x, axis=-1) for x in (gradients, exact_gradients))
    a_side = 1 / np.min(double[1][:, 2:] - double[1][:, :2], axis=-1)
    scale = np.maximum(np.max(np.abs(exact_gradient), axis=-1), a_side)
    return np.max(error), np.max(np.abs(gradient - exact_gradient) / scale[:, None])


@every_loss
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
@pytest.mark.usefixtures("x64")
def test_float32_is_right_to_a_millionth_over_a_hundred_thousand_pairs(row, offset):
    value, gradient = float32_errors(row, offset)
    assert value <= 1e-6
    assert gradient <= 5e-6


# Law 5: a loss of equal boxes is 0 and stationary.


in_both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_loss
@in_both_precisions
@pytest.mark.usefixtures("x64")
def test_equal_boxes_have_loss_0_and_gradient_0(row, dtype):
    awkward = np.concatenate(cases.stacked(cases.AWKWARD))
    upright = awkward[np.all(awkward[:, 2:] >= awkward[:, :2], axis=-1)]
    same = np.concatenate([cases.random_boxes(4 * CHUNK, seed=80), upright]).astype(dtype)
    value, gradients = value_and_gradients(row, same, same, dtype)
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradients, 0)


@every_loss
@in_both_precisions
@pytest.mark.usefixtures("x64")
def test_the_loss_is_in_its_range(row, dtype):
    ordinary = cases.random_pairs(4 * CHUNK, seed=90, spread=2.0)
    upright = {name: pair for name, pair in cases.AWKWARD.items() if "flipped" not in name}
    for predictions, targets in (ordinary, cases.stacked(upright)):
        value, _ = value_and_gradients(row, predictions, targets, dtype)
        assert np.all(value >= -1e-6)
        assert np.all(value <= row.upper + 1e-6)


# Law 6: every function is total.


@every_loss
@in_both_precisions
@pytest.mark.usefixtures("x64")
def test_value_and_gradients_are_finite_everywhere(row, dtype):
    value, gradients = value_and_gradients(row, *cases.stacked(cases.AWKWARD), dtype)
    finite = np.isfinite(value) & np.all(np.isfinite(gradients), axis=(0, 2))
    assert not [name for name, fine in zip(cases.AWKWARD, finite, strict=True) if not fine]


@every_loss
def test_forward_mode_is_finite_everywhere(row):
    assert np.all(np.isfinite(run("forward mode", row, *in_every_direction(*cases.stacked(cases.AWKWARD)))))


@every_loss
def test_second_derivatives_are_finite(row):
    _, columns = run("second derivative", row, *in_every_direction(*cases.stacked(cases.AWKWARD_MODERATE)))
    finite = np.all(np.isfinite(columns.reshape(len(cases.AWKWARD_MODERATE), -1)), axis=-1)
    assert not [name for name, fine in zip(cases.AWKWARD_MODERATE, finite, strict=True) if not fine]


def faults(row, pairs, transform="value and gradients"):
    """The pairs, with their values, for which a loss is out of range or not finite, or a derivative is not finite."""
    value, gradients = run(transform, row, *pairs)
    upright = np.all([x[:, 2:] >= x[:, :2] for x in pairs], axis=(0, 2))
    upper = np.where(upright, row.upper, row.upper_if_flipped or row.upper)
    fine = (value >= -1e-6) & (value <= upper + 1e-6) & np.isfinite(value) & np.all(np.isfinite(gradients), axis=(0, 2))
    return [(*(x[wrong].tolist() for x in pairs), float(value[wrong])) for wrong in np.flatnonzero(~fine)]


@every_loss
@fuzzing.examples(10_000)
def test_ten_thousand_pairs_of_any_bits_have_finite_value_and_gradients_in_range(row, pairs):
    assert not faults(row, pairs)


@pytest.mark.fuzz
@every_loss
@fuzzing.examples(1_000_000)
def test_a_million_pairs_of_any_bits_have_finite_value_and_gradients_in_range(row, pairs):
    assert not faults(row, pairs)
    # Another compiler's kernels flush other numbers to 0.
    assert not faults(row, pairs, "value and gradients, not optimized")


def test_the_fuzzed_pairs_are_within_the_bounds_and_of_every_relation():
    predictions, targets = fuzzing.pairs_from(np.random.default_rng(0).bytes(fuzzing.PAIR_BYTES * 100_000))
    for x in (predictions, targets):
        sides = np.abs(x[:, 2:] - x[:, :2])
        assert np.all(np.isfinite(x) & (np.abs(x) <= np.float32(1e15)))
        assert np.all((sides == 0) | (sides >= 1e-15))
    low, high = predictions[:, :2], predictions[:, 2:]
    for relation in (
        np.all(predictions == targets, axis=-1),
        low == targets[:, 2:],
        high == targets[:, 2:],
        low == high,
        targets[:, :2] == targets[:, 2:],
        (low != targets[:, :2]) & (low == np.nextafter(targets[:, :2], np.float32(0))),
        low > high,
        np.abs(low) < np.finfo(np.float32).tiny,
    ):
        assert np.mean(relation) > 0.003


# Law 7: half precision is for storage.


@every_loss
def test_half_precision_is_promoted_before_anything_is_computed(row):
    half = [x.astype(jnp.bfloat16) for x in cases.random_pairs(CHUNK, seed=100)]
    value, gradients = run("value and gradients in half precision", row, *half, dtype=jnp.bfloat16)
    exact, exact_gradients = value_and_gradients(row, *half)
    np.testing.assert_allclose(value, exact, rtol=2e-6, atol=5e-7)  # in bfloat16 it would be off by 1e-2
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(gradient.astype(np.float32), exact_gradient, rtol=2**-8, atol=1e-7)


@every_loss
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("predictions", "targets", "wanted"),
    [
        ("bfloat16", "float16", "float32"),
        ("float32", "bfloat16", "float32"),
        ("float16", "float64", "float64"),
    ],
)
def test_the_loss_has_the_wider_dtype_and_the_gradient_that_of_its_input(row, predictions, targets, wanted):
    pair = [jax.ShapeDtypeStruct((4,), dtype) for dtype in (predictions, targets)]
    value, gradients = jax.eval_shape(jax.value_and_grad(row, (0, 1)), *pair)
    assert value.dtype == wanted
    assert [gradient.dtype for gradient in gradients] == [predictions, targets]


# Law 8: a mask is complete, and a NaN that is not masked shows.


@every_loss
def test_masked_rows_change_no_bit_of_the_loss_or_the_gradient(row):
    predictions, targets = (x.astype(np.float32) for x in cases.random_pairs(8, seed=110))
    keep = np.arange(8) % 2 == 0
    total = compiled(row.name, "masked")
    (clean, values), clean_gradients = total(predictions, targets, keep)
    unmasked, _ = value_and_gradients(row, predictions, targets)
    np.testing.assert_array_equal(values[1::2], 0)
    np.testing.assert_allclose(values[::2], unmasked[::2], rtol=1e-5, atol=1e-6)
    for garbage in (np.nan, np.inf, -np.inf, 1e38, 0.0):
        soiled = [np.where(keep[:, None], x, np.float32(garbage)) for x in (predictions, targets)]
        (value, _), gradients = total(*soiled, keep)
        np.testing.assert_array_equal(value, clean)
        for gradient, clean_gradient in zip(gradients, clean_gradients, strict=True):
            np.testing.assert_array_equal(gradient, clean_gradient)
            np.testing.assert_array_equal(gradient[1::2], 0)


@every_loss
@pytest.mark.parametrize("place", [0, 3])
def test_a_nan_that_is_not_masked_shows(row, place):
    predictions, targets = cases.random_pairs(3, seed=120)
    diverged = predictions.copy()
    diverged[1, place] = np.nan
    for pair in [(diverged, targets), (targets, diverged)]:
        value, _ = value_and_gradients(row, *pair)
        assert np.isnan(value).tolist() == [False, True, False]


# Law 9: downhill is downhill.


@rows(lambda row: not row.may_climb)
@pytest.mark.usefixtures("x64")
def test_a_small_step_against_the_gradient_lowers_the_loss(row):
    ordinary = cases.random_pairs(CHUNK, seed=130, spread=2.0)
    predictions, targets = (np.concatenate(x) for x in zip(ordinary, cases.stacked(DOWNHILL), strict=True))
    value, (gradient, _) = value_and_gradients(row, predictions, targets, dtype="float64")
    slope = np.linalg.norm(gradient, axis=-1, keepdims=True)
    side = np.max(np.abs(targets[:, 2:] - targets[:, :2]), axis=-1, keepdims=True)
    step = 1e-6 * side * gradient / np.where(slope > 0, slope, 1)
    lower, _ = value_and_gradients(row, predictions - step, targets, dtype="float64")
    seen = (1e-6 * side * slope)[:, 0] > 1e-15 * value  # a lesser fall is lost in the rounding of the value
    assert np.all(lower[seen] < value[seen])
    assert np.sum(seen) > CHUNK / 8


DOWNHILL = {name: pair for name, pair in cases.AWKWARD_MODERATE.items() if pair[1] == cases.TARGET}


@every_loss
def test_gradient_descent_brings_a_thousand_boxes_to_their_targets(row):
    starts, targets = cases.random_pairs(20_000, seed=140, spread=1.5)
    if row.reaches_the_target_only_from:
        within, _ = row.reaches_the_target_only_from
        starts, targets = (x[within(starts, targets)] for x in (starts, targets))
    starts, targets = (jnp.asarray(x[:1000], jnp.float32) for x in (starts, targets))
    assert len(starts) == 1000
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 2000))

    def to_boxes(parameters):  # center and log sides, as detectors predict them: no step can invert a box
        middle, log_sides = jnp.split(parameters, 2, axis=-1)
        return boxes.cxcywh_to_xyxy(jnp.concatenate([middle, jnp.exp(log_sides)], axis=-1))

    def step(carry, _):
        parameters, state = carry
        gradients = jax.grad(lambda x: jnp.sum(row(to_boxes(x), targets)))(parameters)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(parameters, updates), state), None

    layout = boxes.xyxy_to_cxcywh(starts)
    parameters = jnp.concatenate([layout[:, :2], jnp.log(layout[:, 2:])], axis=-1)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        (final, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=2000))(parameters)
    assert np.min(similarity.iou(to_boxes(final), targets)) > 0.95


# Chosen subgradients.


def test_a_flipped_box_is_turned_back_by_giou():
    target = jnp.array([0.0, 0, 2, 1])
    flipped = jnp.array([[1.5, 0.2, 0.5, 0.8], [0.5, 0.8, 1.5, 0.2], [1.5, 0.8, 0.5, 0.2], [5.0, 0.2, 4.0, 0.8]])
    gradient = jax.grad(lambda x: jnp.sum(losses.giou_loss(x, jnp.broadcast_to(target, x.shape))))

    def step(x, rate):
        return x - rate * gradient(x), None

    final, _ = jax.lax.scan(step, flipped, jnp.linspace(0.1, 0, 3000))
    assert jnp.all(boxes.sides(final) > 0)
    assert jnp.min(similarity.iou(final, target[None])) > 0.95


@rows(lambda row: not row.has_a_unit and row.loss is not losses.focal_eiou_loss)  # whose weight is 0 for both
def test_a_flipped_box_scores_no_better_than_a_disjoint_one(row):
    flipped = {name: pair for name, pair in cases.AWKWARD.items() if "flipped" in name}
    value, _ = value_and_gradients(row, *cases.stacked(flipped))
    assert np.all(value >= 1)


@pytest.mark.parametrize("loss", [losses.iou_loss, losses.giou_loss, losses.diou_loss, losses.ciou_loss])
def test_a_box_of_no_width_grows(loss):
    gradient = jax.grad(loss)(jnp.array([30.0, 20, 30, 50]), jnp.array(cases.TARGET))
    assert gradient[0] > 0 > gradient[2]


@pytest.mark.parametrize("loss", [losses.iou_loss, losses.giou_loss, losses.diou_loss, losses.ciou_loss])
def test_touching_boxes_are_drawn_together(loss):
    prediction, target = (jnp.array(x) for x in cases.AWKWARD["touching at an edge"])
    gradient = jax.grad(loss)(prediction, target)
    assert gradient[0] > 0
