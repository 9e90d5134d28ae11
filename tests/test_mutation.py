"""The tool that tests the tests: which errors it makes, and that nothing of them stays behind."""

import ast
import importlib.util

import jax
import pytest

from tests.tools.mutation import core, swap
from tests.tools.mutation.equivalent import EQUIVALENT
from tests.tools.mutation.mutants import Source

MODULE = '''
"""Not mutated: 1 + 1."""
import functools
import jax
import jax.numpy as jnp

LIMIT = 2.0

def below(x, limit=1, *, half=False):
    assert_number(x)
    if x < limit and not half:
        raise ValueError(f"{x} is below")
    return jnp.where(x > 0, -x, x * LIMIT)

def assert_number(x):
    pass

@jax.custom_jvp
def cube(x):
    return x * x * x

@cube.defjvp
def cube_jvp(primals, tangents):
    return cube(*primals), 3 * primals[0] ** 2 * tangents[0]

class Box:
    side = 3

    @functools.cached_property
    def area(self) -> int:
        return self.side * self.side
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    return Source(path, "module.py")


@pytest.fixture
def module(source):
    spec = importlib.util.spec_from_file_location("module", source.path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mutant_of(source, after):
    return next(mutant for mutant in source.mutants if mutant.after == after)


def test_every_kind_of_small_error_is_made_and_messages_are_left_alone(source):
    of_function = {mutant.after for mutant in source.mutants if mutant.function.startswith("below")}
    assert of_function == {
        "def below(x, limit=2, *, half=False):",
        "def below(x, limit=1, *, half=True):",
        "pass",
        "if True:",
        "if False:",
        "if x < limit or not half:",
        "if x <= limit and not half:",
        "if x >= limit and not half:",
        "if x < limit and half:",
        "return -x",
        "return x * LIMIT",
        "return jnp.where(x > 0, x * LIMIT, -x)",
        "return jnp.where(x >= 0, -x, x * LIMIT)",
        "return jnp.where(x <= 0, -x, x * LIMIT)",
        "return jnp.where(x > 1, -x, x * LIMIT)",
        "return jnp.where(x > 0, x, x * LIMIT)",
        "return jnp.where(x > 0, -x, x / LIMIT)",
    }


@pytest.mark.parametrize("file", [None, "jaxbox/losses/preparation.py"])
def test_the_printed_change_is_the_one_that_is_run(file, source):
    source = Source(core.ROOT / file, file) if file else source
    for mutant in source.mutants:
        assert source.code(mutant) != compile(source.tree, str(source.path), "exec")
        place, replacement = source.changes[mutant.number]
        with place.holding(replacement):
            assert ast.dump(ast.parse(source.mutated_text(mutant))) == ast.dump(ast.parse(ast.unparse(source.tree)))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("return jnp.where(x > 0, -x, x / LIMIT)", ["refused", -1, -2, 8, 12, 9]),
        ("LIMIT = 3.0", ["refused", -1, -12, 8, 12, 9]),
        ("def below(x, limit=2, *, half=False):", ["refused", "refused", -8, 8, 12, 9]),
        ("def below(x, limit=1, *, half=True):", [-0.5, -1, -8, 8, 12, 9]),
        ("return x / x * x", ["refused", -1, -8, 2, 12, 9]),
        ("return cube(*primals), 4 * primals[0] ** 2 * tangents[0]", ["refused", -1, -8, 8, 16, 9]),
        ("return self.side / self.side", ["refused", -1, -8, 8, 12, 1]),
    ],
)
def test_a_mutant_takes_the_place_of_every_kind_of_function_and_leaves_it(source, module, after, expected):
    below, cube, box = module.below, module.cube, module.Box  # as a table of tests holds them

    def value(x):
        try:
            return below(x)
        except ValueError:
            return "refused"

    def outcomes():
        return [value(0.5), value(1.0), below(-4.0, -9), cube(2.0), jax.grad(cube)(2.0), box().area]

    swapped = swap.Swap(module)
    with swapped.mutated(source.code(mutant_of(source, after))):
        assert outcomes() == expected
        assert not swapped.is_right()
    assert outcomes() == ["refused", -1, -8, 8, 12, 9]
    assert swapped.is_right()


def test_every_explanation_is_of_a_mutant():
    files = {file for file, *_ in EQUIVALENT}
    texts = {mutant.text for file in files for mutant in Source(core.ROOT / file, file).mutants}
    assert EQUIVALENT.keys() <= texts
