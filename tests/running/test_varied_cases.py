"""A benchmark that varies named cases, of augmentation, from run to page and export."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.records import ProtocolChanges, load_results
from capsbench.reporting.comparisons.answers import answers
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.comparisons.published import compare_published
from capsbench.reporting.comparisons.scaling import varied_caption, varied_curves
from capsbench.reporting.exports.checks import check_cells
from capsbench.reporting.figures.scaling_figures import varied_figure
from capsbench.reporting.formatting import points
from capsbench.reporting.tables.case_table import case_table
from capsbench.reporting.tables.published_tables import model_text
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.schema import Benchmark

CASES = {
    "none": {},
    "our views": {"views.rotation": [-40, 40], "views.scale": [0.8, 1.2]},
    "RandAugment": {"recipe.augmentation": ["RandAugment"]},
}
NUMBER = {
    "model": "Small",
    "at": "RandAugment",
    "measure": "accuracy-by-split",
    "quantity": {"metric": "accuracy", "split": "familiar"},
    "value": 0.15,
    "spread": 0.9,
    "printed": "as a test",
    "source": "a test",
    "selected_on": "nothing",
    "known_by": "read",
}


@pytest.fixture
def folder(session, tiny_protocol):
    models = [
        {"name": "cnn-small", "label": label, "arguments": {"width": width, "hidden": 4}}
        for label, width in (("Tiny", 1), ("Small", 2))
    ]
    benchmark = Benchmark.model_validate(
        {
            **tiny_protocol,
            "models": models,
            "vary": {"name": "augmentation", "cases": CASES},
            "measures": [{"measure": "accuracy-by-split"}],
            "seeds": [0],
            "published": [NUMBER],
        }
    )
    cells = plan(benchmark)
    run_benchmark(benchmark, cells, session, changes=ProtocolChanges(), command="a test")
    return session.output / "tiny"


def test_from_run_to_page_and_export(folder):
    results = load_results(folder)
    titles = [f"{label} · {case}" for label in ("Tiny", "Small") for case in CASES]
    assert list(results.by_label()) == titles
    assert [cell.at for cell in results.cells] == [0, 1, 2, 0, 1, 2]
    assert [row.title for row in model_differences(results)] == titles[3:]
    assert len({cell.config and cell.config.fingerprint for cell in results.cells}) == 6
    (comparison,) = compare_published(results)
    assert comparison.counterpart.seeds == 1
    assert model_text(comparison.entry) == "Small at RandAugment"

    (curves,) = varied_curves(results)
    assert [x for x, _ in curves.lines["Small"]] == [0, 1, 2]
    figure = varied_figure(results)
    assert figure is not None
    (axes,) = [each for each in figure.axes if each.get_visible()]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CASES)
    assert axes.get_xticks().tolist() == [0, 1, 2]
    marks = [np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_marker() == "o"]
    assert marks == pytest.approx([-0.06, 0.94, 1.94])  # beside those of the other model
    assert "side by side" in varied_caption(results)

    accuracies = {
        title: cells[0].measures["accuracy-by-split"].values[0].value
        for title, cells in results.by_label().items()
    }
    best = max(accuracies, key=lambda title: accuracies[title])
    (sentence,) = answers(results, model_differences(results))
    label, case = best.split(" · ")
    assert f"(best of 3, augmentation: {case}): {label} has the highest mean of 2" in sentence

    table = case_table(results)
    assert table is not None
    assert [row.contents()[0].text for row in table.rows] == [*titles[1:3], *titles[4:]]
    none, views = (
        results.by_label()[title][0].measures["accuracy-by-split"].values[0].value
        for title in titles[:2]
    )
    assert table.rows[0].contents()[1].text == points(views - none)

    with (folder / "report/results.csv").open(encoding="utf-8") as file:
        assert {row["at"] for row in csv.DictReader(file)} == set(CASES)
    for name in ("index.html", "report.md"):
        text = (folder / "report" / name).read_text(encoding="utf-8")
        for words in (
            "none (as stated here)",
            "our views (rotation −40° to 40°, scale ×0.8 to ×1.2)",
            "RandAugment (augmentation by RandAugment(n=2, m=9))",
            "Some cases have other views, or augment the images",
            "Small · RandAugment",
            "Gain over the case ",
        ):
            assert words in text

    check_cells(folder, results.benchmark, results.cells)
    wrong = results.cells[0].reference.model_copy(update={"case": "RandAugment"})
    named_wrong = replace(results.cells[0], reference=wrong)
    with pytest.raises(UserError, match="no cell"):
        check_cells(folder, results.benchmark, [named_wrong])
