"""One process that has collected tests, and runs those that it is told to with the mutant that it is told to.

It is started with a folder of compiled programs, what pytest collects, and how to load the core: "plain", "probed", so
that it tells what runs, or with a mutant, by its name. Commands come as lines of JSON on standard input and answers go
to standard output; what the tests print goes to standard error.
"""

import functools
import importlib
import io
import json
import os
import pathlib
import sys
import time
import traceback
from collections.abc import Sequence
from types import ModuleType

import jax
import pytest
from _pytest.runner import runtestprotocol

from tests.tools.mutation.core import CORE, ROOT, import_name, loaded_by
from tests.tools.mutation.loading import Reached, load_with
from tests.tools.mutation.mutants import Source
from tests.tools.mutation.swap import Swap, UnreachableError


class Worker:
    """A pytest plugin that takes the place of the loop over the tests."""

    def __init__(self, commands: io.TextIOBase, answers: io.TextIOBase, how: str, collected: Sequence[str]) -> None:
        self.commands, self.answers, self.how = commands, answers, how
        self.files = [file for file in CORE if file in loaded_by(collected)]
        self.sources = functools.cache(lambda file: Source(ROOT / file, file))
        self.swaps = functools.cache(
            lambda file: Swap(importlib.import_module(import_name(file)), self.sources(file).code())
        )
        self.reached = Reached()

    def pytest_configure(self) -> None:
        import hypothesis  # not before pytest rewrites the assertions of plugins

        generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure need not be shrunk
        hypothesis.settings.register_profile("mutation", derandomize=True, database=None, phases=generate)
        hypothesis.settings.load_profile("mutation")
        if self.how == "probed":
            load_with({import_name(file): self.sources(file).probed() for file in self.files})
        elif self.how != "plain":
            file, number = self.how.split("#")
            source = self.sources(file)
            load_with({import_name(file): source.code(source.mutants[int(number)])})

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest) -> object:
        if fixturedef.argname != "on_eight_devices":
            return None
        # The fixture's own process would not see the mutant. This one has eight devices as well.
        results = importlib.import_module("tests.spread").compute()
        fixturedef.cached_result = (results, fixturedef.cache_key(request), None)
        return results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        if session.testsfailed:
            self.answer(tests=[], unloaded="the tests could not be collected")
            return True
        for file in self.files:  # some may be imported by a test only
            importlib.import_module(import_name(file))
        self.answer(tests=list(self.items), at_loading=self.reached.take())
        try:
            for line in self.commands:
                command = json.loads(line)
                getattr(self, command.pop("do"))(**command)
        except Exception:
            self.answer(broken=traceback.format_exc())  # an error of this package must not count as a killed mutant
        return True

    def answer(self, **values: object) -> None:
        print(json.dumps(values), file=self.answers, flush=True)

    def forget(self) -> None:
        """Drops every program and every trace of one, so that the next test makes its own."""
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType) and module.__name__.startswith(("tests.", "jaxbox")):
                for value in vars(module).values():
                    if isinstance(value, functools._lru_cache_wrapper):
                        value.cache_clear()
        jax.clear_caches()

    def failure(self, test: str) -> str | None:
        """What a test says when it fails."""
        for report in runtestprotocol(self.items[test], log=False, nextitem=None):
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                return (crash.message if crash else report.longreprtext.strip().splitlines()[-1])[:300]
            if report.skipped:
                return "skipped"
        return None

    def measure(self, tests: list[str]) -> None:
        """Runs tests without a mutant, and tells how long each took and what of the core it reached."""
        for test in tests:
            self.forget()
            self.reached.take()
            start = time.perf_counter()
            failure = self.failure(test)
            seconds = time.perf_counter() - start
            self.answer(test=test, seconds=seconds, failure=failure, reached=self.reached.take())
        self.answer(needs=needs())

    def mutate(self, file: str, number: int, tests: list[str]) -> None:
        """Runs tests with a mutant until one fails, or tells why it cannot have it."""
        source, place = self.sources(file), self.swaps(file)
        self.forget()
        try:
            with place.mutated(source.code(source.mutants[number])):
                result = self.until_one_fails(tests)
        except UnreachableError as error:
            self.answer(unreachable=str(error))
            return
        assert place.is_right()
        self.answer(**result)

    def run(self, tests: list[str]) -> None:
        """Runs tests with the mutant that was loaded until one fails."""
        self.answer(**self.until_one_fails([test for test in tests if test in self.items]))

    def until_one_fails(self, tests: list[str]) -> dict[str, object]:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)  # a mutant's programs are not kept
        start, ran = time.perf_counter(), 0
        found: dict[str, object] = {"killed_by": None}
        for test in tests:
            self.answer(at=test)
            ran += 1
            if failure := self.failure(test):
                found = {"killed_by": test, "failure": failure}
                break
        return found | {"ran": ran, "seconds": time.perf_counter() - start}

    def control(self, test: str) -> None:
        """Runs a test, which has killed a mutant, without it."""
        self.forget()
        self.answer(failure=self.failure(test))


def needs() -> list[str]:
    """The files of this project that are loaded."""
    paths = {pathlib.Path(path) for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))}
    inside = (path.relative_to(ROOT) for path in paths if path.is_relative_to(ROOT))
    return sorted(str(path) for path in inside if path.parts[0] in ("jaxbox", "tests"))


def main(cache: str, how: str, *collected: str) -> None:
    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    options = ["-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --doctest-modules"]
    options += ["-m", "not fuzz", "--tb=native", "-q"]
    pytest.main([*options, *collected], plugins=[Worker(commands, answers, how, collected)])


if __name__ == "__main__":
    main(*sys.argv[1:])
