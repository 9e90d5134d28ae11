"""What the tests of a group do without a mutant."""

import collections
import dataclasses
import hashlib
import itertools
import json
import pathlib
import shutil
from typing import Any

import rich.progress

from tests.tools.mutation.core import ROOT
from tests.tools.mutation.mutants import Mutant
from tests.tools.mutation.processes import Process, in_threads


def digest(*files: str) -> str:
    """A hash of the contents of files."""
    present = [ROOT / file for file in files if (ROOT / file).exists()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in present)).hexdigest()


def function_of(test: str) -> str:
    """The name of a test without that of its case."""
    return test.split("[")[0]


@dataclasses.dataclass
class Baseline:
    """The tests of a group without a mutant.

    Attributes:
      group: their name, and what pytest collects.
      key: a hash of all that they were made from.
      seconds: how long each takes, by its name.
      reached: which statements of the core each runs, by file.
      at_loading: which statements run while the core is loaded, by file.
    """

    group: tuple[str, list[str]]
    key: str
    seconds: dict[str, float]
    reached: dict[str, dict[str, list[int]]]
    at_loading: dict[str, list[int]]

    def runs_at_loading(self, mutant: Mutant) -> bool:
        """Whether what a mutant changes has run before the first test, so that it must be loaded with its error."""
        return mutant.home in self.at_loading[mutant.file]

    def reaching(self, mutant: Mutant) -> list[str]:
        """The tests that run what a mutant changes, fastest first."""
        wanted = set(mutant.reached_by)
        tests = [test for test, reached in self.reached.items() if wanted.intersection(reached.get(mutant.file, ()))]
        return sorted(tests, key=self.seconds.get)

    def within(self, budget: float, tests: list[str]) -> list[str]:
        """Those of these tests that fit into a budget: every test function gets the same time for its cases."""
        spent, key = collections.Counter(), {}
        for test in tests:
            spent[function_of(test)] += self.seconds[test]
            key[test] = spent[function_of(test)]
        ordered = sorted(tests, key=key.get)
        ends = itertools.accumulate(self.seconds[test] for test in ordered)
        return [test for test, end in zip(ordered, ends, strict=True) if end <= budget]

    def in_order(self, tests: list[str], kills: collections.Counter[str]) -> list[str]:
        """First one case of every test function, then a second one, and so on.

        Within such a round those come first that have killed most mutants for their time.
        """
        rounds, key = collections.Counter(), {}
        for test in tests:
            function = function_of(test)
            key[test] = rounds[function], -(1 + kills[function]) / (0.1 + self.seconds[test])
            rounds[function] += 1
        return sorted(tests, key=key.get)


def baseline(group: tuple[str, list[str]], out: pathlib.Path, jobs: int, progress: rich.progress.Progress) -> Baseline:
    """Measures the tests of a group, unless they were measured with the same sources before."""
    name, _ = group
    file = out / "baseline" / f"{name.replace('/', '-')}.json"
    stored = json.loads(file.read_text()) if file.exists() else None
    if stored is None or stored["key"] != digest(*stored["needs"]):
        stored = measured(group, out, jobs, progress)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(stored))
    of_tests = {test: (entry["seconds"], entry["reached"]) for test, entry in stored["tests"].items()}
    seconds, reached = ({test: parts[place] for test, parts in of_tests.items()} for place in (0, 1))
    return Baseline(group, stored["key"], seconds, reached, stored["at_loading"])


def measured(group: tuple[str, list[str]], out: pathlib.Path, jobs: int, progress: rich.progress.Progress) -> dict:
    """Runs the tests of a group once each."""
    name, collected = group
    # Each worker writes programs to a folder of its own: one that is read while another writes it would be broken.
    caches = [out / f"programs-{n}" for n in range(jobs)]
    workers = [Process(cache, out / f"{cache.name}.log", collected, "probed") for cache in caches]
    answers: dict[str, Any] = {}
    needs: set[str] = set()
    first: dict[str, Any] = {}
    task = progress.add_task(f"{name} without a mutant", total=None, survived="")

    def measure_share(worker: Process) -> None:
        told = worker.start()
        if "unloaded" in told:
            raise SystemExit(f"{name}: {told['unloaded']}, see {worker.log}")
        first.update(told)
        progress.update(task, total=len(told["tests"]))
        worker.tell("measure", tests=told["tests"][workers.index(worker) :: jobs])
        while "needs" not in (answer := worker.answer()):
            answers[answer["test"]] = answer
            progress.advance(task)
        needs.update(answer["needs"])

    in_threads(measure_share, workers)
    progress.remove_task(task)
    failures = {test: answer["failure"] for test, answer in answers.items()}
    if wrong := [f"{test}: {failure}" for test, failure in failures.items() if failure not in (None, "skipped")]:
        raise SystemExit("These tests fail without a mutant:\n" + "\n".join(wrong))
    for cache in caches:
        if cache.exists():
            shutil.copytree(cache, out / "programs", dirs_exist_ok=True)
            shutil.rmtree(cache)
    tests = {test: answers[test] for test in first["tests"] if not failures[test]}
    return {"key": digest(*sorted(needs)), "needs": sorted(needs), "at_loading": first["at_loading"], "tests": tests}
