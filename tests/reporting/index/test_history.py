"""History on the page of a runs folder."""

from __future__ import annotations

from capsbench.reporting.index.history import history
from tests.reporting.index.made_up import summary, work


def test_the_history_has_the_newest_first():
    old = work("2026-11-01", command="capsbench run one", trainings=3, measures=("a", "b"))
    new = work("2026-11-02", measures=("c",))
    shown = history({"one": summary(history=(old,)), "two": summary(history=(new,))})
    assert [[cell.text for cell in row.contents()] for row in shown.rows] == [
        ["2026-11-02", "two", "–", "c", "a" * 12, "two cores", "–"],
        ["2026-11-01", "one", "3", "a, b", "a" * 12, "two cores", "capsbench run one"],
    ]
    cells = shown.rows[1].contents()
    assert cells[1].link == "one/report/index.html"
    assert cells[6].copied
