"""The losses of classes by their own table: the laws of the losses of boxes, as far as they apply."""

import functools
import inspect
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import losses
from tests import class_reference
from tests.class_table import CLASSES, LOSSES, every_loss, every_loss_of_classes, rows
from tests.table import defaults
from tests.test_limits import EXTREMES, QUICKLY

ORIGINALS = json.loads((pathlib.Path(__file__).parent / "detector_reference.json").read_text())["losses"]
OPTIONS = [(row, name) for row in LOSSES for name in defaults(row.loss)]
every_option = pytest.mark.parametrize(
    ("row", "option"), OPTIONS, ids=lambda value: value if isinstance(value, str) else value.name
)


def differentiated(row, **options):
    """A function of arrays: the losses of rows, and the gradients of their sum by every argument."""

    def of(*arrays):
        def total(*arrays):
            values = row(*arrays, **options)
            return jnp.sum(values), values

        (_, values), gradients = jax.value_and_grad(total, tuple(range(len(arrays))), has_aux=True)(*arrays)
        return values, gradients

    return of


def value_and_gradients(row, *arrays, **options):
    return jax.jit(differentiated(row, **options))(*arrays)


def single(arrays):
    return [jnp.asarray(x, jnp.float32) for x in arrays]


def by_difference(function, x, step=1e-6):
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape[1:]):
        move = np.zeros_like(x)
        move[:, *place] = step
        slopes[:, *place] = (function(x + move) - function(x - move)) / (2 * step)
    return slopes


# The table, and the signature.


def test_every_loss_of_classes_has_a_row():
    assert [row.name for row in LOSSES] == losses.classes.__all__


@every_loss
def test_the_signature_is_arrays_options_where_with_the_defaults_of_the_reference(row):
    parameters = list(inspect.signature(row.loss).parameters.values())
    count = 3 if row.has_quality else 2
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters[:count])
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[count:])
    assert parameters[-1].name == "where"
    assert defaults(row.loss) == defaults(row.reference)
    assert all(type(parameter.default) is float for parameter in parameters[count:-1])


@every_loss
def test_what_is_held_is_said(row):
    documentation = inspect.getdoc(row.loss) or ""
    assert ("Held constant: " in documentation) == bool(row.held)


@every_loss
def test_there_is_one_value_a_row(row):
    for shape in [(), (3,), (2, 3), (0,)]:
        wide, number = (jax.ShapeDtypeStruct((*shape, *own), jnp.float32) for own in ((CLASSES,), ()))
        arrays = [wide, wide, number] if row.has_quality else [wide, wide]
        assert jax.eval_shape(row, *arrays).shape == shape
        assert jax.eval_shape(functools.partial(row, where=jnp.ones(shape, bool)), *arrays).shape == shape


# The numbers.


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_value_is_that_of_the_reference(row):
    arrays = row.arrays(300)
    np.testing.assert_allclose(row(*arrays), row.expected(*arrays), rtol=1e-12, atol=1e-14)


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_gradient_is_that_of_the_reference_with_what_is_held(row):
    logits, *others = row.arrays(100)
    _, (gradient, *_) = value_and_gradients(row, logits, *others)
    wanted = by_difference(lambda x: row.expected(x, *others, held=logits), logits)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-8)


@every_loss
@pytest.mark.usefixtures("x64")
def test_what_is_held_has_gradient_0_and_nothing_else_has(row):
    arrays = row.arrays(20)
    names = list(inspect.signature(row.loss).parameters)[: len(arrays)]
    _, gradients = value_and_gradients(row, *arrays)
    without = {name for name, gradient in zip(names, gradients, strict=True) if not np.any(gradient)}
    assert without == set(row.held) - {"logits"}


def test_the_share_of_the_negatives_is_held_but_not_that_of_the_iou_aware_loss():
    x, none, quality = np.float32([0.7]), jnp.zeros(1), jnp.float32(0)
    p, entropy = 1 / (1 + np.exp(-x)), np.log(1 + np.exp(x))
    held, moving = p * p * p, p * p * p + 2 * p * p * (1 - p) * entropy
    np.testing.assert_allclose(jax.grad(losses.iou_aware_loss)(x, none, quality), moving, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(losses.varifocal_loss)(x, none, quality), 0.75 * held, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(losses.matchability_loss)(x, none, quality), p**2.5, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(losses.quality_focal_loss)(x, none, quality), moving, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(losses.focal_loss)(x, none), 0.75 * moving, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in ORIGINALS if name in losses.__all__])
@pytest.mark.usefixtures("x64")
def test_the_gradient_is_that_of_the_original_code(name):
    given = ORIGINALS[name]
    logits = np.float32(given["logits"]).astype(float)
    onehot = jax.nn.one_hot(np.array(given["labels"]), logits.shape[-1])
    arrays = [logits, onehot, np.array(given["quality"])][: 2 if name == "focal_loss" else 3]
    gradient = jax.grad(lambda x: jnp.sum(getattr(losses, name)(x, *arrays[1:])))(logits)
    np.testing.assert_allclose(gradient, given["gradient"], rtol=1e-10, atol=1e-12)
    assert {label >= 0 for label in given["labels"]} == {True, False}


@every_loss
def test_forward_mode_gives_the_gradient_of_reverse_mode(row):
    arrays = single(row.arrays(30))
    _, gradients = value_and_gradients(row, *arrays)
    tangents = single(np.random.default_rng(1).normal(size=x.shape) for x in arrays)
    forward = jax.jit(lambda *x: jax.jvp(row, x, tuple(tangents))[1].sum())(*arrays)
    reverse = sum(jnp.sum(gradient * tangent) for gradient, tangent in zip(gradients, tangents, strict=True))
    np.testing.assert_allclose(forward, reverse, rtol=1e-4)


@every_loss
@pytest.mark.usefixtures("x64")
def test_float32_is_right_to_a_few_last_bits(row):
    arrays = row.arrays(3000, scale=4.0)
    rounded = [np.float32(x) for x in arrays]
    values, (gradient, *_) = value_and_gradients(row, *map(jnp.asarray, rounded))
    exact, (slopes, *_) = value_and_gradients(row, *(x.astype(float) for x in rounded))
    assert values.dtype == gradient.dtype == jnp.float32
    # Differences of the logarithms of probabilities lose a last bit of these, times 25 for the temperature.
    np.testing.assert_allclose(values, exact, rtol=3e-6, atol=1e-5 if row.is_of_bins else 1e-7)
    scale = np.max(np.abs(slopes), axis=-1, keepdims=True)
    assert np.max(np.abs(np.float64(gradient) - slopes) / scale) < 3e-6


@every_loss
def test_jit_eager_and_vmap_agree(row):
    arrays = single(row.arrays(40))
    eager = row(*arrays)
    np.testing.assert_allclose(jax.jit(row)(*arrays), eager, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(row)(*arrays), eager, rtol=1e-5, atol=1e-6)
    apart = [x.reshape(4, 10, *x.shape[1:]) for x in arrays]
    np.testing.assert_allclose(row(*apart), eager.reshape(4, 10), rtol=1e-5, atol=1e-6)


# Saturated logits.


@every_loss_of_classes
def test_saturated_logits_have_the_values_and_gradients_of_their_limits(row):
    onehot = np.array([[1.0, 0], [0, 1], [0, 0]])
    others = [onehot, np.array([1.0, 0.5, 0.0])][: 2 if row.has_quality else 1]
    program = jax.jit(differentiated(row))
    for size in (50.0, 1e4, 1e15, 1e37):
        logits = np.array([[size, -size]] * 3)
        values, (gradient, *_) = program(*single([logits, *others]))
        np.testing.assert_allclose(values, row.expected(logits, *others), rtol=1e-5, atol=1e-6)
        slopes = by_difference(lambda x, held=logits: row.expected(x, *others, held=held), logits, 1e-3 * size)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-5)


@every_loss
def test_products_of_a_hessian_and_a_vector_are_finite_for_saturated_logits(row):
    arrays = row.arrays(120)
    sizes = np.repeat([0.0, 1.0, 50.0, 1e4, 1e15], 24)[:, None]
    arrays[0] = np.where(np.arange(120)[:, None] % 2, sizes * np.sign(arrays[0]), arrays[0])
    if row.is_of_bins:
        arrays[1] = np.where(np.arange(120)[:, None] % 4 < 2, sizes * np.sign(arrays[1]), arrays[1])
    logits, *others = single(arrays)
    gradient = jax.grad(lambda x: jnp.sum(row(x, *others)))

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def products(x):
        forward = jax.jvp(gradient, (x,), (jnp.ones_like(x),))[1]
        return forward, jax.grad(lambda x: jnp.sum(gradient(x)))(x)

    forward, reverse = products(logits)
    assert jnp.all(jnp.isfinite(forward))
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-5)


@rows(lambda row: "logits" not in row.held)
@pytest.mark.usefixtures("x64")
def test_second_derivatives_are_those_of_the_gradient(row):
    logits, *others = row.arrays(20)

    def slope(x):
        return np.asarray(value_and_gradients(row, x, *others)[1][0])

    tangent = np.random.default_rng(3).normal(size=logits.shape)
    gradient = jax.grad(lambda x: jnp.sum(row(x, *others)))
    _, products = jax.jit(lambda x: jax.jvp(gradient, (x,), (tangent,)))(logits)
    step = 1e-6
    wanted = (slope(logits + step * tangent) - slope(logits - step * tangent)) / (2 * step)
    np.testing.assert_allclose(products, wanted, rtol=1e-5, atol=1e-7)


# Half precision, masks and NaN.


@every_loss
def test_half_precision_is_promoted_and_the_gradient_has_the_dtype_of_its_input(row):
    half = [jnp.asarray(x, jnp.bfloat16) for x in row.arrays(30)]
    values, gradients = value_and_gradients(row, *half)
    exact, exact_gradients = value_and_gradients(row, *(x.astype(jnp.float32) for x in half))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, exact, rtol=1e-6)
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        assert gradient.dtype == jnp.bfloat16
        np.testing.assert_allclose(gradient.astype(jnp.float32), exact_gradient, rtol=2**-7, atol=1e-6)


@every_loss
@pytest.mark.usefixtures("x64")
def test_the_loss_has_the_widest_dtype(row):
    for dtypes, wanted in ((("bfloat16", "float16", "bfloat16"), "float32"), (("float32", "bfloat16", "float64"),) * 2):
        arrays = [jax.ShapeDtypeStruct(x.shape, dtype) for x, dtype in zip(row.arrays(3), dtypes, strict=False)]
        wanted = "float64" if "float64" in dtypes[: len(arrays)] else "float32"
        assert jax.eval_shape(row, *arrays).dtype == wanted


@every_loss
def test_masked_rows_change_no_bit_of_the_loss_or_the_gradient(row):
    arrays = single(row.arrays(16))
    keep = np.arange(16) % 2 == 0
    program = jax.jit(differentiated(row, where=keep))
    clean, clean_gradients = program(*arrays)
    np.testing.assert_array_equal(clean[1::2], 0)
    np.testing.assert_allclose(clean[::2], row(*arrays)[::2], rtol=1e-5)
    for garbage in (np.nan, np.inf, -np.inf, 1e38, 0.0):
        soiled = [np.where(keep.reshape(-1, *(1,) * (x.ndim - 1)), x, np.float32(garbage)) for x in arrays]
        values, gradients = program(*soiled)
        np.testing.assert_array_equal(values, clean)
        for gradient, clean_gradient in zip(gradients, clean_gradients, strict=True):
            np.testing.assert_array_equal(gradient, clean_gradient)
            np.testing.assert_array_equal(gradient[1::2], 0)


@every_loss
def test_a_mask_may_have_axes_of_length_1(row):
    arrays = [x.reshape(2, 3, *x.shape[1:]) for x in single(row.arrays(6))]
    images = np.array([[True], [False]])
    values = row(*arrays, where=images)
    np.testing.assert_array_equal(values, row(*arrays, where=np.repeat(images, 3, axis=1)))
    np.testing.assert_array_equal(values[1], 0)


@every_loss
def test_a_nan_that_is_not_masked_shows(row):
    for place in range(2):
        arrays = row.arrays(3)
        arrays[place][1, 2] = np.nan
        assert np.isnan(row(*single(arrays))).tolist() == [False, True, False]


# Options.


@every_option
@pytest.mark.usefixtures("x64")
def test_an_option_is_one_number_or_one_a_row_and_may_be_traced(row, option):
    arrays = row.arrays(12)
    numbers = np.linspace(0.1, 0.9, 12)
    wanted = [row.expected(*(x[k : k + 1] for x in arrays), **{option: numbers[k]})[0] for k in range(12)]
    of_rows = row(*arrays, **{option: numbers})
    np.testing.assert_allclose(of_rows, wanted, rtol=1e-10)
    traced = jax.jit(lambda value: row(*arrays, **{option: value}))
    np.testing.assert_allclose(traced(numbers), wanted, rtol=1e-10)
    np.testing.assert_allclose(traced(numbers[3])[3], wanted[3], rtol=1e-10)
    np.testing.assert_allclose(row(*arrays, **{option: numbers[3]})[3], wanted[3], rtol=1e-10)


@every_option
@pytest.mark.usefixtures("x64")
def test_an_option_has_the_derivative_of_the_formula_where_nothing_holds_it(row, option):
    arrays = row.arrays(40)
    slope = jax.grad(lambda value: jnp.sum(row(*arrays, **{option: value})))(0.6)
    if "logits" in row.held:
        assert slope == 0
        return
    ahead, behind = (np.sum(row.expected(*arrays, **{option: 0.6 + move})) for move in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)


@every_option
def test_an_option_at_its_limits_gives_finite_numbers_or_is_refused_with_its_value(row, option):
    ordinary = row.arrays(24)
    ordinary[0][::3] = 1e4 * np.sign(ordinary[0][::3])
    arrays = single(ordinary)
    program = jax.jit(lambda value: differentiated(row, **{option: value})(*arrays), compiler_options=QUICKLY)
    kept, refusals = 0, []
    for value in (*EXTREMES, *(-value for value in EXTREMES), np.nan):
        try:
            row(*arrays, **{option: value})
        except ValueError as error:
            refusals.append((value, str(error)))
            continue
        kept += 1
        values, gradients = program(np.float32(value))
        assert np.all(np.isfinite(values)), value
        assert np.all(values >= 0), value
        assert all(np.all(np.isfinite(gradient)) for gradient in gradients), value
    assert all(f"`{option}` is {value}" in message for value, message in refusals)
    assert kept >= 3


def test_without_a_power_and_balanced_the_focal_loss_is_half_the_cross_entropy():
    logits, onehot = LOSSES[0].arrays(20)
    values = losses.focal_loss(*single((logits, onehot)), alpha=0.5, gamma=0.0)
    np.testing.assert_allclose(values, np.sum(class_reference.cross_entropy(logits, onehot), -1) / 2, rtol=1e-5)


# Distributions.


@pytest.mark.parametrize("options", [{}, {"temperature": np.geomspace(1e-6, 1e10, 50)}])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_student_that_is_the_teacher_has_loss_0_and_gradient_0(dtype, options):
    logits = jnp.asarray(10 * np.random.default_rng(0).normal(size=(50, 33)), dtype)
    values, (gradient, *_) = value_and_gradients(LOSSES[-1], logits, logits, jnp.ones(50, dtype), **options)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_at_a_high_temperature_it_is_half_the_variance_of_the_differences():
    student, teacher = single(np.random.default_rng(0).normal(size=(2, 2, 33)))
    temperature = jnp.array([1e4, 1e15])
    value, (slope, *_) = value_and_gradients(LOSSES[-1], student, teacher, jnp.full(2, 2.0), temperature=temperature)
    difference = np.asarray(student - teacher)
    np.testing.assert_allclose(value, np.var(difference, axis=-1), rtol=1e-3)
    centered = difference - np.mean(difference, axis=-1, keepdims=True)
    np.testing.assert_allclose(slope, 2 * centered / 33, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_float32_keeps_its_digits_where_student_and_teacher_nearly_agree():
    rng, scale = np.random.default_rng(0), np.repeat([1e-6, 1e-3, 0.5, 2.0], 25)[:, None]
    teacher = np.round(8 * rng.normal(size=(100, 33))) / 8
    student = np.float32(teacher + scale * rng.normal(size=(100, 33))).astype(float)
    exact = class_reference.distillation_loss(*(np.longdouble(x) for x in (student, teacher)), np.longdouble(1))
    value = losses.distillation_loss(*single((student, teacher)), jnp.ones(100, jnp.float32))
    np.testing.assert_allclose(value, exact.astype(float), rtol=2e-5)


def test_a_bin_that_cannot_be_changes_nothing():
    student, teacher = single(np.random.default_rng(0).normal(size=(2, 5)))
    weight, never = jnp.float32(1), jnp.full(2, -jnp.inf)
    slope = jax.jit(jax.value_and_grad(losses.distillation_loss), static_argnames="temperature")
    value, gradient = slope(*(jnp.concatenate([x, never]) for x in (student, teacher)), weight)
    wanted, wanted_gradient = slope(student, teacher, weight)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(gradient, [*wanted_gradient, 0, 0], rtol=1e-5, atol=1e-6)
    value, gradient = slope(jnp.zeros(2), jnp.array([0.0, -jnp.inf]), weight, temperature=1.0)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, [-0.5, 0.5], rtol=1e-6)


def test_logits_of_distributions_may_be_large():
    sizes = np.array([1e4, 1e10, 1e15])
    student = jnp.float32(np.stack([0 * sizes, sizes], axis=-1))
    value, (gradient, *_) = value_and_gradients(LOSSES[-1], student, student[:, ::-1], jnp.ones(3))
    np.testing.assert_allclose(value, 5 * sizes, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-5, 5]] * 3, rtol=1e-6)


# What is refused.


@every_loss
def test_wrong_arguments_say_what_is_wanted(row):
    first, second, *others = list(inspect.signature(row.loss).parameters)[: 3 if row.has_quality else 2]
    arrays = single(row.arrays(3))
    with pytest.raises(TypeError, match=f"`{first}` has dtype int32, .* Write `{first}.astype"):
        row(jnp.zeros((3, CLASSES), int), *arrays[1:])
    with pytest.raises(TypeError, match=f"`{second}` has dtype int32, .* Write `{second}.astype"):
        row(arrays[0], jnp.zeros((3, CLASSES), int), *arrays[2:])
    with pytest.raises(TypeError, match=f"`{first}` is a list, not an array"):
        row([0.0] * CLASSES, *arrays[1:])
    with pytest.raises(ValueError, match=rf"`{first}` has shape \(\), .* Write `{first}\[None\]`"):
        row(jnp.float32(0), *arrays[1:])
    with pytest.raises(ValueError, match=rf"Got `{first}` of shape \(3, 7\) and `{second}` of shape \(3, 6\)"):
        row(arrays[0], arrays[1][:, :6], *arrays[2:])
    with pytest.raises(ValueError, match=rf"write `jnp.broadcast_to\({second}, {first}.shape\)`"):
        row(arrays[0], arrays[1][0], *arrays[2:])
    with pytest.raises(ValueError, match=r"`where` has shape \(2,\), but there is one value a box, \(3,\)"):
        row(*arrays, where=np.ones(2, bool))
    for name in others:
        with pytest.raises(ValueError, match=rf"`{name}` has shape \(3, 7\), but there is one value a box, \(3,\)"):
            row(*arrays[:2], arrays[0])
        with pytest.raises(ValueError, match=rf"`{name}` has shape \(1,\), but there is one value a box, \(3,\)"):
            row(*arrays[:2], arrays[2][:1])


@every_loss_of_classes
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_classes_in_the_place_of_their_onehot_are_told(row, dtype):
    arrays = single(row.arrays(3))
    labels = np.array([0, 3, 6], dtype)
    with pytest.raises(ValueError, match=r"`onehot` has shape \(3,\), .* \(3, 7\).* `jax.nn.one_hot\(onehot, 7\)`"):
        row(arrays[0], labels, *arrays[2:])
