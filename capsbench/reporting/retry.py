"""The command that tries failed cells again."""

from __future__ import annotations

import shlex

from capsbench.records.failure import RETRY


def retry_command(command: str) -> str:
    """Return a command of `capsbench run` with the option that tries failed cells again.

    >>> retry_command("capsbench run quick --seeds 0")
    'capsbench run quick --seeds 0 --retry failed'
    >>> retry_command("capsbench run quick --retry failed")
    'capsbench run quick --retry failed'
    """
    words, option = shlex.split(command), shlex.split(RETRY)
    return command if option[0] in words else shlex.join([*words, *option])


def retry_line(command: str) -> str:
    """Return a line with that command."""
    return f"try failed cells again: {retry_command(command)}"
