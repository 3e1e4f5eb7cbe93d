"""Leases between real processes: killed, stopped and resumed owners, and two that break one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context

import pytest

from capsbench.errors import UserError
from capsbench.files import lease as leases
from capsbench.files.holder import Holder
from capsbench.files.lease import LeaseLostError, lease, read_lease, try_lease
from capsbench.files.processes import Process, this_process

STALE = 1.5  # seconds; a heartbeat comes each second

HOLD = """
import sys, time
from pathlib import Path
from capsbench.files.lease import lease
with lease(Path(sys.argv[1]), "hold") as held:
    held.update(step=1)
    print("held", flush=True)
    sys.stdin.readline()
    held.require_held()
print("released", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cell" / ".lease"


@pytest.fixture
def owner(path):
    """A process that holds the lease until it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def holder(**changes):
    """A holder on another machine."""
    now = time.time()
    fields = {"token": "0a", "host": "far", "pid": 7, "task": "train", "since": now, "beat": now}
    return Holder(**{**fields, "owner": f"{'f' * 12}-7-100", **changes})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content.model_dump_json() if isinstance(content, Holder) else content
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def clock(monkeypatch):
    """A clock in place of the monotonic one; add seconds to its only entry."""
    now = [1000.0]
    monkeypatch.setattr("capsbench.files.lease.time.monotonic", lambda: now[0])
    return now


def read_holder(path):
    current = read_lease(path)
    assert current is not None
    return current


def break_after(path, clock, pauses):
    """Try to take a lease, after pauses in seconds; return the number of tries that failed."""
    for failed, pause in enumerate([0, *pauses]):
        clock[0] += pause
        if (held := try_lease(path, "take")) is not None:
            held.release()
            return failed
    return None


def test_a_lease_is_held_by_one_and_leaves_nothing(path):
    with lease(path, "train CNN") as held:
        held.require_held()
        assert try_lease(path, "train CNN") is None
        current = read_holder(path)
        assert (current.task, current.pid) == ("train CNN", os.getpid())
    assert read_lease(path) is None
    assert list(path.parent.iterdir()) == []
    held.release()  # a second time
    with lease(path, "again"):
        pass


def test_progress_is_written_with_the_heartbeat(path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    with lease(path, "train") as held:
        first = read_holder(path)
        held.update(step=3, note="fine")
        held.update(step=4)
        deadline = time.monotonic() + 10
        while read_holder(path).progress != {"step": 4, "note": "fine"}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert read_holder(path).beat > first.beat
        assert read_holder(path).token == first.token
        held.update(note="x" * 3000)
        held.update(note="short")
        time.sleep(0.1)
        held.require_held()


def test_a_live_owner_is_waited_for(path, owner):
    waits = list[Holder]()
    timer = threading.Timer(0.5, lambda: (owner.stdin.write("\n"), owner.stdin.flush()))
    timer.start()
    with lease(path, "take", on_wait=waits.append):
        assert owner.stdout.readline() == "released\n"
    assert [each.pid for each in waits] == [owner.pid]
    assert f"process {owner.pid} on" in str(waits[0])
    assert list(path.parent.iterdir()) == []


def test_the_lease_of_a_killed_owner_is_free_at_once(path, owner):
    assert try_lease(path, "take") is None
    owner.kill()  # and not waited for: a process that its parent has not buried is dead, too
    deadline = time.monotonic() + 5
    while (held := try_lease(path, "take")) is None:
        assert time.monotonic() < deadline
    with held:
        held.require_held()
    assert list(path.parent.iterdir()) == []


def test_an_owner_that_hangs_loses_its_lease_and_notices(path, owner):
    owner.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with lease(path, "take", stale_seconds=STALE) as held:
        assert time.monotonic() - started >= STALE
        owner.send_signal(signal.SIGCONT)
        _, errors = owner.communicate("\n", timeout=30)
        assert owner.returncode == 1
        assert "LeaseLostError" in errors
        assert "no longer holds" in errors
        held.require_held()  # what came back has changed nothing
        assert read_holder(path).pid == os.getpid()
    assert list(path.parent.iterdir()) == []


def test_a_lost_lease_is_neither_written_nor_released(path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    held = lease(path, "train")
    write(path, other := holder())
    time.sleep(0.1)
    with pytest.raises(LeaseLostError, match="far"):
        held.require_held()
    held.release()
    assert read_lease(path) == other
    path.unlink()
    with pytest.raises(LeaseLostError, match="removed"):
        held.require_held()


def test_a_lease_that_is_being_broken_is_not_released(path):
    held = lease(path, "train")
    successor = path.with_name(f".lease.{held.holder.token}")
    write(successor, holder(token="0b"))
    held.release()
    assert path.is_file()
    assert successor.is_file()


def test_an_owner_of_another_machine_is_judged_by_the_own_clock_alone(path, clock):
    write(path, holder(beat=0.0, since=0.0))  # a clock that is wrong by decades
    os.utime(path, (0, 0))
    assert break_after(path, clock, [29] * 4) is None
    assert break_after(path, clock, [5]) == 1


def test_a_heartbeat_of_another_machine_counts(path, clock):
    for beat in (50.0, 10.0, 90.0):  # also if its clock is set back
        write(path, holder(beat=beat))
        assert break_after(path, clock, [29] * 4) is None
    assert break_after(path, clock, [29] * 2) is not None


def test_a_pause_of_the_observer_proves_nothing(path, clock):
    write(path, holder())
    assert break_after(path, clock, [100_000]) is None  # both were suspended
    assert break_after(path, clock, [100_000] * 3) is not None


@pytest.mark.parametrize(
    "content", ["", '{"token": "0a", "ho', "null", '{"token": "../x"}', "[" * 9]
)
def test_a_partly_written_file_is_being_taken(path, clock, content):
    write(path, content)
    assert read_holder(path).pid == 0
    assert break_after(path, clock, [1] * 3) is None
    assert break_after(path, clock, [1] * 4) is not None  # its owner died in that step
    assert list(path.parent.iterdir()) == []


def test_a_number_that_is_used_again_is_another_process(path):
    here = this_process()
    write(path, holder(owner=str(here), pid=here.pid))
    assert try_lease(path, "take") is None
    write(path, holder(owner=str(Process(here.machine, here.pid, here.start - 1)), pid=here.pid))
    with lease(path, "take") as held:
        held.require_held()


def test_an_identity_of_another_machine_is_never_dead():
    here = this_process()
    assert Process(here.machine, 2**30, 1).is_dead
    assert not Process("f" * 12, 2**30, 1).is_dead
    assert not here.is_dead
    assert Process.parse(str(here)) == here
    assert Process.parse("4711") is None


def test_a_breaker_that_died_is_no_obstacle(path):
    here = this_process()
    dead = str(Process(here.machine, here.pid, here.start - 1))
    write(path, holder(owner=dead))
    write(path.with_name(".lease.0a"), holder(token="0b", owner=dead))
    with lease(path, "take") as held:
        held.require_held()
    assert list(path.parent.iterdir()) == []


def break_many(path, barrier, results, rounds, owner):
    """Take leases whose owner is dead, at the same moment as others; count those that are held."""
    for number in range(rounds):
        place = path / str(number) / ".lease"
        barrier.wait()
        held = try_lease(place, "take")
        barrier.wait()
        if held is not None:
            held.require_held()
            results[number] += 1
        barrier.wait()
        if held is not None:
            held.release()


@pytest.mark.parametrize("processes", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_of_processes_that_break_a_lease_at_once_one_holds_it(tmp_path, processes):
    rounds, context, here = 100, get_context("fork"), this_process()
    dead = str(Process(here.machine, here.pid, here.start - 1))
    for number in range(rounds):
        write(tmp_path / str(number) / ".lease", holder(owner=dead, token=f"{number:x}"))
    barrier = context.Barrier(processes)
    results = context.Array("i", rounds)
    arguments = (tmp_path, barrier, results, rounds, dead)
    children = [context.Process(target=break_many, args=arguments) for _ in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert results[:] == [1] * rounds
    assert [place for place in tmp_path.rglob(".lease*") if place.is_file()] == []


def count_up(path, counter, rounds):
    for _ in range(rounds):
        with lease(path, "count"):
            value = int(counter.read_text())
            time.sleep(0)
            counter.write_text(str(value + 1))


def test_nothing_is_done_twice_by_processes_that_wait(path, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "POLL_SECONDS", (0.0005, 0.001))
    counter, context = tmp_path / "counter", get_context("fork")
    counter.write_text("0")
    children = [context.Process(target=count_up, args=(path, counter, 50)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert counter.read_text() == "200"


def test_a_forked_child_neither_keeps_nor_releases_it(path):
    with lease(path, "train") as held:
        child = os.fork()
        if not child:  # pragma: no cover
            held.release()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        held.require_held()
        assert try_lease(path, "take") is None


def test_a_held_lease_does_not_keep_a_process_alive(path):
    code = HOLD.replace("with lease", "held = lease").replace(" as held:\n    held", "\nheld")
    code = code.partition("    print")[0] + "print('end')\n"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "end\n")
    assert path.is_file()
    with lease(path, "take"):
        pass


def test_a_heartbeat_survives_an_error_of_the_disk(path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    with lease(path, "train") as held:
        with monkeypatch.context() as patch:
            failures = []

            def fail(*_):
                failures.append(1)
                raise OSError(28, "No space left on device")

            patch.setattr(leases, "write", fail)
            while len(failures) < 3:
                time.sleep(0.01)
            held.require_held()
        before = read_holder(path).beat
        time.sleep(0.2)
        assert read_holder(path).beat > before


def test_a_heartbeat_needs_no_new_space(path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    with lease(path, "train") as held:
        size = path.stat().st_size
        held.update(step=10**9, steps=10**9, steps_per_second=0.123456789, note="accuracy 0.123")
        time.sleep(0.1)
        assert len(json.loads(path.read_text())["progress"]) == 4
        assert path.stat().st_size == size


def test_a_full_disk_leaves_no_lease(path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("capsbench.files.holder.write", fail)
        with pytest.raises(UserError, match="No space left"):
            lease(path, "train")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("target", ["kept", "nowhere", "."])
def test_a_link_in_its_place_is_refused(path, target):
    path.parent.mkdir()
    (path.parent / "kept").write_text("kept")
    path.symlink_to(target)
    for call in (lease, try_lease):
        with pytest.raises(UserError, match=r"\.lease is a symbolic link"):
            call(path, "train")
    with pytest.raises(UserError, match="symbolic link"):
        read_lease(path)
    assert (path.parent / "kept").read_text() == "kept"


def test_what_is_no_file_is_refused(path):
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="ordinary file"):
        lease(path, "train")
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(UserError, match="ordinary file"):
        lease(path, "train")
