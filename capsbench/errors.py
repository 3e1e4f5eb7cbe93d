"""Errors that a user can cause, told in one sentence, with a 'did you mean'."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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
    """
    known = sorted(known)
    close = get_close_matches(given, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(map(repr, known))}"
    return UserError(f"unknown {what} '{given}'; {hint}")
