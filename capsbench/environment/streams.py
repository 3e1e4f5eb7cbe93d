"""Standard streams that accept any text, whatever the locale, the encoding and the redirection."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from pathlib import Path

PLAIN_SIGNS = "capsbench-plain"  # name of the error handler
# Signs whose compatibility form (NFKD) is not plain, or has another meaning.
SIGNS = {
    "±": "+/-",
    "−": "-",
    "⁻": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "·": "*",
    "°": " deg",
    "′": "'",
    "→": "->",
    "≠": "!=",
    "≤": "<=",
    "≥": ">=",
    "√": "sqrt",
    "✓": "ok",
    "✗": "x",
}


def make_ready() -> None:
    """Open streams that are closed, and let all of them print signs that their encoding lacks.

    A file that is opened while descriptor 1 or 2 is closed would get that number, and with it all
    that libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller, as in `capsbench list >&-`
            sink = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, sink)
    codecs.register_error(PLAIN_SIGNS, _encode_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # those of notebooks and of tests accept any text
            stream.reconfigure(errors=PLAIN_SIGNS)


def flush() -> OSError | None:
    """Write what is left in the standard streams.

    Returns:
        The error, if there was one. What could not be written is discarded, so that the interpreter
        does not try again at its end.
    """
    failed = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failed = error
            with Path(os.devnull).open("wb") as sink:
                os.dup2(sink.fileno(), stream.fileno())
    return failed


def print_line(line: object) -> None:
    """Print a line on stdout, in its encoding; typer would print UTF-8 in place of ASCII."""
    sys.stdout.write(f"{line}\n")


def print_error(line: str) -> None:
    """Print a line on stderr, unless it cannot be written either."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # full or closed, and there is no other place
        return


def plain(text: str) -> str:
    r"""Return a text in ASCII.

    >>> print(plain("90.1\u00a0±\u00a00.4, ρ → 15°, Café, 中"))
    90.1 +/- 0.4, rho -> 15 deg, Cafe, \u4e2d
    """
    return "".join(character if character.isascii() else _sign(character) for character in text)


def _sign(character: str) -> str:
    if character in SIGNS:
        return SIGNS[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK "):
        return name.split()[-1].lower()
    decomposed = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return decomposed or character.encode("ascii", "backslashreplace").decode()


def _encode_plainly(error: UnicodeError) -> tuple[str, int]:
    """Return a replacement, as error handler of an encoding."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end
