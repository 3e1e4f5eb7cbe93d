"""The page of a runs folder: made from the summaries beside the pages of its benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capsbench.names import table
from capsbench.records import load_results
from capsbench.reporting import report
from capsbench.reporting.index.page import build_index, history, leaderboard, model_tables
from capsbench.reporting.index.summary import NAME, Accuracy, Summary, Work
from capsbench.reporting.tables.summary_table import accuracy_on
from tests.reporting.page_elements import Elements, foreign_scripts, without_scripts

HOSTILE = "<script>alert(1)</script>"
MODELS = (("CNN", "cnn-small"), (HOSTILE, "capsnet-dr"))


def accuracy(label: str, network: str, name: str, mean: float, parameters: int = 10) -> Accuracy:
    return Accuracy(
        label=label,
        network=network,
        family="convolutions",
        parameters=parameters,
        name=name,
        mean=mean,
        interval=None,
        seeds=2,
    )


def summary(*accuracies: Accuracy, history: tuple[Work, ...] = ()) -> Summary:
    return Summary(
        title="Title",
        question="Question?",
        changed="",
        command="capsbench run quick",
        date="2026-11-30",
        answers=("Yes.",),
        accuracies=accuracies,
        history=history,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    folder = write_benchmark(runs, models=MODELS, seeds=(0, 1, 2))
    report.build(folder)
    return runs


def test_every_page_updates_the_page_of_its_folder(runs: Path):
    page = (runs / "index.html").read_text()
    assert 'href="quick/report/index.html"' in page
    results = load_results(runs / "quick")
    for cells in results.by_label().values():
        novel = accuracy_on(cells, "novel")
        assert novel is not None
        assert f"{100 * novel.mean:.1f} %" in without_scripts(page)
    before = (runs / "index.html").stat().st_mtime_ns
    report.build(runs / "quick")  # nothing has changed
    assert (runs / "index.html").stat().st_mtime_ns == before
    (runs / "index.html").unlink()
    report.build(runs / "quick")
    assert (runs / "index.html").read_text() == page


def test_names_are_text(runs: Path):
    page = (runs / "index.html").read_text()
    assert foreign_scripts(page) == []
    assert "&lt;script&gt;alert(1)" in page
    for _, attributes in Elements(page).elements:
        assert not [name for name in attributes if name.startswith("on")]


def test_a_benchmark_without_a_summary_is_left_out(runs: Path, tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, models=MODELS[:1], seeds=(0,))
    assert "No benchmark has a page yet" in build_index(tmp_path).read_text()
    report.build(folder)
    (folder / "report" / NAME).write_text('{"title": "of another version"}')
    assert "No benchmark has a page yet" in build_index(tmp_path).read_text()


def test_the_summary_says_the_family_of_each_network(runs: Path):
    content = json.loads((runs / "quick/report" / NAME).read_text())
    families = {each["network"]: each["family"] for each in content["accuracies"]}
    assert families == {"cnn-small": "convolutions", "capsnet-dr": "capsules"}
    assert content["history"][0]["trainings"] == 6


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
    board = leaderboard(summaries)
    assert [column.title for column in board.columns[4:]] == ["one: Novel", "two: Familiar"]
    cells = [[cell.text for cell in row.contents()] for row in board.rows]
    assert cells == [
        ["A", "a", "convolutions", "10 to 20", "50.0 %", "75.0 %"],
        ["B", "b", "convolutions", "2,000", "25.0 %", "–"],
    ]
    assert [row.contents()[3].order for row in board.rows] == [20, 2000]
    tables = model_tables(summaries)
    assert [(each.title, len(each.rows)) for each in tables] == [("a", 3), ("b", 1)]


def test_the_history_has_the_newest_first():
    old = Work(date="2026-11-01", commit="a" * 40, device="cpu", trainings=3)
    new = Work(date="2026-11-02", commit="b" * 40, device="cpu", trainings=1)
    rows = history({"one": summary(history=(old,)), "two": summary(history=(new,))}).rows
    assert [[cell.text for cell in row.contents()][:3] for row in rows] == [
        ["2026-11-02", "two", "b" * 12],
        ["2026-11-01", "one", "a" * 12],
    ]
