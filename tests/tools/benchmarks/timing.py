"""Times functions against each other: shuffled every round, medians, and one of them twice as a control."""

import dataclasses
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

CONTROL = "the first again"


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure for: rounds, and the seconds that one function gets in each."""

    rounds: int
    seconds: float

    def less(self) -> "Effort":
        """For what takes long: half of the rounds."""
        return dataclasses.replace(self, rounds=(self.rounds + 1) // 2)


def ready(result):
    """Waits for the arrays of jax, and for a tensor on a GPU; on a CPU other libraries return when they are done."""
    jax.block_until_ready(result)
    if getattr(result, "is_cuda", False):
        result.cpu()


def measure(candidates: dict[str, Callable[[], object]], effort: Effort) -> dict[str, float]:
    """The median seconds of one call of each, in microseconds; the first candidate is measured twice, as `CONTROL`."""
    first = next(iter(candidates.values()))
    candidates = {**candidates, CONTROL: first}
    usual = {}
    for name, candidate in candidates.items():
        ready(candidate())  # compiles
        ready(candidate())
        start = time.perf_counter()
        ready(candidate())
        usual[name] = time.perf_counter() - start
    repeats = {name: max(1, round(effort.seconds / once)) for name, once in usual.items()}
    seconds = {name: [] for name in candidates}
    rng = np.random.default_rng(0)
    for _ in range(effort.rounds):
        for name in rng.permutation(list(candidates)).tolist():
            if usual[name] < 10 * effort.seconds:
                ready(candidates[name]())  # so that each finds its own code and data in the caches
            start, result = time.perf_counter(), None
            for _ in range(repeats[name]):
                result = candidates[name]()
            ready(result)
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    return {name: 1e6 * statistics.median(times) for name, times in seconds.items()}
