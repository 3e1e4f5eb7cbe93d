"""The pool of this machine: order, room, reuse, deaths, stopping; with real processes."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.executors import local, template
from capsbench.executors.executor import Ended, Work
from capsbench.executors.group import run_group
from capsbench.executors.local import LocalPool
from capsbench.executors.room import Room
from capsbench.executors.template import Template
from tests.executors.tiny_worker import COMMAND

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["forked", "started"], autouse=True)
def way(request, monkeypatch):
    """Both ways to get a worker: Linux forks a template, other systems start each."""
    if request.param == "forked" and not template.CAN_FORK:
        pytest.skip("only Linux forks workers")
    monkeypatch.setattr(template, "CAN_FORK", request.param == "forked")
    monkeypatch.chdir(ROOT)
    return request.param


def work(name, argument=0, *, named="", **values):
    return Work(named or name, name, json.dumps([name, argument]), **values)


def all_ended(pool, count):
    ended: dict[str, Ended] = {}
    until = time.monotonic() + 30
    while len(ended) < count:
        assert time.monotonic() < until
        ended |= {each.id: each for each in pool.ended(0.1)}
    return ended


@contextmanager
def pool_of(cores, devices=(), command=COMMAND, **options):
    with Template(command) as source, LocalPool(source, Room(cores, devices), **options) as pool:
        yield pool


def test_a_worker_is_reused_and_one_that_died_is_replaced():
    with pool_of(1) as pool:
        works = [
            work("pid", named="a"),
            work("pid", named="b"),
            work("exit", 3),
            work("pid", named="c"),
        ]
        pool.submit([Work(**vars(each) | {"order": n}) for n, each in enumerate(works)])
        ended = all_ended(pool, 4)
    assert ended["a"].answer == ended["b"].answer != ended["c"].answer
    assert (ended["exit"].answer, ended["exit"].code) == (None, 3)


def test_the_signal_that_killed_a_worker_is_its_code():
    with pool_of(1) as pool:
        pool.submit([work("die", signal.SIGKILL)])
        assert all_ended(pool, 1)["die"].code == -signal.SIGKILL


def test_as_many_works_run_as_there_are_cores_for_their_threads(tmp_path):
    with pool_of(4) as pool:
        pool.submit(
            [work("sleep", str(tmp_path / f"{n}"), named=f"{n}", threads=2) for n in range(3)]
        )
        started = _started(tmp_path, 2)
        time.sleep(0.3)
        assert _started(tmp_path, 2) == started == {"0", "1"}


def test_a_limit_of_workers_is_kept(tmp_path):
    with pool_of(4, workers=1) as pool:
        pool.submit([work("sleep", str(tmp_path / f"{n}"), named=f"{n}") for n in range(2)])
        _started(tmp_path, 1)
        time.sleep(0.3)
        assert _started(tmp_path, 1) == {"0"}


def test_a_later_work_of_smaller_order_is_first():
    with pool_of(1) as pool:
        pool.submit([work("pid", named="first")])
        pool.submit([work("pid", named="last", order=2), work("pid", named="middle", order=1)])
        assert list(all_ended(pool, 3)) == ["first", "middle", "last"]


def test_what_a_work_prints_is_no_answer(capfd):
    with pool_of(1) as pool:
        pool.submit([work("print")])
        assert all_ended(pool, 1)["print"].answer.isdigit()
    out, err = capfd.readouterr()
    assert not out
    assert "text of the function" in err


def test_a_pool_that_stops_lets_its_works_save_their_state(tmp_path):
    with pool_of(2) as pool:
        pool.submit([work("sleep", str(tmp_path / f"{n}"), named=f"{n}") for n in range(2)])
        _started(tmp_path, 2)
    assert (tmp_path / "0").exists()
    assert (tmp_path / "1").exists()


def test_a_work_that_catches_its_signal_does_not_keep_the_pool(tmp_path):
    with pool_of(1) as pool:
        pool.submit([work("go on", str(tmp_path / "0"))])
        _started(tmp_path, 1)
    assert (tmp_path / "0").exists()


def test_a_work_on_several_devices_has_processes_of_its_own():
    with pool_of(2) as pool:
        pool.submit([work("pid", devices=2), work("die", signal.SIGKILL, devices=2)])
        ended = all_ended(pool, 2)
    assert int(ended["pid"].answer) != os.getpid()
    assert ended["die"].code == -signal.SIGKILL


def test_a_group_that_cannot_be_started_is_an_error(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local, "run_group", full)
    with pool_of(2) as pool:
        pool.submit([work("pid", devices=2)])
        with pytest.raises(OSError, match="No space"):
            all_ended(pool, 1)


def test_a_group_that_is_just_being_started_is_stopped_too(tmp_path, monkeypatch):
    begun, stops = threading.Event(), threading.Event()

    def slow_start(command, work, *, on_start, **options):
        begun.set()
        stops.wait()
        return run_group(command, work, on_start=on_start, **options)

    monkeypatch.setattr(local, "run_group", slow_start)
    with pool_of(2) as pool:
        pool.submit([work("sleep", str(tmp_path / "0"), devices=2)])
        begun.wait()
        threading.Timer(0.2, stops.set).start()
        started = time.monotonic()
    assert time.monotonic() - started < 30  # the work takes 60 seconds


def test_workers_see_their_device_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with pool_of(4, ["4", "7"]) as pool:
        pool.submit([work("variable", "CUDA_VISIBLE_DEVICES", named=f"{n}") for n in range(2)])
        assert {each.answer for each in all_ended(pool, 2).values()} == {"4", "7"}


def test_a_killed_template_is_replaced(way):
    if way == "started":
        pytest.skip("there is none")
    with pool_of(1) as pool:
        pool.submit([work("exit", 3)])
        all_ended(pool, 1)
        pool._template._process.kill()
        pool._template._process.wait()
        pool.submit([work("pid")])
        assert all_ended(pool, 1)["pid"].answer.isdigit()


@pytest.mark.parametrize("devices", [1, 2])
def test_works_stop_when_their_parent_is_killed(tmp_path, way, devices):
    code = f"""
import time
from capsbench.executors import local, template
from tests.executors.test_local import pool_of, work
template.CAN_FORK = {way == "forked"}
with pool_of(1) as pool:
    pool.submit([work("sleep", {str(tmp_path / "0")!r}, devices={devices})])
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent:
        _started(tmp_path, 1)
        parent.kill()
    _wait_for((tmp_path / "0").exists)


def test_the_death_of_an_idle_worker_costs_no_work():
    with pool_of(1) as pool:
        pool.submit([work("pid", named="a")])
        pid = int(all_ended(pool, 1)["a"].answer or "")
        os.kill(pid, signal.SIGKILL)
        _wait_for(lambda: template.has_ended(pool._idle[0].process))
        pool.submit([work("pid", named="b")])
        answer = all_ended(pool, 1)["b"].answer
    assert answer is not None
    assert int(answer) != pid


def test_a_worker_finds_the_modules_of_its_parent(tmp_path, monkeypatch):
    (tmp_path / "beside_a_script.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pool_of(2) as pool:
        pool.submit(
            [
                work("module", "beside_a_script"),
                work("module", "beside_a_script", named="2", devices=2),
            ]
        )
        answers = {each.answer for each in all_ended(pool, 2).values()}
    assert answers == {"beside_a_script"}


def test_a_work_has_no_part_in_the_pipe_of_requests():
    with pool_of(1) as pool:
        pool.submit([work("read"), work("pid", order=1)])
        ended = all_ended(pool, 2)
    assert ended["read"].answer == "nothing"
    assert (ended["pid"].answer or "").isdigit()


def test_a_pool_waits_for_its_works_also_without_a_template(tmp_path, way):
    if way == "started":
        pytest.skip("there is none")
    with pool_of(2) as pool:
        pool.submit([work("pid", named="idle"), work("sleep", str(tmp_path / "0"))])
        idle = int(all_ended(pool, 1)["idle"].answer or "")
        _started(tmp_path, 1)
        pool._template._process.kill()
        pool._template._process.wait()
        os.kill(idle, signal.SIGKILL)
        _wait_for(lambda: _is_gone(idle))
    assert (tmp_path / "0").exists()


def test_workers_that_cannot_start_are_an_error_of_the_user(way):
    command = (sys.executable, "-c", "raise SystemExit(1)")
    with pool_of(1, command=command) as pool:
        if way == "forked":
            with pytest.raises(UserError, match="worker"):
                pool.submit([work("pid")])
        else:
            pool.submit([work("pid")])
            assert all_ended(pool, 1)["pid"].code == 1


def _started(folder, count):
    def names():
        return {path.stem for path in folder.glob("*.started")}

    _wait_for(lambda: len(names()) >= count)
    return names()


def _wait_for(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def _is_gone(pid):
    """Return True for a process that has ended, also if nobody has read its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
