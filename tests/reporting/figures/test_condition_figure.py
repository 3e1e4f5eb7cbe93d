"""The figure against a condition: a panel per attack, with unchanged images at 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsbench.measures.attacks import Attacks
from capsbench.records import load_results
from capsbench.reporting.comparisons.conditions import condition_curve, panel_keys, panel_title
from capsbench.reporting.figures.condition_figure import condition_figure
from capsbench.values import Quantity, Value
from tests.reporting.drawn_lines import has_line

CONFIG = {"measure": "attacks", "epsilons": [0.1, 0.3], "methods": ["fgsm"], "targeted": True}
(SPEC,) = Attacks.figures
SEEDS = (0, 1, 2)
FGSM, TARGETED, TRANSFERRED = ("fgsm", None, None), ("fgsm", True, None), ("fgsm", None, "CNN")
WORST_CASE = ("worst-case", None, None)


def attacks(label: str, seed: int) -> list[Value]:
    slope = 0.5 if label == "CNN" else 0.2
    unchanged = Quantity(metric="accuracy", condition={"attack": "none"})
    values = [unchanged.with_value(0.9, 100)]
    for condition, source in (({}, None), ({"targeted": True}, None), ({}, "CNN")):
        attack = Quantity(
            metric="accuracy", condition={"method": "fgsm"} | condition, source=source
        )
        values.append(attack.with_value(0.01, 100))  # the mean over epsilons
        for epsilon in (0.3, 0.1):
            at = attack.model_copy(update={"condition": attack.condition | {"epsilon": epsilon}})
            values.append(at.with_value(0.9 - slope * epsilon - 0.01 * seed, 100))
            gradient = at.model_copy(update={"metric": "zero_gradient"})
            values.append(gradient.with_value(0.25, 100))
    worst = {"method": "worst-case", "epsilon": 0.3}
    values.append(Quantity(metric="accuracy", condition=worst).with_value(0.3, 100))
    values.append(Quantity(metric="masked", condition=worst).with_value(0.15, 100))
    reached = {"method": "fgsm", "targeted": True, "epsilon": 0.3}
    return [*values, Quantity(metric="target_success", condition=reached).with_value(0.4, 100)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark, add_measure) -> Path:
    folder: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"), seeds=SEEDS, diverged=(("EM routing", 1),)
    )
    for label in ("CNN", "Dynamic routing"):
        for seed in SEEDS:
            add_measure(folder, label, seed, CONFIG, attacks(label, seed))
    return folder


def test_each_attack_has_a_panel(folder: Path):
    results = load_results(folder)
    assert panel_keys(results, "attacks", SPEC) == [FGSM, TARGETED, TRANSFERRED, WORST_CASE]
    assert panel_title(SPEC, TARGETED) == "FGSM, targeted"
    assert panel_title(SPEC, ("other", True, "CNN")) == "other, targeted, from CNN"


def test_curves_begin_with_unchanged_images(folder: Path):
    cells = load_results(folder).by_label()["CNN"]
    curve = condition_curve(cells, "attacks", SPEC, FGSM, "accuracy")
    assert [epsilon for epsilon, _ in curve] == [0, 0.1, 0.3]
    assert curve[0][1].mean == pytest.approx(0.9)
    assert curve[2][1].values == {seed: pytest.approx(0.75 - 0.01 * seed) for seed in SEEDS}
    further = condition_curve(cells, "attacks", SPEC, FGSM, "zero_gradient")
    assert [epsilon for epsilon, _ in further] == [0.1, 0.3]


def test_figure_shows_all_metrics_at_even_steps(folder: Path):
    results = load_results(folder)
    figure = condition_figure(results, "attacks", Attacks, SPEC)
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.get_visible()]
    titles = ["FGSM", "FGSM, targeted", "FGSM, from CNN", "Worst case"]
    assert [axes.get_title() for axes in panels] == titles
    curve = condition_curve(results.by_label()["CNN"], "attacks", SPEC, FGSM, "accuracy")
    assert has_line(
        panels[0], [(place, seed_values.mean) for place, (_, seed_values) in enumerate(curve)]
    )
    assert has_line(panels[0], [(1, 0.25), (2, 0.25)])
    assert has_line(panels[1], [(2, 0.4)])
    assert has_line(panels[3], [(0, 0.9), (1, 0.3)])
    assert has_line(panels[3], [(1, 0.15)])
    assert [tick.get_text() for tick in panels[0].get_xticklabels()] == ["0", "0.1", "0.3"]
    _, lines = figure.legends
    assert [text.get_text() for text in lines.get_texts()] == [
        "accuracy",
        *(line.name for line in SPEC.further_lines),
    ]


def test_no_results_no_figure(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path, seeds=(0,)))
    assert condition_figure(results, "attacks", Attacks, SPEC) is None
