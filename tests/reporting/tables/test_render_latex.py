"""Tables in LaTeX: read back by a strict reader, hostile texts included."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest

from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.tables.mean_cell import WITH_SEEDS, mean_cell
from capsbench.reporting.tables.render_latex import escape, render
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from tests.reporting.latex import parse, printed, require_balanced

HOSTILE = [
    r"\end{table} \input{/etc/passwd}",
    "50 % of $x_1$ & {y} #1 ~ ^2",
    '[bold] *star* <script> | `code` "quoted"',
    "−4.8 · ×0.5 · 90° ± 1 – — … ² ≤ ρ",
    "--help ---",
    "two\nlines % ",
]
THREE, TWO = SeedValues({0: 0.981, 1: 0.984, 2: 0.983}), SeedValues({0: 0.5, 1: 0.25})


def table(*rows, columns=None, **fields):
    columns = columns or (*text_columns("Model"), *number_columns("Familiar", "Training time"))
    return Table("summary", "Result", columns, rows=tuple(map(TableRow, rows)), **fields)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_a_command(text):
    require_balanced(escape(text))
    shown = table((text, text, text), (text, text, text), caption=text, notes=(text,))
    parsed = parse(render(replace(shown, title=text), text))
    assert len(parsed.lines) == 3
    assert parsed.label.startswith("tab:")


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[1], "a_b", '<b> | "c" ^ ~ `d', "−4.8 · b"])
def test_what_is_printed_is_the_text(text):
    assert printed(escape(text)) == text


def test_dashes_and_opening_quotes():
    assert escape("--x") == "-{}-x"
    assert escape("'a', it's ('b')") == "`a', it's (`b')"


def test_an_interval_is_below_its_mean_and_the_unit_in_the_heading():
    cell = mean_cell(THREE)
    assert cell is not None
    parsed = parse(render(table(("CNN", replace(cell, best=True), "22.1 s")), "quick"))
    assert parsed.columns == "lrr"
    assert parsed.label == "tab:quick-summary"
    heading, means, below = parsed.lines
    assert heading == ["Model", "Familiar (%)", "Training time"]
    assert means == ["CNN", "98.3", "22.1 s"]
    assert below == ["", f"[{cell.interval.replace(' to ', ', ')}]", ""]
    assert "95 % interval of the mean over 3 seeds" in parsed.caption


def test_only_the_best_are_bold():
    cells = [TableCell("98.1 %", best=True), TableCell("97.9 %")]
    source = render(table(("A", cells[0], "1 s"), ("B", cells[1], "2 s")), "quick")
    assert r"\textbf{98.1}" in source
    assert source.count(r"\textbf") == 1


def test_two_seeds_have_their_values_and_no_interval():
    cell = mean_cell(TWO)
    parsed = parse(
        render(table(("CNN", cell, None), caption="Mean, with the value of every seed."), "quick")
    )
    assert parsed.lines[2] == ["", "(50.0, 25.0)", ""]
    assert "every seed" in parsed.caption
    assert "interval" not in parsed.caption


def test_the_caption_promises_values_of_seeds_only_if_they_are_there():
    caption = f"Accuracy as the mean over seeds {WITH_SEEDS}. Time, {WITH_SEEDS}."
    parsed = parse(render(table(("CNN", mean_cell(THREE), None), caption=caption), "quick"))
    assert WITH_SEEDS not in parsed.caption
    assert "mean over seeds. Time." in parsed.caption


def test_a_unit_stays_beside_numbers_of_several_units():
    parsed = parse(render(table(("A", "98.1 %", "1 s"), ("B", "3.0 pts", "2 s")), "quick"))
    assert parsed.lines[0][1] == "Familiar"
    assert [line[1] for line in parsed.lines[1:]] == ["98.1 %", "3.0 pts"]


def test_remarks_are_notes_below_the_table():
    cell, other = TableCell("11.0 %", note="seed 1 at chance"), TableCell("98.0 %", note="a_b")
    parsed = parse(
        render(table(("A", cell, None), ("B", cell, other), notes=("x: 50 %",)), "quick")
    )
    assert parsed.lines[1:] == [["A", "11.0a", "–"], ["B", "11.0a", "98.0b"]]
    assert parsed.below == "a seed 1 at chance. b a_b. x: 50 %."


def test_a_column_of_long_texts_is_broken_into_lines():
    columns = (*text_columns("Model", "Reason"), *number_columns("A long heading of a column"))
    parsed = parse(render(table(("A", "word " * 20, "1"), columns=columns), "quick"))
    assert parsed.columns == "lpr"


def test_latex_itself_takes_every_text_and_makes_a_wide_table_smaller(tmp_path):
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("pdflatex is not installed")
    columns = (*text_columns("Model", "Reason"), *number_columns(*("Familiar" for _ in range(12))))
    rows = [(text, text, *(TableCell("98.1 %", note=text) for _ in range(12))) for text in HOSTILE]
    packages = "".join(rf"\usepackage{{{name}}}" for name in ("array", "booktabs", "graphicx"))
    source = render(table(*rows, columns=columns, caption="".join(HOSTILE)), "quick")
    text = rf"\documentclass{{article}}{packages}\begin{{document}}{source}\end{{document}}"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout.split("LaTeX Font Info")[-1]
