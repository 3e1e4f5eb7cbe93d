"""Figures of measures draw what is recorded, with controls, captions and notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capsbench.reporting import report
from capsbench.reporting.attack_figures import attack_curve, attack_figure, attacks_of
from capsbench.reporting.layer_figures import layer_figure
from capsbench.reporting.layer_terms import LAYER_FIGURES
from capsbench.reporting.measure_figures import measure_figures
from capsbench.reporting.results import load

BY_NAME = {asked.name: asked for asked in LAYER_FIGURES}
GRID = {"rotation": {"start": -90, "stop": 180, "step": 90}}
LINEAR = {"measure": "linear-equivariance", "grid": GRID}
INVARIANCE = {"measure": "invariance-error", "grid": GRID}
ATTACKS = {"measure": "attacks", "epsilons": [0.1, 0.3], "methods": ["fgsm"], "targeted": True}
SHARES = ("beyond_controls", "explained", "shuffled")
LAYERS = {"CNN": ("pixels", "conv", "probabilities"), "Dynamic routing": ("pixels", "poses")}
SEEDS = (0, 1, 2)
NOTE = "Layer <b>wide</b> is left out."


def linear(label, seed):
    """Shares of every layer, no two alike."""
    return {
        f"equivariance/linear/{share}@{layer}": 0.1 * depth + 0.01 * seed + 0.3 * kind
        for depth, layer in enumerate(LAYERS[label])
        for kind, share in enumerate(SHARES)
    }


def invariance(label, seed):
    return {
        f"{factor}/invariance/error@{layer}": 1.0 + depth + 0.1 * seed + (factor == "shift_x")
        for depth, layer in enumerate(LAYERS[label])
        for factor in ("rotation", "shift_x")
    } | {"rotation=90/invariance/error@pixels": 77.0}


def attacks(label, seed):
    fall = 0.5 if label == "CNN" else 0.2
    found = {"unchanged/accuracy": 0.9, "unchanged/reached": 0.0}
    for attack in ("fgsm", "fgsm/targeted", "from CNN/fgsm"):
        for epsilon in (0.1, 0.3):
            found[f"{attack}/eps={epsilon}/accuracy"] = 0.9 - fall * epsilon - 0.01 * seed
            found[f"{attack}/eps={epsilon}/blind"] = 0.25
    return found | {"fgsm/targeted/eps=0.3/reached": 0.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark, add_measure) -> Path:
    made: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"), seeds=SEEDS, diverged=(("EM routing", 1),)
    )
    for label in LAYERS:
        for seed in SEEDS:
            notes = (NOTE,) if label == "CNN" else ()
            add_measure(made, label, seed, LINEAR, linear(label, seed), notes=notes)
            add_measure(made, label, seed, INVARIANCE, invariance(label, seed))
            add_measure(made, label, seed, ATTACKS, attacks(label, seed))
    return made


def drawn(axes):
    """All lines of a panel as lists of (x, y), those of reference heights left out."""
    lines = [list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()]
    return [line for line in lines if line and line != [(0, line[0][1]), (1, line[0][1])]]


def holds(lines, wanted):
    return any(np.shape(line) == np.shape(wanted) and np.allclose(line, wanted) for line in lines)


def test_each_layer_has_every_seed_the_mean_and_the_interval(folder: Path):
    figure = layer_figure(load(folder), BY_NAME["linear-equivariance"])
    assert figure is not None
    cnn, dynamic, em = figure.axes
    for axes, label in ((cnn, "CNN"), (dynamic, "Dynamic routing")):
        names = [tick.get_text() for tick in axes.get_xticklabels()]
        assert names == list(LAYERS[label])
        values = [linear(label, seed) for seed in SEEDS]
        for share in SHARES:
            keys = [f"equivariance/linear/{share}@{layer}" for layer in names]
            means = [float(np.mean([one[key] for one in values])) for key in keys]
            assert holds(drawn(axes), list(enumerate(means)))
            seeds = [(x, one[key]) for x, key in enumerate(keys) for one in values]
            assert holds(drawn(axes), seeds)
            half = 4.302653 * 0.01 / np.sqrt(3)  # t of two degrees of freedom
            assert holds(drawn(axes), [(0, means[0] - half), (0, means[0] + half)])
    assert [text.get_text() for text in em.texts] == ["not measured"]


def test_controls_are_dashed_and_have_no_model_s_colour(folder: Path):
    figure = layer_figure(load(folder), BY_NAME["linear-equivariance"])
    assert figure is not None
    shuffled = linear("CNN", 1)["equivariance/linear/shuffled@conv"]
    heights = {line: np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines()}
    (line,) = (
        line for line, at in heights.items() if at.shape == (3,) and np.isclose(at[1], shuffled)
    )
    assert line.get_linestyle() == "--"
    assert line.get_color() == figure.axes[1].title.get_color()
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[-1] == "explained for shuffled pairs"


def test_a_row_for_each_factor_and_no_single_view(folder: Path):
    figure = layer_figure(load(folder), BY_NAME["invariance"])
    assert figure is not None
    assert len(figure.axes) == 6
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == [
        "Rotation:\nerror",
        "Horizontal shift:\nerror",
    ]
    heights = [y for axes in figure.axes for line in drawn(axes) for _, y in line]
    assert max(heights) < 10


def test_what_is_recorded_after_the_answer_is_not_on_the_way(folder: Path, add_measure):
    names = ("pixels", "conv", "probabilities", "pose")
    values = {f"readout/rotation/r2@{name}": 0.1 * x for x, name in enumerate(names)}
    readout = {"measure": "pose-readout", "factors": ["rotation"], "views": {"rotation": [-9, 9]}}
    for seed in SEEDS:
        add_measure(folder, "CNN", seed, readout, values)
    figure = layer_figure(load(folder), BY_NAME["pose-readout"])
    assert figure is not None
    ways = [line for line in drawn(figure.axes[0]) if len({x for x, _ in line}) == len(line) > 1]
    assert [[x for x, _ in way] for way in ways] == [[0, 1, 2]]


def test_shares_are_drawn_between_their_floor_and_one(folder: Path):
    asked = BY_NAME["linear-equivariance"]
    assert [asked.drawn_at(height) for height in (-3.0, 0.2, 1.7)] == [-0.5, 0.2, 1.0]
    assert BY_NAME["invariance"].drawn_at(1.7) == 1.7
    figure = layer_figure(load(folder), asked)
    assert figure is not None
    heights = [y for axes in figure.axes for line in drawn(axes) for _, y in line]
    assert max(heights) <= 1


def test_attacks_begin_with_the_images_as_they_are(folder: Path):
    results = load(folder)
    assert attacks_of(results) == ["fgsm", "fgsm/targeted", "from CNN/fgsm"]
    (cells, *_) = results.by_label().values()
    curve = attack_curve(cells, "fgsm", "accuracy")
    assert [point.epsilon for point in curve] == [0, 0.1, 0.3]
    assert curve[0].over.mean == pytest.approx(0.9)
    assert curve[2].over.values == {seed: pytest.approx(0.75 - 0.01 * seed) for seed in SEEDS}
    assert [point.epsilon for point in attack_curve(cells, "fgsm", "blind")] == [0.1, 0.3]
    figure = attack_figure(results)
    assert figure is not None
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["FGSM", "FGSM, targeted", "FGSM, from CNN"]
    means = [(place, point.over.mean) for place, point in enumerate(curve)]
    assert holds(drawn(shown[0]), means)
    assert holds(drawn(shown[0]), [(1, 0.25), (2, 0.25)])
    assert holds(drawn(shown[1]), [(2, 0.4)])


def test_page_and_markdown_show_captions_and_notes(folder: Path):
    report.build(folder)
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    found = measure_figures(load(folder))
    assert {"invariance", "linear-equivariance", "attacks"} <= set(found)
    for name, each in found.items():
        assert (folder / f"report/figures/{name}.svg").is_file()
        assert f"figures/{name}.svg" in text
        assert each.title in page
    assert "Lenc and Vedaldi (2015)" in page
    assert "Lenc and Vedaldi (2015)" in text
    assert "&lt;b&gt;wide" in page
    assert "<b>wide" not in page + text


def test_nothing_measured_nothing_drawn(tmp_path: Path, write_benchmark):
    assert measure_figures(load(write_benchmark(tmp_path))) == {}


@pytest.mark.parametrize("asked", LAYER_FIGURES, ids=lambda asked: asked.name)
def test_captions_are_whole_sentences(asked):
    assert asked.caption.endswith(".")
    assert "  " not in asked.caption
