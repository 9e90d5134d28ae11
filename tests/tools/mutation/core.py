"""What is mutated, and which tests have to notice."""

import ast
import functools
import pathlib
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parents[3]

# The modules of the core, each a file or a package, and the tests that look at each most closely.
TESTS_OF = {
    "_checks": ["checks", "messages", "limits"],
    "numerics": ["numerics*", "rotated_overlap"],
    "_geometry": ["geometry*", "boxes*", "rotated_overlap", "gaussian"],
    "boxes": ["boxes*"],
    "rotated": ["rotated"],
    "similarity": ["similarity*", "rotated_overlap"],
    "gaussian": ["gaussian"],
    "_assignment": ["matching"],
    "matching": ["matching"],
    "coders": ["coders*"],
    "reductions": ["reductions*"],
    "costs": ["costs*", "rotated_detection"],
    "assigners": ["assigners", "rotated_detection"],
    "suppression": ["suppression", "rotated_detection"],
    "detectors": ["detectors", "dense*"],
    "losses": ["distributions*", "classes*", "losses*", "laws_*", "disagreements*"],
}
TESTS_OF_ALL = ["guarantees", "compiled", "everywhere"]
PARTS = {  # of files whose other tests start processes, which would not see a mutant
    "tests/test_many_devices.py": "test_eight_devices_give_the_loss_the_gradients_and_the_running_mean_of_one"
}


def files_of(module: str, root: pathlib.Path = ROOT) -> list[str]:
    """The files of a module of the package, from the root of the project."""
    package = root / "jaxbox"
    paths = [package / f"{module}.py", *sorted((package / module).rglob("*.py"))]
    return [str(path.relative_to(root)) for path in paths if path.exists()]


def import_name(file: str) -> str:
    """The name by which a file is imported."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def files_of_tests(names: Iterable[str], root: pathlib.Path = ROOT) -> list[str]:
    """The files of tests of these names, which may have wildcards."""
    found = [path for name in names for path in sorted(root.glob(f"tests/test_{name}.py"))]
    return [str(path.relative_to(root)) for path in found]


MODULES = {module: files for module in TESTS_OF if (files := files_of(module))}
CORE = [file for files in MODULES.values() for file in files]


def groups_for(modules: Iterable[str], near: bool = False) -> dict[str, list[str]]:
    """The groups that tests run in, and what pytest collects for each; first those that look closely at these modules.

    A group is a file of tests, or the examples in the docstrings of the core.

    Args:
      modules: that are mutated.
      near: whether those that look closely are all.
    """
    names = [name for module in modules for name in TESTS_OF[module]]
    if near:
        return {file: [file] for file in files_of_tests(names)}
    names += [name for of_module in TESTS_OF.values() for name in of_module]
    files = dict.fromkeys(files_of_tests([*names, *TESTS_OF_ALL]))
    parts = {file: [f"{file}::{test}"] for file, test in PARTS.items()}
    return {file: [file] for file in files} | parts | {"docstrings": CORE}


@functools.cache
def imports_of(file: str) -> frozenset[str]:
    """The files of this project that a file imports, wherever in it; all of the core, if it does not say which."""
    text = (ROOT / file).read_text()
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    if "jaxbox" in names or "import_module" in text:  # an attribute of `jaxbox` is imported when it is asked for
        return frozenset(CORE)
    parts = [name.split(".") for name in names]
    paths = {"/".join(part[:count]) for part in parts for count in range(1, len(part) + 1)} - {"jaxbox"}
    files = [f"{path}{end}" for path in paths for end in (".py", "/__init__.py")]
    return frozenset(name for name in files if (ROOT / name).exists())


def loaded_by(group: Iterable[str]) -> set[str]:
    """The files of this project that can be loaded while a group of tests runs."""
    found, left = set(), {"tests/conftest.py", *(name.split("::")[0] for name in group)}
    while left:
        found |= left
        left = {name for file in left for name in imports_of(file)} - found
    return found
