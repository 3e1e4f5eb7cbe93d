"""Errors that a user can cause, as one sentence, with a 'did you mean'."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

# Characters that change what a terminal or a page shows around them, apart from tab and line end:
# control characters, marks and overrides of the direction of text, and halves of surrogate pairs.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_MESSAGE = 1500  # characters


class UserError(Exception):
    """Bad input. The message says what was expected, what was given and what to do.

    The command line prints it without a traceback and exits with code 2. Bugs of CapsBench are
    other exceptions and keep their traceback. As text, control characters are escaped, and the
    middle of a very long message is left out, because it can quote any input.
    """

    def __str__(self) -> str:
        text = printable(super().__str__())
        return text if len(text) <= MAX_MESSAGE else f"{text[:1000]} ... {text[-400:]}"


class NotMeasuredError(UserError):
    """A measure needs a part that a model lacks, such as a layer; reports show the sentence."""


MOST = 10  # names in a message


def printable(text: str) -> str:
    r"""Return a text with control characters as escapes, see `UNPRINTABLE`.

    >>> printable("red: " + chr(27) + "[31m")
    'red: \\x1b[31m'
    """
    return UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


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
