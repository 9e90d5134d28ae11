"""Logarithms of probabilities: their values, their derivatives, and the digits that they keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import numerics

LOGITS = np.array([-1e15, -1e4, -100.0, -20, -1, -1e-6, 0, 1e-6, 1, 20, 100, 1e4, 1e15])


@pytest.mark.usefixtures("x64")
def test_softplus_and_its_derivatives_are_right_at_every_size():
    exact = np.longdouble(LOGITS)
    p = np.exp(exact - np.logaddexp(0, exact))
    for dtype, tolerance in ((np.float32, 3e-7), (np.float64, 1e-14)):
        x = jnp.asarray(LOGITS, dtype)
        slope = jax.jit(jax.vmap(jax.grad(numerics.softplus)))
        np.testing.assert_allclose(numerics.softplus(x), np.logaddexp(0, exact).astype(float), tolerance, 1e-30)
        np.testing.assert_allclose(slope(x), p.astype(float), tolerance, 1e-30)
        bend = jax.jit(jax.vmap(jax.grad(jax.grad(numerics.softplus))))(x)
        np.testing.assert_allclose(bend, (p * (1 - p)).astype(float), rtol=1e-6, atol=1e-8)
        np.testing.assert_array_equal(jax.jit(jax.vmap(jax.jacfwd(numerics.softplus)))(x), slope(x))
    assert np.isnan(numerics.softplus(jnp.float32(np.nan)))


@pytest.mark.parametrize(
    ("x", "value", "slope"),
    [(np.e, 1, 1 / np.e), (1, 0, 1), (0, 0, 0), (-2, 0, 0), (1e-36, 0, 0), (1e-30, np.log(1e-30), 1e30)],
)
def test_the_logarithm_of_what_is_not_positive_is_0_with_slope_0(x, value, slope):
    x = jnp.float32(x)
    np.testing.assert_allclose(numerics.logarithm(x), value, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(numerics.logarithm)(x), slope, rtol=1e-6)
    assert jnp.isfinite(jax.grad(jax.grad(numerics.logarithm))(jnp.maximum(x, -1)) * 1e-30) or x == np.float32(1e-30)


def test_the_logarithm_of_nan_is_nan():
    assert jnp.isnan(numerics.logarithm(jnp.float32(np.nan)))


def plain(logits, others):
    p, q = (x - np.max(x, axis=-1, keepdims=True) for x in (logits, others))
    p, q = (x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True)) for x in (p, q))
    return np.sum(np.exp(q) * (q - p), axis=-1), np.exp(p) - np.exp(q), np.exp(q) * (q - p)


@pytest.mark.parametrize("scale", [1e-5, 0.1, 0.4, 1.0, 10.0])
@pytest.mark.usefixtures("x64")
def test_the_divergence_and_its_derivatives_are_those_of_the_formula(scale):
    rng = np.random.default_rng(0)
    others = rng.normal(size=(50, 9))
    logits = others + scale * rng.normal(size=(50, 9))
    value, of_logits, terms = plain(*(np.longdouble(x) for x in (logits, others)))
    program = jax.jit(jax.vmap(jax.value_and_grad(numerics.divergence, (0, 1))))
    found, (by_logits, by_others) = program(logits, others)
    np.testing.assert_allclose(found, value.astype(float), rtol=1e-9, atol=1e-18)
    np.testing.assert_allclose(by_logits, of_logits.astype(float), rtol=1e-9, atol=1e-16)
    q = np.exp(np.longdouble(others) - np.log(np.sum(np.exp(np.longdouble(others)), axis=-1, keepdims=True)))
    wanted = terms - q * value[..., None]
    np.testing.assert_allclose(by_others, wanted.astype(float), rtol=1e-8, atol=1e-16)


@pytest.mark.usefixtures("x64")
def test_the_divergence_at_a_temperature_is_that_of_the_quotients():
    logits, others = np.random.default_rng(0).normal(size=(2, 50, 9))
    temperatures = np.linspace(0.5, 8, 50)[:, None]
    value = jax.jit(numerics.divergence)(logits, others, temperatures)
    np.testing.assert_allclose(value, plain(logits / temperatures, others / temperatures)[0], rtol=1e-10)
    slope = jax.jit(jax.grad(lambda t: jnp.sum(numerics.divergence(logits, others, t))))(3.0)
    ahead, behind = (np.sum(plain(logits / t, others / t)[0]) for t in (3 + 1e-5, 3 - 1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)
