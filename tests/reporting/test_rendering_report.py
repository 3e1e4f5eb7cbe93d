"""What the report says of the error of drawings, beside models that draw nothing."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import CellFolder, read_json, write_json
from capsbench.reporting import markdown, report, tables
from capsbench.reporting.measure_figures import measure_figures
from capsbench.reporting.results import load
from capsbench.reporting.terminal import result_tables
from capsbench.running.mirror import mirror_benchmark

MODELS = (("Autoencoder", "transforming-autoencoder"), ("CNN", "cnn-small"))
ERRORS = {
    "shift/copy/error": 0.08,
    "shift/constant/error": 0.06,
    "still/copy/error": 0.0,
    "still/constant/error": 0.05,
}


@pytest.fixture(scope="module")
def write_rendering(write_benchmark):
    """Records with the measure beside accuracy or alone; a CNN cannot draw."""

    def write(runs: Path, *, models=MODELS, alone=False, **more) -> Path:
        folder: Path = write_benchmark(runs, models=models, **more)
        record = read_json(folder / "benchmark.json")
        views = {"shift": {"shift": (-3, 3)}, "still": {}}
        entry = {"measure": "rendering-error", "views": views}
        measures = record["benchmark"]["measures"]
        measures[:] = [entry] if alone else [*measures, entry]
        for cell in record["cells"]:
            known = CellFolder(runs / cell["path"])
            accuracy = known.measure(cell["measures"]["accuracy-by-view"])
            cell["measures"] = ({} if alone else cell["measures"]) | {"rendering-error": "rendered"}
            if not accuracy.is_file():
                continue
            error = 0.02 + 0.01 * cell["seed"]
            drawn = {
                "shift/rendering/error": error,
                "shift/rendering/share of copy": error / 0.08,
                "still/rendering/error": error,
            }
            values = ERRORS | (drawn if cell["label"] == "Autoencoder" else {})
            outcome = read_json(accuracy)
            outcome |= {"measure": "rendering-error", "arguments": entry, "values": values}
            write_json(known.measure("rendered"), outcome | {"views": []})
            if alone:
                accuracy.unlink()
        if alone:
            record["examples"] = None
        write_json(folder / "benchmark.json", record)
        return folder

    return write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_rendering) -> Path:
    made: Path = write_rendering(tmp_path_factory.mktemp("runs"))
    report.build(made)
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, write_rendering) -> Path:
    made: Path = write_rendering(tmp_path_factory.mktemp("runs"), alone=True)
    report.build(made)
    return made


def in_words(folder: Path) -> tuple[str, str]:
    """What the terminal and Markdown say."""
    results = load(folder)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(result_tables(results))
    return console.export_text(), markdown.render(results, measure_figures(results), [])


def forms(folder: Path) -> tuple[str, str, str]:
    """The same with the page."""
    return *in_words(folder), (folder / "report/index.html").read_text()


def test_each_model_is_compared_with_both_baselines_at_each_range_of_views(folder: Path):
    rows = tables.drawings(load(folder))
    assert [(row.views, row.label, row.index) for row in rows] == [
        ("shift", "Autoencoder", 0),
        ("shift", "CNN", 1),
        ("still", "Autoencoder", 0),
        ("still", "CNN", 1),
    ]
    assert [(row.copy, row.constant) for row in rows[1:3]] == [
        ("0.0800", "0.0600"),
        ("0.0000", "0.0500"),
    ]
    texts = [tuple(e and e.text for e in (row.error, row.share)) for row in rows]
    error = "0.0250 (0.0200, 0.0300; n = 2)"
    assert texts == [
        (error, "31.2 % (25.0, 37.5; n = 2)"),
        (None, None),
        (error, None),
        (None, None),
    ]


def test_what_is_not_measured_yet_is_not_called_unable_to_draw(tmp_path: Path, write_rendering):
    folder = write_rendering(tmp_path, unfinished=(("CNN", 0), ("CNN", 1)))
    assert {row.label for row in tables.drawings(load(folder))} == {"Autoencoder"}
    for text in in_words(folder):
        assert "cannot draw" not in text
        assert "not finished yet" in text


def test_without_the_measure_nothing_is_said_of_drawings(tmp_path: Path, write_benchmark):
    for text in in_words(write_benchmark(tmp_path, models=MODELS)):
        assert "Drawings" not in text
        assert "Familiar" in text


def test_every_form_of_the_report_shows_it(folder: Path):
    _, *pages = forms(folder)
    for text in forms(folder):
        assert "Drawings of moved images" in text
        assert "Familiar" in text
        for word in (*tables.DRAWING_COLUMNS, "0.0250", "0.0800", "0.0600", "31.2 %"):
            assert word in text
        assert text.count("cannot draw") == 2
    for text in pages:
        assert tables.DRAWING_CAPTION in text
        assert "Shift: shift −3 px to 3 px; no change of rotation, scale and shear." in text


def test_with_cnns_alone_the_measure_is_shown_all_the_same(tmp_path: Path, write_rendering):
    for text in in_words(write_rendering(tmp_path, models=(("CNN", "cnn-small"),))):
        assert text.count("cannot draw") == 2


def test_where_accuracy_is_not_asked_for_nothing_is_said_of_it(alone: Path):
    results = load(alone)
    assert tables.columns(results) == {"seconds": "Training time"}
    for text in forms(alone):
        assert "Training time" in text
        for word in (
            "Familiar<",
            "Familiar |",
            "Novel",
            "Gap<",
            "Gap |",
            "gap is",
            "Accuracy",
            'strip-chart"',
        ):
            assert word not in text


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
    assert len(found) == 2 * (4 + 3) + 2 * 4
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
    assert logged["Autoencoder/rendering-error/shift/rendering/error"] == pytest.approx(0.025)
    assert 0 < logged["CNN/novel/accuracy"] < 1
