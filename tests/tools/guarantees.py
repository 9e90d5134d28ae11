"""What the library promises for every pair of boxes, measured: `uv run python -m tests.tools.guarantees`.

Two tables. The first counts the values and derivatives of every loss and similarity that are not finite, or not in
their range, over all kinds of pairs, precisions and transforms. The second is the worst error of float32. The suite
tests a part of the first and all of the second.
"""

import argparse
import collections
import dataclasses
import functools
import itertools
import json
import pathlib
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import rich.progress
from jax import lax

from jaxbox import losses, similarity
from tests import cases
from tests.programs import float32_errors
from tests.shapes import SOLIDS, TURNED, UPRIGHT, Shape
from tests.table import EVERY
from tests.test_similarity import similarity_of

DTYPES = ("float64", "float32", "bfloat16", "float16")

SHAPES = UPRIGHT, TURNED, SOLIDS
# The awkward pairs by group, in the order of the table: a shape and a name each.
GROUPS = {
    group: tuple((shape, name) for shape in SHAPES for name, case in shape.awkward.items() if case.group == group)
    for group in dict.fromkeys(case.group for shape in SHAPES for case in shape.awkward.values())
}


@dataclasses.dataclass(frozen=True)
class Promise:
    """A function of two boxes of a shape, and the range it promises for those not flipped, and for those that are."""

    function: Callable[[jax.Array, jax.Array], jax.Array]
    lower: float
    upper: float
    upper_if_flipped: float
    shape: Shape = UPRIGHT


def of_logits(a, b):
    return losses.distribution_focal_loss(a, b[..., 0])


def of_variance_1(a, b):
    return losses.uncertain_l1_loss(a, jnp.zeros_like(a), b)


def promises():
    """Every public loss and similarity by its name."""
    found = {row.name: Promise(row, 0, row.upper, row.upper_if_flipped or row.upper, row.shape) for row in EVERY}
    found["distribution_focal_loss"] = Promise(of_logits, 0, np.inf, np.inf)
    found["uncertain_l1_loss"] = Promise(of_variance_1, -np.inf, np.inf, np.inf)
    for name in similarity.__all__:
        if name == "pairwise":
            continue
        loss = found.get(f"{name}_loss")
        span = (
            1 if loss is None else loss.upper * (2 if name.endswith("mgiou") else 1)
        )  # that loss is half of 1 - MGIoU
        found[name] = Promise(similarity_of(name), 1 - span, 1, 1, UPRIGHT if loss is None else loss.shape)
    return found


def of_pair(function):
    """A function of two boxes as one of the numbers of both."""
    return lambda pair: function(*jnp.split(pair, 2, axis=-1))


def by_scan(function, pairs):
    return lax.scan(lambda carry, pair: (carry, jax.value_and_grad(of_pair(function))(pair)), None, pairs)[1]


def of_all(function, pairs):
    values, pull = jax.vjp(of_pair(function), pairs)
    return values, pull(jnp.ones_like(values))[0]


def by_rows(function, pairs):
    return jax.vmap(jax.value_and_grad(of_pair(function)))(pairs)


def by_directions(function, pairs):
    values = jax.vmap(of_pair(function))(pairs)
    return values, jax.vmap(jax.jacfwd(of_pair(function)))(pairs)


def second(function, pairs):
    values = jax.vmap(of_pair(function))(pairs)
    return values, jax.vmap(jax.hessian(of_pair(function)))(pairs)


def without_nans(function, pairs):
    with jax.debug_nans(True), jax.disable_jit():  # so that every operation on the way is looked at
        return of_all(function, pairs)


def compiled(transform):
    # What is asked is whether a number is finite, so that LLVM need not optimize.
    return lambda function, pairs: jax.jit(
        functools.partial(transform, function), compiler_options={"xla_backend_optimization_level": 0}
    )(pairs)


TRANSFORMS = {
    "plain": of_all,
    "jit": compiled(of_all),
    "vmap(grad)": compiled(by_rows),
    "scan": compiled(by_scan),
    "remat": compiled(lambda function, pairs: by_rows(jax.checkpoint(function), pairs)),
    "jax_debug_nans": without_nans,
    "forward mode": compiled(by_directions),
    "Hessian": compiled(second),
}


def is_held(case, dtype, shape=UPRIGHT):
    """Whether a dtype can hold a pair: no coordinate is infinite, and no side changes its sign or becomes 0."""
    boxes = np.array([*case])
    with np.errstate(over="ignore"):
        stored = boxes.astype(dtype).astype(np.float64)
    return np.all(np.isfinite(stored)) and np.array_equal(*(np.sign(shape.sides(x)) for x in (boxes, stored)))


def kinds_for(dtype, transform, shape=UPRIGHT):
    kinds = shape.moderate if transform == "Hessian" else shape.awkward
    return {kind: case for kind, case in kinds.items() if is_held(case, jnp.dtype(dtype), shape)}


@functools.cache
def exact_derivatives(name, dtype, transform):
    """The derivatives in float32 of pairs that were rounded to a half precision."""
    promise = promises()[name]
    pairs = np.concatenate(cases.stacked(kinds_for(dtype, transform, promise.shape)), axis=-1).astype(dtype)
    return np.asarray(TRANSFORMS[transform](promise.function, jnp.asarray(pairs, jnp.float32))[1])


def count(name, dtype, transform):
    """Runs a transform of a function over the kinds of pairs that a dtype holds.

    Returns:
      By kind, what is wrong: "" if nothing is, "overflow" if a derivative is infinite because the true one is beyond a
      half precision, else what was found.
    """
    promise = promises()[name]
    kinds = kinds_for(dtype, transform, promise.shape)
    pairs = jnp.asarray(np.concatenate(cases.stacked(kinds), axis=-1), dtype)
    values, derivatives = (np.asarray(x, np.float64) for x in TRANSFORMS[transform](promise.function, pairs))
    finite = np.isfinite(derivatives)
    if jnp.finfo(dtype).bits == 16 and not np.all(finite):
        exact = exact_derivatives(name, dtype, "Hessian" if transform == "Hessian" else "vmap(grad)")
        beyond = np.isinf(derivatives) & (np.abs(exact) > float(jnp.finfo(dtype).max))
    else:
        beyond = np.zeros_like(finite)
    result = {}
    for kind, value, fine, over in zip(kinds, values, finite, beyond, strict=True):
        upper = promise.upper_if_flipped if promise.shape.flipped(kinds[kind]) else promise.upper
        in_range = promise.lower - 1e-6 <= value <= upper + 1e-6
        wrong = not np.isfinite(value) or not np.all(fine | over)
        result[kind] = "not finite" if wrong else "out of range" if not in_range else "overflow" if np.any(over) else ""
    return result


def matrix(names):
    """Yields every combination of function, dtype and transform with what `count` found."""
    for name, dtype, transform in itertools.product(names, DTYPES, TRANSFORMS):
        jax.config.update("jax_enable_x64", dtype == "float64")  # jax 0.6 has no jax.enable_x64
        yield (name, dtype, transform), count(name, dtype, transform)


def table_of_kinds(found):
    """The cells of `matrix` that are wrong, by group of kinds and dtype, as Markdown."""
    cells = collections.defaultdict(collections.Counter)
    for (_, dtype, _), result in found.items():
        for kind, what in result.items():
            cells[kind, dtype][what] += 1
    lines = ["| pairs | " + " | ".join(DTYPES) + " |", "|---" * (1 + len(DTYPES)) + "|"]
    for group, kinds in GROUPS.items():
        row = []
        for dtype in DTYPES:
            counts = sum((cells[kind, dtype] for kind in {kind for _, kind in kinds}), collections.Counter())
            wrong = counts["not finite"] + counts["out of range"]
            beyond = f", {counts['overflow']} beyond" if counts["overflow"] else ""
            row.append(f"{wrong} of {counts.total()}{beyond}" if counts else "not held")
        lines.append(f"| {group} | " + " | ".join(row) + " |")
    return "\n".join(lines)


PLACES = {"[0, 1]": 0.0, "at 1e3": 1e3, "at 1e5": 1e5}


def table_of_errors(errors):
    """The errors of every loss and place, as Markdown."""
    lines = [
        "| loss | " + " | ".join(f"value, {place} | gradient, {place}" for place in PLACES) + " |",
        "|---" * (1 + 2 * len(PLACES)) + "|",
    ]
    for name, by_place in errors.items():
        lines.append(f"| `{name}` | " + " | ".join(f"{error:.1e}" for pair in by_place for error in pair) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.tools.guarantees", description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=promises(), help="losses and similarities")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="for all that was found, as JSON")
    chosen = parser.parse_args()
    names = chosen.only or list(promises())
    total = len(names) * len(DTYPES) * len(TRANSFORMS)
    found = dict(rich.progress.track(matrix(names), "derivatives", total))
    rows = [row for row in EVERY if row.name in names]
    jax.config.update("jax_enable_x64", True)
    errors = {
        row.name: [float32_errors(row, offset) for offset in PLACES.values()]
        for row in rich.progress.track(rows, "errors of float32")
    }
    cells = [(*cell, kind, what) for cell, kinds in found.items() for kind, what in kinds.items()]
    wrong = [cell for cell in cells if cell[-1] not in ("", "overflow")]
    print(f"{len(names)} functions, {len(cells)} cells, {len(wrong)} wrong\n")
    print(table_of_kinds(found), table_of_errors(errors), sep="\n\n")
    for cell in wrong:
        print(*cell, sep=", ")
    if chosen.out:
        chosen.out.write_text(json.dumps({"cells": cells, "errors": errors}, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
