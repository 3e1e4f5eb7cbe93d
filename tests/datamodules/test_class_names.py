"""Names of classes: each is visible, and no two are the same to a reader."""

from pathlib import Path

import pytest

from capsbench.datamodules._class_names import require_distinct_names
from capsbench.errors import UserError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "A"),
        ("cup", "cup\u200b"),  # zero-width space
        ("cup", "c\u00adup"),  # soft hyphen
        ("cup", "\u2066cup"),  # direction
        ("❤", "❤\ufe0f"),  # variation selector
        ("caf\u00e9", "cafe\u0301"),  # composed and decomposed
        ("red cup", "red  cup"),
        ("red cup", "red\u00a0cup"),
        ("τος", "ΤΟΣ"),
        ("Straße", "STRAẞE"),
    ],
)
def test_names_that_are_the_same_to_a_reader(first, second):
    with pytest.raises(UserError, match="differ only in case, spaces or") as raised:
        require_distinct_names(Path("labels.csv"), [first, "other", first, second])
    message = str(raised.value)
    assert message.isascii()
    assert f"{first!a} (line 2)" in message and f"{second!a} (line 5)" in message


@pytest.mark.parametrize(
    "name", ["", "\u200b", "\u3164", "\u2800", "nan", "NaN", "<NA>", "null", "#N/A", "a\nb", "a\0"]
)
def test_names_that_are_none(name):
    with pytest.raises(UserError, match="line 3: the class"):
        require_distinct_names(Path("labels.csv"), ["cup", name])


def test_names_that_differ():
    names = ["a", "α", "b", "β", "none", "NA", "1", "10", "1.5", "v1", "v1.0", "caf", "café", "..."]
    names += ["می\u200cخواهم", "写真", "фото", "cup 1", "cup-1", "cup1", "é", "e"]
    # Symbols and letters of other scripts are classes of their own.
    names += ["x", "x²", "x2", "①", "o", "º", "TM", "™", "ß", "ss", "σ", "ς", "St", "ﬆ", "カ", "ｶ"]
    names += ["cup", "cup.", "сир", "AB", "ΑΒ", "АВ", "01", "1.0", "-1", "0", "-0"]
    require_distinct_names(Path("labels.csv"), [*names, *names])
