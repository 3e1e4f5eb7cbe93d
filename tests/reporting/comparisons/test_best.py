"""Best models of a column: the highest mean, and those that are not shown to be lower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capsbench.measures import index_name
from capsbench.records import load_results
from capsbench.reporting.comparisons.best import mark_best
from capsbench.reporting.tables.split_table import split_table
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.values import Quantity

SPLITS = {"measure": "accuracy-by-split", "splits": ["familiar"]}
FAMILIAR = Quantity(metric="accuracy", split="familiar")
IMAGES = 400


@pytest.fixture
def marked(tmp_path, write_benchmark, add_measure):
    """Write models with given shares of correct images; return the titles that are marked."""

    def call(rates, *, seeds=(0, 1, 2), per_image=True, same=()):
        models = tuple((label, "cnn-small") for label in rates)
        folder = write_benchmark(tmp_path, seeds=seeds, models=models)
        for label, rate in rates.items():
            for seed in seeds:
                source = [len(label), seed] if label not in same else [0, seed]
                correct = np.random.default_rng(source).random(IMAGES) < rate
                arrays = {FAMILIAR.name: correct, index_name("familiar"): np.arange(IMAGES)}
                values = [FAMILIAR.with_value(float(correct.mean()), IMAGES)]
                add_measure(
                    folder, label, seed, SPLITS, values, per_image=arrays if per_image else {}
                )
        results = load_results(folder)
        splits = split_table(results)
        assert splits is not None
        table = mark_best(results, splits)
        best = {row.cells[0] for row in table.rows if row.contents()[1].best}
        return best, table.caption

    return call


def test_the_highest_and_those_not_shown_to_be_lower(marked):
    best, caption = marked({"A": 0.95, "BB": 0.945, "CCC": 0.5})
    assert best == {"A", "BB"}
    assert "bold" in caption and "Hsu" in caption


def test_the_order_of_the_models_does_not_matter(marked):
    assert marked({"CCC": 0.5, "BB": 0.9})[0] == {"BB"}


def test_equal_models_are_all_marked(marked):
    assert marked({"A": 0.9, "BB": 0.9}, same=("A", "BB"))[0] == {"A", "BB"}


def test_values_without_outcomes_are_compared_over_seeds(marked):
    assert marked({"A": 0.95, "CCC": 0.5}, per_image=False)[0] == {"A"}


@pytest.mark.parametrize(
    ("rates", "seeds"), [({"A": 0.95, "CCC": 0.5}, (0, 1)), ({"A": 0.9}, (0, 1, 2))]
)
def test_two_seeds_or_one_model_show_nothing(marked, rates, seeds):
    best, caption = marked(rates, seeds=seeds)
    assert best == set()
    assert "bold" not in caption


def test_a_model_with_too_few_seeds_is_not_compared(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0, 1, 2), unfinished=(("CNN", 1),))
    results = load_results(folder)
    table = mark_best(results, summary_table(results))
    cells = {row.cells[0]: row.contents()[1:3] for row in table.rows}
    assert not any(cell.best for cell in cells["CNN"])
    assert any(cell.best for title, row in cells.items() if title != "CNN" for cell in row)
    assert "fewer than 3 seeds" in table.caption


def test_only_accuracies_are_marked(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path, seeds=(0, 1, 2)))
    table = mark_best(results, summary_table(results))
    titles = [column.title for column in table.columns]
    best = {
        t for row in table.rows for t, cell in zip(titles, row.contents(), strict=True) if cell.best
    }
    assert best == {"Familiar", "Novel"}


def test_values_that_are_varied_are_compared_apart(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path, seeds=(0, 1, 2)))
    at = {"CNN": 1.0, "Dynamic routing": 1.0, "EM routing": 2.0}
    cells = tuple(
        replace(c, reference=c.reference.model_copy(update={"at": at[c.label]}))
        for c in results.cells
    )
    results = replace(results, cells=cells)
    table = mark_best(results, summary_table(results))
    alone = table.rows[2].contents()
    assert not any(cell.best for cell in alone)
    assert any(cell.best for row in table.rows[:2] for cell in row.contents())
