"""Starts workers, and talks with them."""

import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence

from tests.tools.mutation.core import ROOT

SECONDS_WITHOUT_AN_ANSWER = 120


class SilentError(Exception):
    """A worker that has died, or is stuck."""


class Process:
    """A worker, which can be started again whenever it has died."""

    def __init__(self, cache: pathlib.Path, log: pathlib.Path, collected: Sequence[str], how: str = "plain") -> None:
        self.log = log
        self.command = [sys.executable, "-m", "tests.tools.mutation.worker", str(cache), how, *collected]
        self.process = None

    def start(self) -> dict:
        """Starts it and returns what it tells of itself: the tests that it has collected."""
        environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.answers), daemon=True).start()
        return self.answer()

    @staticmethod
    def _read(stream: Iterable[str], answers: queue.Queue[str]) -> None:
        for line in stream:
            answers.put(line)
        answers.put("")

    def tell(self, do: str, **values: object) -> None:
        """Sends a command."""
        self.process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        """Waits for the next answer."""
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

    def result(self, at: str) -> dict:
        """Waits for the end of a command that runs tests; a test in which the worker falls silent has failed."""
        try:
            while "at" in (answer := self.answer()):
                at = answer["at"]
        except SilentError as silence:
            return {"killed_by": at, "failure": str(silence)}
        return answer

    def stop(self) -> None:
        """Ends it."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def in_threads(function: Callable[[Process], None], workers: list[Process]) -> None:
    """Calls a function of a worker for all of them at once, and ends them."""
    failures = []

    def guarded(worker: Process) -> None:
        try:
            function(worker)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)  # so that control-C is seen
    finally:
        for worker in workers:
            worker.stop()
    if failures:
        raise failures[0]
