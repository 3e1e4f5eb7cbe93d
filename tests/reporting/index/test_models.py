"""Leaderboard and sections of models on the page of a runs folder."""

from __future__ import annotations

from typing import Any

from capsbench.names import table
from capsbench.reporting.index.models import leaderboard, models_of
from capsbench.reporting.tables.table import Table
from tests.reporting.index.made_up import accuracy, summary


def board(summaries: Any) -> Table:
    return leaderboard(summaries, models_of(summaries))


def texts(shown: Table) -> list[list[str]]:
    return [[cell.text for cell in row.contents()] for row in shown.rows]


def test_every_network_of_ours_has_a_family():
    others = {name for name, target in table("models").items() if target.load().family == "other"}
    assert others == {"averaged"}  # which is a network of any family


def test_the_leaderboard_has_the_last_accuracy_of_each_benchmark():
    summaries = {
        "one": summary(
            accuracy("A", "a", "Familiar", 0.9),
            accuracy("A", "a", "Novel", 0.5),
            accuracy("B", "b", "Novel", 0.25, parameters=2000),
        ),
        "two": summary(accuracy("A", "a", "Familiar", 0.75, parameters=20)),
        "three": summary(),
    }
    shown = board(summaries)
    columns = [(column.group, column.title) for column in shown.columns]
    assert columns[3:] == [("one", "Novel"), ("two", "Familiar")]
    assert texts(shown) == [
        ["A", "convolutions", "10 to 20", "50.0 %", "75.0 %"],
        ["B", "convolutions", "2,000", "25.0 %", "–"],
    ]
    first = [row.contents()[0] for row in shown.rows]
    assert [(cell.details, cell.link) for cell in first] == [("a", "#model-0"), ("b", "#model-1")]


def test_of_several_sizes_the_largest_is_sorted_and_filtered():
    sizes = (10, 300, None, 20)
    named = {
        str(size): summary(accuracy("A", "a", "Novel", 0.5, parameters=size)) for size in sizes
    }
    (row,) = board(named).rows
    assert (row.contents()[2].text, row.contents()[2].order) == ("10 to 300", 300)


def test_an_unknown_size_is_no_number():
    (row,) = board({"one": summary(accuracy("A", "a", "Novel", 0.5, parameters=None))}).rows
    assert row.contents()[2].order is None


def test_a_varied_setting_has_one_row_for_a_model():
    cases = ("images: 10", "images: 100")
    varied = summary(
        *(
            accuracy(label, "a", "Novel", mean, case=case)
            for case, means in zip(cases, ({"A": 0.25}, {"A": 0.5, "B": 0.75}), strict=True)
            for label, mean in means.items()
        )
    )
    summaries = {"one": varied, "two": summary(accuracy("A", "a", "Familiar", 0.9))}
    shown = board(summaries)
    assert [column.title for column in shown.columns[3:]] == ["Novel (images: 100)", "Familiar"]
    assert [row[3:] for row in texts(shown)] == [["50.0 %", "90.0 %"], ["75.0 %", "–"]]
    own = models_of(summaries)[0].table()
    case = [column.title for column in own.columns].index("Case")
    assert [(row[0], row[case], row[case + 1]) for row in texts(own)] == [
        ("one", "images: 10", "25.0 %"),
        ("one", "images: 100", "50.0 %"),
        ("two", "–", "90.0 %"),
    ]


def test_a_model_without_the_last_case_has_no_number_there():
    varied = summary(
        accuracy("A", "a", "Novel", 0.25, case="images: 10"),
        accuracy("B", "b", "Novel", 0.75, case="images: 100"),
    )
    assert [row[3] for row in texts(board({"one": varied}))] == ["–", "75.0 %"]


def test_a_section_has_the_facts_of_a_network_and_links_to_benchmarks():
    summaries = {
        "my one": summary(accuracy("A", "cnn-small", "Novel", 0.5)),
        "two": summary(
            accuracy("A", "cnn-small", "Novel", 0.5, parameters=20),
            accuracy("A", "net.py:Net", "Novel", 0.5, family="", parameters=None),
        ),
    }
    registered, own = models_of(summaries)
    assert list(registered.facts.values()) == [
        *("cnn-small", "convolutions", "10 to 20", "10,000 to 20,000")
    ]
    assert registered.command == "capsbench show cnn-small"
    assert list(own.facts.values()) == ["net.py:Net"]
    assert own.command == ""
    cells = [row.contents()[0].link for row in registered.table().rows]
    assert cells == ["my%20one/report/index.html", "two/report/index.html"]
    assert "Case" not in [column.title for column in registered.table().columns]
