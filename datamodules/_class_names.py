"""Names of classes in a user's table: each is visible, and no two of them look or read the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from capsbench.errors import UserError

# As programs write a missing value; 'none' and 'NA' may be classes.
MISSING = ("nan", "<na>", "nat", "null", "n/a", "#n/a")
# Marks without a shape of their own that Unicode does not count as format characters: the grapheme
# joiner, fillers of Hangul, signs of Khmer and Mongolian, blank Braille, variation selectors.
UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
# Letters of Cyrillic, then of Greek, that are drawn as Latin ones.
LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТУХІЈЅасеорхуіјѕһԁ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο",
    "ABEKMHOPCTYXIJSaceopxyijshd" + "ABEZHIKMNOPTYXo",
)
NUMBER = re.compile(r"[+-]?\d+\.?\d*")


def require_distinct_names(path: Path, names: Sequence[str]) -> None:
    """Refuse names of classes that are missing, or of which two are the same to a reader.

    Two names are the same if they are equal after Unicode's compatibility normalization (NFKC),
    without case, characters that cannot be seen, repeated spaces and dots at the end; if they are
    equal with letters of Cyrillic and Greek drawn as Latin ones; or if they are the same number.

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
    for key, reason in KEYS.items():
        seen: dict[object, str] = {}
        for name, line in lines.items():
            first = seen.setdefault(key(name), name)
            if first != name:
                raise UserError(
                    f"{path}: the classes {first!a} (line {lines[first]}) and {name!a} (line "
                    f"{line}) {reason}; give them one name, or names that differ visibly"
                )


def plain(name: str) -> str:
    r"""Return a name as it reads, without case and without characters that cannot be seen.

    >>> plain("Caf\u200be\u0301 .")
    'café'
    """
    shaped = unicodedata.normalize("NFKC", UNSEEN.sub("", name))
    visible = "".join(c for c in shaped if unicodedata.category(c) != "Cf")
    text = " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())
    return text.rstrip(" .") or text


def _as_drawn(name: str) -> str:
    return plain(unicodedata.normalize("NFKC", name).translate(LOOKALIKES))


def _as_number(name: str) -> Decimal | str:
    text = plain(name)
    return Decimal(text) if NUMBER.fullmatch(text) else name


KEYS: dict[Callable[[str], object], str] = {
    plain: "differ only in case, or in characters that cannot be seen",
    _as_drawn: "look the same, with letters of another alphabet",
    _as_number: "are the same number",
}
