"""Puts the functions of a mutated module in the place of the right ones, inside the objects that everybody holds."""

import contextlib
import gc
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

NUMBERS = (int, float, tuple)
PARTS = ("__code__", "__defaults__", "__kwdefaults__")


class BrokenError(Exception):
    """A mutated module that does not even load."""


def functions_of(namespace: dict, path: str) -> dict[str, FunctionType]:
    """The functions and methods that a file defines, by qualified name, wherever they are kept.

    A function refers to the namespace that it was defined in. That also finds those that a decorator has hidden in an
    object of its own: `custom_jvp`, `cached_property`, `partial`.
    """
    return {
        function.__qualname__: function
        for function in gc.get_referrers(namespace)
        if isinstance(function, FunctionType)
        and function.__code__.co_filename == path
        and "<locals>" not in function.__qualname__
    }


class Swap:
    """A module whose functions can be mutated in place.

    A table of tests holds function objects, so the objects stay and get another code and other defaults.
    """

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.functions = functions_of(vars(module), module.__file__)
        self.right = self._state()

    def is_right(self) -> bool:
        """Whether everything is as it was when the module was loaded."""
        return self._state() == self.right

    @contextlib.contextmanager
    def mutated(self, code: CodeType) -> Iterator[None]:
        """Runs its body with the mutated module in place.

        Raises:
          BrokenError: if the mutated module does not load.
        """
        namespace = {"__name__": self.module.__name__, "__file__": self.module.__file__}
        try:
            exec(code, namespace)
        except Exception as error:
            raise BrokenError(f"{type(error).__name__}: {error}") from error
        others = functions_of(namespace, self.module.__file__)
        assert others.keys() == self.functions.keys()
        try:
            for name, function in self.functions.items():
                for part in PARTS:
                    setattr(function, part, getattr(others[name], part))
            for name in self.right[1]:
                setattr(self.module, name, namespace[name])
            yield
        finally:
            parts, numbers = self.right
            for name, values in parts.items():
                for part, value in zip(PARTS, values, strict=True):
                    setattr(self.functions[name], part, value)
            for name, value in numbers.items():
                setattr(self.module, name, value)

    def _state(self) -> tuple[dict, dict]:
        parts = {name: [getattr(function, part) for part in PARTS] for name, function in self.functions.items()}
        numbers = {name: value for name, value in vars(self.module).items() if isinstance(value, NUMBERS)}
        return parts, {name: value for name, value in numbers.items() if not name.startswith("__")}
