"""The shape of the package: which layer imports which, and what every public function says of itself."""

import ast
import importlib
import inspect
import pathlib
import pydoc
import re

import jax
import numpy as np
import pytest

import jaxbox
from jaxbox import (
    assigners,
    boxes,
    coders,
    costs,
    detectors,
    gaussian,
    losses,
    matching,
    numerics,
    reductions,
    rotated,
    similarity,
    suppression,
)

PACKAGE = pathlib.Path(jaxbox.__file__).parent
ROOT = PACKAGE.parent
LAYERS = {name: int(layer) for layer, name in re.findall(r"^ +(\d) +(\w+) ", jaxbox.__doc__, re.MULTILINE)}
SOURCES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = [path.parent for path in SOURCES if path.name == "__init__.py" and path.parent != PACKAGE]


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of_the_package(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxbox":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxbox."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jaxbox."))


def public_functions(*modules):
    return [
        pytest.param(function, id=f"{module.__name__}.{name}")
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name[0] != "_" and f"{function.__module__}.".startswith(f"{module.__name__}.")
    ]


def sections(function):
    return set(re.findall(r"^(\w+):$", inspect.getdoc(function) or "", flags=re.MULTILINE))


def test_every_module_has_a_layer():
    assert {module_of(path) for path in SOURCES} == LAYERS.keys() | {"__init__"}


def test_the_package_offers_every_public_module():
    assert set(jaxbox.__all__) == {name for name in LAYERS if name[0] != "_"} - {"demo"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_layers(path):
    module = module_of(path)
    if module == "__init__":
        return
    for imported in imports_of_the_package(path):
        assert LAYERS[imported] < LAYERS[module] or imported == module  # a package is one layer


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_of_a_package_imports_only_those_that_its_index_names_before_it(package):
    index = re.findall(r"^ *(\w+)  ", ast.get_docstring(ast.parse((package / "__init__.py").read_text())), re.MULTILINE)
    parts = {path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")} - {"__init__"}
    assert set(index) == (parts if len(parts) > 1 else set()), "the docstring of a package lists its modules"
    within = ".".join(("jaxbox", *package.relative_to(PACKAGE).parts))
    for place, name in enumerate(index):
        rooms = package / name
        for path in rooms.rglob("*.py") if rooms.is_dir() else [rooms.with_suffix(".py")]:
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.ImportFrom) or not f"{node.module}.".startswith(f"{within}."):
                    continue
                below = (node.module or "").removeprefix(within).split(".")[1:2]
                imported = {*(below or [alias.name for alias in node.names])} & parts
                own = {name} if rooms.is_dir() else set()  # the index of that package orders it
                assert imported <= {*index[:place]} | own, path


@pytest.mark.parametrize("folder", ["jaxbox", "tests"])
def test_no_file_has_more_than_500_lines(folder):
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert {file: count for file, count in lines.items() if count > 500} == {}


def test_custom_derivatives_are_only_in_numerics():
    assert {module_of(path) for path in SOURCES if re.search(r"custom_[jv][vj]p", path.read_text())} == {"numerics"}


CORE_MODULES = [assigners, boxes, coders, costs, gaussian, losses, matching, numerics, reductions, rotated, similarity]
CORE_MODULES += [suppression]
DOCUMENTED = [*CORE_MODULES, detectors]
CORE = [path for path in SOURCES if LAYERS.get(module_of(path), 0) <= LAYERS["reductions"]]


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_imports_nothing_but_its_dependencies(path):
    allowed = {"chex", "jax", "jaxbox", "numpy", "collections", "dataclasses", "functools", "operator", "warnings"}
    allowed |= {"__future__", "contextvars", "importlib", "inspect", "math", "typing"}
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert {module.split(".")[0] for module in modules} <= allowed


def test_private_rooms_are_the_checks_the_geometry_and_the_solvers():
    private = {part for path in SOURCES for part in path.relative_to(PACKAGE).parts if part.startswith("_")}
    assert private - {"__init__.py", "__main__.py"} == {"_assignment", "_checks", "_geometry"}


MODULES_OF_PACKAGES = [
    importlib.import_module(f"jaxbox.{package}.{path.stem}")
    for package in ("assigners", "coders", "losses", "matching", "numerics", "similarity")
    for path in sorted((PACKAGE / package).glob("*.py"))
    if path.stem not in ("__init__", "preparation")
]


@pytest.mark.parametrize("module", MODULES_OF_PACKAGES, ids=lambda module: module.__name__)
def test_a_module_of_a_package_names_its_public_functions(module):
    defined = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    assert {name for name in defined if name[0] != "_"} == set(module.__all__)


def test_no_public_function_lives_in_a_private_room():
    homes = {
        value.__module__ for module in CORE_MODULES for value in vars(module).values() if inspect.isfunction(value)
    }
    assert {home for home in homes if "._" in home} == set()


@pytest.mark.parametrize("module", DOCUMENTED, ids=lambda module: module.__name__)
def test_a_module_shows_what_it_has_and_nothing_foreign(module):
    defined = {
        name
        for name, value in vars(module).items()
        if name[0] != "_"
        and (inspect.isfunction(value) or inspect.isclass(value))
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    }
    assert set(module.__all__) == defined
    assert dir(module) == sorted(module.__all__)
    namespace = {}
    exec(f"from {module.__name__} import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(module.__all__)
    shown = pydoc.plain(pydoc.render_doc(module))
    assert all(f"    {name}(" in shown or f"class {name}(" in shown for name in module.__all__)


@pytest.mark.parametrize("function", public_functions(*(module for module in CORE_MODULES if module is not numerics)))
def test_a_signature_can_be_read(function):
    shown = str(inspect.signature(function))
    assert len(shown) < 300
    # Where many arrays are taken, a name of the module stands for what that is.
    is_named = inspect.getmodule(function).__dict__.get("Array") == jax.Array | np.ndarray
    array = "Array" if is_named else "jax.Array | np.ndarray"
    assert not re.search(r"Union|chex|\bAny\b", shown)
    for name in (
        "predictions",
        "targets",
        "a",
        "b",
        "boxes",
        "logits",
        "onehot",
        "quality",
        "deltas",
        "points",
        "costs",
        "slots",
        "similarities",
    ):
        if name in inspect.signature(function).parameters:
            assert f"{name}: '{array}'" in shown


@pytest.mark.parametrize("function", public_functions(*DOCUMENTED))
def test_every_argument_and_result_is_documented(function):
    assert "Args" in sections(function)
    documentation = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^  \*{{0,2}}{parameter}: ", documentation, flags=re.MULTILINE), parameter
    if inspect.signature(function).return_annotation not in (None, "None"):
        assert "Returns" in sections(function)


SCORES = [function for function in public_functions(similarity, losses) if function.id != "jaxbox.similarity.pairwise"]


@pytest.mark.parametrize("function", SCORES)
def test_every_loss_and_similarity_states_its_range_gradient_and_source(function):
    documentation = inspect.getdoc(function)
    assert {"Returns", "Gradient", "References"} <= sections(function)
    assert re.search(r"Returns:\n(?:  .*\n)*?.*in `[\[(].*[\])]`", documentation)
    assert re.search(r"References:\n  .*, \d{4}.*, https://", documentation)


def test_a_loss_shows_its_formula_first():
    for parameter in public_functions(losses):
        if not str(parameter.id).endswith("_loss"):
            continue
        paragraphs = inspect.getdoc(parameter.values[0]).split("\n\n")
        assert re.match(r"`[^`]+`", paragraphs[1]), parameter.id
