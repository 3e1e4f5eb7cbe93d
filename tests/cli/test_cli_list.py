"""`capsbench list`: names with summaries."""

import pytest

from capsbench.names import Kind, Target, table

KINDS: dict[Kind, str] = {
    "models": "model",
    "datamodules": "data module",
    "benchmarks": "benchmark",
    "measures": "measure",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_a_kind_with_its_summary(cli, kind):
    code, rows, _ = cli("list", kind, "--json")
    assert code == 0
    assert [row["name"] for row in rows] == list(table(kind))
    assert {row["name"]: row["summary"] for row in rows} == {
        name: target.summary() for name, target in table(kind).items()
    }
    assert all(row["summary"] for row in rows)
    code, text, _ = cli("list", kind)
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    for row in rows:
        assert [row["name"], *row["summary"].split()[:2]] in [line[:3] for line in lines]


def test_measures_are_listed_with_the_place_of_their_class(cli):
    _, rows, _ = cli("list", "measures", "--json")
    places = {row["name"]: row["where"] for row in rows}
    assert places["invariance-error"] == "capsbench.measures.invariance_error:InvarianceError"


def test_all_kinds(cli):
    code, rows, _ = cli("list", "--json")
    assert code == 0
    expected = [(singular, name) for kind, singular in KINDS.items() for name in table(kind)]
    assert [(row["kind"], row["name"]) for row in rows] == expected
    _, text, _ = cli("list")
    lines = [line.split()[:3] for line in text.splitlines()]
    assert ["data", "module", "digits"] in lines
    assert ["measure", "attacks"] in [line[:2] for line in lines]


def test_a_broken_plug_in_hides_no_other_name(cli, monkeypatch):
    broken = Target("models", "broken", "nopackage.net", None, "Net")
    monkeypatch.setattr(
        "capsbench.cli.listing.table", lambda kind: {**table(kind), "broken": broken}
    )
    code, rows, _ = cli("list", "models", "--json")
    assert code == 0
    assert rows[-1]["summary"].startswith("broken: ")
    assert "'nopackage.net'" in rows[-1]["summary"]
    assert rows[0]["name"] == next(iter(table("models")))
