"""Names of classes in a user's table: each is visible, and no two of them read the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from capsbench.errors import UserError

# As programs write a missing value; 'none' and 'NA' may be classes.
MISSING = ("nan", "<na>", "nat", "null", "n/a", "#n/a")
# Invisible, but no format characters: a joiner, Hangul fillers, blank Braille, variation selectors.
UNSEEN = re.compile("[\u034f\u115f\u1160\u2800\u3164\ufe00-\ufe0f\uffa0]")


def require_distinct_names(path: Path, names: Sequence[str]) -> None:
    """Refuse names of classes that are missing, or of which two read the same.

    Args:
        path: The table, for messages.
        names: The class of each image, as the rows of the table name it.

    Raises:
        UserError: Such a name.
    """
    lines: dict[str, int] = {}  # of the first image of each class
    for line, name in enumerate(names, 2):
        lines.setdefault(name, line)
    for name, line in lines.items():
        if not plain(name):
            raise UserError(
                f"{path}, line {line}: the class {name!a} has no visible character; name it"
            )
        if plain(name) in MISSING:
            raise UserError(
                f"{path}, line {line}: the class {name!a} stands for a missing value; give the "
                "image a class, or the class another name"
            )
        if any(unicodedata.category(character) == "Cc" for character in name):
            raise UserError(
                f"{path}, line {line}: the class {name!a} has a line break or another control "
                "character; remove it"
            )
    seen: dict[str, str] = {}
    for name, line in lines.items():
        first = seen.setdefault(plain(name), name)
        if first != name:
            raise UserError(
                f"{path}: the classes {first!a} (line {lines[first]}) and {name!a} (line {line}) "
                "differ only in case, spaces or characters that cannot be seen; give them one "
                "name, or names that differ visibly"
            )


def plain(name: str) -> str:
    r"""Return a name without case, repeated spaces and characters that cannot be seen.

    >>> plain("Caf\u200be\u0301 ")
    'café'
    """
    visible = "".join(c for c in UNSEEN.sub("", name) if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFC", visible.lower()).split())
