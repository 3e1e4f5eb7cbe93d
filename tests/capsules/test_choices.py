"""Choices by measurement: the fastest by a margin, kept in a file, the same for every process."""

import json
import threading
import time

import pytest

from capsbench.capsules.choices import ROUNDS, Choices

CASE = "a case"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "capsbench"


class Clock:
    """A clock that moves on by what each way is said to take."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def ways(self, **seconds):
        """Ways by name; a list has the seconds of one call after the other."""

        def way(name, taken):
            def compute():
                self.calls.append(name)
                done = self.calls.count(name) - 1
                self.now += taken[min(done, len(taken) - 1)] if isinstance(taken, list) else taken

            return compute

        return lambda: {name: way(name, taken) for name, taken in seconds.items()}


def choose(clock=None, case=CASE, **seconds):
    clock = clock or Clock()
    return Choices("tests", baseline="plain", clock=clock).find(case, clock.ways(**seconds))


def refuse():
    raise AssertionError("measured again")


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"plain": 1.0, "fast": 0.5, "faster": 0.25}, "faster"),
        ({"plain": 1.0, "fast": 0.9}, "fast"),
        ({"plain": 1.0, "fast": 0.91}, "plain"),
        ({"plain": 1.0, "slow": 2.0}, "plain"),
        ({"plain": [9.0, 1.0], "fast": 0.95}, "plain"),  # the first call warms up
        ({"plain": 1.0, "fast": [9.0, 9.0, 0.5, 9.0]}, "fast"),  # disturbed calls do not count
    ],
)
def test_the_fastest_wins_if_its_margin_is_clear(seconds, chosen):
    assert choose(**seconds) == chosen


def test_ways_take_turns():
    choose(clock := Clock(), plain=1.0, fast=0.5)
    assert clock.calls == ["plain", "fast"] * ROUNDS


def test_a_choice_is_made_once_and_kept_for_other_processes(folder):
    choices = Choices("tests", baseline="plain", clock=(clock := Clock()))
    assert choices.find(CASE, clock.ways(plain=1.0, fast=0.5)) == "fast"
    assert choices.find(CASE, refuse) == "fast"
    assert Choices("tests", baseline="plain").find(CASE, refuse) == "fast"
    assert choose(case="another", plain=0.5, fast=1.0) == "plain"
    assert choices.kept() == {
        CASE: {"chosen": "fast", "milliseconds": {"plain": 1000, "fast": 500}},
        "another": {"chosen": "plain", "milliseconds": {"plain": 500, "fast": 1000}},
    }
    assert sorted(path.name for path in folder.iterdir()) == ["tests.json", "tests.lock"]


def test_a_choice_of_this_process_outlives_its_file(folder):
    choices = Choices("tests", baseline="plain", clock=(clock := Clock()))
    choices.find(CASE, clock.ways(plain=1.0, fast=0.5))
    (folder / "tests.json").unlink()
    assert choices.kept() == {}
    assert choices.find(CASE, refuse) == "fast"


@pytest.mark.parametrize(
    "content", [b"", b'{"schema": 1, "choi', b"[]", b'{"schema": 0, "choices": {}}']
)
def test_a_damaged_file_is_made_anew(folder, content):
    folder.mkdir()
    (folder / "tests.json").write_bytes(content)
    assert choose(plain=1.0, fast=0.5) == "fast"
    assert set(json.loads((folder / "tests.json").read_bytes())["choices"]) == {CASE}


def test_without_a_place_to_keep_it_nothing_is_measured(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    choices = Choices("tests", baseline="plain")
    assert choices.find(CASE, refuse) == "plain"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert choices.find(CASE, refuse) == "plain"  # a process stays with what it began with


def in_threads(*calls):
    """What calls return that begin at once, each in a thread of its own."""
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


def test_those_that_need_a_choice_at_once_agree_and_lose_none():
    def prefer(number):
        """A way of its own, in a case of all and in one of its own."""
        seconds = dict.fromkeys(["plain", "way 0", "way 1", "way 2", "way 3"], 1.0)
        seconds[f"way {number}"] = 0.1
        return lambda: (choose(**seconds), choose(case=f"case {number}", **seconds))

    found = in_threads(*map(prefer, range(4)))
    assert len({common for common, _ in found}) == 1
    assert [own for _, own in found] == ["way 0", "way 1", "way 2", "way 3"]
    kept = Choices("tests", baseline="plain").kept()
    assert set(kept) == {CASE, "case 0", "case 1", "case 2", "case 3"}


def test_who_comes_second_waits_for_the_first():
    measuring = threading.Event()

    def first():
        def ways():
            measuring.set()
            time.sleep(0.05)  # the second comes
            return clock.ways(plain=1.0, fast=0.5)()

        return Choices("tests", baseline="plain", clock=(clock := Clock())).find(CASE, ways)

    def second():
        assert measuring.wait(timeout=60)
        return Choices("tests", baseline="plain").find(CASE, refuse)

    assert in_threads(first, second) == ["fast", "fast"]
