"""Signals that stop a process."""

import signal
import subprocess
import sys
import threading

import pytest

from capsbench.environment import signals
from capsbench.environment.signals import (
    Stopped,
    deferred_stop,
    pending_stop,
    raise_pending_stop,
    signals_of_caller,
    stop_signals,
)

NAMES = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"]
SECOND = """
import signal
from capsbench.environment import signals
signals.SAME_STOP_SECONDS = 0
with signals.stop_signals():
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        print("cleaning up", flush=True)
        signal.raise_signal(signal.SIGINT)
    print("not reached")
"""


@pytest.mark.parametrize("name", NAMES)
def test_the_first_signal_raises_and_handlers_are_restored(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with stop_signals() as received, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert received == [number]
    assert signal.getsignal(number) == before


def test_the_second_signal_ends_the_process_at_once():
    result = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, check=False
    )
    assert result.returncode == -signal.SIGINT
    assert (result.stdout, result.stderr) == ("cleaning up\n", "")


def test_signals_of_one_stop_count_once():
    """A scheduler signals all processes, and a parent passes its own signal on."""
    with stop_signals() as received:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGUSR1]


@pytest.mark.parametrize("name", NAMES)
def test_a_deferred_signal_interrupts_nothing(name):
    number = getattr(signal, name)
    with stop_signals() as received:
        assert pending_stop() == 0
        raise_pending_stop()
        with deferred_stop():
            signal.raise_signal(number)
            assert pending_stop() == number
        assert received == [number]
        with pytest.raises(KeyboardInterrupt):
            raise_pending_stop()
    assert pending_stop() == 0


def test_a_second_signal_ends_a_deferred_stop_at_once():
    script = SECOND.replace("try:", "with signals.deferred_stop():").partition("    except")[0]
    script += "        print('going on', flush=True)\n        signal.raise_signal(signal.SIGINT)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (-signal.SIGINT, "going on\n")


def test_handlers_of_another_owner_are_kept():
    """submitit has its own before a job of SLURM begins."""
    received = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: received.append(number))
    try:
        with stop_signals() as ours, deferred_stop():
            signal.raise_signal(signal.SIGUSR2)
            assert pending_stop() == 0
        assert (received, ours) == ([signal.SIGUSR2], [])
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_inside_of_itself_it_has_the_same_signals():
    with stop_signals() as outer, stop_signals() as inner:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert outer is inner


def test_the_caller_has_its_signal_after_an_orderly_stop():
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def work():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            steps.append("saved")

    with pytest.raises(KeyboardInterrupt), signals_of_caller():
        work()
    assert steps == ["saved"]
    assert signal.getsignal(signal.SIGINT) is before
    script = """
import signal
from capsbench.environment.signals import Stopped, deferred_stop, signals_of_caller
with signals_of_caller(), deferred_stop():
    signal.raise_signal(signal.SIGTERM)
    print("saved", flush=True)
    raise Stopped(signal.SIGTERM)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGTERM, "saved\n", "")


def test_a_stop_is_no_exception():
    assert not issubclass(Stopped, Exception)
    assert Stopped(signal.SIGTERM).number == signal.SIGTERM
    assert "SIGTERM" in str(Stopped(signal.SIGTERM))
    assert set(NAMES) == set(signals.NAMES)


def test_an_ignored_signal_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    try:
        with stop_signals() as received:
            signal.raise_signal(signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_effect_in_another_thread():
    results = []

    def enter():
        with stop_signals() as received:
            results.append(received)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert results == [[]]
