"""What surrounds the package: its metadata, and the texts and workflows for those who maintain it."""

import pathlib
import re
import tomllib

import jax.numpy as jnp
import pytest

import jaxbox
from jaxbox import losses, similarity
from tests import cases

ROOT = pathlib.Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHANGELOG = (ROOT / ".github" / "CHANGELOG.md").read_text()


def links(text):
    return re.findall(r"\]\(([^)]+)\)", text)


def long_description():
    """The README as a package index shows it."""
    text = (ROOT / "README.md").read_text()
    for substitution in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    return text


def test_a_package_index_gets_no_link_that_is_relative():
    assert [link for link in links(long_description()) if not link.startswith(("https://", "#"))] == []
    assert 'src="' not in long_description()


def test_a_package_index_gets_pictures_and_not_the_pages_that_show_them():
    source = PYPROJECT["project"]["urls"]["Source"]
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", long_description())
    assert pictures
    for picture in pictures:
        assert (ROOT / picture.removeprefix(f"{source}/raw/HEAD/")).suffix == ".png"
        assert (ROOT / picture.removeprefix(f"{source}/raw/HEAD/")).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / ".github").glob("*.md")), ids=lambda path: path.name)
def test_every_file_that_a_text_links_exists(path):
    relative = [link for link in links(path.read_text()) if not link.startswith(("https://", "#"))]
    assert [link for link in relative if not (path.parent / link).exists()] == []


def test_the_version_is_one():
    assert PYPROJECT["project"]["version"] == jaxbox.__version__
    assert re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)[:2] == ["Unreleased", jaxbox.__version__]


def test_tests_of_one_group_go_to_one_process(request):
    if not hasattr(request.config, "workerinput"):
        pytest.skip("there is one process")
    assert request.node.nodeid.endswith(f"@{request.path}")  # what pytest-xdist tells groups by


def test_the_versions_of_python_that_are_promised_are_those_that_are_tested():
    project = PYPROJECT["project"]
    promised = [
        name.split()[-1] for name in project["classifiers"] if name.startswith("Programming Language :: Python :: 3.")
    ]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    (tested,) = re.findall(r"python: \[(.*)\]", workflow)
    assert re.findall(r'"([\d.]+)"', tested) == promised
    assert project["requires-python"] == f">={promised[0]}"
    assert (ROOT / ".python-version").read_text().strip() == promised[0]


INSTEAD = re.findall(r"^  \| `[^`]*similarity[^`]*` \| `([^`]+)` \|$", CHANGELOG, re.MULTILINE)


@pytest.mark.parametrize("code", INSTEAD)
def test_what_the_changelog_says_to_write_runs(code):
    a, b = (jnp.asarray(x, jnp.float32) for x in cases.random_pairs(6, seed=0))
    values = eval(code, {"losses": losses, "similarity": similarity, "a": a, "b": b, "h": 480.0, "w": 640.0})
    assert values.shape == (6,)
    assert jnp.all(jnp.isfinite(values))


def test_there_is_something_to_write_instead():
    assert len(INSTEAD) > 10
