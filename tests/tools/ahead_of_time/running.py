"""Which programs are compiled, and by several processes at once."""

import concurrent.futures
import multiprocessing
import os

from tests.tools.ahead_of_time import figures, subjects, targets


def figures_of(target: str, key: str) -> dict[str, float]:
    """The figures of one program for one target; runs in a process of its own."""
    subject = next(subject for subject in subjects.subjects() if subject.key == key)
    text = targets.compiled(target, subject.compute, list(subject.arguments))
    return figures.figures_of(text, subject.least)


def chosen(names: list[str], only: list[str]) -> list[tuple[str, subjects.Subject]]:
    """The programs of each target; `only` keeps those whose keys have all of these words."""
    listed = [subject for subject in subjects.subjects() if all(word in subject.key for word in only)]
    return [
        (target, subject)
        for target in names
        for subject in listed
        if subject.on_every_target or target == names[0] or only
    ]


def compile_all(programs: list[tuple[str, subjects.Subject]], processes: int) -> figures.Figures:
    """The figures of all programs, found by several processes at once."""
    os.environ |= targets.ENVIRONMENT  # which the processes inherit
    found: figures.Figures = {target: {} for target, _ in programs}
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        # The long ones first, so that no process waits for another at the end.
        by_length = sorted(programs, key=lambda one: ("forward" in one[1].program, "mean" in one[1].program))
        waiting = {one: pool.submit(figures_of, one[0], one[1].key) for one in by_length}
        for target, subject in programs:
            found[target][subject.key] = waiting[target, subject].result()
    return found
