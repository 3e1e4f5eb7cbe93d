"""Wall time of calls."""

from capsbench.profiling.timing import WARMUP_CALLS, seconds_per_call


def test_warm_up_calls_are_not_timed(monkeypatch):
    now, calls = [0.0], []

    def call():
        calls.append(1)
        now[0] += 100 if len(calls) <= WARMUP_CALLS else len(calls)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    expected = [WARMUP_CALLS + 1, WARMUP_CALLS + 2, WARMUP_CALLS + 3]
    assert seconds_per_call(call, "cpu", 3) == expected
