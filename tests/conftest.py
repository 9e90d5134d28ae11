"""What every test runs under: no silent rank or dtype promotion, and no warning."""

import jax
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Gives the tests of one loss to one process, which compiles its programs once; other tests stay with their file.

    Those of losses come last, since they are many groups of equal length: no process waits for another at the end.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        row = item.callspec.params.get("row") if hasattr(item, "callspec") else None
        item.add_marker(pytest.mark.xdist_group(row.name if hasattr(row, "reference") else str(item.path)))
    items.sort(key=lambda item: hasattr(item, "callspec") and hasattr(item.callspec.params.get("row"), "reference"))


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
