"""The tool that tests the tests: which errors it makes, how they get into a process, and that nothing stays behind."""

import ast
import builtins
import importlib
import sys

import jax
import pytest

from tests.tools.mutation import core, loading, swap
from tests.tools.mutation.equivalent import EQUIVALENT
from tests.tools.mutation.mutants import PROBE, Source, misplaced

INIT = "from shapes.rules import LIMIT, Box, below, cube, doubled, power\n"
CALLS = """
import functools

def checked(least=0):
    def decorate(formula):
        is_known = True
        @functools.wraps(formula)
        def call(x, *rest):
            if x < least:
                raise ValueError("too small")
            return formula(x, *rest) if is_known else None
        return call
    return decorate
"""
RULES = '''
"""Not mutated: 1 + 1."""
import functools
import jax
import jax.numpy as jnp
from shapes.calls import checked

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

@checked(least=-9)
def doubled(x):
    return (lambda y: x + y)(x)

power = lambda x: x ** 2

class Box:
    side = 3

    @functools.cached_property
    def area(self) -> int:
        return self.side * self.side
'''


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """The sources of a package of two modules, whose names another module imports, by name."""
    (tmp_path / "shapes").mkdir()
    texts = {"__init__": INIT, "calls": CALLS, "rules": RULES}
    for name, text in texts.items():
        (tmp_path / "shapes" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(builtins, PROBE, None, raising=False)
    yield {name: Source(tmp_path / "shapes" / f"{name}.py", f"{name}.py") for name in texts}
    forget_the_package()


def forget_the_package():
    for name in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        del sys.modules[name]


def mutant_of(source, after):
    return next(mutant for mutant in source.mutants if mutant.after == after)


def test_every_kind_of_small_error_is_made_and_messages_are_left_alone(sources):
    of_function = {mutant.after for mutant in sources["rules"].mutants if mutant.function.startswith("below")}
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
def test_the_printed_change_is_the_one_that_is_run(file, sources):
    source = Source(core.ROOT / file, file) if file else sources["rules"]
    for mutant in source.mutants:
        assert source.code(mutant) != source.code()
        place, replacement = source.changes[mutant.number]
        with place.holding(replacement):
            assert ast.dump(ast.parse(source.mutated_text(mutant))) == ast.dump(ast.parse(ast.unparse(source.tree)))


def test_a_mutant_keeps_its_key_when_the_function_moves_or_is_laid_out_anew(tmp_path, sources):
    moved = tmp_path / "moved.py"
    text = RULES[RULES.index("def below") : RULES.index("@checked")].replace("x, x * LIMIT)", "x,\n  x*LIMIT)")
    moved.write_text(f"def first():\n    return 0 < 1\n\n{text.replace('tangents', 'directions')}")
    here, there = (
        {mutant.key for mutant in source.mutants if mutant.function in ("below", "cube", "cube_jvp")}
        for source in (sources["rules"], Source(moved, "moved.py"))
    )
    assert here == there
    assert ("below", "> -> >=") in here
    assert ("cube", "* -> /, 2 of 2") in here
    assert ("LIMIT", "2.0 -> 3.0") in {mutant.key for mutant in sources["rules"].mutants}


REFUSED = "refused"
RIGHT = [REFUSED, -1, -8, 8, 12, 9, 10, REFUSED, 25]


def outcomes_of(shapes):
    """Calls the functions of the package as a table of tests does, which holds them."""
    below, cube, doubled, power, box = shapes.below, shapes.cube, shapes.doubled, shapes.power, shapes.Box

    def outcomes():
        calls = [lambda: below(0.5), lambda: below(1.0), lambda: below(-4.0, -9), lambda: cube(2.0)]
        calls += [lambda: jax.grad(cube)(2.0), lambda: box().area, lambda: doubled(5), lambda: doubled(-10)]
        return [outcome(call) for call in [*calls, lambda: power(5)]]

    def outcome(call):
        try:
            return call()
        except ValueError:
            return REFUSED

    return outcomes


@pytest.mark.parametrize(
    ("module", "after", "expected"),
    [
        ("rules", "return jnp.where(x > 0, -x, x / LIMIT)", [REFUSED, -1, -2, 8, 12, 9, 10, REFUSED, 25]),
        ("rules", "return x / x * x", [REFUSED, -1, -8, 2, 12, 9, 10, REFUSED, 25]),
        ("rules", "return cube(*primals), 4 * primals[0] ** 2 * tangents[0]", [*RIGHT[:4], 16, *RIGHT[5:]]),
        ("rules", "return self.side / self.side", [*RIGHT[:5], 1, *RIGHT[6:]]),
        ("rules", "return (lambda y: x - y)(x)", [*RIGHT[:6], 0, *RIGHT[7:]]),
        ("rules", "power = lambda x: x ** 3", [*RIGHT[:8], 125]),
        ("calls", "if x >= least:", [*RIGHT[:6], REFUSED, -20, 25]),
    ],
)
def test_a_mutant_takes_the_place_of_every_kind_of_function_and_leaves_it(sources, module, after, expected):
    outcomes, source = outcomes_of(importlib.import_module("shapes")), sources[module]
    swapped = swap.Swap(importlib.import_module(f"shapes.{module}"), source.code())
    with swapped.mutated(source.code(mutant_of(source, after))):
        assert outcomes() == expected
        assert not swapped.is_right()
    assert outcomes() == RIGHT
    assert swapped.is_right()


@pytest.mark.parametrize(
    ("module", "after", "said"),
    [
        ("rules", "LIMIT = 3.0", "no function that exists has the change"),
        ("rules", "def below(x, limit=2, *, half=False):", "no function that exists has the change"),
        ("calls", "return formula(x, *rest)", "call refers to other variables around it"),
    ],
)
def test_what_a_swap_cannot_reach_is_told(sources, module, after, said):
    source = sources[module]
    swapped = swap.Swap(importlib.import_module(f"shapes.{module}"), source.code())
    shapes = importlib.import_module("shapes")
    mutated = swapped.mutated(source.code(mutant_of(source, after)))
    with pytest.raises(swap.UnreachableError, match=said), mutated:
        pass
    assert outcomes_of(shapes)() == RIGHT


@pytest.mark.parametrize(
    ("module", "after", "expected"),
    [
        ("rules", "LIMIT = 3.0", [REFUSED, -1, -12, *RIGHT[3:]]),
        ("rules", "def below(x, limit=2, *, half=False):", [REFUSED, REFUSED, *RIGHT[2:]]),
        ("rules", "def below(x, limit=1, *, half=True):", [-0.5, *RIGHT[1:]]),
        ("rules", "side = 4", [*RIGHT[:5], 16, *RIGHT[6:]]),
        ("calls", "is_known = False", [*RIGHT[:6], None, *RIGHT[7:]]),
    ],
)
def test_what_runs_while_a_module_is_loaded_is_known_and_is_loaded_with_the_error(sources, module, after, expected):
    source = sources[module]
    mutant = mutant_of(source, after)
    reached = loading.Reached()
    loading.load_with({"shapes.calls": sources["calls"].probed(), "shapes.rules": sources["rules"].probed()})
    assert outcomes_of(importlib.import_module("shapes"))() == RIGHT
    assert mutant.home in reached.take()[source.file]
    forget_the_package()
    loading.load_with({f"shapes.{module}": source.code(mutant)})
    assert outcomes_of(importlib.import_module("shapes"))() == expected


def test_probes_tell_which_statements_and_lambdas_run(sources):
    source, reached = sources["rules"], loading.Reached()
    loading.load_with({"shapes.rules": source.probed()})
    shapes = importlib.import_module("shapes")
    homes = {mutant.after: mutant.home for mutant in source.mutants}
    formula, cubed, squared = (homes[after] for after in ("if False:", "return x / x * x", "power = lambda x: x ** 3"))
    assert not {formula, cubed, squared} & set(reached.take()["rules.py"])
    shapes.below(2.0)
    assert {formula, cubed, squared} & set(reached.take()["rules.py"]) == {formula}
    shapes.power(2.0)
    assert reached.take() == {"rules.py": [squared]}


def test_every_explanation_is_of_one_mutant():
    every = [mutant for file in core.CORE for mutant in Source(core.ROOT / file, file).mutants]
    assert misplaced(EQUIVALENT, every) == []
    assert misplaced([("_log_cosh", "< -> >")], every) == [("_log_cosh", "< -> >")]


def test_a_module_is_a_file_or_a_package(tmp_path):
    for file in ("boxes.py", "numerics/__init__.py", "numerics/rules.py"):
        (tmp_path / "jaxbox" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "jaxbox" / file).touch()
    assert core.files_of("boxes", tmp_path) == ["jaxbox/boxes.py"]
    assert core.files_of("numerics", tmp_path) == ["jaxbox/numerics/__init__.py", "jaxbox/numerics/rules.py"]
    assert core.files_of("_geometry", tmp_path) == []
    assert core.import_name("jaxbox/numerics/__init__.py") == "jaxbox.numerics"
    assert core.import_name("jaxbox/numerics/rules.py") == "jaxbox.numerics.rules"


def test_every_module_has_mutants_and_tests_that_can_reach_it():
    for module, files in core.MODULES.items():
        first = next(iter(core.groups_for([module]).values()))
        assert core.loaded_by(first) & set(files), module
        assert any(Source(core.ROOT / file, file).mutants for file in files)
    assert [*core.groups_for(["costs"], near=True)] == ["tests/test_costs.py", "tests/test_rotated_detection.py"]
    assert core.groups_for(["boxes"]).keys() == core.groups_for(["losses"]).keys()


def test_every_module_of_the_core_is_mutated():
    names = {path.stem for path in (core.ROOT / "jaxbox").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names - {"__init__", "__main__", "__pycache__", "simulation", "plots", "demo"} == core.MODULES.keys()


def test_tests_are_left_out_only_where_they_cannot_load_a_module():
    loaded = core.loaded_by(["jaxbox/boxes.py"])
    assert set(core.MODULES["numerics"]) < loaded
    assert not loaded & set(core.MODULES["losses"])
    assert core.loaded_by(["tests/test_messages.py"]) > set(core.CORE)  # it asks `jaxbox` for its modules
