"""The errors of drawings, for a model that draws and a model that cannot."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import load_results
from capsbench.reporting import report, terminal
from capsbench.reporting.tables.drawing_table import CANNOT_DRAW, CAPTION, drawing_table
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.reporting.tables.totals_table import totals_table
from capsbench.reporting.wandb.aggregate import leaderboard, summary
from capsbench.values import Quantity

MODELS = (("Autoencoder", "transforming-autoencoder"), ("CNN", "cnn-small"))
CONFIG = {"measure": "rendering-error", "views": {"shift": {"shift": (-3, 3)}, "still": {}}}
BASELINES = {
    ("shift", "copy_error"): 0.08,
    ("shift", "constant_error"): 0.06,
    ("still", "copy_error"): 0.0,
    ("still", "constant_error"): 0.05,
}
COLUMNS = ("Model", "Views", "Error", "Copy", "Constant", "Relative to copy")


@pytest.fixture(scope="module")
def write_rendering(write_benchmark, add_measure):
    """Write records with the measure next to accuracy; a CNN cannot draw."""

    def write(runs: Path, *, models=MODELS, **more) -> Path:
        folder: Path = write_benchmark(runs, models=models, **more)
        for cell in load_results(folder).cells:
            if cell.training is None:
                continue
            error = 0.02 + 0.01 * (cell.seed or 0)
            drawn = {
                ("shift", "rendering_error"): error,
                ("shift", "error_relative_to_copy"): error / 0.08,
                ("still", "rendering_error"): error,
            }
            numbers = BASELINES | (drawn if cell.label == "Autoencoder" else {})
            values = [
                Quantity(metric=metric, split=views).with_value(number, 400)
                for (views, metric), number in numbers.items()
            ]
            add_measure(folder, cell.label, cell.seed, CONFIG, values)
        return folder

    return write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_rendering) -> Path:
    made: Path = write_rendering(tmp_path_factory.mktemp("runs"))
    report.build(made)
    return made


def printed(folder: Path) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal.result_tables(load_results(folder)))
    return console.export_text()


def forms(folder: Path) -> tuple[str, str, str]:
    """Return the tables in the terminal, in Markdown and on the page."""
    report.build(folder)
    text, page = ((folder / "report" / name).read_text() for name in ("report.md", "index.html"))
    return printed(folder), text, page


def test_each_model_is_compared_with_both_baselines_at_each_range_of_views(folder: Path):
    table = drawing_table(load_results(folder))
    assert table is not None
    assert [(row.cells[1], row.cells[0], row.color) for row in table.rows] == [
        ("shift", "Autoencoder", 0),
        ("shift", "CNN", 1),
        ("still", "Autoencoder", 0),
        ("still", "CNN", 1),
    ]
    assert [row.cells[3:5] for row in table.rows[1:3]] == [
        ("0.0800", "0.0600"),
        ("0.0000", "0.0500"),
    ]
    lines = [[row.contents()[column].line for column in (2, 5)] for row in table.rows]
    error = "0.0250 (0.0200, 0.0300; 2 seeds)"
    assert lines == [
        [error, "31.2 % (25.0, 37.5; 2 seeds)"],
        [CANNOT_DRAW, "–"],
        [error, "–"],
        [CANNOT_DRAW, "–"],
    ]


def test_a_model_that_is_not_measured_yet_has_no_row(tmp_path: Path, write_rendering):
    folder = write_rendering(tmp_path, unfinished=(("CNN", 0), ("CNN", 1)))
    table = drawing_table(load_results(folder))
    assert table is not None
    assert {row.cells[0] for row in table.rows} == {"Autoencoder"}
    for text in forms(folder):
        assert CANNOT_DRAW not in text
        assert "not finished yet" in text


def test_without_the_measure_there_is_no_table(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, models=MODELS)
    assert drawing_table(load_results(folder)) is None
    assert "Drawings" not in printed(folder)


def test_every_form_of_the_report_has_the_table(folder: Path):
    _, *pages = forms(folder)
    for text in forms(folder):
        for word in (*COLUMNS, "Drawings of moved images", "0.0250", "0.0800", "0.0600", "31.2 %"):
            assert word in text
        assert text.count(CANNOT_DRAW) == 2
    for text in pages:
        assert CAPTION in text
        assert "Shift: shift −3 px to 3 px; no change of rotation, scale, shear and tilt." in text


def test_cnns_alone_have_the_table_too(tmp_path: Path, write_rendering):
    folder = write_rendering(tmp_path, models=(("CNN", "cnn-small"),))
    assert printed(folder).count(CANNOT_DRAW) == 2


def test_without_accuracy_by_view_the_summary_has_no_accuracies(folder: Path):
    results = load_results(folder)
    content = results.benchmark.model_dump() | {"measures": [CONFIG]}
    benchmark = type(results.benchmark).model_validate(content)
    record = results.record.model_copy(update={"benchmark": benchmark})
    table = summary_table(type(results)(record, results.cells))
    titles = [column.title for column in table.columns]
    assert titles == ["Model", "Training time", "Parameters", "Seeds"]
    assert "ccuracy" not in table.caption


def test_all_values_of_a_model_have_their_units(folder: Path):
    tables = [totals_table(cells) for cells in load_results(folder).by_label().values()]
    texts = []
    for table in tables:
        assert table is not None
        contents = (row.contents() for row in table.rows)
        texts.append({name.text: cell.line for _, name, cell, _ in contents})
    assert texts[0]["shift rendering error"] == "0.0250 (0.0200, 0.0300; 2 seeds)"
    assert texts[0]["shift error relative to copy"].startswith("31.2 %")
    assert texts[1]["shift copy error"].startswith("0.0800")
    assert "shift rendering error" not in texts[1]
    for lines in texts:
        assert lines["gap"].endswith("2 seeds)")
        assert "pts" in lines["gap"]


def test_csv_holds_both_measures(folder: Path):
    rows = list(csv.DictReader(io.StringIO((folder / "report/results.csv").read_text())))
    matches = [row for row in rows if row["measure"] == "rendering-error"]
    assert len(matches) == 2 * (4 + 3) + 2 * 4
    assert {row["measure"] for row in rows} == {"rendering-error", "accuracy-by-view"}


def test_the_leaderboard_of_weights_and_biases_has_the_means_of_both_measures(folder: Path):
    means = summary(leaderboard(load_results(folder)))
    assert means["Autoencoder_rendering_error_rendering_error_shift"] == pytest.approx(0.025)
    assert 0 < means["CNN_accuracy_by_view_accuracy_novel"] < 1
