"""What every test runs under: no silent rank or dtype promotion, and no warning."""

import jax
import pytest


@pytest.fixture(autouse=True)
def no_silent_promotion():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64():
    """Lets JAX make float64 arrays, on every version that the package supports."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
