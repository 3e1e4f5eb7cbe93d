"""Autotuning: the fastest by a margin is selected, kept in a file, the same for every process."""

import json
import threading
import time

import pytest

from capsbench.capsules.autotuning import ROUNDS, AutotuningCache

CASE = "a case"
NAMES = ["plain", "fast", "faster", "slow", *(f"form {number}" for number in range(4))]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "capsbench"


class Clock:
    """A clock that advances by the stated duration of each candidate."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def candidates(self, **seconds):
        """Return candidates by name; a list has the seconds of successive calls."""

        def candidate(name, duration):
            def compute():
                self.calls.append(name)
                done = self.calls.count(name) - 1
                self.now += (
                    duration[min(done, len(duration) - 1)]
                    if isinstance(duration, list)
                    else duration
                )

            return compute

        return lambda: {name: candidate(name, duration) for name, duration in seconds.items()}


def fastest(clock=None, case=CASE, **seconds):
    clock = clock or Clock()
    return AutotuningCache("tests", NAMES, baseline="plain", clock=clock).fastest(
        case, clock.candidates(**seconds)
    )


def refuse():
    raise AssertionError("measured again")


@pytest.mark.parametrize(
    ("seconds", "selected"),
    [
        ({"plain": 1.0, "fast": 0.5, "faster": 0.25}, "faster"),
        ({"plain": 1.0, "fast": 0.9}, "fast"),
        ({"plain": 1.0, "fast": 0.91}, "plain"),
        ({"plain": 1.0, "slow": 2.0}, "plain"),
        ({"plain": [9.0, 1.0], "fast": 0.95}, "plain"),  # the first call warms up
        (
            {"plain": 1.0, "fast": [9.0, 9.0, 0.5, 9.0]},
            "fast",
        ),  # the minimum ignores disturbed calls
    ],
)
def test_the_fastest_is_selected_if_its_margin_is_clear(seconds, selected):
    assert fastest(**seconds) == selected


def test_candidates_are_timed_in_turn():
    fastest(clock := Clock(), plain=1.0, fast=0.5)
    assert clock.calls == ["plain", "fast"] * ROUNDS


def test_a_result_is_measured_once_and_kept_for_other_processes(folder):
    cache = AutotuningCache("tests", NAMES, baseline="plain", clock=(clock := Clock()))
    assert cache.fastest(CASE, clock.candidates(plain=1.0, fast=0.5)) == "fast"
    assert cache.fastest(CASE, refuse) == "fast"
    assert AutotuningCache("tests", NAMES, baseline="plain").fastest(CASE, refuse) == "fast"
    assert fastest(case="another", plain=0.5, fast=1.0) == "plain"
    assert cache.load() == {
        CASE: {"chosen": "fast", "milliseconds": {"plain": 1000, "fast": 500}},
        "another": {"chosen": "plain", "milliseconds": {"plain": 500, "fast": 1000}},
    }
    assert sorted(path.name for path in folder.iterdir()) == ["tests.json", "tests.lock"]


def test_a_result_of_this_process_outlives_its_file(folder):
    cache = AutotuningCache("tests", NAMES, baseline="plain", clock=(clock := Clock()))
    cache.fastest(CASE, clock.candidates(plain=1.0, fast=0.5))
    (folder / "tests.json").unlink()
    assert cache.load() == {}
    assert cache.fastest(CASE, refuse) == "fast"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"schema": 1, "resu',
        b"[]",
        b"[" * 100_000,
        b'{"schema": 0, "results": {}}',
        b'{"results": [1]}',
        b'{"results": {"a case": 1}}',
        b'{"results": {"a case": {"chosen": ["fast"], "milliseconds": {"fast": 1}}}}',
        b'{"results": {"a case": {"chosen": "evil", "milliseconds": {"evil": 1}}}}',
        b'{"results": {"a case": {"chosen": "plain", "milliseconds": {"<b>": 1}}}}',
        b'{"results": {"a case": {"chosen": "plain", "milliseconds": "plain"}}}',
        b'{"results": {"a case": {"chosen": "plain", "milliseconds": {}}}}',
        b'{"results": {"a case": {"chosen": "plain", "milliseconds": {"slow": 1}}}}',
        b'{"results": {"a case": {"chosen": "plain", "milliseconds": {"plain": "x"}}}}',
        b'{"results": {"a case": {"chosen": "plain", "milliseconds": {"plain": NaN}}}}',
    ],
)
def test_a_damaged_file_is_replaced(folder, content):
    folder.mkdir()
    (folder / "tests.json").write_bytes(content)
    assert fastest(plain=1.0, fast=0.5) == "fast"
    assert set(json.loads((folder / "tests.json").read_bytes())["results"]) == {CASE}


def test_without_a_writable_folder_nothing_is_measured(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = AutotuningCache("tests", NAMES, baseline="plain")
    assert cache.fastest(CASE, refuse) == "plain"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.fastest(CASE, refuse) == "plain"  # a process keeps its first selection


def in_threads(*calls):
    """Call functions at the same time in separate threads, and return their results."""
    barrier, results = threading.Barrier(len(calls)), {}

    def run(number, call):
        barrier.wait(timeout=60)
        results[number] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(calls))]


def test_concurrent_processes_agree_and_lose_no_result():
    def prefer(number):
        """Prefer a different candidate in a common case and in a separate one."""
        seconds = dict.fromkeys(["plain", "form 0", "form 1", "form 2", "form 3"], 1.0)
        seconds[f"form {number}"] = 0.1
        return lambda: (fastest(**seconds), fastest(case=f"case {number}", **seconds))

    result = in_threads(*map(prefer, range(4)))
    assert len({common for common, _ in result}) == 1
    assert [own for _, own in result] == ["form 0", "form 1", "form 2", "form 3"]
    results = AutotuningCache("tests", NAMES, baseline="plain").load()
    assert set(results) == {CASE, "case 0", "case 1", "case 2", "case 3"}


def test_the_second_waits_for_the_first():
    measuring = threading.Event()

    def first():
        def candidates():
            measuring.set()
            time.sleep(0.05)  # the second process starts meanwhile
            return clock.candidates(plain=1.0, fast=0.5)()

        return AutotuningCache("tests", NAMES, baseline="plain", clock=(clock := Clock())).fastest(
            CASE, candidates
        )

    def second():
        assert measuring.wait(timeout=60)
        return AutotuningCache("tests", NAMES, baseline="plain").fastest(CASE, refuse)

    assert in_threads(first, second) == ["fast", "fast"]
