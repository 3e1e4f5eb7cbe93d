"""What the report says of the error of drawings, beside models that draw nothing."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import CellFolder, read_json, write_json
from capsbench.reporting import report, tables
from capsbench.reporting.results import load
from capsbench.reporting.terminal import summary_table
from capsbench.running.mirror import mirror_benchmark

MODELS = (("Autoencoder", "transforming-autoencoder"), ("CNN", "cnn-small"))
BASE = {"shift/copy/error": 0.08, "shift/constant/error": 0.06}
HEADING = "Drawing error (shift)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    made: Path = write_benchmark(runs, models=MODELS)
    record = read_json(made / "benchmark.json")
    entry = {"measure": "rendering-error", "views": {"shift": {"shift": (-3, 3)}}}
    record["benchmark"]["measures"].append(entry)
    for cell in record["cells"]:
        cell["measures"]["rendering-error"] = "rendering-error-1"
        known = CellFolder(runs / cell["path"])
        outcome = read_json(known.measure(cell["measures"]["accuracy-by-view"]))
        error = 0.02 + 0.01 * cell["seed"]
        drawn = {"shift/rendering/error": error, "shift/rendering/share of copy": error / 0.08}
        values = BASE | (drawn if cell["label"] == "Autoencoder" else {})
        outcome |= {"measure": "rendering-error", "arguments": entry, "values": values, "views": []}
        write_json(known.measure("rendering-error-1"), outcome)
    write_json(made / "benchmark.json", record)
    report.build(made)
    return made


def test_the_summary_has_a_column_for_each_range_that_was_drawn(folder: Path):
    results = load(folder)
    assert list(tables.columns(results).values())[-1] == HEADING
    autoencoder, cnn = (list(row.entries.values())[-1] for row in tables.summary(results))
    assert autoencoder is not None
    assert autoencoder.text == "31.2 % (25.0, 37.5; n = 2)"
    assert cnn is None
    assert all(len(row.entries) == len(tables.columns(results)) for row in tables.summary(results))
    assert "the error of the image left as it was" in tables.caption(results)


def test_without_drawings_nothing_is_said_of_them(tmp_path: Path, write_benchmark):
    results = load(write_benchmark(tmp_path, models=MODELS))
    assert tables.columns(results) == tables.COLUMNS
    assert "drawing" not in tables.caption(results)


def test_every_form_of_the_report_shows_it(folder: Path):
    console = Console(width=200, record=True)
    console.print(summary_table(load(folder)))
    terminal = console.export_text()
    markdown = (folder / "report/report.md").read_text()
    page = (folder / "report/index.html").read_text()
    for text in (terminal, markdown, page):
        assert HEADING in text
        assert "31.2 %" in text
    for text in (markdown, page):
        assert "Shift: shift −3 px to 3 px; no change of rotation, scale and shear." in text


def test_the_page_lists_all_values_of_a_model_with_their_units(folder: Path):
    groups = load(folder).by_label().values()
    texts = [{key: entry.text for key, entry in tables.totals(cells)} for cells in groups]
    assert texts[0]["shift/rendering/error"] == "0.0250 (0.0200, 0.0300; n = 2)"
    assert texts[0]["shift/rendering/share of copy"].startswith("31.2 %")
    assert texts[1]["shift/copy/error"].startswith("0.0800")
    assert "shift/rendering/error" not in texts[1]
    for row in texts:
        assert row["gap"].endswith("n = 2)")


def test_csv_holds_both_measures(folder: Path):
    rows = list(csv.DictReader(io.StringIO((folder / "report/results.csv").read_text())))
    found = [row for row in rows if row["measure"] == "rendering-error"]
    assert len(found) == 2 * 4 + 2 * 2
    assert {row["measure"] for row in rows} == {"rendering-error", "accuracy-by-view"}


def test_the_mirror_of_a_benchmark_has_the_means_of_both_measures(folder: Path, monkeypatch):
    logged = {}

    class Mirror:
        def log_results(self, values, table, figures):
            logged.update(values)

        def close(self):
            pass

    monkeypatch.setattr("capsbench.running.mirror.begin", lambda **_: Mirror())
    mirror_benchmark(folder, load(folder), "offline")
    assert logged["Autoencoder/shift/rendering/error"] == pytest.approx(0.025)
    assert 0 < logged["CNN/novel/accuracy"] < 1
