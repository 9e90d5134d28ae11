"""One process that has collected the tests, and runs those that it is told to with the mutant that it is told to.

Commands come as lines of JSON on standard input and answers go to standard output; what the tests print goes to
standard error.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import sys
import time
import traceback
from types import ModuleType

import coverage
import jax
import pytest
from _pytest.runner import runtestprotocol

from tests.tools.mutation import swap
from tests.tools.mutation.core import CORE, ROOT, TESTS
from tests.tools.mutation.mutants import Source


class Worker:
    """A pytest plugin that takes the place of the loop over the tests."""

    def __init__(self, commands: io.TextIOBase, answers: io.TextIOBase) -> None:
        self.commands, self.answers = commands, answers
        self.sources: dict[str, Source] = {}
        self.swaps: dict[str, swap.Swap] = {}

    def pytest_configure(self) -> None:
        import hypothesis  # not before pytest rewrites the assertions of plugins

        generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure need not be shrunk
        hypothesis.settings.register_profile("mutation", derandomize=True, database=None, phases=generate)
        hypothesis.settings.load_profile("mutation")

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest) -> object:
        if fixturedef.argname != "on_eight_devices":
            return None
        # The fixture's own process would not see the mutant. This one has eight devices as well.
        with contextlib.redirect_stdout(io.StringIO()) as written:
            importlib.import_module("tests.spread").main()
        results = json.loads(written.getvalue().splitlines()[-1])
        fixturedef.cached_result = (results, fixturedef.cache_key(request), None)
        return results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = session.items
        for file in CORE:
            name = "jaxbox." + file.removeprefix("jaxbox/").removesuffix(".py").replace("/", ".")
            self.sources[file] = Source(ROOT / file, file)
            self.swaps[file] = swap.Swap(importlib.import_module(name))
        self.answer(tests=[item.nodeid for item in self.items])
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

    def failure(self, number: int) -> str | None:
        """What a test says when it fails."""
        for report in runtestprotocol(self.items[number], log=False, nextitem=None):
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                return (crash.message if crash else report.longreprtext.strip().splitlines()[-1])[:300]
            if report.skipped:
                return "skipped"
        return None

    def measure(self, numbers: list[int]) -> None:
        """Runs tests without a mutant, and tells how long each took and which lines of the core it reached."""
        for number in numbers:
            self.forget()
            coverage_of_test = coverage.Coverage(
                data_file=None, config_file=False, include=[str(ROOT / x) for x in CORE]
            )
            coverage_of_test.set_option(
                "run:disable_warnings", ["no-data-collected"]
            )  # not every test reaches the core
            start = time.perf_counter()
            with coverage_of_test.collect():
                failure = self.failure(number)
            seconds = time.perf_counter() - start
            data = coverage_of_test.get_data()
            lines = {file: data.lines(str(ROOT / file)) or [] for file in CORE}
            self.answer(test=number, seconds=seconds, failure=failure, lines=lines)
        self.answer(done=True)

    def mutate(self, file: str, number: int, tests: list[int]) -> None:
        """Runs tests with a mutant until one fails."""
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)  # a mutant's programs are not kept
        start, result = time.perf_counter(), {"killed_by": None, "ran": 0}
        source, place = self.sources[file], self.swaps[file]
        self.forget()
        try:
            with place.mutated(source.code(source.mutants[number])):
                for test in tests:
                    self.answer(at=test)
                    result["ran"] += 1
                    if failure := self.failure(test):
                        result |= {"killed_by": self.items[test].nodeid, "failure": failure}
                        break
        except swap.BrokenError as error:
            result |= {"killed_by": "import", "failure": str(error)}
        assert place.is_right()
        self.answer(**result, seconds=time.perf_counter() - start)

    def control(self, test: int) -> None:
        """Runs a test, which has killed a mutant, without it."""
        self.forget()
        self.answer(failure=self.failure(test))


def main(cache: str) -> None:
    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    options = ["-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --doctest-modules"]
    options += ["-m", "not fuzz", "--tb=native", "-q"]
    pytest.main([*options, *TESTS, *CORE], plugins=[Worker(commands, answers)])


if __name__ == "__main__":
    main(*sys.argv[1:])
