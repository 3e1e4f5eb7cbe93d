"""Tables and figures for a paper: every one in a file, in every format, from records alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.records import load_results
from capsbench.reporting.figures.all_figures import accuracy_figures
from capsbench.reporting.paper import FIGURE_FORMATS, TABLE_FORMATS, parse_formats, write_paper
from tests.reporting.latex import parse

FACTORS = ("rotation", "shift_x", "shift_y", "scale")
HOSTILE = r"_\end{table} $x_1$ & 50 % <script> | [bold]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_benchmark) -> Path:
    models = ((HOSTILE, "cnn-small"), ("EM routing", "capsnet-em"))
    written: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"), seeds=(0, 1, 2), models=models, diverged=((HOSTILE, 1),)
    )
    return written


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, Path]:
    paths = write_paper(folder, tables=TABLE_FORMATS)
    assert all(path.parent == folder / "paper/tables" for path in paths)
    return {path.name: path for path in paths}


def test_every_table_is_a_file_in_every_format(tables):
    names = {"summary", *(f"accuracy-{factor}" for factor in FACTORS)}
    assert set(tables) == {f"{n}.{end}" for n in names for end in ("md", "csv", "json", "tex")}


def test_latex_compiles_and_agrees_with_the_data(tables):
    for name, path in tables.items():
        if name.endswith(".tex"):
            parsed = parse(path.read_text("utf-8"))
            data = json.loads(path.with_suffix(".json").read_bytes())
            assert parsed.label == f"tab:quick-{data['name'].replace('_', '-')}"
            titles = [line[0] for line in parsed.lines[1:] if line[0]]
            assert titles == [row[0]["text"] for row in data["rows"]]


def test_a_number_has_its_origin(tables):
    for name in ("summary.md", "summary.tex", "summary.json"):
        assert "commit 0123abcd" in tables[name].read_text("utf-8")


def test_the_best_are_bold(tables):
    content = json.loads(tables["summary.json"].read_bytes())
    (row,) = (row for row in content["rows"] if row[0]["text"] == "EM routing")
    best = [cell["text"] for cell in row if "best" in cell]
    assert best == []  # the other model has two seeds


def test_best_in_markdown_and_latex(tmp_path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0, 1, 2))
    write_paper(folder, tables=("md", "latex"))
    text = (folder / "paper/tables/summary.md").read_text("utf-8")
    latex = (folder / "paper/tables/summary.tex").read_text("utf-8")
    bold = re.findall(r"\*\*([\d.]+) %\*\* \(", text)
    assert bold
    assert bold == re.findall(r"\\textbf\{([\d.]+)\}", latex)


def test_figures_are_the_same_bytes_in_another_process(folder: Path):
    paths = write_paper(folder, figures=FIGURE_FORMATS)
    names = {*accuracy_figures(load_results(folder)), "training-0", "training-1", "cost"}
    assert {p.name for p in paths} == {f"{n}.{kind}" for n in names for kind in FIGURE_FORMATS}
    before = {path: path.read_bytes() for path in paths}
    for path, content in before.items():
        start = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix]
        assert content.startswith(start)
        if path.suffix == ".svg":
            ET.fromstring(content)
        if path.suffix == ".pdf":
            assert b"/FontFile2" in content and b"/Type3" not in content
            assert b"CreationDate" not in content
    code = "import sys, pathlib; from capsbench.reporting.paper import write_paper; "
    code += "write_paper(pathlib.Path(sys.argv[1]), figures=('pdf',))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)  # another hash seed
    assert {path: path.read_bytes() for path in paths} == before


def test_a_list_of_formats():
    assert parse_formats("--format", None, TABLE_FORMATS) == ()
    assert parse_formats("--format", "latex, csv,latex", TABLE_FORMATS) == ("latex", "csv")
    for text in ("tex", "", "latex,,csv"):
        with pytest.raises(UserError, match="--format"):
            parse_formats("--format", text, TABLE_FORMATS)
