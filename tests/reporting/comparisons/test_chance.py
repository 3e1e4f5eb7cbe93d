"""Seeds at chance are known by their accuracy, and named beside every mean."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest

from capsbench.measures import index_name
from capsbench.records import load_results
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, subtract_seeds
from capsbench.reporting.comparisons.chance import is_at_chance, seeds_at_chance, wilson_lower
from capsbench.reporting.comparisons.differences import difference_table, model_differences
from capsbench.reporting.report import build
from capsbench.reporting.tables import render_terminal
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.values import Quantity

FAMILIAR = Quantity(metric="accuracy", split="familiar")
BY_VIEW = {"measure": "accuracy-by-view", "grid": {"rotation": {"start": 0, "stop": 0, "step": 1}}}


@pytest.fixture
def folder(tmp_path, write_benchmark, add_measure):
    """Three seeds of two models on ten classes; seed 1 of the CNN has learned nothing."""
    models = (("CNN", "cnn-small"), ("Caps", "capsnet-dr"))
    folder = write_benchmark(tmp_path, models=models, seeds=(0, 1, 2))
    for label in ("CNN", "Caps"):
        for seed in range(3):
            accuracy = 0.113 if (label, seed) == ("CNN", 1) else 0.98
            values = [
                FAMILIAR.with_value(accuracy, 400),
                FAMILIAR.model_copy(update={"split": "novel"}).with_value(0.1, 400),
            ]
            add_measure(folder, label, seed, BY_VIEW, values)
    return folder


def cells_of(folder, label):
    return [cell for cell in load_results(folder).cells if cell.label == label]


def test_a_seed_at_chance_is_known_by_its_accuracy_on_familiar_images(folder):
    assert seeds_at_chance(cells_of(folder, "CNN")) == (1,)
    assert seeds_at_chance(cells_of(folder, "Caps")) == ()  # novel accuracy is no sign of it


def test_chance_is_the_share_of_the_largest_class_where_it_is_recorded(folder):
    cell = cells_of(folder, "Caps")[0]
    training = cell.training
    assert training is not None
    for share, expected in ((0.5, False), (0.99, True), (0.01, False)):
        update = {"largest_class": share}
        assert is_at_chance(replace(cell, training=training.model_copy(update=update))) is expected


def test_of_pairs_of_classes_chance_is_the_share_of_a_pair(folder):
    """Of 45 pairs of ten classes a constant answer has 2 %: 9 % of pairs are learned."""
    cell = cells_of(folder, "Caps")[0]
    assert cell.training is not None
    (record,) = cell.measures.values()
    record = type(record)(**dict(record) | {"values": (FAMILIAR.with_value(0.09, 1000),)})
    for share, expected in ((1 / 45, False), (None, True)):
        training = cell.training.model_copy(update={"largest_class": share})
        each = replace(cell, training=training, measures={"accuracy-by-view": record})
        assert is_at_chance(each) is expected


def test_older_records_of_mnist_do_without_it(folder):
    """A constant answer is right for 1,135 of 10,000 digits, beyond the interval around 1 / 10."""
    cell = cells_of(folder, "Caps")[0]
    (record,) = cell.measures.values()
    record = type(record)(**dict(record) | {"values": (FAMILIAR.with_value(0.1135, 10_000),)})
    assert cell.config is not None
    for name, expected in (("digits", False), ("affnist-like", True)):
        data = cell.config.data.model_copy(update={"name": name})
        config = cell.config.model_copy(update={"data": data})
        measures = {"accuracy-by-view": record}
        assert is_at_chance(replace(cell, config=config, measures=measures)) is expected


def test_without_a_measure_the_accuracy_is_that_of_validation(folder):
    cell = replace(cells_of(folder, "CNN")[0], measures={})
    training = cell.training
    assert training is not None
    choice = training.selected["validation"].model_copy(update={"accuracy": 0.12})
    for images, expected in ({"validation": 300}, True), ({"validation": 300_000}, False):
        update = {"images": images, "selected": {"validation": choice}}
        assert is_at_chance(replace(cell, training=training.model_copy(update=update))) is expected
    assert not is_at_chance(replace(cell, training=None))  # no accuracy is known


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilson_s(counts):
    k, n = counts
    limits = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson_lower(k / n, n) == pytest.approx(limits.low, abs=1e-9)


def test_a_difference_names_the_seeds_of_both(folder):
    one, other = (
        aggregate_seeds(cells_of(folder, label), "accuracy-by-view", FAMILIAR)
        for label in ("CNN", "Caps")
    )
    assert one is not None
    assert one.at_chance == (1,)
    difference = subtract_seeds(other, one)
    assert difference is not None
    assert difference.at_chance == (1,)


def test_a_table_of_differences_names_the_seeds_of_both(tmp_path, write_benchmark, add_measure):
    models = (("CNN", "cnn-small"), ("Caps", "capsnet-dr"))
    folder = write_benchmark(tmp_path, models=models, seeds=(0, 1, 2))
    for label in ("CNN", "Caps"):
        for seed in range(3):
            right = np.arange(400) < (40 if seed == (1 if label == "CNN" else 2) else 390)
            values = [FAMILIAR.with_value(float(right.mean()), 400)]
            arrays = {FAMILIAR.name: right, index_name(): np.arange(400)}
            add_measure(folder, label, seed, BY_VIEW, values, per_image=arrays)
    results = load_results(folder)
    table = difference_table(results, model_differences(results))
    assert table is not None
    (row,) = table.rows
    assert row.contents()[2].note == "seed 2 at chance; CNN: seed 1 at chance"


def test_every_page_and_table_names_it_beside_the_mean(folder):
    results = load_results(folder)
    console = Console(width=200, record=True)
    console.print(render_terminal.render(summary_table(results)))
    page = build(folder).read_text()
    report = (folder / "report/report.md").read_text()
    for text in (console.export_text(), page, report):
        assert "seed 1 at chance" in text
    rows = [line for line in report.splitlines() if line.startswith("| Caps")]
    assert rows
    assert not any("at chance" in row for row in rows if "-by-" not in row)
