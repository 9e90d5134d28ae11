"""What every test runs under: no silent rank or dtype promotion, and no warning."""

import contextlib
from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@contextlib.contextmanager
def float64_enabled() -> Iterator[None]:
    """Lets JAX make float64 arrays inside, on every version that the package supports."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture
def x64() -> Iterator[None]:
    with float64_enabled():
        yield
