"""What is mutated, and which tests have to notice."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
MODULES = {
    "numerics": ["jaxbox/numerics.py"],
    "boxes": ["jaxbox/boxes.py"],
    "similarity": ["jaxbox/similarity.py"],
    "losses": [f"jaxbox/losses/{family}.py" for family in ("preparation", "coordinates", "overlap", "distributions")],
    "reductions": ["jaxbox/reductions.py"],
}
CORE = [file for files in MODULES.values() for file in files]
NAMES = (
    "numerics",
    "boxes",
    "similarity",
    "losses",
    "distributions",
    "disagreements",
    "reductions",
    "compiled",
    "guarantees",
)
TESTS = [file for file in (f"tests/test_{name}.py" for name in NAMES) if (ROOT / file).exists()]
# What the tests import, besides the core.
SUPPORT = [f"tests/{name}.py" for name in ("conftest", "cases", "reference", "eight_devices", "mutation/worker")]
