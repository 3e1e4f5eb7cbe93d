"""Runs side by side on several executors: rows, and results that must be equal."""

import pytest

from capsbench.speed.bench import measure_comparison
from capsbench.speed.groups import executors

TINY = executors.ExecutorSizes(seeds=1, steps=3)


def comparison(monkeypatch, **rows):
    monkeypatch.setattr(executors, "EXECUTORS", rows)
    (one,) = executors.comparisons(TINY)
    return one


def test_each_executor_has_a_row():
    (one,) = executors.comparisons(executors.ExecutorSizes())
    assert one.name == "36 tiny cells"
    assert one.rounds == 1
    names = [row.name for row in one.rows]
    assert names == ["this process", "1 worker", "2 workers", "Ray", "submitit"]


def test_a_package_that_is_missing_is_the_reason(monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    ray, submitit = executors.comparisons(TINY)[0].rows[-2:]
    assert "ray" in str(ray.not_measured)
    assert "submitit" in str(submitit.not_measured)


@pytest.mark.slow
def test_runs_with_equal_results(monkeypatch):
    here = ("--workers", "0")
    results = measure_comparison(
        "executors",
        comparison(monkeypatch, here=here, pool=("--workers", "2")),
        device="cpu",
        limits=None,
    )
    assert [result.rounds for result in results] == [1, 1]
    assert all(result.ratio for result in results)


@pytest.mark.slow
def test_other_results_are_an_error(monkeypatch):
    others = ("--workers", "0", "--set", "recipe.learning_rate=0.5")
    with pytest.raises(RuntimeError, match="differ"):
        measure_comparison(
            "executors",
            comparison(monkeypatch, here=("--workers", "0"), others=others),
            device="cpu",
            limits=None,
        )
