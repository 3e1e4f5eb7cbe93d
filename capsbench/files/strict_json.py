"""Strict JSON: what Python's parser lets pass, and no record may hold, is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn

from capsbench.errors import UNPRINTABLE

MAX_DEPTH = 50  # of lists and mappings in each other
MAX_TEXT = 20_000  # characters of one text


def parse(content: bytes) -> Any:
    """Parse JSON in UTF-8 with finite numbers, unique keys and plain texts.

    Raises:
        ValueError: It is not such JSON; the message gives the reason in a few words.
    """
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_mapping,
            parse_constant=_refuse,
            parse_float=_float,
            parse_int=_int,
        )
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("not JSON in UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    require_plain(value)
    return value


def require_plain(value: Any) -> None:
    """Refuse texts that change how a terminal or a page shows others, and unbounded contents.

    Raises:
        ValueError: A text has control characters or more than 20,000 characters, or lists and
            mappings are nested more than 50 times.
    """
    for depth, text in _texts(value):
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        if len(text) > MAX_TEXT:
            raise ValueError(f"a text of {len(text):,} characters")
        if match := UNPRINTABLE.search(text):
            raise ValueError(f"the control character U+{ord(match[0]):04X} in a text")


def _texts(value: Any) -> Iterator[tuple[int, str]]:
    """Yield every text with its depth, keys too; an empty text for each list and mapping."""
    remaining = [(0, value)]
    while remaining:
        depth, each = remaining.pop()
        if isinstance(each, str):
            yield depth, each
        elif isinstance(each, dict | list | tuple):
            yield depth, ""
            if depth <= MAX_DEPTH:
                parts = [*each, *each.values()] if isinstance(each, dict) else each
                remaining += [(depth + 1, part) for part in parts]


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:100]!r} appears twice")
    return mapping


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _int(text: str) -> int:
    _float(text)  # one of more than 308 digits is no float
    return int(text)
