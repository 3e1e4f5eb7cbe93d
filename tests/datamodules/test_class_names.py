"""Names of classes: each is visible, and no two are the same to a reader."""

from pathlib import Path

import pytest

from capsbench.datamodules._class_names import LOOKALIKES, require_distinct_names
from capsbench.errors import UserError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "A"),
        ("straße", "STRASSE"),
        ("cup", "cup\u200b"),  # zero-width space
        ("cup", "c\u00adup"),  # soft hyphen
        ("cup", "\u2066cup"),  # direction
        ("❤", "❤\ufe0f"),  # variation selector
        ("caf\u00e9", "cafe\u0301"),  # composed and decomposed
        ("ﬁg", "fig"),  # ligature
        ("２", "2"),  # full width
        ("red cup", "red  cup"),
        ("red cup", "red\u00a0cup"),
        ("cup", "cup."),
        ("cup", "сuр"),  # the first and the last letter are Cyrillic
        ("ABC", "АВС"),
        ("TO", "ΤΟ"),  # Greek
        ("α", "Α"),  # Greek
        ("1", "01"),
        ("1", "1.0"),
        ("-0", "0"),
    ],
)
def test_names_that_are_the_same_to_a_reader(first, second):
    with pytest.raises(UserError) as raised:
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
    require_distinct_names(Path("labels.csv"), [*names, *names])


def test_letters_that_look_the_same_are_of_two_alphabets():
    assert all(latin < 128 <= other for other, latin in LOOKALIKES.items())
