"""The README against the code. Its examples run as doctests beside this file."""

import json
import pathlib
import re

import jax.numpy as jnp
import pytest

from jaxbox import boxes, losses, reductions, similarity
from jaxbox.demo import catalogue
from tests import cases
from tests.tools import guarantees

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def escaped(formula):
    """As a cell of a table holds it: GitHub cuts a cell at each other bar, even between backquotes."""
    return formula.replace("|", r"\|")


def tables():
    """Every table with its rows, each row with its cells, as GitHub cuts them."""
    lines = [line.strip() for line in README.splitlines()]
    found = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("|"):
            continue
        if re.fullmatch(r"[|:-]+", after):
            found.append([])
        found[-1].append(re.split(r"(?<!\\)\|", line)[1:-1])
    return found


@pytest.mark.parametrize("rows", tables(), ids=lambda rows: rows[0][0].strip())
def test_every_row_of_a_table_has_as_many_cells_as_its_head(rows):
    assert [len(row) for row in rows] == [len(rows[0])] * len(rows)
    assert len(rows) > 2


def test_there_are_tables():
    assert len(tables()) >= 10


def test_every_link_within_the_page_leads_to_a_heading():
    headings = [heading.lower() for heading in re.findall("^#+ (.+)$", README, re.MULTILINE)]
    anchors = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert links
    assert set(links) <= anchors


def test_every_file_that_the_page_links_or_shows_exists():
    links = re.findall(r"\]\(((?!#|https?:)[^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_words_are_center_and_flipped():
    """Rows of tables repeat names of the code, and examples its messages."""
    prose = [line for line in README.splitlines() if not line.strip().startswith(("|", "box ["))]
    cells = [cell for path in (ROOT / "notebooks").glob("*.ipynb") for cell in json.loads(path.read_text())["cells"]]
    sources = [line for cell in cells for line in cell["source"]]
    drawn = [
        line
        for path in sorted((ROOT / "jaxbox").rglob("*.py"))
        for line in path.read_text().replace("set_inverted", "").splitlines()
    ]
    assert [line for line in [*prose, *sources, *drawn] if re.search("(?i)centre|inver(ted|sion)", line)] == []


def test_the_table_of_losses_is_that_of_the_code():
    rows = [
        f"| `{name}_loss` | `{escaped(formula)}` | `{interval}` | {held} | {paper} |"
        for name, formula, interval, held, paper in catalogue.entries()
    ]
    table = README.split("## The losses")[1].split("\nFor every loss")[0]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows


def test_every_name_that_the_readme_gives_exists():
    import jaxbox

    for module, name in re.findall(r"`(boxes|losses|reductions|similarity)\.(\w+)", README):
        assert hasattr(getattr(jaxbox, module), name), f"{module}.{name}"


MIGRATIONS = re.findall(
    r"^\|[^|]+\| `([^`]+)` ?[^|]*\|", README.split("### Coming from")[1].split("\n## ")[0], re.MULTILINE
)


@pytest.mark.parametrize("code", MIGRATIONS)
def test_what_to_write_instead_runs(code):
    predictions, targets = (jnp.asarray(x, jnp.float32) for x in cases.random_pairs(6, seed=0))
    names = {"jnp": jnp, "boxes": boxes, "losses": losses, "reductions": reductions, "similarity": similarity}
    names |= {"predictions": predictions, "targets": targets, "a": predictions, "b": targets, "x": predictions}
    names |= {"logits": jnp.ones((6, 9)), "distances": jnp.ones(6), "weights": jnp.ones(6), "where": jnp.ones(6, bool)}
    result = eval(code, names | {"h": 480.0, "w": 640.0, "n": 3})
    assert result.shape in [(), (6,), (6, 6), (6, 4)]
    assert jnp.all(jnp.isfinite(result))


def test_there_are_migrations():
    assert len(MIGRATIONS) > 25


def test_the_table_of_starts_is_that_of_the_tests():
    from tests.test_losses import LOSSES

    table = README.split("only from some starts:")[1].split("\n### ")[0]
    limited = [row for row in LOSSES if row.reaches_the_target_only_from]
    rows = [
        f"| `{row.name}` | {within.__name__.replace('_', ' ')} | {reason} |"
        for row in limited
        for within, reason in [row.reaches_the_target_only_from]
    ]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows


def test_the_table_of_the_guarantee_counts_every_cell_and_nothing_wrong():
    table = README.split("## The guarantee")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if re.match(r"\| [^|]+ \| (\d+ of|not held)", line)]
    lines = [row.strip("| ").split(" | ") for row in rows]
    assert [line[0] for line in lines] == list(guarantees.GROUPS)
    for group, *cells in lines:
        for dtype, cell in zip(guarantees.DTYPES, cells, strict=True):
            count = guarantees.count_of_cells(group, dtype)
            assert re.fullmatch(f"0 of {count}(, [0-9]+ beyond)?" if count else "not held", cell)
