"""The chosen value and derivative of each primitive, and that all orders of derivative are finite."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import numerics
from jaxbox.numerics import execution

TINY = float(np.finfo(np.float32).tiny)


def angle(y, x):
    return numerics.angle_between(x, y, jnp.ones_like(x), jnp.zeros_like(x))


def derivatives(function, *arguments):
    arguments = tuple(jnp.float32(x) for x in arguments)
    every = tuple(range(len(arguments)))
    reverse = jax.jit(jax.grad(function, every))(*arguments)
    forward = jax.jit(jax.jacfwd(function, every))(*arguments)
    np.testing.assert_allclose(forward, reverse, rtol=1e-6)
    return [float(x) for x in reverse]


@pytest.mark.parametrize(
    ("function", "arguments", "value", "slopes"),
    [
        (numerics.positive_part, (0,), 0, [1]),
        (numerics.positive_part, (-1e-30,), 0, [0]),
        (numerics.positive_part, (3,), 3, [1]),
        (numerics.absolute, (0,), 0, [0]),
        (numerics.absolute, (-2,), 2, [-1]),
        (numerics.square_root, (0,), 0, [0]),
        (numerics.square_root, (4,), 2, [0.25]),
        (numerics.square_root, (1e-30,), 1e-15, [5e14]),
        (numerics.divide, (6, 3), 2, [1 / 3, -2 / 3]),
        (numerics.divide, (0, 0), 0, [0, 0]),
        (numerics.divide, (5, 0), 0, [0, 0]),
        (numerics.divide, (5, TINY / 4), 0, [0, 0]),
        (numerics.divide, (2e25, 1e25), 2, [1e-25, -2e-25]),
        (numerics.divide, (2e-25, 1e-25), 2, [1e25, -2e25]),
        (angle, (0, 0), 0, [0, 0]),
        (angle, (-0.0, -0.0), 0, [0, 0]),
        (angle, (0, 2), 0, [0.5, 0]),
        (angle, (3, 0), np.pi / 2, [0, -1 / 3]),
        (angle, (0, -2), np.pi, [-0.5, 0]),
        (angle, (3, 4), np.arctan2(3, 4), [4 / 25, -3 / 25]),
        (angle, (3, -4), np.arctan2(3, -4), [-4 / 25, -3 / 25]),
        (angle, (3e15, 4e15), np.arctan2(3, 4), [4e-15 / 25, -3e-15 / 25]),
        (angle, (3e-15, 4e-15), np.arctan2(3, 4), [4e15 / 25, -3e15 / 25]),
        (numerics.angle_between, (4, 3, 3, 4), -np.arctan2(7, 24), [-3 / 25, 4 / 25, 4 / 25, -3 / 25]),
        (numerics.angle_between, (0.1, 0.7, 0.1, 0.7), 0, [-1.4, 0.2, 1.4, -0.2]),
        (numerics.angle_between, (0, 0, 1, 2), 0, [0, 0, 0, 0]),
        (numerics.power, (0, 0.5), 0, [0, 0]),
        (numerics.power, (0, 3), 0, [0, 0]),
        (numerics.power, (4, 0.5), 2, [0.25, 2 * np.log(4)]),
        (numerics.power, (2, 3), 8, [12, 8 * np.log(2)]),
        (numerics.power, (0.5, 3), 0.125, [0.75, 0.125 * np.log(0.5)]),
        (numerics.maximum, (2, 1), 2, [1, 0]),
        (numerics.maximum, (1, 1), 1, [0.5, 0.5]),
        (numerics.minimum, (2, 1), 1, [0, 1]),
        (numerics.minimum, (-1, -1), -1, [0.5, 0.5]),
        (numerics.smooth_absolute, (0, 1), 0, [0, 0]),
        (numerics.smooth_absolute, (0.5, 2), 0.0625, [0.25, -0.03125]),
        (numerics.smooth_absolute, (-3, 2), 2, [-1, -0.5]),
        (numerics.smooth_absolute, (-3, 0), 3, [-1, -0.5]),
        (numerics.smooth_absolute, (0, 0), 0, [0, 0]),
        (numerics.smooth_absolute, (1e-6, 1), 5e-13, [1e-6, -5e-13]),
        (numerics.straightened_square, (0, 1), 0, [0, 0]),
        (numerics.straightened_square, (0.5, 2), 0.125, [0.5, 0]),
        (numerics.straightened_square, (-3, 2), 4, [-2, 1]),
        (numerics.straightened_square, (-3, 0), 0, [0, 3]),
        (numerics.straightened_square, (-3, np.inf), 4.5, [-3, 0]),
    ],
)
def test_value_and_derivatives(function, arguments, value, slopes):
    np.testing.assert_allclose(function(*map(jnp.float32, arguments)), value, rtol=1e-6)
    np.testing.assert_allclose(derivatives(function, *arguments), slopes, rtol=1e-6)


@pytest.mark.parametrize("exponent", [2, 3.0, 4, 2.5, np.array([0.5, 2, 3, 4])])
def test_a_power_is_the_same_if_its_exponent_is_known(exponent):
    x = jnp.array([-1e-9, 0, 0.3, 2])

    def both(x, exponent):
        return numerics.power(x, exponent), jax.jvp(lambda x: numerics.power(x, exponent), (x,), (x + 3,))[1]

    np.testing.assert_allclose(both(x, exponent), jax.jit(both)(x, exponent), rtol=1e-6)
    takes_a_logarithm = " pow " in str(jax.make_jaxpr(lambda x: numerics.power(x, exponent))(x))
    assert takes_a_logarithm == (np.ndim(exponent) > 0 or exponent == 2.5)


def exact_balanced_integral(e, alpha, gamma):
    """The integral and its slope in 80 digits, of which what cancels leaves enough."""
    with decimal.localcontext(prec=80):
        e, alpha, gamma = (decimal.Decimal(float(x)) for x in (e, alpha, gamma))
        b = (gamma / alpha).exp() - 1
        slope = alpha * (1 + b * e).ln()
        return float(slope * e + slope / b - alpha * e), float(slope)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("x64")
def test_each_form_of_a_balanced_integral_has_the_last_digits_of_value_and_slope(dtype):
    of = jax.vmap(jax.value_and_grad(numerics.balanced_integral), (0, None, None))
    traced, precision, gamma = jax.jit(of), np.finfo(dtype).eps, 1.5
    places = np.array([0, 1e-3, 0.05, 0.3, 0.7, 0.99, 1], dtype)
    for ratio in (1e-9, 1e-3, 0.01, 0.03, 0.049, 0.051, 0.07, 0.1, 0.3, 3, 15, 19.9, 20.1, 20.5, 25, 35, 88, 1e3, 1e6):
        alpha = float(dtype(gamma / ratio))
        exact = np.array([exact_balanced_integral(e, alpha, gamma) for e in places]).T
        cancels = alpha * places * (0.05 <= ratio <= 20)  # what the value is a difference of
        bound = 8 * precision * (exact[0] + cancels) + np.finfo(dtype).tiny  # below which some backends have 0
        found = [traced(places, dtype(alpha), dtype(gamma))]
        if ratio in (0.03, 3, 20.5):  # one of each form that is known
            found.append(of(jnp.asarray(places), alpha, gamma))
        for value, slope in found:
            assert np.all(np.abs(np.float64(value) - exact[0]) <= bound), ratio
            np.testing.assert_allclose(np.float64(slope[1:]), exact[1, 1:], rtol=8 * precision, err_msg=str(ratio))


def test_a_balanced_integral_of_a_known_ratio_has_no_choice_of_forms():
    program = jax.make_jaxpr(lambda e: numerics.balanced_integral(e, 0.5, 1.5))(jnp.float32(0.5))
    assert str(program).count(" log1p ") == 1
    assert " log " not in str(program)


@pytest.mark.parametrize(
    ("x", "unit"), [(0, 1), (1, 1), (1.4, 1), (1.6, 2), (3.1, 4), (0.7, 0.5), (1e-30, 2.0**-100), (1e30, 2.0**100)]
)
def test_a_unit_is_the_nearest_power_of_two_and_is_held(x, unit):
    assert numerics.power_of_two(jnp.float32(x)) == unit
    assert jax.grad(numerics.power_of_two)(jnp.float32(x)) == 0


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_length_in_a_unit_is_the_exact_quotient_and_so_are_its_slopes(dtype):
    exponents = np.arange(-60, 61, 4)
    units = np.ldexp(dtype(1), exponents).astype(dtype)
    lengths = (np.linspace(-3, 3, len(units)) * units).astype(dtype)
    half, whole = numerics.in_unit(units, lengths / 2, lengths)
    np.testing.assert_array_equal(whole, lengths / units)
    np.testing.assert_array_equal(half, lengths / units / 2)
    _, slopes = jax.jvp(lambda x: numerics.in_unit(units, x, lengths), (lengths,), (lengths,))
    np.testing.assert_array_equal(slopes[0], lengths / units)
    np.testing.assert_array_equal(slopes[1], 0)
    assert jax.grad(lambda unit: numerics.in_unit(unit, dtype(3))[0])(dtype(2)) == 0
    spread, _ = numerics.in_unit(units[:, None], lengths, lengths[:, None])
    np.testing.assert_array_equal(spread, lengths / units[:, None])


def test_arrays_that_are_settled_for_slopes_are_the_same_and_so_are_their_derivatives():
    some, other = jnp.float32([0, -0.0, 3, jnp.inf, jnp.nan]), jnp.float32([1, 2])
    (same, others), moved = jax.jvp(lambda x: numerics.settled_for_slopes(x, other), (some,), (some,))
    for found in (same, moved[0], numerics.settled_for_slopes(some)[0]):
        np.testing.assert_array_equal(np.asarray(found).view(np.int32), np.asarray(some).view(np.int32))
    np.testing.assert_array_equal(others, other)
    np.testing.assert_array_equal(moved[1], 0)


def test_the_slope_along_the_width_of_a_straightened_square_has_a_slope_of_0_within_it():
    hessian = jax.hessian(numerics.straightened_square, (0, 1))(jnp.float32(0), jnp.float32(1))
    np.testing.assert_array_equal(hessian, [[1, 0], [0, 0]])


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (numerics.positive_part, (0,)),
        (numerics.absolute, (0,)),
        (numerics.square_root, (0,)),
        (numerics.divide, (0, 0)),
        (numerics.divide, (1, 1e-6)),
        (angle, (0, 0)),
        (angle, (1e-6, 1e-6)),
        (angle, (1e6, -1e6)),
        (numerics.smooth_absolute, (0, 0)),
        (numerics.smooth_absolute, (1, 1)),
    ],
)
def test_second_derivatives_are_finite(function, arguments):
    every = tuple(range(len(arguments)))
    hessian = jax.jit(jax.hessian(function, every))(*map(jnp.float32, arguments))
    assert np.all(np.isfinite(hessian))


@pytest.mark.usefixtures("x64")
def test_the_second_derivatives_of_a_quotient_and_an_angle_are_the_true_ones():
    y, x = jnp.array([3.0, 2.0])
    np.testing.assert_allclose(
        jax.hessian(numerics.divide, (0, 1))(y, x), [[0, -1 / x**2], [-1 / x**2, 2 * y / x**3]], rtol=1e-12
    )
    np.testing.assert_allclose(jax.hessian(angle, (0, 1))(y, x), jax.hessian(jnp.arctan2, (0, 1))(y, x), rtol=1e-12)


@pytest.mark.parametrize(
    "function",
    [numerics.positive_part, numerics.absolute, numerics.square_root, numerics.fusion_barrier],
)
def test_a_nan_goes_through(function):
    assert jnp.isnan(function(jnp.float32(jnp.nan)))


def test_what_is_too_small_to_divide_by_is_below_the_smallest_number_over_the_precision():
    limit = jnp.float32(TINY / np.finfo(np.float32).eps)
    assert not numerics.is_zero(-limit)
    assert numerics.is_zero(jnp.nextafter(-limit, jnp.float32(0)))


def test_there_is_no_nan_on_the_way():
    with jax.debug_nans(True):
        assert numerics.power(jnp.float32(-1e-9), 0.5) == 0
        assert numerics.smooth_absolute(jnp.float32(0), 0.0) == 0


def test_a_quotient_is_the_same_while_jax_looks_for_infinities():
    six, y, ones = jnp.full(4, 6.0), jnp.array([0.0, 3.0, TINY / 4, 1e30]), jnp.ones(4)
    plain = jax.jvp(numerics.divide, (six, y), (ones, ones))
    with jax.debug_infs(True):
        np.testing.assert_array_equal(jax.jvp(numerics.divide, (six, y), (ones, ones)), plain)


def test_a_quotient_has_the_limit_that_was_decided_only_where_it_has_none():
    quotients = numerics.divide(jnp.array([0.0, 6.0, 5.0]), jnp.array([0.0, 3.0, 0.0]), otherwise=1)
    np.testing.assert_array_equal(quotients, [1, 2, 1])


def test_a_nan_goes_through_a_quotient_and_an_angle():
    for arguments in ((jnp.nan, 1.0), (1.0, jnp.nan), (jnp.nan, 0.0)):
        assert jnp.isnan(numerics.divide(*map(jnp.float32, arguments)))
        assert jnp.isnan(angle(*map(jnp.float32, arguments)))
        assert jnp.isnan(numerics.smooth_absolute(jnp.float32(jnp.nan), arguments[1]))


@pytest.mark.parametrize(
    ("dtypes", "wanted"),
    [
        (["bfloat16", "float16"], "float32"),
        (["bfloat16", "float32"], "float32"),
        (["float16", "float64"], "float64"),
        (["float32", "float64"], "float64"),
    ],
)
@pytest.mark.usefixtures("x64")
def test_promotion_is_to_float32_at_least(dtypes, wanted):
    promoted = numerics.promote(*(jnp.ones(2, dtype) for dtype in dtypes))
    assert [x.dtype for x in promoted] == [wanted, wanted]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_a_seam_changes_no_bit(dtype):
    rng = np.random.default_rng(0)
    values = jnp.asarray(rng.normal(size=1000) * 10.0 ** rng.integers(-4, 4, 1000), dtype)
    np.testing.assert_array_equal(jax.jit(numerics.fusion_barrier)(values), values)


def test_the_angle_of_a_float32_vector_is_right_to_the_last_digits():
    rng = np.random.default_rng(0)
    y, x = (rng.normal(size=(2, 100_000)) * 10.0 ** rng.uniform(-15, 15, (2, 100_000))).astype(np.float32)
    exact = np.arctan2(np.float64(y), np.float64(x))
    np.testing.assert_allclose(angle(jnp.asarray(y), jnp.asarray(x)), exact, rtol=3e-7, atol=1e-30)


@pytest.mark.usefixtures("x64")
def test_the_angle_of_a_float64_vector_is_that_of_the_plane():
    y, x = np.meshgrid([-3.0, -1e-100, -0.0, 0.0, 1e-100, 2.0], [-2.0, -1e-100, -0.0, 0.0, 1e-100, 3.0])
    point = (x == 0) & (y == 0)
    found = angle(jnp.asarray(y), jnp.asarray(x))
    np.testing.assert_allclose(np.abs(found), np.where(point, 0, np.abs(np.arctan2(y, x))), rtol=1e-12)
    np.testing.assert_array_equal(np.sign(found)[y != 0], np.sign(y)[y != 0])


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 0, 4)])
def test_unstacking_keeps_every_entry_and_its_gradient(shape):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    np.testing.assert_array_equal(jnp.stack(*numerics.coordinates(x), axis=-1), x)

    def third(x):
        return numerics.coordinates(x)[0][2]

    tangent = x + 1
    np.testing.assert_array_equal(jax.jvp(third, (x,), (tangent,))[1], tangent[..., 2])
    _, pull = jax.vjp(third, x)
    np.testing.assert_array_equal(pull(tangent[..., 2])[0], jnp.where(jnp.arange(4) == 2, tangent, 0))


def test_an_infinite_gradient_of_one_entry_does_not_soil_the_others():
    gradient = jax.grad(lambda x: numerics.coordinates(x)[0][1] * jnp.inf + numerics.coordinates(x)[0][0])(jnp.ones(3))
    np.testing.assert_array_equal(gradient, [1, jnp.inf, 0])


def test_masked_out_denominators_do_not_poison_the_gradient_of_a_batch():
    y = jnp.array([2.0, 0.0, 4.0])
    gradient = jax.grad(lambda y: jnp.sum(numerics.divide(jnp.ones(3), y)))(y)
    np.testing.assert_allclose(gradient, [-0.25, 0, -0.0625])


@pytest.mark.parametrize(("choose", "wins"), [(jnp.maximum, jnp.greater), (jnp.minimum, jnp.less)])
def test_a_gpu_shares_a_derivative_as_a_cpu_does(monkeypatch, choose, wins):
    some = jnp.float32([0.0, -0.0, 1.0, 1 + 2**-23, -1.0, 1e-45, 1e-38, 3e38, np.inf, -np.inf, np.nan])
    x, y = (jnp.ravel(grid) for grid in jnp.meshgrid(some, some))
    shares = []
    for platform in ("cpu", "default"):
        monkeypatch.setattr(execution.lax, "platform_dependent", lambda *x, _chosen=platform, **of: of[_chosen](*x))
        shares.append(numerics.share_of_the_first(wins(x, y), x, y, choose(x, y)))
    np.testing.assert_array_equal(*shares)
    assert set(shares[0].tolist()) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_number_that_is_settled_is_the_same_and_so_is_its_derivative(dtype):
    some = jnp.array([0.0, -0.0, 1.0, -3e4, 1e-4, np.inf, -np.inf, np.nan], dtype)
    derivatives = jax.vjp(numerics.settled, some)[1](some)[0], jax.jvp(numerics.settled, (some,), (some,))[1]
    for found in (numerics.settled(some), jax.jit(numerics.settled)(some), *derivatives):
        np.testing.assert_array_equal(np.float32(found), np.float32(some))
        np.testing.assert_array_equal(np.signbit(np.float32(found)), np.signbit(np.float32(some)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_log_deficit_keeps_its_digits_near_1_and_far_from_it(dtype):
    # Of a quotient whose excess over 1 is known: (1 + x) / 1.
    x = np.concatenate([10.0 ** np.arange(-18, 13), -(10.0 ** -np.arange(1.0, 19)), [-1 / 3, -0.34, 0.49, 0.5, 0.51]])
    x = x.astype(dtype)
    found = numerics.log_deficit(1 + x, x)
    exact = np.float64(x)
    # Where the difference of the two terms cancels, the series.
    small = np.where(np.abs(exact) < 0.2, exact, 0)
    series = sum((-small) ** k / k for k in range(2, 30))
    wanted = np.where(small == exact, series, exact - np.log1p(exact))
    np.testing.assert_allclose(found, wanted, rtol=20 * np.finfo(dtype).eps)


def test_the_derivative_of_log_deficit_is_that_of_the_quotient():
    def deficit(ratio):
        return numerics.log_deficit(ratio, ratio - 1)

    g = jnp.array([1e-12, 0.5, 1.0, 2.0, 1e12])
    np.testing.assert_allclose(jax.vmap(jax.grad(deficit))(g), 1 - 1 / g, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(deficit)))(g)[1:4], 1 / g[1:4] ** 2, rtol=1e-6)
    assert deficit(jnp.float32(1)) == 0
    # Nothing is known of the quotient 0 of two areas that are 0: no infinity is made of it.
    assert jax.value_and_grad(numerics.log_deficit)(jnp.float32(0), jnp.float32(0)) == (0, 0)
