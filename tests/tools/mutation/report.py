"""Counts the mutants, and shows those that survive."""

import dataclasses
import json

import rich.box
import rich.console
import rich.table

from tests.tools.mutation.core import CORE, MODULES
from tests.tools.mutation.equivalent import EQUIVALENT
from tests.tools.mutation.mutants import Mutant
from tests.tools.mutation.run import Results


def as_entry(mutant: Mutant) -> str:
    """The line of `equivalent.py` that would explain a mutant."""
    function, change = map(json.dumps, mutant.key)
    return f'({function}, {change}): "why nothing follows from it",'


def how_tried(entries: list[dict]) -> str:
    """How many tests ran with a mutant that survived, and how it got into them."""
    ran, tests = (sum(entry[what] for entry in entries) for what in ("ran", "tests"))
    loaded = ", loaded in a process of its own" if any(entry.get("loaded") for entry in entries) else ""
    return f"{ran} of {tests} tests{loaded}" if ran else "NO TEST RUNS IT"


def report(mutants: list[Mutant], results: Results, console: rich.console.Console) -> dict:
    """Prints the table and the survivors; returns the record."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    for title in ("module", "mutants", "killed", "explained", "survived", "not run", "share"):
        table.add_column(title, justify="left" if title == "module" else "right")
    record = {"modules": {}, "survivors": [], "wrongly_explained": []}
    for module, files in [*MODULES.items(), ("all", CORE)]:
        own = [mutant for mutant in mutants if mutant.file in files]
        if not own and module != "all":
            continue
        alive = [mutant for mutant in own if not results.killer(mutant)]
        left = [mutant for mutant in alive if mutant.key not in EQUIVALENT]
        killed, explained = len(own) - len(alive), len(alive) - len(left)
        not_run = sum(not any(entry["ran"] for entry in results.of(mutant)) for mutant in left)
        row = {"mutants": len(own), "killed": killed, "explained": explained, "survived": len(left), "not run": not_run}
        share = killed / (killed + len(left)) if killed + len(left) else 1.0
        record["modules"][module] = row | {"share": round(share, 4)}
        table.add_row(module, *map(str, row.values()), f"{100 * share:.1f} %")
    for mutant in mutants:
        entries, killer, explanation = results.of(mutant), results.killer(mutant), EQUIVALENT.get(mutant.key)
        if killer and explanation:
            record["wrongly_explained"].append(mutant.key)
            console.print(f"{mutant.key} is explained as equivalent, but {killer} fails", markup=False)
        if killer:
            continue
        record["survivors"].append(dataclasses.asdict(mutant) | {"entries": entries, "explanation": explanation})
        if not explanation:
            console.print(f"{mutant.file}:{mutant.line}, {how_tried(entries)}", style="bold", markup=False)
            for line in (f"- {mutant.before}", f"+ {mutant.after}", as_entry(mutant)):
                console.print(f"  {line}", markup=False, soft_wrap=True, highlight=False)
    console.print(table)
    loaded = sum(any(entry.get("loaded") for entry in results.of(mutant)) for mutant in mutants)
    console.print(
        f"{loaded} mutants were loaded in a process of their own. No test runs those that are counted as not run."
    )
    return record | {"loaded": loaded}
