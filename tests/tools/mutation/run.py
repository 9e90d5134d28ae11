"""Runs the tests of a group on mutants."""

import argparse
import collections
import functools
import json
import pathlib
import queue
import shutil
import threading
from collections.abc import Callable, Iterator

import rich.progress

from tests.tools.mutation.baseline import Baseline, digest, function_of
from tests.tools.mutation.core import CORE
from tests.tools.mutation.mutants import Mutant
from tests.tools.mutation.processes import Process, SilentError, in_threads

CONTROL_EVERY = 20


class Results:
    """What is known of each mutant, kept in a file: an entry a group of tests.

    Attributes:
      entries: by the name of the mutant, then by that of the group.
      kills: how many mutants each test function has killed.
    """

    def __init__(self, out: pathlib.Path, resume: bool) -> None:
        """Takes up the entries of an earlier run of the same core."""
        makers = [f"tests/tools/mutation/{name}.py" for name in ("changes", "mutants")]
        self.file, header = out / "results.jsonl", {"core": digest(*CORE, *makers)}
        earlier = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        self.entries = collections.defaultdict(dict)
        self.kills = collections.Counter()
        self.lock = threading.Lock()
        is_same = earlier[:1] == [header]
        if not is_same:
            shutil.rmtree(out / "programs", ignore_errors=True)
        self.file.write_text(json.dumps(header) + "\n")
        for entry in earlier[1:] if resume and is_same else []:
            self.add(entry)

    def add(self, entry: dict) -> None:
        """Adds what a group of tests told of a mutant."""
        with self.lock:
            self.entries[entry["mutant"]][entry["group"]] = entry
            self.kills[function_of(entry["killed_by"] or "")] += 1
            with self.file.open("a") as file:
                print(json.dumps(entry), file=file)

    def killer(self, mutant: Mutant) -> str | None:
        """The test that has killed a mutant."""
        return next((entry["killed_by"] for entry in self.of(mutant) if entry["killed_by"]), None)

    def of(self, mutant: Mutant) -> list[dict]:
        """The entries of a mutant."""
        return list(self.entries[mutant.name].values())

    def is_done(self, mutant: Mutant, measured: Baseline, budget: float) -> bool:
        """Whether these tests, as they are, were run on a mutant before, and as many of them."""
        entry = self.entries[mutant.name].get(measured.group[0])
        return bool(entry) and entry["key"] == measured.key and (entry["all"] or entry["budget"] >= budget)


class Run:
    """The run of a group of tests on mutants: first those that are swapped with the right code, then those to load."""

    def __init__(
        self,
        mutants: list[Mutant],
        measured: Baseline,
        results: Results,
        options: argparse.Namespace,
        progress: rich.progress.Progress,
    ) -> None:
        """Takes the options of the command."""
        self.measured, self.results = measured, results
        self.out, self.jobs, self.budget = options.out, options.jobs, options.budget
        self.to_swap, self.to_load = queue.SimpleQueue(), queue.SimpleQueue()
        todo = [mutant for mutant in mutants if not results.is_done(mutant, measured, self.budget)]
        for mutant in todo:
            (self.to_load if measured.runs_at_loading(mutant) else self.to_swap).put(mutant)
        self.progress = progress
        self.task = progress.add_task(measured.group[0], total=len(todo), survived="")
        self.survived = 0

    def run(self) -> None:
        for task, mutants in ((self.swap, self.to_swap), (self.load, self.to_load)):
            if not mutants.empty():
                logs = [self.out / f"worker-{n}.log" for n in range(self.jobs)]
                in_threads(task, [Process(self.out / "programs", log, self.measured.group[1]) for log in logs])

    def swap(self, worker: Process) -> None:
        """Has a worker swap mutants with the right code, one after the other."""
        killed = 0
        for mutant in taken_from(self.to_swap):
            every = self.measured.reaching(mutant)
            tests = self.measured.in_order(self.measured.within(self.budget, every), self.results.kills)
            if not tests:
                self.add(mutant, {"tests": len(every), "all": not every})
                continue
            result = twice(functools.partial(self.swapped, worker, mutant, tests))
            if "unreachable" in result:
                self.to_load.put(mutant)
                continue
            self.add(mutant, {"tests": len(every), "all": len(tests) == len(every)} | result)
            killed += bool(result["killed_by"])
            if result["killed_by"] and worker.process and killed % CONTROL_EVERY == 0:
                self.control(worker, result["killed_by"], mutant)

    def swapped(self, worker: Process, mutant: Mutant, tests: list[str]) -> dict:
        if worker.process is None and not self.measured.seconds.keys() <= set(worker.start()["tests"]):
            raise SystemExit("The tests have changed meanwhile: start again.")
        worker.tell("mutate", file=mutant.file, number=mutant.number, tests=tests)
        return worker.result(tests[0])

    def load(self, worker: Process) -> None:
        """Has a process of its own load each mutant."""
        for mutant in taken_from(self.to_load):
            near = self.measured.reaching(mutant)
            others = [test for test in self.measured.seconds if test not in near]
            tests = self.measured.within(self.budget, near)
            left = self.budget - sum(self.measured.seconds[test] for test in tests)
            parts = [tests, self.measured.within(left, others)]
            tests = [test for part in parts for test in self.measured.in_order(part, self.results.kills)]
            own = Process(self.out / "programs", worker.log, self.measured.group[1], mutant.name)
            try:
                result = twice(functools.partial(loaded, own, tests))
            finally:
                own.stop()
            every = len(self.measured.seconds)
            self.add(mutant, {"tests": every, "all": len(tests) == every, "loaded": True} | result)

    def control(self, worker: Process, test: str, mutant: Mutant) -> None:
        """Runs a test that has killed a mutant without it: is something left behind?"""

        def failure() -> str | None:
            worker.tell("control", test=test)
            return worker.answer()["failure"]

        if failure():
            worker.stop()  # a fresh process decides
            worker.start()
            if said := failure():
                raise SystemExit(f"{test} fails without a mutant too, after {mutant.name}: {said}")

    def add(self, mutant: Mutant, result: dict) -> None:
        entry = {"mutant": mutant.name, "group": self.measured.group[0], "key": self.measured.key}
        entry |= {"budget": self.budget, "ran": 0, "seconds": 0.0, "killed_by": None}
        self.results.add(entry | result)
        with self.results.lock:
            self.survived += not result.get("killed_by")
            self.progress.update(self.task, advance=1, survived=f"{self.survived} survived")


def taken_from(mutants: queue.SimpleQueue) -> Iterator[Mutant]:
    """What is left in a queue that several threads empty."""
    while True:
        try:
            yield mutants.get_nowait()
        except queue.Empty:
            return


def twice(attempt: Callable[[], dict]) -> dict:
    """Tries again if the worker has died or was stuck: was it the mutant?"""
    result = attempt()
    return attempt() if result.get("failure") in ("crash", "timeout") else result


def loaded(own: Process, tests: list[str]) -> dict:
    """What happens to tests in a process of its own, which loads a mutant."""
    try:
        if "unloaded" in (told := own.start()):
            return {"killed_by": "loading", "failure": told["unloaded"]}
    except SilentError as silence:
        return {"killed_by": "loading", "failure": str(silence)}
    own.tell("run", tests=tests)
    result = own.result("loading")
    own.stop()
    return result
