"""Results of comparisons: warm-up, rounds, ratios, rates; the works advance a fake clock."""

import time
from functools import partial
from itertools import chain, repeat

import pytest
import torch

from capsbench.speed import interleaving
from capsbench.speed.bench import measure_comparison, needs_limits
from capsbench.speed.limits import Limits
from capsbench.speed.rows import Comparison, Row, RowResult

LIMITS = Limits(matmul={"fp32": 100.0, "bf16": 400.0}, copy=10.0)


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock.perf_counter)
    monkeypatch.setitem(interleaving.interleave.__kwdefaults__, "clock", clock.perf_counter)
    return clock


def takes(clock, *seconds, returned=None):
    """Return a `prepare` of work that takes each time in turn, then the last one repeatedly."""

    def prepare():
        times = chain(seconds, repeat(seconds[-1]))

        def work():
            clock.now += next(times)
            return returned

        return work

    return prepare


def measured(*rows, **kwargs):
    return measure_comparison(
        "group", Comparison("what", rows), device="cpu", limits=LIMITS, **kwargs
    )


def test_two_calls_before_the_rounds_are_not_timed(clock):
    (result,) = measured(Row("A", takes(clock, 90.0, 80.0, 1.0, 2.0, 9.0)), rounds=3)
    assert result.rounds == 3
    assert (result.median_ms, result.min_ms) == (2000.0, 1000.0)
    assert result.p10_ms == pytest.approx(1200.0)
    assert result.p90_ms == pytest.approx(7600.0)


def test_ratio_is_the_median_of_the_speedup_over_rounds(clock):
    baseline = Row("baseline", takes(clock, 1.0, 1.0, 4.0, 8.0, 8.0))
    faster = Row("faster", takes(clock, 1.0, 1.0, 1.0, 4.0, 1.0))
    first, second = measured(baseline, faster, rounds=3)
    assert (first.ratio, first.ratio_p10, first.ratio_p90) == (1.0, 1.0, 1.0)
    assert second.ratio == 4.0  # of 4, 2 and 8; the ratio of the medians would be 8
    assert second.ratio_p10 == pytest.approx(2.4)
    assert second.ratio_p90 == pytest.approx(7.2)
    assert first.baseline == second.baseline == first.name == "what: baseline"
    assert second.name == "what: faster"


def test_times_and_rates_are_per_unit(clock):
    row = Row("A", takes(clock, 4.0), units=2, flops=50, bytes=5)
    (result,) = measured(row)
    assert result.median_ms == 2000.0
    assert result.percent_of_matmul == pytest.approx(100 * 50 / 2 / 100)
    assert result.percent_of_copy == pytest.approx(100 * 5 / 2 / 10)
    assert (result.flops, result.bytes) == (50, 5)


def test_matmul_limit_is_that_of_the_precision(clock):
    (result,) = measured(Row("A", takes(clock, 1.0), flops=100, precision="bf16"))
    assert (result.percent_of_matmul, result.percent_of_copy) == (25.0, None)


def test_seconds_returned_by_the_work_count(clock):
    (result,) = measured(Row("A", takes(clock, 8.0, returned=0.5), units=5))
    assert result.median_ms == pytest.approx(100.0)


def test_unmeasured_rows_are_among_the_results(clock):
    def never():
        raise AssertionError("prepared although it cannot be measured")

    rows = (
        Row("A", never, not_measured="no such thing"),
        Row("B", takes(clock, 1.0), flops=100),
        Row("C", never, flops=100, not_measured="nor this"),
    )
    first, second, third = measured(*rows)
    assert [first.not_measured, second.not_measured, third.not_measured] == [
        "no such thing",
        None,
        "nor this",
    ]
    assert (first.median_ms, first.ratio, first.rounds) == (None, None, 0)
    assert (second.median_ms, second.percent_of_matmul) == (1000.0, 100.0)
    assert second.ratio is None, "there is no baseline to compare with"
    assert (third.percent_of_matmul, third.peak_bytes) == (None, None)


def test_memory_is_only_measured_if_torch_allocates_it():
    def work():
        torch.empty(2**20, dtype=torch.uint8)

    def prepare():
        return work

    first, second = measured(Row("A", prepare), Row("B", prepare, measures_memory=False), rounds=1)
    assert first.peak_bytes == 2**20
    assert second.peak_bytes is None


def test_rows_of_a_comparison_are_timed_in_turn():
    called = []

    def prepare(name):
        def work():
            called.append(name)
            time.sleep(interleaving.MIN_SAMPLE_SECONDS)  # one call per sample

        return work

    rows = [Row(name, partial(prepare, name), measures_memory=False) for name in "AB"]
    measured(*rows, rounds=2)
    assert "".join(called) == "AA" + "BB" + "ABAB"


def test_limits_are_needed_if_operations_or_bytes_are_known():
    bare, counted = Row("A", lambda: lambda: None), Row("B", lambda: lambda: None, bytes=1)
    assert not needs_limits([Comparison("x", (bare,))])
    assert needs_limits([Comparison("x", (bare,)), Comparison("y", (bare, counted))])


def test_results_have_names_and_survive_json(clock):
    (result,) = measured(Row("A", takes(clock, 1.0)))
    assert result.name == result.baseline == "what: A"
    assert RowResult.model_validate_json(result.model_dump_json()) == result
