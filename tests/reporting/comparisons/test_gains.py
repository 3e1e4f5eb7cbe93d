"""Gains by training: values of untrained networks are shown beside those of trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from capsbench.measures import LayerFigureSpec, index_name, load_measure
from capsbench.records import load_results
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, quantities
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.comparisons.gains import gain_outcomes, seed_gains
from capsbench.reporting.comparisons.per_image import load_outcomes
from capsbench.reporting.figures.all_figures import measure_figures
from capsbench.reporting.figures.layer_figure import layer_figure
from capsbench.reporting.tables.totals_table import totals_table
from capsbench.values import Quantity
from tests.reporting.drawn_lines import drawn_lines

SEEDS = (0, 1, 2)
IMAGES = 40
LINEAR = {"measure": "linear-equivariance"}
PARTS = {"measure": "part-whole"}
GAIN = Quantity(metric="r2_over_control", layer="hidden")
SHUFFLED = Quantity(metric="shuffled_explained", layer="hidden")
LOSS = Quantity(metric="accuracy_loss")
PIXELS = Quantity(metric="r2_over_control", layer="pixels")


def contributions(quantity, seed):
    draws = np.random.default_rng([seed, len(quantity.name)])
    return draws.uniform(0.2, 0.4, IMAGES) + (0.3 if quantity.is_untrained else 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_benchmark, add_measure) -> Path:
    folder: Path = write_benchmark(tmp_path_factory.mktemp("runs"), seeds=SEEDS)
    for label in ("CNN", "Dynamic routing"):
        for seed in SEEDS:
            for config, own in ((LINEAR, (GAIN, SHUFFLED, PIXELS)), (PARTS, (LOSS,))):
                both = [*own, *(each.of_untrained() for each in own if each.layer != "pixels")]
                arrays = {each.name: contributions(each, seed) for each in both}
                values = [each.with_value(float(arrays[each.name].mean()), IMAGES) for each in both]
                arrays[index_name()] = np.arange(IMAGES)
                add_measure(folder, label, seed, config, values, per_image=arrays)
    return folder


@pytest.fixture
def cells(folder):
    return load_results(folder).by_label()["CNN"]


def test_a_gain_is_the_difference_of_each_seed(cells):
    gains = seed_gains(cells, "linear-equivariance", GAIN)
    assert gains is not None
    assert [*gains.values] == list(SEEDS)
    for seed, gain in gains.values.items():
        sides = [contributions(each, seed).mean() for each in (GAIN, GAIN.of_untrained())]
        assert gain == pytest.approx(sides[0] - sides[1])
    assert seed_gains(cells, "linear-equivariance", PIXELS) is None
    assert seed_gains(cells, "invariance-error", GAIN) is None


def test_a_gain_has_the_images_of_both(cells):
    outcomes = load_outcomes(cells, "linear-equivariance")
    gains = gain_outcomes(outcomes, GAIN)
    assert gains is not None
    assert gains.table.shape == (len(SEEDS), IMAGES)
    expected = seed_gains(cells, "linear-equivariance", GAIN)
    assert expected is not None
    assert gains.table.mean(axis=1) == pytest.approx([*expected.values.values()])
    assert gain_outcomes(outcomes, PIXELS) is None
    other = outcomes[GAIN]._replace(numbers=np.arange(IMAGES) + 1)
    assert gain_outcomes({**outcomes, GAIN: other}, GAIN) is None


def test_queries_return_the_trained_network_alone(cells):
    assert quantities(cells, "linear-equivariance") == [GAIN, SHUFFLED, PIXELS]
    untrained = aggregate_seeds(cells, "linear-equivariance", GAIN.of_untrained())
    trained = aggregate_seeds(cells, "linear-equivariance", GAIN)
    assert untrained is not None
    assert trained is not None
    assert untrained.mean > trained.mean + 0.2


def test_models_are_not_compared_before_training(folder):
    compared = [row.quantity for row in model_differences(load_results(folder))]
    assert LOSS in compared
    assert not any(quantity.is_untrained for quantity in compared)


def test_the_table_of_a_model_has_both_and_what_was_added(cells):
    table = totals_table(cells)
    assert table is not None
    titles = [column.title for column in table.columns]
    assert titles == [
        "Measure", "Value", "Mean over seeds", "Before training", "Added by training", "Images",
    ]  # fmt: skip
    rows = {row.cells[1]: row.contents() for row in table.rows}
    trained, untrained, added = rows["r2 over control, layer hidden"][2:5]
    assert len({trained.text, untrained.text, added.text}) == 3
    assert added.text.startswith("−") or added.text.startswith("-")
    assert [cell.text for cell in rows["r2 over control, layer pixels"][3:5]] == ["–", "–"]
    assert not any("untrained" in str(name) for name in rows)


def test_a_model_without_controls_has_no_columns_of_them(folder):
    table = totals_table(load_results(folder).by_label()["EM routing"])
    assert table is not None
    assert not any("training" in column.title for column in table.columns)
    assert table.caption == ""


def test_figures_have_a_dotted_line_in_the_model_s_color(folder):
    spec = load_measure("linear-equivariance").figures[0]
    assert isinstance(spec, LayerFigureSpec)
    figure = layer_figure(load_results(folder), "linear-equivariance", spec)
    assert figure is not None
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "R² beyond the controls, before training" in names
    assert not any(name.startswith("explained for shuffled pairs,") for name in names)
    control = np.mean([contributions(GAIN.of_untrained(), seed).mean() for seed in SEEDS])
    heights = {round(y, 6) for line in drawn_lines(figure.axes[0]) for _, y in line}
    assert round(float(control), 6) in heights
    seeds = [round(float(contributions(GAIN.of_untrained(), seed).mean()), 6) for seed in SEEDS]
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert {round(y, 6) for line in crosses for y in np.asarray(line.get_ydata()).tolist()} == {
        *seeds
    }
    colors = {to_hex(line.get_color()) for line in crosses}
    trained = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert colors == {to_hex(line.get_color()) for line in trained}


def test_captions_and_rows_tell_both_apart(folder):
    results = load_results(folder)
    assert "before training" in measure_figures(results)["linear-equivariance"].caption.text
    rows = [row for row in results.rows() if row["metric"] == "r2_over_control"]
    networks = [row.get("condition_network") for row in rows if row["layer"] == "hidden"]
    assert networks == [None, "untrained"] * 6
