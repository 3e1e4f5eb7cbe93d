"""Names of code in a benchmark file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from capsbench.names import Kind, find, from_folder

# Places of names in a benchmark, also at the end of a place in `scales` and `vary`.
PLACES: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"(.*\.)?data\.name"), "datamodules"),
    (re.compile(r"(.*\.)?models\.\d+\.name"), "models"),
    (re.compile(r"(.*\.)?measures\.\d+\.measure"), "measures"),
)


def names_of_code(content: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    """Yield the kind and name of each model, data module and measure.

    Args:
        content: A benchmark, or changes to it, by field or by dotted place.
    """
    for key in content:
        for kind, holder, own in _places(str(key), content, key):
            yield kind, holder[own]


def require_names(content: Mapping[str, Any]) -> None:
    """Refuse unknown names in changes that may not be used yet; nothing is imported.

    Raises:
        UserError: See `capsbench.names.find`.
    """
    for kind, name in names_of_code(content):
        find(kind, name)


def relative_to(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of a file with names such as ``net.py:Net`` relative to its folder."""
    result = deepcopy(dict(content))
    for key in result:
        for _, holder, own in _places(str(key), result, key):
            holder[own] = from_folder(folder, holder[own])
    return result


def _places(place: str, holder: Any, key: Any) -> Iterator[tuple[Kind, Any, Any]]:
    """Yield each name at or below a place: its kind, and the mapping or list that holds it."""
    value = holder[key]
    if isinstance(value, str):
        yield from ((kind, holder, key) for pattern, kind in PLACES if pattern.fullmatch(place))
    elif isinstance(value, dict | list):
        varied = None  # place where each of the values is set
        if isinstance(value, dict) and place.rpartition(".")[2] == "vary":
            varied = value.get("place")
        for own in _keys(value):
            if own == "values" and isinstance(varied, str):
                for at in _keys(value[own]):
                    yield from _places(varied, value[own], at)
            else:
                yield from _places(f"{place}.{own}", value, own)


def _keys(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return range(len(value))
    return value if isinstance(value, dict) else ()
