"""The command: makes the mutants, has two processes run the tests on them, and counts.

    uv run python -m tests.tools.mutation --only numerics boxes
    uv run python -m tests.tools.mutation --sample 60 --seed 1
    uv run python -m tests.tools.mutation --only costs --near
    uv run python -m tests.tools.mutation --resume

The files of tests are taken one after the other, those first that look closely at the modules of `--only`: each is
measured without a mutant, and then run with every mutant that is still alive. So the last ones are only needed for what
the others let live; `--near` leaves them out, which takes about half a second a mutant. It exits with 1 when a mutant
survives that `equivalent.py` does not explain.
"""

import argparse
import json
import pathlib
import random
import sys
import time

import rich.console
import rich.progress

from tests.tools.mutation.baseline import baseline
from tests.tools.mutation.core import CORE, MODULES, ROOT, groups_for, loaded_by
from tests.tools.mutation.equivalent import EQUIVALENT
from tests.tools.mutation.mutants import Source, misplaced
from tests.tools.mutation.report import report
from tests.tools.mutation.run import Results, Run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description="Mutation tests of the core.")
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES), help="modules to mutate")
    parser.add_argument("--near", action="store_true", help="run only the tests that look most closely at the modules")
    parser.add_argument("--sample", type=int, help="how many mutants to draw; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--budget", type=float, default=60, help="seconds of each file of tests for a mutant, without compilation"
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/mutation"), help="folder of the record")
    parser.add_argument("--resume", action="store_true", help="keep the results of an interrupted run")
    options = parser.parse_args()
    out = options.out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    every = [mutant for file in CORE for mutant in Source(ROOT / file, file).mutants]
    if wrong := misplaced(EQUIVALENT, every):
        raise SystemExit("These explanations in equivalent.py are not of one mutant:\n" + "\n".join(map(str, wrong)))
    mutants = [mutant for mutant in every if any(mutant.file in MODULES[module] for module in options.only)]
    random.Random(options.seed).shuffle(mutants)  # so that the time left can be told
    mutants = mutants[: options.sample]

    columns = ["{task.description}", rich.progress.BarColumn(), "{task.completed}/{task.total}"]
    times = [rich.progress.TimeElapsedColumn(), rich.progress.TimeRemainingColumn(), "{task.fields[survived]}"]
    console = rich.console.Console()
    results = Results(out, options.resume)
    with rich.progress.Progress(*columns, *times, console=console) as progress:
        for group in groups_for(options.only, options.near).items():
            loaded = loaded_by(group[1])
            alive = [mutant for mutant in mutants if mutant.file in loaded and results.killer(mutant) is None]
            if alive:
                Run(alive, baseline(group, out, options.jobs, progress), results, options, progress).run()
    record = report(sorted(mutants, key=every.index), results, console)
    record |= {"seconds": time.perf_counter() - start, "sample": options.sample, "seed": options.seed}
    (out / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    return 1 if record["modules"]["all"]["survived"] or record["wrongly_explained"] else 0


if __name__ == "__main__":
    sys.exit(main())
