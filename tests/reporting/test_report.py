from __future__ import annotations

import csv
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import BenchmarkFolder, BenchmarkRecord, load_results
from capsbench.reporting import report
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.reporting.terminal import result_tables
from capsbench.schema import Benchmark
from tests.reporting.page_elements import Elements, foreign_scripts, without_scripts

HOSTILE = "_<script>alert(1)</script> & \"'|*$x_1$ [bold]"
MODELS = ("CNN", "Dynamic routing", "EM routing")
SETTINGS = ("--set", "recipe.steps=300", "--set", "recipe.limit=100")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def in_terminal(folder: Path) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(result_tables(load_results(folder)))
    return console.export_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Path:
    folder: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"),
        diverged=(("EM routing", 1),),
        unfinished=(("Dynamic routing", 0),),
        settings={"recipe.steps": 300, "recipe.limit": 100},
        published=(
            {
                "model": "EM routing",
                "measure": "accuracy-by-view",
                "quantity": {"metric": "accuracy", "split": "novel"},
                "value": 0.5,
                "printed": "50 % error",
                "source": "a paper, table 1",
                "selected_on": "test",
                "known_by": "read",
            },
        ),
    )
    report.build(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report/index.html").read_text()


def test_files(folder: Path):
    texts = {"index.html", "report.md", "results.csv", "differences.csv"}
    expected = texts | {"made_from.json", "summary.json"}
    assert set(contents(folder / "report")) == expected


def test_rebuilding_gives_the_same_bytes(folder: Path):
    before = contents(folder / "report")
    (folder / "report/made_from.json").unlink()
    command = "import sys, pathlib; from capsbench.reporting.report import build; "
    command += "build(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", command, str(folder)], check=True)  # another hash seed
    assert contents(folder / "report") == before


def test_markdown(folder: Path):
    text = (folder / "report/report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len([row for row in rows if row.startswith("| CNN |")]) == 1
    for cell in summary_table(load_results(folder)).rows[0].contents():
        assert cell.line in text
    assert "not the protocol as published" in text
    assert "recipe.steps=300 and recipe.limit=100" in text
    assert "EM routing: seed 1 diverged at step 137" in text
    assert len({row.count("|") for row in rows[:5]}) == 1


def test_page_shows_missing_results_and_changes(page: str):
    assert "not the protocol as published" in page
    assert "<code>recipe.steps=300</code>" in page
    assert "Dynamic routing: seed 0 not finished yet" in page
    assert "a paper, table 1" in page


def test_page_shows_exponents_and_why_one_is_not_fitted(page: str):
    assert "exponent of the probabilities 2.5</dd>" in page
    assert "exponent of the probabilities 1: the logits are not finite</dd>" in page


def test_a_complete_unchanged_benchmark_has_no_notices(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0, 1, 2), models=(("CNN", "cnn-small"),))
    page = report.build(folder).read_text()
    assert 'class="notice"' not in page
    assert "95 % t interval of the mean" in page


def test_a_benchmark_without_results_has_a_page(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0,), unfinished=tuple((m, 0) for m in MODELS))
    page = report.build(folder).read_text()
    for model in MODELS:
        assert f"{model}: seed 0 not finished yet" in page
    assert '<h2 id="curves">' not in page


def test_accuracy_is_absent_if_it_is_not_measured(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path)
    file = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(file)
    content = record.benchmark.model_dump() | {"measures": [{"measure": "cost"}]}
    cells = tuple(cell.model_copy(update={"measures": {}}) for cell in record.cells)
    changes = {"benchmark": Benchmark.model_validate(content), "cells": cells, "examples": None}
    record.model_copy(update=changes).save(file)
    page = report.build(folder).read_text()
    markdown = (folder / "report/report.md").read_text()
    for text in (in_terminal(folder), markdown, without_scripts(page)):
        assert "Training time" in text
        for word in ("Familiar<", "Familiar |", "Novel", "Gap", "gap is", "Accuracy"):
            assert word not in text


def test_names_are_text_everywhere(tmp_path: Path, write_benchmark):
    folder = write_benchmark(
        tmp_path,
        models=((HOSTILE, "cnn-small"),),
        settings={"title": HOSTILE},
        diverged=((HOSTILE, 1),),
    )
    page = report.build(folder).read_text()
    elements = Elements(page)
    assert foreign_scripts(page) == []
    assert not [name for _, attrs in elements.elements for name in attrs if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in (folder / "report/report.md").read_text()
    rows = csv.DictReader(io.StringIO((folder / "report/results.csv").read_text()))
    assert {row["label"] for row in rows} == {HOSTILE}
    assert HOSTILE in in_terminal(folder)


def test_page_is_self_contained(page: str):
    elements = Elements(page)
    assert not {"iframe", "object", "embed"} & elements.tags
    assert foreign_scripts(page) == []
    for tag, attrs in elements.elements:
        assert (attrs.get("src") or "data:").startswith("data:"), (tag, attrs)
        if tag == "link":
            assert attrs["href"] == "data:,"
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\((?!#)|@import", style)
    ids = [attrs["id"] for _, attrs in elements.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = {
        str(a["href"])[1:] for _, a in elements.elements if str(a.get("href", "")).startswith("#")
    }
    references |= {
        str(a["aria-labelledby"]) for _, a in elements.elements if "aria-labelledby" in a
    }
    assert references
    assert references <= set(ids)


def test_every_image_has_a_text(page: str):
    elements = Elements(page).elements
    images = [attrs for tag, attrs in elements if tag == "img"]
    assert len(images) == 25 + 17 + 17 + 11
    assert all(attrs["alt"] for attrs in images)
    for tag, attrs in elements:
        if tag == "svg":
            assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"


def test_every_table_of_the_page_has_full_rows(page: str):
    for table in re.findall(r"<table.*?</table>", without_scripts(page), flags=re.DOTALL):
        head, *rows = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
        assert rows
        assert {len(re.findall("<t[hd][ >]", row)) for row in rows} == {head.count("<th ")}


def test_each_line_has_its_command_and_its_records(folder: Path, page: str):
    copied = [str(a["data-copy"]) for _, a in Elements(page).elements if "data-copy" in a]
    for model in MODELS:
        command = shlex.join(["capsbench", "run", "quick", *SETTINGS, "--models", model])
        assert command in copied
        assert f"{command} --seeds 0" in copied
    links = [str(a.get("href")) for _, a in Elements(page).elements if a.get("href")]
    files = [link for link in links if link.startswith("../../")]
    assert files
    assert all((folder / "report" / link).is_file() for link in files)


def test_terminal(folder: Path):
    text = in_terminal(folder)
    _, familiar, *_ = summary_table(load_results(folder)).rows[0].contents()
    assert familiar.text in text
    assert familiar.values in text
    assert "seed 1 diverged at step 137" in text
