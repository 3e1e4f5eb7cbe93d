"""A stranger's records: every free text of them is shown, and none is read as markup."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.files.csv_text import csv_text
from capsbench.records import BenchmarkFolder, BenchmarkRecord, load_results
from capsbench.reporting import report
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.terminal import result_tables
from tests.reporting.page_elements import Elements, foreign_scripts

NASTY = (
    "=1+1 ![x](http://track.example/p.png) <img src=http://track.example onerror=alert(1)> "
    "[a](javascript:alert(1)) <script>document.title='broken'</script> | `b` [red]c[/red] "
    "[link=http://track.example]d[/link] $\\frac{1}{ {{ 7 * 7 }} </style> \n# heading"
)
LINE = " ".join(NASTY.splitlines())


def write_hostile(runs: Path, write_benchmark) -> Path:
    """Write a benchmark with such a text wherever a record can hold one, and its page."""
    folder: Path = write_benchmark(
        runs,
        models=(("CNN", "cnn-small"),),
        settings={LINE: NASTY},
        published=(
            {
                "model": "CNN",
                "measure": "accuracy-by-view",
                "quantity": {"metric": "accuracy", "split": "novel"},
                "value": 0.5,
                "printed": NASTY,
                "source": NASTY,
                "selected_on": NASTY,
                "known_by": "read",
            },
        ),
    )
    file = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(file)
    texts = dict.fromkeys(("title", "question", "source", "expected"), NASTY)
    lists = dict.fromkeys(("conflicts", "related"), (NASTY,))
    assert record.examples is not None
    classes = (LINE,) * len(record.examples.classes)
    origin = {"versions": {LINE: LINE}, "commit": NASTY, "date": NASTY}
    changes = {
        "benchmark": record.benchmark.model_copy(update=texts | lists),
        "command": NASTY,
        "examples": record.examples.model_copy(update={"classes": classes}),
        "provenance": record.provenance.model_copy(update=origin),
    }
    record.model_copy(update=changes).save(file)
    for cell in load_results(folder).cells:
        assert cell.training is not None
        execution = cell.training.execution.model_copy(update={"device_name": NASTY})
        update = {"execution": execution, "provenance": changes["provenance"]}
        cell.training.model_copy(update=update).save(cell.folder.training)
        (name,) = cell.reference.measures.values()
        (measure,) = cell.measures.values()
        noted = {"notes": (NASTY,), "device": NASTY, "provenance": changes["provenance"]}
        measure.model_copy(update=noted).save(cell.folder.measure(name))
    report.build(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Path:
    return write_hostile(tmp_path_factory.mktemp("runs"), write_benchmark)


def test_no_element_of_the_page_comes_from_a_record(folder: Path):
    page = (folder / "report/index.html").read_text()
    elements = Elements(page).elements
    assert page.count("&lt;script&gt;") >= 6
    assert "{{ 7 * 7 }}" in page
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in elements}
    assert foreign_scripts(page) == []
    for _, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "srcdoc"):
            assert re.match(r"data:|#|[\w/.-]*$", attributes.get(name) or "")


def test_markdown_has_no_image_link_or_html_of_a_record(folder: Path):
    text = (folder / "report/report.md").read_text()
    assert not re.search(r"<[a-zA-Z/]", text)
    assert re.findall(r"(?<!\\)\]\(([^)]*)", text) == []
    assert "# heading" not in [line.strip() for line in text.splitlines()]
    assert "!\\[x\\]" in text


@pytest.mark.parametrize("text", ["# a", "- a", "+ a", "1. a", "12) a", "---", "=="])
def test_a_paragraph_begins_no_block(text: str):
    assert plain(text) != text
    assert plain(text).replace("\\", "") == text


def test_the_terminal_shows_markup_as_text(folder: Path):
    stream = io.StringIO()
    Console(file=stream, width=400, force_terminal=True, color_system="truecolor").print(
        result_tables(load_results(folder))
    )
    assert "[red]c[/red]" in stream.getvalue()
    assert "\x1b]8" not in stream.getvalue()


def test_spreadsheets_compute_no_text():
    rows = [{"label": text, "value": -0.5} for text in ("=1+1", "\t=1", "-1", "@A1", "CNN", "")]
    read = list(csv.DictReader(io.StringIO(csv_text(["label", "value"], rows))))
    assert [row["label"] for row in read] == ["'=1+1", "'\t=1", "'-1", "'@A1", "CNN", ""]
    assert {row["value"] for row in read} == {"-0.5"}
