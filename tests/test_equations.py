"""Every equation of the article has an entry in the code, whose docstring cites it."""

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

TABLE = (Path(__file__).parents[1] / "docs" / "equations.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", TABLE, flags=re.MULTILINE)
ENTRIES = [(int(number), path) for number, _, text in ROWS for path in text.split(", ")]


def resolve(path):
    """Return the object ``module:name``, or the module itself."""
    module, _, name = path.partition(":")
    imported = import_module(f"capsbench.{module}")
    return reduce(getattr, name.split("."), imported) if name else imported


def cited(docstring):
    """Return the numbers that a docstring cites, except those of other papers: '(2017, eq. 4)'."""
    numbers: set[int] = set()
    for text in re.findall(r"(?<!\d{4}, )eq\.\s+(\d[\d\s,;-]*)", docstring):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def test_every_equation_has_a_row():
    assert [int(number) for number, _, _ in ROWS] == list(range(30))


@pytest.mark.parametrize(("number", "path"), ENTRIES)
def test_the_object_exists_and_cites_it(number, path):
    assert re.fullmatch(r"`[\w.]+(:[\w.]+)?`", path)
    assert number in cited(resolve(path.strip("`")).__doc__)


@pytest.mark.parametrize(
    ("docstring", "numbers"),
    [
        ("Votes (article, eq. 4, 7).", {4, 7}),
        ("Moments (article, eq. 16-17; 22 with votes).", {16, 17, 22}),
        ("Sums to one (eq. 8). Squashed (eq. 10).", {8, 10}),
        ("Loss (Sabour 2017, eq. 4).", set()),
        ("Broken over a line (article, eq.\n    20-22).", {20, 21, 22}),
    ],
)
def test_citations_are_parsed(docstring, numbers):
    assert cited(docstring) == numbers
