"""Order and summary of timings, with a fake clock."""

import pytest

from capsbench.speed.interleaving import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    PreparedWork,
    calls_per_sample,
    interleave,
    ratios,
    timing_spread,
)


class CountingMachine:
    """Clock, and works that advance it and record their calls."""

    def __init__(self):
        self.now = 0.0
        self.called = []

    def clock(self):
        return self.now

    def work(self, name, seconds, calls=1, returned=None):
        def call():
            self.called.append(name)
            self.now += seconds
            return returned

        return PreparedWork(call, calls)

    def interleave(self, *works, rounds=None, budget=1.0, lag=0.0):
        def synchronize():
            self.now += lag

        return interleave(
            works, rounds=rounds, budget=budget, synchronize=synchronize, clock=self.clock
        )


def test_works_take_turns():
    machine = CountingMachine()
    samples = machine.interleave(*(machine.work(name, 0.5) for name in "ABC"), rounds=3)
    assert "".join(machine.called) == "ABCABCABC"
    assert samples == [[0.5] * 3] * 3


def test_the_minimum_of_rounds_ignores_the_budget():
    machine = CountingMachine()
    machine.interleave(machine.work("A", 100.0), machine.work("B", 1.0), budget=1.0)
    assert machine.called.count("A") == machine.called.count("B") == MIN_ROUNDS


def test_rounds_fill_the_budget_up_to_the_maximum():
    machine = CountingMachine()
    machine.interleave(machine.work("A", 0.25), machine.work("B", 0.25), budget=5.0)
    assert machine.called.count("A") == 10
    machine = CountingMachine()
    machine.interleave(machine.work("A", 0.001), budget=5.0)
    assert machine.called.count("A") == MAX_ROUNDS


def test_a_number_of_rounds_overrides_the_budget():
    machine = CountingMachine()
    machine.interleave(machine.work("A", 100.0), rounds=2, budget=1.0)
    machine.interleave(machine.work("B", 100.0), rounds=MIN_ROUNDS + 1, budget=1.0)
    machine.interleave(machine.work("C", 0.0), rounds=MAX_ROUNDS + 1)
    counts = [machine.called.count(name) for name in "ABC"]
    assert counts == [2, MIN_ROUNDS + 1, MAX_ROUNDS + 1]


def test_several_calls_of_short_works_are_timed_together():
    machine = CountingMachine()
    samples = machine.interleave(machine.work("A", 0.25, calls=4), rounds=2)
    assert machine.called == ["A"] * 8
    assert samples == [[0.25, 0.25]]
    assert calls_per_sample(0.0025) == 2
    assert calls_per_sample(3.0) == calls_per_sample(0.005) == 1
    assert calls_per_sample(0.0) == 5000


def test_the_time_of_synchronization_counts():
    machine = CountingMachine()
    assert machine.interleave(machine.work("A", 0.25), rounds=1, lag=0.5) == [[0.75]]


def test_seconds_returned_by_the_work_are_used():
    machine = CountingMachine()
    works = [machine.work("A", 8.0, returned=0.5), machine.work("B", 2.0)]
    assert machine.interleave(*works, rounds=2) == [[0.5, 0.5], [2.0, 2.0]]


def test_nothing_to_time():
    assert CountingMachine().interleave(rounds=2) == []


def test_timing_spread_is_the_median_and_the_outer_percentiles():
    assert timing_spread(list(range(11))) == (5, 1, 9)
    assert timing_spread([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_taken_round_by_round():
    """They are independent of a slowdown of the machine between rounds."""
    baseline, own = [2.0, 2.0, 6.0, 6.0, 6.0], [1.0, 1.0, 3.0, 3.0, 3.0]
    assert ratios(baseline, own) == [2.0] * 5
    assert timing_spread(ratios(baseline, own)).median == 2.0
    with pytest.raises(ValueError, match="zip"):
        ratios(baseline, own[:-1])
