"""Answers in sentences: the best model, its interval, and the difference from the first one."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsbench.measures import Headline, load_measure
from capsbench.measures.accuracy_by_view import AccuracyByView
from capsbench.names import table
from capsbench.records import Results, load_results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    CurvePoint,
    SeedValues,
    aggregate_seeds,
)
from capsbench.reporting.comparisons.answers import _kept, answers
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.statistics.paired_difference import Difference
from capsbench.values import Quantity

NOVEL = Quantity(metric="accuracy", split="novel")
MODELS = (("CNN", "cnn-small"), ("CapsNet", "capsnet-dr"))
DIFFERENCE = Difference(
    mean=0.1,
    standard_error=0.02,
    degrees=8.0,
    p=0.01,
    p_corrected=0.02,
    interval=(0.05, 0.15),
    comparisons=2,
    n_seeds=(3, 3),
    n_images=100,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Results:
    folder: Path = write_benchmark(tmp_path_factory.mktemp("runs"), models=MODELS, seeds=(0, 1, 2))
    return load_results(folder)


def curve_points(means: tuple[float, ...], familiar: tuple[int, ...]) -> list[CurvePoint]:
    """Return a curve over rotation with a mean at each of five views."""
    return [
        CurvePoint(view, view in familiar, SeedValues({0: mean}))
        for view, mean in zip((-30, -15, 0, 15, 30), means, strict=True)
    ]


def novel(results: Results, difference: Difference) -> str:
    _, sentence, *_ = answers(
        results, [ModelDifference("CapsNet", ACCURACY_BY_VIEW, NOVEL, difference)]
    )
    return sentence


def test_the_best_model_is_named_with_interval_and_counts(results: Results):
    familiar, *_ = answers(results, [])
    groups = results.by_label()
    quantity = Quantity(metric="accuracy", split="familiar")
    values = {
        title: aggregate_seeds(cells, ACCURACY_BY_VIEW, quantity) for title, cells in groups.items()
    }
    best, numbers = max(
        ((title, each) for title, each in values.items() if each is not None),
        key=lambda pair: pair[1].mean,
    )
    assert numbers.interval is not None
    assert familiar.startswith(f"Familiar views: {best} has the highest mean of 2 models")
    low, high = (f"{100 * limit:.1f}" for limit in numbers.interval)
    assert f"{100 * numbers.mean:.1f} % (95 % interval {low} to {high}; 3 seeds" in familiar


def test_a_shown_difference_has_its_interval(results: Results):
    sentence = novel(results, DIFFERENCE)
    shown = "CapsNet minus CNN: 10.0 pts (95 % interval 5.0 to 15.0, corrected for 2 comparisons)"
    assert f"{shown}: shown." in sentence


def test_an_interval_with_zero_shows_no_difference(results: Results):
    sentence = novel(results, DIFFERENCE._replace(interval=(-0.05, 0.25)))
    assert "10.0 pts (95 % interval −5.0 to 25.0" in sentence
    assert sentence.endswith("not shown to differ.")


def test_few_seeds_give_no_interval(results: Results):
    few = DIFFERENCE._replace(mean=-0.1, interval=None, n_seeds=(2, 3))
    assert "CapsNet minus CNN: −10.0 pts (no interval: fewer than three seeds)" in novel(
        results, few
    )
    assert "no outcome varies" in novel(results, few._replace(n_seeds=(3, 3)))


def test_the_best_network_with_capsules_is_compared_too(tmp_path: Path, write_benchmark):
    models = (("CNN", "cnn-small"), ("Wider", "cnn-small"), ("CapsNet", "capsnet-dr"))
    results = load_results(write_benchmark(tmp_path, models=models, seeds=(0, 1, 2)))
    rows = [
        ModelDifference(title, ACCURACY_BY_VIEW, NOVEL, DIFFERENCE)
        for title in ("Wider", "CapsNet")
    ]
    _, sentence, *_ = answers(results, rows)
    assert "CapsNet minus CNN: 10.0 pts" in sentence
    means = {
        title: aggregate_seeds(cells, ACCURACY_BY_VIEW, NOVEL)
        for title, cells in results.by_label().items()
    }
    wider, capsnet = means["Wider"], means["CapsNet"]
    assert wider is not None and capsnet is not None
    assert ("Wider minus CNN" in sentence) == (wider.mean > capsnet.mean)


@pytest.mark.parametrize(
    ("means", "text"),
    [
        ((0.2, 0.8, 0.9, 0.76, 0.5), "from −15° to 15°"),
        ((0.8, 0.8, 0.9, 0.76, 0.75), "from −30° to 30°"),
        ((0.9, 0.9, 0.7, 0.9, 0.9), "at not every familiar view"),
    ],
)
def test_the_views_that_keep_the_level_are_told(means: tuple[float, ...], text: str):
    assert _kept(curve_points(means, familiar=(0,)), "rotation") == text


@pytest.mark.parametrize(
    ("means", "text"),
    [
        ((0.2, 0.8, 0.9, 0.8, 0.5), "from −15° to 15°"),
        ((0.9, 0.5, 0.7, 0.5, 0.2), "at −30° only"),
        ((0.2, 0.5, 0.7, 0.5, 0.2), "at no view"),
    ],
)
def test_where_no_view_is_familiar_they_are_told_around_the_best(
    means: tuple[float, ...], text: str
):
    assert _kept(curve_points(means, familiar=()), "rotation") == text


def test_views_between_the_familiar_ones_are_named_as_such():
    points = curve_points((0.5, 0.9, 0.7, 0.9, 0.5), familiar=(-15, 15))
    assert _kept(points, "rotation") == "at not every view between the familiar ones"


def test_one_model_has_no_rank(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path, models=MODELS[:1], seeds=(0,)))
    familiar, *_ = answers(results, [])
    assert familiar.startswith("Familiar views: CNN is at ")
    assert "highest" not in familiar


def test_a_headline_of_a_measure_is_stated(results: Results, monkeypatch: pytest.MonkeyPatch):
    gap = Headline(Quantity(metric="gap"), "Loss at novel views", lower_is_better=True)
    monkeypatch.setattr(AccuracyByView, "headlines", (gap,))
    row = ModelDifference("CapsNet", ACCURACY_BY_VIEW, gap.quantity, DIFFERENCE)
    (sentence,) = [each for each in answers(results, [row]) if each.startswith(gap.words)]
    gaps = {
        title: aggregate_seeds(cells, ACCURACY_BY_VIEW, gap.quantity)
        for title, cells in results.by_label().items()
    }
    means = {title: each.mean for title, each in gaps.items() if each is not None}
    lowest = min(means, key=lambda title: means[title])
    text = f"{lowest} has the lowest mean of 2 models, {100 * means[lowest]:.1f} pts (95 % interval"
    assert text in sentence
    assert "CapsNet minus CNN: 10.0 pts" in sentence


@pytest.mark.parametrize("name", sorted(table("measures")))
def test_headlines_are_values_that_the_measure_declares(name: str):
    measure = load_measure(name)
    for headline in measure.headlines:
        assert headline.quantity.metric in measure.metrics
        assert headline.words[0].isupper()
