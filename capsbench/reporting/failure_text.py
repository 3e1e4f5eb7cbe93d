"""Failed cells in the terminal, and the command that tries them again."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.style import Style
from rich.text import Text

from capsbench.records.failure import RETRY


def failure_lines(name: str, job: str, reason: str, log: Path | None) -> list[Text]:
    """Return the reason of a failed cell, with its log below, which a terminal opens with a click.

    Args:
        name: Name of the cell.
        job: The job that failed.
        reason: The reason.
        log: File of the job's output; None if there is none.
    """
    lines = [Text.assemble((name, "bold"), f" ({job}): {reason}")]
    if log is not None:
        link = Style(link=log.resolve().as_uri())
        lines.append(Text.assemble("  log: ", (str(log), link), overflow="fold"))
    return lines


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
