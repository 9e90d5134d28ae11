"""Compiles the programs of the package for TPUs that are not there, and fails where one got worse.

    uv run --group ahead-of-time python -m tests.tools.ahead_of_time

prints a table and compares it with `tests/ahead_of_time_figures.json`: bytes over the limit, kernels, cycles. It exits
with 1 if one of them is more than a tenth above what is stored. `--store` writes them there. `--all` compiles every
program for every target, for which two minutes are not enough. `--cuda` compiles for an H100, which needs an
environment of its own (see `tests/README.md`).
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import sys
import time

from tests.tools.ahead_of_time import figures, running, targets

PACKAGES = {"tpu": ("jax", "jaxlib", "libtpu"), "cuda": ("jax", "jaxlib", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12")}


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuda", action="store_true", help="compile for an H100 instead of TPUs")
    parser.add_argument("--targets", nargs="+", choices=targets.TPUS, default=list(targets.TPUS), help="TPUs")
    parser.add_argument("--only", nargs="+", default=[], help="programs with all of these words, on every target")
    parser.add_argument("--all", action="store_true", help="every program, for every target")
    parser.add_argument("--store", action="store_true", help="write the figures, instead of comparing with them")
    parser.add_argument("--out", type=pathlib.Path, help="file that receives the figures as JSON")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that compile at once")
    options = parser.parse_args(arguments)
    names = [targets.CUDA] if options.cuda else options.targets
    packages = PACKAGES["cuda" if options.cuda else "tpu"]
    try:
        versions = {name: importlib.metadata.version(name) for name in packages}
    except importlib.metadata.PackageNotFoundError as missing:
        parser.error(f"{missing.name} is not installed. `tests/README.md` has the command, under Ahead of time.")

    began = time.perf_counter()
    found = running.compile_all(running.chosen(names, options.only, options.all), options.processes)
    print(figures.table_of(found))
    print(f"\nEach cell: bytes over the limit / kernels{'' if options.cuda else ' / thousands of cycles'}.")
    print(f"{', '.join(f'{name} {version}' for name, version in versions.items())}. ", end="")
    print(f"{sum(map(len, found.values()))} programs in {time.perf_counter() - began:.0f} s.")
    if options.out:
        options.out.write_text(json.dumps({"versions": versions, "figures": found}, indent=1) + "\n")
    stored = figures.read()
    if options.store:
        kept = {target: stored["figures"].get(target, {}) if options.only else {} for target in found}
        figures.write({target: kept[target] | found[target] for target in found}, versions)
        return 0
    others = {name: version for name, version in versions.items() if stored["versions"].get(name) != version}
    if others:
        print(f"The stored figures are of other versions, of which these differ: {', '.join(others)}.")
    new = figures.unknown(found, stored["figures"])
    if new:
        print(figures.said("Nothing is stored of these; `--store` writes it:", new))
    faults = figures.worse(found, stored["figures"])
    if faults:
        print(figures.said("Worse by more than a tenth:", faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
