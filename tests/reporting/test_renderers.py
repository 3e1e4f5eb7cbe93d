"""One table in the terminal, in Markdown and in HTML."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.tables import render_html, render_markdown, render_terminal
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)

LABEL = "<b>A|B</b> [bold]"
TABLE = Table(
    name="example",
    title="An *example*",
    columns=(*text_columns("Model", "Kind"), *number_columns("Accuracy")),
    rows=(
        TableRow(
            (
                LABEL,
                "a",
                TableCell("98.3 %", interval="97.0 to 99.0", values="98.4, 98.2", seeds=2),
            ),
            color=1,
        ),
        TableRow(("C", None, "cannot draw"), marked=True),
    ),
    caption="All of it.",
    notes=("C: seed 0 diverged",),
)


def in_html(table: Table) -> str:
    template = '{% from "table.html.jinja" import section %}{{ section(table) }}'
    return render_html.environment().from_string(template).render(table=table)


def test_markdown():
    assert render_markdown.render(TABLE, level=3).splitlines() == [
        r"### An \*example\*",
        "",
        "| Model | Kind | Accuracy |",
        "| --- | --- | --- |",
        (
            r"| &lt;b&gt;A\|B&lt;/b&gt; \[bold\] | a | "
            "98.3 % (95 % interval 97.0 to 99.0; 98.4, 98.2; 2 seeds) |"
        ),
        "| C | – | cannot draw |",
        "",
        "All of it.",
        "",
        "Not in the table:",
        "",
        "- C: seed 0 diverged",
    ]


def test_terminal():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_terminal.render(TABLE))
    lines = [line.split() for line in console.export_text().splitlines() if line.strip()]
    assert lines[0] == ["An", "*example*"]
    assert lines[1] == ["Model", "Kind", "Accuracy"]
    assert [*LABEL.split(), "a", "98.3", "%"] in lines
    assert ["98.4,", "98.2"] in lines
    assert ["C", "–", "cannot", "draw"] in lines
    assert lines[-1] == TABLE.notes[0].split()


def test_html():
    text = in_html(TABLE)
    assert '<h2 id="example">An *example*</h2>' in text
    assert "&lt;b&gt;A|B&lt;/b&gt; [bold]</th>" in text
    assert text.count('class="swatch"') == 1
    head = re.findall(r"<th scope=\"col\"(.*?)>(.*?)</th>", text)
    assert head == [(' class="text"', "Model"), (' class="text"', "Kind"), ("", "Accuracy")]
    for part in ('"mean">98.3 %<', '"seeds">98.4, 98.2<', '"seeds">95 %: 97.0 to 99.0<'):
        assert part in text
    assert "2 seeds" not in text  # each seed is listed
    assert re.findall(r'<tr class="marked">', text) == ['<tr class="marked">']
    assert '<td data-title="Kind" class="text">–</td>' in text
    assert '<td data-title="Accuracy" data-order="">cannot draw</td>' in text
    assert '<p class="note">All of it.</p>' in text
    assert "<li>C: seed 0 diverged</li>" in text


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("share", "25.0 % (20.0, 30.0; 2 seeds)"),
        ("difference of shares", "25.0 pts (20.0, 30.0; 2 seeds)"),
        ("squared error", "0.2500 (0.2000, 0.3000; 2 seeds)"),
        ("number", "0.25 (0.2, 0.3; 2 seeds)"),
    ],
)
def test_means_are_written_in_their_unit(unit: str, text: str):
    cell = mean_cell(SeedValues({0: 0.2, 1: 0.3}), unit)
    assert cell is not None
    assert cell.line == text


def test_counts_rates_and_sizes_are_written_in_full():
    seed_values = SeedValues({0: 1_250_000.0})
    texts = {
        unit: mean_cell(seed_values, unit) for unit in ("count", "per second", "bytes", "seconds")
    }
    assert {unit: cell and cell.text for unit, cell in texts.items()} == {
        "count": "1,250,000",
        "per second": "1,250,000 per second",
        "bytes": "1.2 MB",
        "seconds": "347 h 13 min",
    }


def test_html_shows_an_interval_without_the_values_of_seeds():
    cell = TableCell("28.4 pts", interval="25.5 to 31.4", seeds=3)
    columns = (*text_columns("Model"), *number_columns("Gain"))
    table = Table("example", "Gains", columns, (TableRow(("CNN", cell)),), caption="", notes=())
    assert "95 %: 25.5 to 31.4" in in_html(table)


def test_intervals_need_three_seeds():
    two, three = (
        mean_cell(SeedValues({0: 0.2, 1: 0.3})),
        mean_cell(SeedValues({0: 0.1, 1: 0.2, 2: 0.3})),
    )
    assert two is not None
    assert three is not None
    assert two.interval == ""
    assert three.interval == "−4.8 to 44.8"
    assert mean_cell(None) is None
