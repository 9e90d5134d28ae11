"""What is mutated, and which tests have to notice."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
MODULES = {
    "_checks": [f"jaxbox/_checks/{room}.py" for room in ("arrays", "options", "calls")],
    "numerics": ["jaxbox/numerics.py"],
    "boxes": ["jaxbox/boxes.py"],
    "similarity": ["jaxbox/similarity.py"],
    "losses": [f"jaxbox/losses/{family}.py" for family in ("preparation", "coordinates", "overlap", "distributions")],
    "reductions": ["jaxbox/reductions.py"],
}
CORE = [file for files in MODULES.values() for file in files]
TESTS = [
    *(f"tests/test_{name}.py" for name in ("numerics", "boxes", "similarity", "losses", "distributions")),
    *(f"tests/test_{name}.py" for name in ("disagreements", "reductions", "compiled", "guarantees")),
    *(f"tests/test_{name}.py" for name in ("messages", "limits")),
    "tests/test_many_devices.py::test_eight_devices_give_the_loss_the_gradients_and_the_running_mean_of_one",
]
TEST_FILES = [test.split("::")[0] for test in TESTS]
# What the tests import, besides the core.
SUPPORT = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/*.py") if not path.name.startswith("test_"))
SUPPORT.append("tests/tools/mutation/worker.py")
