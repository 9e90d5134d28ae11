"""Loads modules of the package with other code than that in their files."""

import builtins
import collections
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType

from tests.tools.mutation.mutants import PROBE


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with code that was compiled before."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # it has one module
        """The code of the module."""
        return self.code


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that have other code, where the finders after it find them."""

    def __init__(self, codes: Mapping[str, CodeType]) -> None:
        self.codes = codes

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """What is known of a module before it is loaded."""
        if name not in self.codes:
            return None
        after = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in after)))
        spec.loader = Loader(name, spec.origin, self.codes[name])
        return spec


def load_with(codes: Mapping[str, CodeType]) -> None:
    """From now on loads modules with other code, by their names."""
    assert not codes.keys() & sys.modules.keys()
    sys.meta_path.insert(0, Finder(codes))


class Reached:
    """What has run of files whose code has probes: the numbers of their statements and lambdas, by file."""

    def __init__(self) -> None:
        self.numbers = collections.defaultdict(set)
        setattr(builtins, PROBE, lambda file, number: self.numbers[file].add(number))

    def take(self) -> dict[str, list[int]]:
        """What has run since it was last asked."""
        taken = {file: sorted(numbers) for file, numbers in self.numbers.items()}
        self.numbers.clear()
        return taken
