"""Entry of every process: the one place that turns errors and signals into lines and exit codes."""

from __future__ import annotations

import signal
from collections.abc import Callable

from capsbench.environment import failures, streams
from capsbench.environment.signals import Stopped, stop_signals
from capsbench.errors import UserError

BAD_INPUT = 2
SIGNAL = 128  # + its number, as shells report it
CLOSED_PIPE = SIGNAL + 13  # SIGPIPE, which Windows does not have


def run_process(command: Callable[[], int | None], *, stopped: str | None = "") -> int:
    """Carry out a command; a failure that is no bug of ours is one line on stderr.

    Args:
        command: Returns the exit code; None is 0.
        stopped: Consequence of stopping it, printed after a signal; None to print nothing.

    Returns:
        The command's exit code; 2 after bad input or a failure of the environment, 130 after
        Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 138 and 140 after SIGUSR1 and SIGUSR2, 141 if
        nobody reads the output any more.
    """
    streams.make_ready()
    with stop_signals() as received:
        try:
            code = _outcome(command)
        except BaseException:
            if not received:  # else the signal is the cause, whatever libraries make of it
                raise
            code = SIGNAL
    if received:
        code = SIGNAL + received[0]
    if code >= SIGNAL and stopped is not None and (stopped or code != CLOSED_PIPE):
        streams.print_error(f"stopped; {stopped}" if stopped else "stopped")
    streams.flush()
    return code


def _outcome(command: Callable[[], int | None]) -> int:
    """Return the exit code of a command, after its output was written."""
    try:
        code = command() or 0
        if failed := streams.flush():
            raise failed
    except KeyboardInterrupt:
        return SIGNAL + signal.SIGINT
    except Stopped as stop:  # a signal to another process of the group
        return SIGNAL + stop.number
    except UserError as error:
        message = str(error)
    except SystemExit as end:  # typer exits if its output is a closed pipe
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return CLOSED_PIPE
    except BrokenPipeError:
        return CLOSED_PIPE
    except Exception as error:  # of any library; our own bugs go on
        reason = failures.sentence(error)
        if reason is None:
            raise
        message = reason
    else:
        return code
    refuse(message)
    return BAD_INPUT


def refuse(message: str) -> None:
    """Print the line of an error on stderr."""
    streams.print_error(f"capsbench: error: {' '.join(message.split())}")
