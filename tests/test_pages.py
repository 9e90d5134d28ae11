"""The pages against the code: README.md and those of the folders. Their examples run as doctests beside this file."""

import importlib.util
import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbox
from jaxbox import assigners, boxes, coders, costs, detectors, losses, reductions, rotated, similarity, suppression
from tests import cases
from tests.tools import tables

ROOT = pathlib.Path(__file__).parent.parent
FIRST = ROOT / "README.md"
PAGES = [FIRST, *sorted(page for folder in ("jaxbox", "tests") for page in (ROOT / folder).rglob("README.md"))]
TEXTS = [*PAGES, *sorted((ROOT / ".github").rglob("*.md"))]


def with_each(paths):
    return pytest.mark.parametrize("page", paths, ids=lambda path: str(path.relative_to(ROOT)))


def prose(page):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def tables_of(page):
    """Every table with its rows, each row with its cells, as GitHub cuts them."""
    lines = [line.strip() for line in prose(page).splitlines()]
    found = []
    for line, after in zip(lines, [*lines[1:], ""], strict=False):
        if not line.startswith("|"):
            continue
        if re.fullmatch(r"[|:-]+", after):
            found.append([])
        found[-1].append(re.split(r"(?<!\\)\|", line)[1:-1])
    return found


def anchors(page):
    """What a link to a heading of a page ends in."""
    headings = re.findall("^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_first_page_has_at_most_200_lines():
    assert len(FIRST.read_text().splitlines()) <= 200


def test_there_are_pages_and_tables():
    assert len(PAGES) >= 4
    assert sum(len(tables_of(page)) for page in PAGES) >= 10


@with_each(TEXTS)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(page):
    for rows in tables_of(page):
        assert len(rows) > 2
        assert [row for row in rows if len(row) != len(rows[0])] == []


@with_each(TEXTS)
def test_every_file_and_heading_that_a_page_links_exists(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if not link.startswith(("http:", "https:"))]
    missing = []
    for link in links:
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            missing.append(link)
    assert missing == []


def test_the_first_page_leads_to_every_other():
    links = re.findall(r"\]\(([^)#\s]+)", prose(FIRST))
    assert [page for page in PAGES[1:] if str(page.relative_to(ROOT)) not in links] == []


@with_each(TEXTS)
def test_the_words_of_a_page_are_center_and_flipped(page):
    """Rows of tables and code repeat names, also those of other libraries and of earlier versions."""
    text = re.sub(r"`[^`\n]*`", "", page.read_text())
    lines = [line for line in text.splitlines() if not line.strip().startswith(("|", "box ["))]
    assert [line for line in lines if re.search("(?i)centre|inver(ted|sion)", line)] == []


def test_the_words_of_the_code_and_the_notebooks_are_center_and_flipped():
    cells = [cell for path in (ROOT / "notebooks").glob("*.ipynb") for cell in json.loads(path.read_text())["cells"]]
    sources = [line for cell in cells for line in cell["source"]]
    drawn = [
        line
        for path in sorted((ROOT / "jaxbox").rglob("*.py"))
        for line in path.read_text().replace("set_inverted", "").splitlines()
    ]
    assert [line for line in [*sources, *drawn] if re.search("(?i)centre|inver(ted|sion)", line)] == []


@with_each(PAGES)
def test_every_name_that_a_page_gives_exists(page):
    text = page.read_text()
    names = [
        (name, "detectors" if hasattr(detectors, name) else "losses") for name in re.findall(r"`(\w+_loss)`", text)
    ]
    names += [(name, module) for module, name in re.findall(rf"`({'|'.join(jaxbox.__all__)})\.(\w+)", text)]
    assert [f"{module}.{name}" for name, module in names if not hasattr(getattr(jaxbox, module), name)] == []


@with_each(PAGES)
def test_every_file_and_command_that_a_page_names_exists(page):
    text = page.read_text()
    files = re.findall(r"`((?:jaxbox|tests|notebooks|\.ci|\.github)/[\w./]+)`", text)
    commands = re.findall(r"-m (tests\.[\w.]*\w)", text)
    missing = [file for file in files if not (ROOT / file).exists()]
    assert missing + [command for command in commands if importlib.util.find_spec(command) is None] == []


def migrations(package):
    """What the table of a page says to write."""
    text = (ROOT / "jaxbox" / package / "README.md").read_text().split("\n## Coming from")[1].split("\n## ")[0]
    return re.findall(r"^\|[^|]+\| `([^`]+)` ?[^|]*\|", text, re.MULTILINE)


MIGRATIONS, OF_DETECTORS = migrations("losses"), migrations("detectors")


@pytest.mark.parametrize("code", MIGRATIONS)
def test_what_to_write_instead_runs(code):
    predictions, targets = (jnp.asarray(x, jnp.float32) for x in cases.random_pairs(6, seed=0))
    names = {
        "jnp": jnp,
        "jax": jax,
        "boxes": boxes,
        "coders": coders,
        "costs": costs,
        "losses": losses,
        "reductions": reductions,
        "similarity": similarity,
    }
    names |= {"predictions": predictions, "targets": targets, "a": predictions, "b": targets, "x": predictions}
    names |= {"onehot": jnp.ones((6, 9)), "points": jnp.ones((6, 2)), "rotated": rotated, "suppression": suppression}
    names |= {"turned": rotated.from_xyxy(predictions), "turned_targets": rotated.from_xyxy(targets)}
    names |= {"logits": jnp.ones((6, 9)), "distances": jnp.ones(6), "weights": jnp.ones(6), "where": jnp.ones(6, bool)}
    result = eval(code, names | {"h": 480.0, "w": 640.0, "n": 3})
    assert result.shape in [(), (6,), (6, 6), (6, 4), (6, 4, 2)]
    assert jnp.all(jnp.isfinite(result))


@pytest.mark.parametrize("code", OF_DETECTORS)
def test_what_to_write_instead_of_a_loss_of_a_detector_runs(code):
    rng = np.random.default_rng(0)
    points, strides = coders.grid_points((64, 64), (8, 16, 32))
    anchors = jnp.concatenate([points - 2 * strides[:, None], points + 2 * strides[:, None]], axis=-1)
    where = jnp.array([[True, True], [False, True]])
    goals = jnp.array([[[4.0, 4, 40, 50], [20, 22, 36, 40]]] * 2)
    targets = detectors.Targets(goals, jnp.array([[1, 2], [3, 4]]), where)
    shapes = {"logits": (5,), "deltas": (4,), "bins": (64,), "objectness": (), "centerness": (), "raw": (4,)}
    names: dict[str, Any] = {
        name: jnp.asarray(rng.normal(size=(2, 84, *shape)), jnp.float32) for name, shape in shapes.items()
    }
    names |= dict.fromkeys(("predictions", "proposals"), anchors[None] + names["deltas"])
    overlaps = similarity.pairwise(similarity.iou)(names["predictions"], goals)
    names |= {"inside": assigners.inside(points, goals), "near": assigners.near(points, goals, radius=2.5 * strides)}
    names |= {"distances": jnp.abs(names["deltas"]), "deltas_of_classes": jnp.stack([names["deltas"]] * 5, axis=2)}
    names |= {"probabilities": jax.nn.sigmoid(names["logits"]), "overlaps": overlaps, "charges": -overlaps}
    names |= {"targets": targets, "anchors": anchors, "points": points, "strides": strides}
    turned_goals = jnp.concatenate([boxes.xyxy_to_cxcywh(goals), jnp.full((2, 2, 1), 0.3)], axis=-1)
    turned = jnp.concatenate([boxes.xyxy_to_cxcywh(names["predictions"]), names["objectness"][..., None]], axis=-1)
    names |= {"turned": turned, "turned_targets": targets._replace(boxes=turned_goals), "angles": names["objectness"]}
    names |= {"sampled": names["objectness"] > 0, "jnp": jnp, "detectors": detectors, "losses": losses}
    names |= {"boxes": names["predictions"], "scores": names["objectness"], "classes": jnp.zeros((2, 84), int)}
    result = eval(code, names | {"assigners": assigners, "suppression": suppression, "similarity": similarity})
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(result))


def test_there_are_migrations():
    assert len(MIGRATIONS) > 25
    assert len(OF_DETECTORS) > 15


# The generated tables.


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_generated_table_is_as_the_code_makes_it(name):
    wrong = tables.stale(name)
    assert not wrong, "\n".join([*wrong, f"to mend it: {tables.COMMAND}"])


def test_every_mark_of_a_table_is_that_of_a_generated_one():
    marks = [
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for name in re.findall("^<!-- generated: (.+) -->$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(marks) == sorted((table.page, name) for name, table in tables.TABLES.items())


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The pages with generated tables in a folder of their own, on which the command works."""
    for page in {table.page for table in tables.TABLES.values()}:
        (tmp_path / page).parent.mkdir(parents=True)
        (tmp_path / page).write_text((ROOT / page).read_text())
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    return tmp_path


def change(page, old, new):
    assert page.read_text().count(old) == 1
    page.write_text(page.read_text().replace(old, new))


GIOU = "| `giou_loss` | `1 - IoU + (C - U) / C` |"
DIOU = "| `diou_loss` | `1 - IoU + rho^2 / D^2` |"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (GIOU, "| `gone_loss` | `1 - IoU + (C - U) / C` |", ["no row for `giou_loss`", "a row for `gone_loss`, which"]),
        (GIOU, "| `giou_loss` | `1` |", ["another row for `giou_loss`"]),
        (GIOU, f"{DIOU}\n{GIOU}", ["table of losses"]),
        ("| name | formula |", "| loss | formula |", ["another head"]),
        ("<!-- generated: starts -->\n", "", ["table of starts: no lines `<!-- generated: starts -->`"]),
    ],
)
def test_the_check_says_which_row_of_which_table_is_wrong(old, new, said, copies, capsys):
    page = copies / tables.TABLES["losses"].page
    change(page, old, new)
    changed = page.read_text()
    assert tables.main(["--check"]) == 1
    assert page.read_text() == changed
    printed = capsys.readouterr().out
    assert [line for line in [*said, tables.COMMAND] if line not in printed] == []
    assert "guarantee" not in printed


def test_the_command_writes_what_was_made_and_nothing_else(copies, capsys):
    pages = sorted(copies.rglob("README.md"))
    good = [page.read_text() for page in pages]
    for page in pages:
        page.write_text(re.sub(r"(?<= -->\n)\n\|.*?\n(?=<!-- end)", "", page.read_text(), flags=re.DOTALL))
    assert [page.read_text() for page in pages] != good
    assert tables.main([]) == 0
    assert [page.read_text() for page in pages] == good
    assert tables.main(["--check"]) == 0
    assert "as the code makes it" in capsys.readouterr().out
