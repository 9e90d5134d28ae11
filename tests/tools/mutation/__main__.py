"""The command: makes the mutants, has two processes run the tests on them, and counts.

    uv run python -m tests.tools.mutation --only numerics boxes
    uv run python -m tests.tools.mutation --sample 60 --seed 1
    uv run python -m tests.tools.mutation --resume

It exits with 1 when a mutant survives that `equivalent.py` does not explain.
"""

import argparse
import collections
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import queue
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

import rich.box
import rich.console
import rich.progress
import rich.table

from tests.tools.mutation.core import CORE, MODULES, ROOT, SUPPORT, TEST_FILES
from tests.tools.mutation.equivalent import EQUIVALENT
from tests.tools.mutation.mutants import Mutant, Source

SECONDS_WITHOUT_AN_ANSWER = 120
CONTROL_EVERY = 20


class SilentError(Exception):
    """A worker that has died, or is stuck."""


class Process:
    """A worker, started again whenever it dies."""

    def __init__(self, out: pathlib.Path, cache: pathlib.Path, name: str) -> None:
        self.cache, self.log = cache, out / f"{name}.log"
        self.process = None

    def start(self) -> list[str]:
        """Starts it and returns the tests that it has collected."""
        environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-m", "tests.tools.mutation.worker", str(self.cache)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment
            )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.answers), daemon=True).start()
        return self.answer()["tests"]

    @staticmethod
    def _read(stream: Iterable[str], answers: queue.Queue[str]) -> None:
        for line in stream:
            answers.put(line)
        answers.put("")

    def tell(self, do: str, **values: object) -> None:
        self.process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        try:
            line = self.answers.get(timeout=SECONDS_WITHOUT_AN_ANSWER)
        except queue.Empty:
            self.stop()
            raise SilentError("timeout") from None
        if not line:
            self.stop()
            raise SilentError("crash")
        answer = json.loads(line)
        if "broken" in answer:
            self.stop()
            raise SystemExit(answer["broken"])
        return answer

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclasses.dataclass
class Baseline:
    """What the tests do without a mutant: their names, how long each takes, and which lines each reaches."""

    tests: list[str]
    seconds: list[float]
    lines: list[dict[str, list[int]]]

    def reaching(self, mutant: Mutant) -> list[int]:
        """The tests that reach a mutant, fastest first."""
        lines = set(mutant.lines)
        numbers = [n for n in range(len(self.tests)) if lines.intersection(self.lines[n].get(mutant.file, ()))]
        return sorted(numbers, key=lambda n: self.seconds[n])

    def within(self, budget: float, numbers: list[int]) -> list[int]:
        """Those of these tests that fit into a budget: every test function gets the same time for its cases."""
        spent, key = collections.Counter(), {}
        for n in numbers:
            spent[function_of(self.tests[n])] += self.seconds[n]
            key[n] = spent[function_of(self.tests[n])]
        ordered = sorted(numbers, key=key.get)
        ends = itertools.accumulate(self.seconds[n] for n in ordered)
        return [n for n, end in zip(ordered, ends, strict=True) if end <= budget]

    def in_order(self, numbers: list[int], kills: collections.Counter[str]) -> list[int]:
        """First one case of every test function, then a second one, and so on.

        Within such a round those come first that have killed most mutants for their time.
        """
        rounds, key = collections.Counter(), {}
        for n in numbers:
            function = function_of(self.tests[n])
            key[n] = rounds[function], -(1 + kills[function]) / (0.1 + self.seconds[n])
            rounds[function] += 1
        return sorted(numbers, key=key.get)


def function_of(test: str) -> str:
    return test.split("[")[0]


def in_threads(function: object, workers: list[Process]) -> None:
    failures = []

    def guarded(worker: Process) -> None:
        try:
            function(worker)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.5)  # so that control-C is seen
    if failures:
        raise failures[0]


def digest(*files: str) -> str:
    """A hash of the contents of files."""
    return hashlib.sha256(b"".join((ROOT / file).read_bytes() for file in files)).hexdigest()


def baseline(out: pathlib.Path, jobs: int, progress: rich.progress.Progress) -> Baseline:
    """Measures the tests without a mutant: those that were not measured with these sources before."""
    file, key = out / "baseline.json", digest(*CORE, *SUPPORT)
    of_files = {test: digest(test) for test in TEST_FILES}
    stored = json.loads(file.read_text()) if file.exists() else {}
    if stored.get("key") != key:
        stored = {"files": {}, "tests": {}}
        shutil.rmtree(out / "programs", ignore_errors=True)
    if stored["files"] != of_files:
        same = {test for test, its_digest in stored["files"].items() if of_files.get(test) == its_digest}
        kept = {test: entry for test, entry in stored["tests"].items() if test.split("::")[0] in {*same, *CORE}}
        stored = {"key": key, "files": of_files, "tests": measure(kept, out, jobs, progress)}
        file.write_text(json.dumps(stored))
    tests = stored["tests"]
    return Baseline(list(tests), [x["seconds"] for x in tests.values()], [x["lines"] for x in tests.values()])


def measure(kept: dict[str, dict], out: pathlib.Path, jobs: int, progress: rich.progress.Progress) -> dict[str, dict]:
    """Measures the tests that are not kept; returns all in the order in which workers collect them."""
    # Each worker writes programs to a folder of its own: one that is read while another writes it would be broken.
    workers = [Process(out, out / f"programs-{n}", f"worker-{n}") for n in range(jobs)]
    measured, tests = dict(kept), []
    task = progress.add_task("tests without a mutant", total=None, survived="")

    def measure_share(worker: Process) -> None:
        names = worker.start()
        todo = [n for n, name in enumerate(names) if name not in kept]
        tests[:] = names
        progress.update(task, total=len(todo))
        worker.tell("measure", numbers=todo[workers.index(worker) :: jobs])
        while "done" not in (answer := worker.answer()):
            measured[names[answer["test"]]] = answer
            progress.advance(task)

    try:
        in_threads(measure_share, workers)
    finally:
        for worker in workers:
            worker.stop()
    failures = {test: measured[test].get("failure") for test in tests}
    if wrong := [f"{test}: {failure}" for test, failure in failures.items() if failure not in (None, "skipped")]:
        raise SystemExit("These tests fail without a mutant:\n" + "\n".join(wrong))
    for worker in workers:
        shutil.copytree(worker.cache, out / "programs", dirs_exist_ok=True)
        shutil.rmtree(worker.cache)
    seconds_and_lines = {test: (measured[test]["seconds"], measured[test]["lines"]) for test in tests}
    return {
        test: {"seconds": seconds, "lines": {} if failures[test] == "skipped" else lines}
        for test, (seconds, lines) in seconds_and_lines.items()
    }


def failure_without_mutant(worker: Process, test: int) -> str | None:
    worker.tell("control", test=test)
    return worker.answer()["failure"]


def run(
    mutants: list[Mutant],
    known: dict[str, dict],
    measured: Baseline,
    out: pathlib.Path,
    jobs: int,
    budget: float,
    progress: rich.progress.Progress,
) -> dict[str, dict]:
    """Runs the tests on mutants; adds to the results that are known, and to their file."""
    results = dict(known)
    kills = collections.Counter(function_of(x["killed_by"]) for x in results.values() if x["killed_by"])
    left = queue.SimpleQueue()
    for mutant in mutants:
        left.put(mutant)
    lock = threading.Lock()
    task = progress.add_task("mutants", total=len(mutants), survived="")

    def test(worker: Process, mutant: Mutant) -> dict:
        every = measured.reaching(mutant)
        tests = measured.in_order(measured.within(budget, every), kills)
        result = {"tests": len(every), "all": len(tests) == len(every), "budget": budget}
        result |= {"ran": 0, "seconds": 0.0, "killed_by": None}
        if not tests:
            return result
        at = tests[0]
        try:
            worker.tell("mutate", file=mutant.file, number=mutant.number, tests=tests)
            while "killed_by" not in (answer := worker.answer()):
                at = answer["at"]
            return result | answer
        except SilentError as silence:
            return result | {"killed_by": measured.tests[at], "failure": str(silence)}

    def work(worker: Process) -> None:
        killed = 0
        while True:
            try:
                mutant = left.get_nowait()
            except queue.Empty:
                worker.stop()
                return
            if worker.process is None and worker.start() != measured.tests:
                raise SystemExit("The tests have changed meanwhile: start again.")
            result = test(worker, mutant)
            if result.get("failure") in ("crash", "timeout") and worker.start():  # was it the mutant?
                result = test(worker, mutant)
            killer = result["killed_by"]
            with lock:
                results[mutant.name] = result
                kills[function_of(killer or "")] += 1
                with (out / "results.jsonl").open("a") as file:
                    print(json.dumps({"mutant": mutant.name, **result}), file=file)
                survived = sum(not x["killed_by"] for x in results.values())
                progress.update(task, advance=1, survived=f"{survived} survived")
            killed += bool(killer)
            due = killer in measured.tests and killed % CONTROL_EVERY == 0 and worker.process
            if due and failure_without_mutant(worker, measured.tests.index(killer)):
                worker.stop()  # something was left behind: a fresh process decides
                worker.start()
                if failure := failure_without_mutant(worker, measured.tests.index(killer)):
                    raise SystemExit(f"{killer} fails without a mutant too, after {mutant.name}: {failure}")

    workers = [Process(out, out / "programs", f"worker-{n}") for n in range(jobs)]
    try:
        in_threads(work, workers)
    finally:
        for worker in workers:
            worker.stop()
    return results


def stored_results(out: pathlib.Path, resume: bool) -> dict[str, dict]:
    """The results of an earlier run, by the name of the mutant.

    A mutant of the same core that was killed stays killed; what survived other tests is tried again.
    """
    file, core, tests = (
        out / "results.jsonl",
        digest(*CORE, "tests/tools/mutation/mutants.py"),
        digest(*TEST_FILES, *SUPPORT),
    )
    entries = {}
    if resume and file.exists():
        first, *lines = map(json.loads, file.read_text().splitlines())
        entries = {entry["mutant"]: entry for entry in lines if first["core"] == core}
        entries = {name: entry for name, entry in entries.items() if entry["killed_by"] or first["tests"] == tests}
    header = {"core": core, "tests": tests}
    file.write_text("".join(json.dumps(line) + "\n" for line in [header, *entries.values()]))
    return entries


def explanation(mutant: Mutant) -> str | None:
    return EQUIVALENT.get(mutant.text)


def report(mutants: list[Mutant], results: dict[str, dict], console: rich.console.Console) -> dict:
    """Prints the table and the survivors; returns the record."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    for title in ("module", "mutants", "killed", "explained", "survived", "share"):
        table.add_column(title, justify="left" if title == "module" else "right")
    record = {"modules": {}, "survivors": [], "wrongly_explained": []}
    for module, files in [*MODULES.items(), ("all", CORE)]:
        own = [mutant for mutant in mutants if mutant.file in files]
        killed = sum(bool(results[mutant.name]["killed_by"]) for mutant in own)
        alive = [mutant for mutant in own if not results[mutant.name]["killed_by"]]
        explained = sum(bool(explanation(mutant)) for mutant in alive)
        share = killed / (len(own) - explained) if len(own) > explained else 1.0
        row = {"mutants": len(own), "killed": killed, "explained": explained, "survived": len(alive) - explained}
        record["modules"][module] = row | {"share": round(share, 4)}
        table.add_row(module, *map(str, row.values()), f"{100 * share:.1f} %")
        if module == "all":
            continue
        for mutant in own:
            if results[mutant.name]["killed_by"] and explanation(mutant):
                record["wrongly_explained"].append(mutant.name)
                console.print(f"{mutant.file}:{mutant.line} is explained as equivalent, but {results[mutant.name]}")
        for mutant in alive:
            entry = dataclasses.asdict(mutant) | results[mutant.name] | {"explanation": explanation(mutant)}
            record["survivors"].append(entry)
            if not entry["explanation"]:
                ran = f"{entry['ran']} of {entry['tests']} tests"
                console.print(f"{mutant.file}:{mutant.line} ({mutant.function}), {ran}", style="bold", markup=False)
                console.print(f"  - {mutant.before}\n  + {mutant.after}", markup=False, soft_wrap=True, highlight=False)
    console.print(table)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description="Mutation tests of the core.")
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES), help="modules to mutate")
    parser.add_argument("--sample", type=int, help="how many mutants to draw; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests for a mutant, without compilation")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/mutation"), help="folder of the record")
    parser.add_argument("--resume", action="store_true", help="keep the results of an interrupted run")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    every = [mutant for file in CORE for mutant in Source(ROOT / file, file).mutants]
    nothing = EQUIVALENT.keys() - {mutant.text for mutant in every}
    if nothing:
        raise SystemExit("No mutant is what equivalent.py explains here:\n" + "\n".join(map(str, sorted(nothing))))
    mutants = [mutant for mutant in every if any(mutant.file in MODULES[module] for module in options.only)]
    random.Random(options.seed).shuffle(mutants)  # so that the time left can be told
    mutants = mutants[: options.sample]

    columns = ["{task.description}", rich.progress.BarColumn(), "{task.completed}/{task.total}"]
    times = [rich.progress.TimeElapsedColumn(), rich.progress.TimeRemainingColumn(), "{task.fields[survived]}"]
    console = rich.console.Console()
    with rich.progress.Progress(*columns, *times, console=console) as progress:
        measured = baseline(out, options.jobs, progress)
        known = stored_results(out, options.resume)
        done = {name for name, x in known.items() if x["killed_by"] or x["all"] or x["budget"] >= options.budget}
        todo = [mutant for mutant in mutants if mutant.name not in done]
        results = run(todo, known, measured, out, options.jobs, options.budget, progress)
    record = report(sorted(mutants, key=lambda mutant: every.index(mutant)), results, console)
    record |= {"seconds": time.perf_counter() - start, "sample": options.sample, "seed": options.seed}
    (out / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    return 1 if record["modules"]["all"]["survived"] or record["wrongly_explained"] else 0


if __name__ == "__main__":
    sys.exit(main())
