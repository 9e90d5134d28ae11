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


def chosen(names: list[str], only: list[str], every: bool = False) -> list[tuple[str, subjects.Subject]]:
    """The programs of each target: those of its default, or those whose keys have all of some words, or all."""
    listed = [subject for subject in subjects.subjects() if all(word in subject.key for word in only)]
    return [
        (target, subject)
        for place, target in enumerate(names)
        for subject in listed
        if every or only or place < subject.targets
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
