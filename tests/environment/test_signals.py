"""Signals that stop a process."""

import signal
import subprocess
import sys
import threading

import pytest

from capsbench.environment.signals import stop_signals

SECOND = """
import signal
from capsbench.environment.signals import stop_signals
with stop_signals():
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        print("cleaning up", flush=True)
        signal.raise_signal(signal.SIGINT)
    print("not reached")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
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
