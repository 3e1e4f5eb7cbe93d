"""What a class says of itself: the prose of its docstring, and what it says of each argument."""

from __future__ import annotations

import inspect
import re
from typing import Any

from capsbench.arguments import parameter_types, parameters


def describe(cls: type) -> tuple[str, list[str]]:
    """The first sentence of a class's docstring, and the paragraphs up to its first section."""
    text = re.split(r"\n(?=\w+:\n)", inspect.cleandoc(cls.__doc__ or ""))[0]
    summary, *paragraphs = map(_prose, text.strip().split("\n\n"))
    return summary, paragraphs


def describe_arguments(cls: type) -> list[dict[str, Any]]:
    """Each argument of a class's constructor: name, type, whether required, default, meaning."""
    documented, types = documented_arguments(cls), parameter_types(cls)
    return [
        {
            "name": name,
            "type": _in_short(types[name]) if name in types else "",
            "required": parameter.default is parameter.empty,
            "default": None if parameter.default is parameter.empty else parameter.default,
            "documentation": documented.get(name, ""),
        }
        for name, parameter in parameters(cls).items()
    ]


def documented_arguments(cls: type) -> dict[str, str]:
    """What the ``Args`` sections of a class and its bases say of each argument.

    Google style: an entry is indented by four, its continuation by more.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("\nArgs:\n")
        section = re.split(r"\n(?=\S)", section)[0]
        entries = re.findall(r"^ {4}(\w+)(?: \(.*?\))?:(.*(?:\n {5,}\S.*)*)", section, re.MULTILINE)
        found |= {name: _prose(text) for name, text in entries}
    return found


def _in_short(annotation: Any) -> str:
    """A type without the modules that its names come from.

    >>> _in_short(re.Pattern[str] | None)
    'Pattern[str] | None'
    """
    return re.sub(r"(?<![\w'.])(?:[A-Za-z_]\w*\.)+", "", inspect.formatannotation(annotation))


def _prose(text: str) -> str:
    """Text of a docstring without its line breaks and code marks."""
    return " ".join(text.split()).replace("``", "")
