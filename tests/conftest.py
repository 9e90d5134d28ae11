"""What every test runs under: no silent rank or dtype promotion, and no warning."""

import sys

import jax
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Gives the tests of one loss to one process, which compiles its programs once; other tests stay with their file.

    Those of losses come last, since they are many groups of equal length: no process waits for another at the end.
    """
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(group_of(item)))
        items.sort(key=lambda item: group_of(item) != str(item.path))


def group_of(item):
    """The loss that a test is of, else its file."""
    row = item.callspec.params.get("row") if hasattr(item, "callspec") else None
    return row.name if hasattr(row, "reference") else str(item.path)


def pytest_runtest_teardown(item, nextitem):
    """Forgets the programs of a loss after its last test: those of all losses take gigabytes."""
    programs = sys.modules.get("tests.programs")
    if programs and (nextitem is None or group_of(item) != group_of(nextitem)):
        programs.compiled.cache_clear()


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
