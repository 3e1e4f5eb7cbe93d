"""Errors that a user can cause, as one sentence, with a 'did you mean'."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Bad input. The message says what was expected, what was given and what to do.

    The command line prints it without a traceback and exits with code 2. Bugs of CapsBench are
    other exceptions and keep their traceback.
    """


class NotMeasuredError(UserError):
    """A measure needs a part that a model lacks, such as a layer; reports show the sentence."""


MOST = 10  # names in a message


def unknown(what: str, given: str, known: Iterable[str], listing: str = "") -> UserError:
    """Return the error for a name that is not in a list.

    Args:
        what: Kind of the name, such as ``"model"``.
        given: The unknown name.
        known: The names that exist; no more than ten are shown.
        listing: Command or call that lists all of them.

    >>> str(unknown("model", "cnn-smal", ["cnn-small", "capsnet-dr"]))
    "unknown model 'cnn-smal'; did you mean 'cnn-small'?"
    >>> str(unknown("model", "zzz", ["b", "a"]))
    "unknown model 'zzz'; known: 'a', 'b'"
    >>> str(unknown("model", "zzz", []))
    "unknown model 'zzz'; there are none"
    >>> str(unknown("model", "zzz", "abcdefghijkl", "capsbench list")).partition("'i', ")[2]
    "'j' and 2 more, see capsbench list"
    """
    known = sorted(known)
    close = get_close_matches(given, known, n=1)
    if close:
        hint = f"did you mean '{close[0]}'?"
    else:
        hint = f"known: {', '.join(map(repr, known[:MOST]))}" if known else "there are none"
        if len(known) > MOST:
            hint += f" and {len(known) - MOST:,} more" + (f", see {listing}" if listing else "")
    return UserError(f"unknown {what} '{given}'; {hint}")


def in_one_line(error: BaseException, module: str) -> str:
    """Return an error in a user's code as ``Type: message (file:line)``.

    Args:
        error: The error that was caught.
        module: Name of the user's module. The line is the last one of it in the traceback, or the
            last line of the traceback if the module is not in it.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [frame for frame in frames if frame[0].f_globals.get("__name__") == module]
    frame, line = (own or frames)[-1]
    message = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message} ({Path(frame.f_code.co_filename).name}:{line})"
