"""Every equation of the article has a place in the code, and its docstring says so."""

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

TABLE = (Path(__file__).parents[1] / "docs" / "equations.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", TABLE, flags=re.MULTILINE)
PLACES = [(int(number), place) for number, _, text in ROWS for place in text.split(", ")]


def named(place):
    """What ``module:name`` stands for, or the module itself."""
    module, _, name = place.partition(":")
    found = import_module(f"capsbench.{module}")
    return reduce(getattr, name.split("."), found) if name else found


def cited(docstring):
    """The numbers that a docstring cites, and not those of another paper: '(2017, eq. 4)'."""
    numbers: set[int] = set()
    for text in re.findall(r"(?<!\d{4}, )eq\.\s+(\d[\d\s,;-]*)", docstring):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def test_every_equation_has_a_row():
    assert [int(number) for number, _, _ in ROWS] == list(range(30))


@pytest.mark.parametrize(("number", "place"), PLACES)
def test_its_place_exists_and_cites_it(number, place):
    assert re.fullmatch(r"`[\w.]+(:[\w.]+)?`", place)
    assert number in cited(named(place.strip("`")).__doc__)


@pytest.mark.parametrize(
    ("docstring", "numbers"),
    [
        ("Votes (article, eq. 4, 7).", {4, 7}),
        ("Moments (article, eq. 16-17; 22 with votes).", {16, 17, 22}),
        ("Whether one (eq. 8)? And (eq. 10).", {8, 10}),
        ("Loss (Sabour 2017, eq. 4).", set()),
        ("Broken over a line (article, eq.\n    20-22).", {20, 21, 22}),
    ],
)
def test_citations_are_read(docstring, numbers):
    assert cited(docstring) == numbers
