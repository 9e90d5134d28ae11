"""Puts the code of a mutated module in the place of the right one, inside the functions that everybody holds.

What runs while a module is loaded has run already: the values of the module, the bodies of classes, defaults of
arguments, and functions that others were decorated with. Errors there are not for a swap.
"""

import contextlib
import gc
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

Key = tuple[str, int, int]


class UnreachableError(Exception):
    """A mutant whose code cannot take the place of the right one."""


def codes_of(code: CodeType) -> dict[Key, CodeType]:
    """The code of the functions of a module, at any depth, by qualified name, first line and number among those alike.

    A mutant leaves all three as they are.
    """
    found = {}

    def add(outer: CodeType) -> None:
        for inner in outer.co_consts:
            if isinstance(inner, CodeType):
                alike = sum(key[:2] == (inner.co_qualname, inner.co_firstlineno) for key in found)
                found[inner.co_qualname, inner.co_firstlineno, alike] = inner
                add(inner)

    add(code)
    return found


class Swap:
    """A module whose functions can be mutated in place.

    A table of tests holds function objects, so the objects stay and get another code.
    """

    def __init__(self, module: ModuleType, code: CodeType) -> None:
        self.module = module
        self.right = codes_of(code)

    def functions(self) -> list[tuple[Key, FunctionType]]:
        """The functions of the module that exist, wherever they are kept.

        A function refers to the namespace that it was defined in. That also finds those that a decorator has hidden in
        an object of its own, as `custom_jvp` and `cached_property` do, those that another module has imported by name,
        and those that a function of the module has made.
        """
        path, found = self.module.__file__, []
        for function in gc.get_referrers(vars(self.module)):
            if isinstance(function, FunctionType) and function.__code__.co_filename == path:
                code = function.__code__
                alike = [key for key in self.right if key[:2] == (code.co_qualname, code.co_firstlineno)]
                equal = [key for key in alike if self.right[key] == code]
                found += [(key, function) for key in (equal or alike)[:1]]
        return found

    def is_right(self) -> bool:
        """Whether every function has the code of the module's file."""
        return all(function.__code__ == self.right[key] for key, function in self.functions())

    @contextlib.contextmanager
    def mutated(self, code: CodeType) -> Iterator[None]:
        """Runs its body with the code of a mutated module in place.

        Raises:
          UnreachableError: if no function that exists has the change, or one cannot take it.
        """
        mutated = codes_of(code)
        changed = [(key, function) for key, function in self.functions() if mutated.get(key) != self.right[key]]
        if not changed:
            raise UnreachableError("no function that exists has the change")
        for key, right in self.right.items():  # also of functions that are only made meanwhile
            if key not in mutated or mutated[key].co_freevars != right.co_freevars:
                raise UnreachableError(f"{key[0]} refers to other variables around it")
        try:
            for key, function in changed:
                function.__code__ = mutated[key]
            yield
        finally:
            for key, function in self.functions():  # also those that were made meanwhile
                function.__code__ = self.right[key]
