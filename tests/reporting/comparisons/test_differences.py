"""Differences between models: those of values with per-image outcomes, corrected together."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.measures import index_name
from capsbench.records import load_results
from capsbench.reporting import report
from capsbench.reporting.comparisons.differences import difference_table, model_differences, p_value
from capsbench.reporting.comparisons.per_image import load_outcomes
from capsbench.reporting.exports.export import ExportedNumbers
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import difference
from capsbench.statistics.power import smallest_detectable
from capsbench.values import Quantity

SPLITS = {"measure": "accuracy-by-split", "splits": ["familiar", "novel"]}
WORST = {"measure": "worst-of-k", "views": {"rotation": [-9, 9]}}
MERGED = Quantity(metric="merged_accuracy", split="familiar", condition={"classes": "6 and 9"})
WORST_CASE = Quantity(metric="worst_case_accuracy")
RATES = {"CNN": 0.9, "Dynamic routing": 0.6, "EM routing": 0.88}
SEEDS = (0, 1, 2)
IMAGES = 60


def accuracy(split):
    return Quantity(metric="accuracy", split=split)


def is_correct(label, split, seed):
    draws = np.random.default_rng([len(label), len(split), seed])
    return draws.random(IMAGES) < RATES[label]


@pytest.fixture
def folder(tmp_path: Path, write_benchmark, add_measure) -> Path:
    return write(tmp_path, write_benchmark, add_measure, SEEDS)


def write(path, write_benchmark, add_measure, seeds):
    folder: Path = write_benchmark(path, seeds=seeds)
    for label in RATES:
        for seed in seeds:
            correct = {
                accuracy(split): is_correct(label, split, seed) for split in SPLITS["splits"]
            }
            values = [q.with_value(float(each.mean()), IMAGES) for q, each in correct.items()]
            values.append(Quantity(metric="gap").with_value(0.0, IMAGES))
            per_image = {quantity.name: each for quantity, each in correct.items()}
            # The same with alike classes as one is compared by claims alone.
            values.append(MERGED.with_value(0.9, IMAGES))
            per_image[MERGED.name] = is_correct(label, "familiar", seed)
            # All models have the same familiar images, but not the same novel ones.
            per_image[index_name("familiar")] = np.arange(IMAGES)
            per_image[index_name("novel")] = np.arange(IMAGES) + (label == "EM routing")
            add_measure(folder, label, seed, SPLITS, values, per_image=per_image)
            by_view = np.stack([is_correct(label, view, seed) for view in ("a", "bb")])
            values = [
                WORST_CASE.with_value(float(by_view.mean()), IMAGES),
                Quantity(metric="random_accuracy").with_value(0.5, IMAGES),
            ]
            per_image = {WORST_CASE.name: by_view, index_name(): np.arange(IMAGES)}
            add_measure(folder, label, seed, WORST, values, per_image=per_image)
    return folder


def test_each_model_is_compared_with_the_first_one(folder: Path):
    rows = model_differences(load_results(folder))
    assert [(row.title, row.measure, row.quantity) for row in rows] == [
        ("Dynamic routing", "accuracy-by-split", accuracy("familiar")),
        ("EM routing", "accuracy-by-split", accuracy("familiar")),
        ("Dynamic routing", "accuracy-by-split", accuracy("novel")),
        ("Dynamic routing", "worst-of-k", WORST_CASE),
        ("EM routing", "worst-of-k", WORST_CASE),
    ]
    tables = {
        label: np.stack([is_correct(label, "familiar", seed) for seed in SEEDS]) for label in RATES
    }
    expected = difference(tables["Dynamic routing"], tables["CNN"], bounds=(-1, 1))
    first = rows[0].difference
    assert (first.mean, first.p, first.bounds) == (expected.mean, expected.p, (-1, 1))
    assert first.mean < -0.1
    assert first.n_seeds == (3, 3)
    assert first.n_images == IMAGES
    differences = [row.difference for row in rows]
    assert differences == corrected(differences)
    assert first.p_corrected == pytest.approx(min(1, 5 * first.p))
    assert {each.comparisons for each in differences} == {5}


def test_the_outcome_of_an_image_is_the_mean_over_its_views(folder: Path):
    cells = load_results(folder).by_label()["CNN"]
    outcomes = load_outcomes(cells, "worst-of-k")
    assert list(outcomes) == [WORST_CASE]
    by_view = [is_correct("CNN", view, 1) for view in ("a", "bb")]
    assert np.allclose(outcomes[WORST_CASE].table[1], np.mean(by_view, axis=0))
    assert outcomes[WORST_CASE].table.shape == (3, IMAGES)


def test_page_markdown_and_csv_hold_the_same_rows(folder: Path):
    report.build(folder)
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    results = load_results(folder)
    rows = model_differences(results)
    table = difference_table(results, rows)
    assert table is not None
    for row in table.rows:
        for cell in row.contents():
            assert cell.line.replace("<", "&lt;") in page
            assert cell.line.replace("<", "&lt;") in text
    with (folder / "report/differences.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [float(line["difference"]) for line in read] == [row.difference.mean for row in rows]
    assert [line["metric"] for line in read] == [row.quantity.metric for row in rows]
    assert [float(line["p_corrected"]) for line in read] == [
        row.difference.p_corrected for row in rows
    ]
    assert [float(line["detectable"]) for line in read] == [
        smallest_detectable(row.difference) for row in rows
    ]
    assert "for all 5 comparisons" in page
    assert "Bonferroni" in page


def test_an_earlier_record_shows_no_interval(folder: Path):
    """Records from before the standard error was kept have p-values that were too small."""
    results = load_results(folder)
    rows = []
    for row in model_differences(results):
        numbers = ExportedNumbers.of(row.difference)
        assert numbers.difference == row.difference
        earlier = numbers.model_copy(update={"standard_error": None, "degrees": None})
        rows.append(replace(row, difference=earlier.difference))
    table = difference_table(results, rows)
    assert table is not None
    assert "before November 30" in table.caption
    assert "Bonferroni" not in table.caption
    assert [row.cells[3:7] for row in table.rows] == [(None,) * 4] * 5


def test_two_seeds_have_no_interval(tmp_path: Path, write_benchmark, add_measure):
    results = load_results(write(tmp_path, write_benchmark, add_measure, (0, 1)))
    rows = model_differences(results)
    assert [(row.difference.interval, p_value(row.difference.p)) for row in rows] == [
        (None, None)
    ] * 5
    table = difference_table(results, rows)
    assert table is not None
    assert [row.cells[3:7] for row in table.rows] == [(None,) * 4] * 5
    assert "3 or more seeds" in table.caption
    assert "corrected" not in table.caption.lower()


def test_one_model_or_no_outcomes_give_no_differences(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path))
    assert model_differences(results) == []
    assert difference_table(results, []) is None
    alone = (("CNN", "cnn-small"),)
    assert model_differences(load_results(write_benchmark(tmp_path / "b", models=alone))) == []


def test_a_damaged_file_is_refused(folder: Path):
    results = load_results(folder)
    cell = results.cells[0]
    cell.folder.per_image(cell.reference.measures["worst-of-k"]).write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        model_differences(results)


def test_p_values_are_short():
    assert [p_value(p) for p in (1.0, 0.04567, 0.001, 0.00099)] == [
        "1",
        "0.046",
        "0.001",
        "< 0.001",
    ]
