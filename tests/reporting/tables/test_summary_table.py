"""The summary of a benchmark: means over the measured seeds, and what is not measured."""

import numpy as np

from capsbench.records import MeasureRecord, load_results
from capsbench.reporting import report
from capsbench.reporting.comparisons.costs import cost_curves
from capsbench.reporting.tables.split_table import split_table
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.values import Quantity

FAMILIAR, NOVEL, BETWEEN, OUTSIDE = (
    Quantity(metric="accuracy", split=split)
    for split in ("familiar", "novel", "between", "outside")
)


def test_means_are_those_of_the_measured_seeds(write_benchmark, tmp_path):
    folder = write_benchmark(
        tmp_path, diverged=(("EM routing", 1),), unfinished=(("Dynamic routing", 0),)
    )
    results = load_results(folder)
    table = summary_table(results)
    titles = [column.title for column in table.columns]
    assert titles == ["Model", "Familiar", "Novel", "Gap", "Training time", "Parameters", "Seeds"]
    rows = {row.cells[0]: row.contents() for row in table.rows}
    records = [cell.measures["accuracy-by-view"] for cell in results.by_label()["CNN"]]
    familiar, novel = (
        np.array([record.get(quantity) for record in records]) for quantity in (FAMILIAR, NOVEL)
    )
    assert rows["CNN"][1].text == f"{familiar.mean():.1%}".replace("%", " %")
    assert rows["CNN"][2].text == f"{novel.mean():.1%}".replace("%", " %")
    assert rows["CNN"][3].text == f"{100 * (familiar - novel).mean():.1f} pts"
    assert rows["CNN"][2].line.endswith("; 2 seeds)")
    assert rows["Dynamic routing"][2].seeds == 1
    assert [rows[label][-1].text for label in rows] == ["2 of 2", "1 of 2", "1 of 2"]
    assert table.notes == (
        "Dynamic routing: seed 0 not finished yet",
        "EM routing: seed 1 diverged at step 137",
    )


def test_views_between_trained_ones_have_columns_if_there_are_any(write_benchmark, tmp_path):
    folder = write_benchmark(tmp_path)
    for cell in load_results(folder).cells:
        path = cell.folder.measure(cell.reference.measures["accuracy-by-view"])
        record = MeasureRecord.load(path)
        values = (*record.values, BETWEEN.with_value(0.75, 400), OUTSIDE.with_value(0.25, 400))
        record.model_copy(update={"values": values}).save(path)
    table = summary_table(load_results(folder))
    titles = [column.title for column in table.columns]
    assert titles[1:6] == ["Familiar", "Novel", "Between", "Outside", "Gap"]
    assert [cell.text for cell in table.rows[0].contents()[3:5]] == ["75.0 %", "25.0 %"]
    assert "between the trained ones" in table.caption


def test_alike_classes_as_one_have_a_column_beside_the_plain_accuracy(
    write_benchmark, add_measure, tmp_path
):
    folder = write_benchmark(tmp_path, seeds=(0,))
    classes = {"condition": {"classes": "6 and 9"}}
    merged = Quantity(metric="merged_accuracy", split="novel", **classes)
    at_view = merged.model_copy(update={"factor": "rotation", "view": 180.0})
    ranges = {"measure": "accuracy-by-split", "ranges": {"far": {"rotation": [90, 180]}}}
    far = Quantity(metric="accuracy", split="far")
    both = (far, merged.model_copy(update={"split": "far"}))
    for cell in load_results(folder).cells:
        path = cell.folder.measure(cell.reference.measures["accuracy-by-view"])
        record = MeasureRecord.load(path)
        values = (*record.values, merged.with_value(0.75, 400), at_view.with_value(0.5, 400))
        record.model_copy(update={"values": values}).save(path)
        pair = [each.with_value(x, 400) for each, x in zip(both, (0.25, 0.5), strict=True)]
        add_measure(folder, cell.label, 0, ranges, pair)
    results = load_results(folder)
    by_split = split_table(results)
    assert by_split is not None
    for table, titles in (
        (summary_table(results), ["Familiar", "Novel", "Novel, 6 and 9 as one", "Gap"]),
        (by_split, ["Far", "Far, 6 and 9 as one"]),
    ):
        assert [column.title for column in table.columns][1 : len(titles) + 1] == titles
        assert "a 6 upside down shows a 9" in table.caption
    assert summary_table(results).rows[0].contents()[3].text == "75.0 %"
    assert [cell.text for cell in by_split.rows[0].contents()[1:]] == ["25.0 %", "50.0 %"]
    titles = [curve.title for curve in cost_curves(results)["parameters"]]
    assert titles == ["Far", "Familiar", "Novel"]


def test_a_cell_without_accuracy_by_view_has_no_numbers(write_benchmark, add_measure, tmp_path):
    folder = write_benchmark(tmp_path)
    value = FAMILIAR.with_value(0.5, 100)
    add_measure(folder, "CNN", 0, {"measure": "accuracy-by-split"}, [value])
    cell = next(c for c in load_results(folder).cells if (c.label, c.seed) == ("CNN", 0))
    cell.folder.measure(cell.reference.measures["accuracy-by-view"]).unlink()
    table = summary_table(load_results(folder))
    row = next(row for row in table.rows if row.cells[0] == "CNN")
    assert row.contents()[-1].text == "1 of 2"
    assert report.build(folder).is_file()


def test_presences_without_gradient_are_told_beside_the_seeds(write_benchmark, tmp_path):
    folder = write_benchmark(tmp_path)
    cell = load_results(folder).by_label()["EM routing"][1]
    shares = {"primary presences": 0.002, "capsules 1 presences": 0.25, "class presences": 1.0}
    assert cell.training is not None
    cell.training.model_copy(update={"zero_gradient": shares}).save(cell.folder.training)
    rows = {row.cells[0]: row.contents()[-1] for row in summary_table(load_results(folder)).rows}
    told = "25 % of the capsules 1 presences, 100 % of the class presences without gradient"
    assert rows["EM routing"].note.endswith(f"seed 1: {told}")
    assert "primary" not in rows["EM routing"].note
    assert "gradient" not in rows["CNN"].note
