"""Laws 1 to 3: the table, the value of the paper, the signature, and what is refused."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses, similarity
from tests import cases, class_table, reference
from tests.programs import CHUNK, central_differences, expected, in_every_direction, run, value_and_gradients
from tests.shapes import UPRIGHT
from tests.table import EVERY, OF_DISTRIBUTIONS, defaults, every_loss, every_upright_loss, rows

# The table.


def test_every_public_loss_has_a_row():
    public = {name for name, _ in inspect.getmembers(losses, inspect.isfunction) if name.endswith("_loss")}
    assert public == {row.name for row in (*EVERY, *class_table.LOSSES)} | OF_DISTRIBUTIONS


# Law 1: a box is its low corner, then its high corner, in 1, 2 or 3 dimensions.


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_value_is_that_of_the_reference(row):
    for n in row.dimensions:
        upright = row.shape is UPRIGHT
        pairs = cases.random_pairs(CHUNK, seed=n, n=n) if upright else row.shape.random_pairs(CHUNK, seed=n)
        value = run("value", row, *pairs, dtype="float64")
        np.testing.assert_allclose(value, expected(row, *pairs), rtol=1e-12, atol=1e-12)


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_gradient_is_that_of_the_reference(row):
    predictions, targets = row.shape.random_pairs(CHUNK, seed=10)
    _, (of_predictions, of_targets) = value_and_gradients(row, predictions, targets, dtype="float64")
    by_prediction = central_differences(partial(expected, row, targets=targets, held=predictions), predictions)
    np.testing.assert_allclose(of_predictions, by_prediction, rtol=1e-6, atol=1e-7)
    if not row.holds_predictions and not row.holds_targets:
        by_target = central_differences(partial(expected, row, predictions), targets)
        np.testing.assert_allclose(of_targets, by_target, rtol=1e-6, atol=1e-7)


@every_loss
def test_forward_mode_gives_the_gradient_of_reverse_mode(row):
    awkward = {name: case for name, case in row.shape.awkward.items() if not (row.ties and name in row.shape.kinks)}
    parts = row.shape.random_pairs(80, seed=20), cases.stacked(awkward)
    pairs = [np.concatenate(x) for x in zip(*parts, strict=True)]
    reverse = np.concatenate(value_and_gradients(row, *pairs)[1], axis=-1)
    forward = run("forward mode", row, *in_every_direction(*pairs))[1].reshape(reverse.shape)
    terms = 1 if row.has_a_unit else slopes_that_cancel(row.shape, pairs)
    scale = np.max(np.abs(reverse.reshape(len(reverse), 2, -1)), axis=-1)
    allowed = np.repeat(1e-4 * scale, row.shape.width, axis=-1) + 3e-7 * terms
    assert np.all(np.abs(forward - reverse) <= allowed)


def slopes_that_cancel(shape, pairs):
    """How large the terms are that cancel in a component of 0: 1 a side of the larger box, and 1 for an angle."""
    longest = np.maximum(*(np.abs(shape.sides(x)) for x in pairs))
    if shape is UPRIGHT:
        return np.tile(1 / np.maximum(longest, 1e-15), 4)
    a_length = 1 / np.maximum(np.min(longest, axis=-1, keepdims=True), 1e-15)
    # What underflows beside a length of 1: all that is left of the slope for two lines of an aspect of 1e30.
    area = np.maximum(*(np.prod(np.maximum(shape.sides(x), 0), axis=-1, keepdims=True) for x in pairs))
    lost = np.finfo(np.float32).tiny * np.max(longest, axis=-1, keepdims=True) ** 2 / np.where(area > 0, area, np.inf)
    a_length = a_length + lost
    return np.tile(np.where(np.isin(np.arange(shape.width), shape.lengths), a_length, 1), 2)


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
        box = jax.ShapeDtypeStruct((*shape, row.shape.width), jnp.float32)
        assert jax.eval_shape(row, box, box).shape == shape
        assert jax.eval_shape(partial(row, where=jnp.ones(shape, bool)), box, box).shape == shape


@every_loss
def test_jit_eager_and_vmap_agree(row):
    pairs = [jnp.asarray(x, jnp.float32) for x in cases.stacked(row.shape.awkward)]
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

    pair = row.shape.random_pairs(4, seed=40)
    for factor in (1.0, 1.5):
        options = {name: factor * inspect.signature(row.loss).parameters[name].default for name in numeric}
        value = traced(*(jnp.asarray(x, jnp.float32) for x in pair), options)
        np.testing.assert_allclose(value, row.reference(*pair, **{**row.options, **options}), rtol=2e-5, atol=2e-6)
    assert len(traces) == 1


# Law 3: losses refuse to broadcast, and say what was passed, what is wanted and what to write.


@every_loss
def test_shapes_that_differ_are_refused(row):
    k = row.shape.width
    with pytest.raises(ValueError, match="but a loss takes pairs and does not broadcast") as caught:
        row(jnp.zeros((3, k)), jnp.zeros((1, k)))
    assert f"Got `predictions` of shape (3, {k}) and `targets` of shape (1, {k})" in str(caught.value)
    assert "write `jnp.broadcast_to(targets, predictions.shape)`" in str(caught.value)


@every_loss
def test_integers_are_refused(row):
    with pytest.raises(
        TypeError, match=r"`targets` has dtype int32, but only floating point has a gradient\."
    ) as caught:
        jax.jit(row)(jnp.zeros((3, row.shape.width)), jnp.zeros((3, row.shape.width), jnp.int32))
    assert "Write `targets.astype(jnp.float32)`." in str(caught.value)


@every_loss
def test_a_list_is_refused(row):
    message = r"`predictions` is a list, not an array. Write `jnp.asarray\(predictions, jnp.float32\)`."
    with pytest.raises(TypeError, match=message):
        row([1.0] * row.shape.width, jnp.zeros(row.shape.width))


@every_loss
def test_a_scalar_is_refused(row):
    with pytest.raises(ValueError, match=r"`?predictions`? .*shape \(\)"):
        row(jnp.float32(0), jnp.float32(0))


@every_loss
def test_a_mask_of_another_shape_or_dtype_is_refused(row):
    pair = [jnp.zeros((3, row.shape.width))] * 2
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
    predictions, targets = (x.astype(np.float32).reshape(2, 3, -1) for x in row.shape.random_pairs(6, seed=111))
    images = np.array([[True], [False]])
    masked_rows = row(predictions, targets, where=images)
    np.testing.assert_array_equal(masked_rows, row(predictions, targets, where=np.repeat(images, 3, axis=1)))
    np.testing.assert_array_equal(masked_rows[1], 0)


@rows(lambda row: row.shape is not UPRIGHT, of=EVERY)
def test_a_last_axis_that_is_no_turned_box_is_refused(row):
    for length in {4, 5, 6, 7} - {row.shape.width}:
        wanted = rf"`predictions` has shape \(3, {length}\), but a .* is `\[..., {row.shape.width}\]`"
        with pytest.raises(ValueError, match=wanted):
            row(jnp.zeros((3, length)), jnp.zeros((3, length)))


@every_upright_loss
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
