"""The entry of a process: exit codes, one line on stderr, and tracebacks for bugs alone."""

import errno
import signal

import pytest

from capsbench.environment.entry import run_process
from capsbench.environment.signals import Stopped
from capsbench.errors import UserError


def failing(error):
    """Return a command that fails."""

    def command():
        raise error

    return command


@pytest.mark.parametrize("returned", [None, 0, 1])
def test_the_code_of_the_command(returned, capsys):
    assert run_process(lambda: returned) == (returned or 0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error", [UserError("the\nsentence"), OSError(errno.EDQUOT, "the sentence", "x"), MemoryError()]
)
def test_bad_input_and_failures_are_one_line(error, capsys):
    assert run_process(failing(error)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("capsbench: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(2, "no", "x")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run_process(failing(error))


def test_a_process_of_a_group_is_silent(capsys):
    assert run_process(failing(KeyboardInterrupt()), stopped=None) == 130
    assert capsys.readouterr() == ("", "")


CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140}


def test_a_stop_by_a_signal_to_another_process_of_the_group(capsys):
    assert run_process(failing(Stopped(signal.SIGTERM)), stopped="it goes on") == 143
    assert capsys.readouterr() == ("", "stopped; it goes on\n")


@pytest.mark.parametrize(("name", "code"), CODES.items())
@pytest.mark.parametrize("wrapped", [False, True])
def test_signals(name, code, wrapped, capsys):
    def command():
        try:
            signal.raise_signal(getattr(signal, name))
        except KeyboardInterrupt:
            if wrapped:
                raise SystemError("a library caught it") from None
            raise

    assert run_process(command, stopped="nothing was written") == code
    assert capsys.readouterr() == ("", "stopped; nothing was written\n")


@pytest.mark.parametrize(
    ("stopped", "lines"), [("", ""), ("it continues", "stopped; it continues\n")]
)
def test_a_closed_pipe(stopped, lines, capsys):
    assert run_process(failing(BrokenPipeError(errno.EPIPE, "")), stopped=stopped) == 141
    assert capsys.readouterr() == ("", lines)
