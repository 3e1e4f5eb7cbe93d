"""`capsbench compare`: two benchmarks, two cells, and what is refused."""

import shutil
from pathlib import Path

import pytest

from capsbench.cli.compare import parse_pairs
from capsbench.errors import UserError

PAIR = ("--pair", "small=smaller")


def test_two_models_of_one_benchmark(cli, cells):
    code, text, err = cli("compare", "runs/tiny", "runs/tiny", *PAIR)
    assert (code, err) == (0, "")
    page = Path("runs/comparisons/runs-tiny-runs-tiny.html")
    assert page.is_file()
    assert page.resolve().as_uri() in text
    for words in ("smaller minus small", "Rotation 0°, familiar", "model.arguments.width"):
        assert words in text
    code, content, _ = cli("compare", "runs/tiny", "runs/tiny", *PAIR, "--page", "p.html", "--json")
    assert code == 0
    assert content["page"] == "p.html" and Path("p.html").is_file()
    assert {row["setting"] for row in content["settings"]} == {
        "model.arguments.width",
        "model.arguments.hidden",
    }
    assert {row["low"] for row in content["differences"]} == {None}  # one seed


def test_two_cells_are_compared_over_images(cli, cells):
    code, content, err = cli("compare", *map(str, cells.values()), "--json")
    assert (code, err) == (0, "")
    at_views = [row for row in content["differences"] if row["view"] is not None]
    assert len(at_views) == 3
    assert any(row["low"] is not None for row in at_views)
    assert Path(content["page"]).is_file()


def test_equal_runs_in_two_folders(cli, cells):
    shutil.copytree("runs", "other")
    code, content, _ = cli("compare", "runs/tiny", "other/tiny", "--json")
    assert code == 0
    assert content["settings"] == []
    assert {row["difference"] for row in content["differences"]} == {0}
    assert [row["a"] for row in content["models"]] == ["small", "smaller"]
    _, text, _ = cli("compare", "runs/tiny", "other/tiny")
    assert f"All {len(content['differences'])} values of A and B are equal." in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs/tiny", "runs/tiny"), ("the same trainings", "--pair")),
        (("runs/tiny", "runs"), ("runs holds no records", "runs/quick")),
        (("runs/tiny", "runs/tiny", "--pair", "small"), ("--pair takes MODEL=MODEL",)),
        (("runs/tiny", "runs/tiny", "--pair", "smal=small"), ("did you mean 'small'",)),
        (("runs/tiny", "nowhere"), ("no folder 'nowhere'",)),
    ],
)
def test_bad_input_is_refused_in_one_line(refusal, cells, arguments, words):
    message = refusal("compare", *arguments)
    assert [word for word in words if word not in message] == []
    assert not Path("runs/comparisons").exists()


def test_a_cell_and_a_benchmark_are_refused(refusal, cells):
    message = refusal("compare", str(cells["small"]), "runs/tiny")
    assert "is a single cell" in message


def test_pairs():
    assert parse_pairs(["a=b", "c d=e=f"]) == {"a": "b", "c d": "e=f"}
    for pairs in (["a="], ["=b"], ["a=b", "a=c"]):
        with pytest.raises(UserError, match="--pair"):
            parse_pairs(pairs)
