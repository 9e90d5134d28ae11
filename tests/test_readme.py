"""The README against the code. Its examples run as doctests beside this file."""

import pathlib
import re

from jaxbox.demo import catalogue

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def test_the_table_of_losses_is_that_of_the_code():
    rows = [
        f"| `{entry.name}_loss` | `{entry.formula}` | `{entry.range}` | {entry.paper} |"
        for entry in catalogue.entries()
    ]
    table = README.split("## The losses")[1].split("\n## ")[0]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows


def test_every_name_that_the_readme_gives_exists():
    import jaxbox

    for module, name in re.findall(r"`(boxes|losses|reductions|similarity)\.(\w+)", README):
        assert hasattr(getattr(jaxbox, module), name), f"{module}.{name}"
