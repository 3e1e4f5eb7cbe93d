"""Errors that a user can cause, told in one sentence, with a 'did you mean'."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Bad input: the message says what was expected, what came and what to do.

    The command line prints it without a traceback and exits with code 2. Our own bugs are other
    exceptions and keep their traceback.
    """


def unknown(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a list.

    Args:
        what: What the name stands for, such as ``"model"``.
        given: The name that came.
        known: The names that exist.

    >>> str(unknown("model", "cnn-smal", ["cnn-small", "capsnet-dr"]))
    "unknown model 'cnn-smal'; did you mean 'cnn-small'?"
    >>> str(unknown("model", "zzz", ["b", "a"]))
    "unknown model 'zzz'; known: 'a', 'b'"
    >>> str(unknown("model", "zzz", []))
    "unknown model 'zzz'; there are none"
    """
    known = sorted(known)
    close = get_close_matches(given, known, n=1)
    if close:
        hint = f"did you mean '{close[0]}'?"
    else:
        hint = f"known: {', '.join(map(repr, known))}" if known else "there are none"
    return UserError(f"unknown {what} '{given}'; {hint}")


def in_one_line(error: BaseException, module: str) -> str:
    """An error in someone's own code as ``Type: message (file:line)``.

    Args:
        error: The error, as it was caught.
        module: Name of the module whose last place on the way to the error is told; where the way
            does not lead through it, the place of the error itself.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [frame for frame in frames if frame[0].f_globals["__name__"] == module]
    frame, line = (own or frames)[-1]
    message = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message} ({Path(frame.f_code.co_filename).name}:{line})"
