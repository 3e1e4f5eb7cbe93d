"""Exported records: no number is lost, every statement is checked, the page shows them."""

import json
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.measures import load_measure
from capsbench.names import find
from capsbench.records import load_results
from capsbench.records.training import ExecutionRecord
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.exports.export import (
    ExportedResults,
    export_benchmark,
    load_export,
    with_shipped_texts,
)
from capsbench.reporting.exports.exported import check_exported, load_exported
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.exports.search_checks import ExportedSearch
from capsbench.reporting.results_pages.benchmark_page import figure_files
from capsbench.reporting.results_pages.pages import result_pages
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.result_tables import result_tables
from capsbench.schema import benchmark_names, load_benchmark

ROOT = Path(__file__).parents[3]


def exports_in(folder):
    """Load the exported benchmarks of a folder."""
    exported = [load_exported(path) for path in sorted(folder.glob("*/*.json"))]
    return [with_shipped_texts(each) for each in exported if isinstance(each, ExportedResults)]


def test_numbers_are_exported_and_folders_of_the_machine_are_not(folder, file):
    exported, results = load_export(file), load_results(folder)
    assert file.parent.name == "quick"
    assert file.name.startswith("changed-")
    assert results_csv(exported.results) == results_csv(results)
    assert result_tables(exported.results, exported.differences) == result_tables(
        results, model_differences(results)
    )
    assert exported.results.record.command == "capsbench run quick --limit 40"
    text = file.read_text()
    assert str(folder.parent) not in text
    assert "/somewhere" not in text
    check_export(exported)
    pages = result_pages([exported])
    assert "(changed; 6 of 9 cells; " in pages["results.md"]
    assert f"results/quick/{file.name}" in pages["results/quick.md"]


def test_details_of_one_machine_are_left_out(folder, file):
    cells = zip(load_export(file).results.cells, load_results(folder).cells, strict=False)
    for exported, cell in cells:
        assert exported.training is not None
        assert cell.training is not None
        execution = cell.training.execution
        assert exported.training.execution == ExecutionRecord(
            device="cpu", device_name=execution.device_name, backend=execution.backend
        )
        assert exported.config == cell.config
        assert list(exported.measures) == list(cell.measures)
        assert exported.trajectory == cell.trajectory


def test_a_file_is_the_same_for_the_same_plan(folder, file, tmp_path):
    measures = load_results(folder).cells[0].folder.path / "measures"
    hidden = measures.rename(measures.with_name("hidden"))
    try:
        again = export_benchmark(folder, tmp_path / "results")
        assert again == file
        assert len(load_export(again).results.cells) == 5
    finally:
        hidden.rename(measures)


def test_an_unfinished_benchmark_has_nothing_to_export(tmp_path, write_benchmark):
    models = (("CNN", "cnn-small"),)
    folder = write_benchmark(tmp_path, models=models, unfinished=(("CNN", 0), ("CNN", 1)))
    with pytest.raises(UserError, match="no finished cell"):
        export_benchmark(folder, tmp_path / "results")


@pytest.fixture
def any_checkout(monkeypatch):
    """Let ``--write`` write the page into the working directory, as in a checkout."""
    monkeypatch.setattr("capsbench.cli.results._require_checkout", lambda: None)


@pytest.mark.usefixtures("any_checkout")
def test_a_contributed_record_is_copied_and_shown(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", folder.name, "--output", str(folder.parent), "--export", "mine"]) == 0
    (record,) = Path("mine/quick").glob("*.json")
    assert main(["results", str(record), "--write"]) == 0
    (exported,) = exports_in(Path("results"))
    assert exported.path.name == record.name
    pages = {name: Path("docs", name).read_text() for name in result_pages([exported])}
    assert pages == result_pages([exported])
    figure = f"docs/figures/results-quick-{record.stem}-by-view.svg"
    for path in (figure, f"results/quick/{record.name}"):
        assert Path(path).is_file()
        assert path.removeprefix("docs/") in pages["results/quick.md"]
    assert main(["results", "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err


@pytest.mark.usefixtures("any_checkout")
def test_a_record_replaces_no_other(file, monkeypatch, capsys):
    monkeypatch.chdir(file.parents[2])
    again = Path("mine") / file.name
    again.parent.mkdir(exist_ok=True)
    again.write_bytes(file.read_bytes())
    assert main(["results", str(again)]) == 0  # the same one
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["record"]["provenance"]["date"] = "2000-01-01T00:00:00+00:00"
    again.write_text(json.dumps(content))
    assert main(["results", str(again)]) == 2
    assert "with other numbers" in capsys.readouterr().err
    assert json.loads(file.read_text()) != content
    other = again.rename(again.with_name("full-elsewhere.json"))
    assert main(["results", str(other), "--write"]) == 0
    assert len(exports_in(Path("results"))) == 2
    assert len(list(Path("docs/figures").glob("*-by-view.svg"))) == 2
    assert main(["results", str(file)]) == 0  # a file of the folder itself
    same = Path("others") / other.name
    same.parent.mkdir()
    same.write_bytes(other.read_bytes())
    assert main(["results", str(other), str(same)]) == 2
    assert "rename them" in capsys.readouterr().err
    assert main(["results", str(other.rename("a](b.json"))]) == 2
    assert "lower-case" in capsys.readouterr().err


def test_a_record_of_earlier_revisions_stays_and_says_so(file, monkeypatch):
    exported = load_export(file)
    assert earlier_revisions(exported.results.cells) == []
    assert "earlier revisions" not in result_pages([exported])["results/quick.md"]
    cells = [(find("models", "cnn-small").load(), 9), (load_measure("accuracy-by-view"), 9)]
    model, measure = (cls.revision for cls, _ in cells)
    for cls, revision in cells:
        monkeypatch.setattr(cls, "revision", revision)
    check_export(exported)
    assert earlier_revisions(exported.results.cells) == [
        f"model cnn-small {model} (now 9)",
        f"measure accuracy-by-view {measure} (now 9)",
    ]
    page = result_pages([exported])["results/quick.md"]
    assert f"Measured with earlier revisions: model cnn-small {model} (now 9)" in page


def test_a_command_ends_no_code_span(file):
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["record"]["command"] = "capsbench run `<img src=x onerror=alert(1)>`"
    file.write_text(json.dumps(content))
    page = result_pages(exports_in(file.parents[1]))["results/quick.md"]
    assert "`` capsbench run `<img src=x onerror=alert(1)>` ``" in page


def test_words_are_those_of_the_shipped_benchmark(file):
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["record"]["benchmark"]["title"] = "Made up"
    file.write_text(json.dumps(content))
    (exported,) = exports_in(file.parents[1])
    assert exported.results.benchmark.title == load_benchmark("quick").title


def test_every_published_number_is_on_the_page():
    page = result_pages([])["results.md"]
    for benchmark in benchmark_names():
        for entry in load_benchmark(benchmark).published:
            assert render_markdown.plain(entry.printed) in page
    assert "not run" in page


def test_the_records_of_the_repository_are_sound_and_the_page_shows_them():
    every = [load_exported(path) for path in sorted((ROOT / "results").glob("*/*.json"))]
    for each in every:
        check_exported(each)
    exported = [with_shipped_texts(each) for each in every if isinstance(each, ExportedResults)]
    claims = [each for each in every if isinstance(each, ExportedClaims)]
    searches = [each for each in every if isinstance(each, ExportedSearch)]
    pages = result_pages(exported, claims, searches)
    for name, page in pages.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page
    written = {path.name for path in (ROOT / "docs/results").iterdir()}
    assert written == {Path(name).name for name in pages if name.startswith("results/")}
    assert all(each.record.name in pages["results/searches.md"] for each in searches)
    drawn = {path.name for path in (ROOT / "docs/figures").glob("results-*.svg")}
    assert drawn == {file for each in exported for file in figure_files(each).values()}
