"""Documentation of a class and its arguments, read from docstrings."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, get_type_hints

from capsbench.arguments import parameter_types, parameters

if TYPE_CHECKING:
    from pydantic import BaseModel


def describe(cls: type) -> tuple[str, list[str]]:
    """Return the first line of a class's docstring, and the paragraphs before its first section."""
    text = re.split(r"\n(?=\w+:\n)", inspect.cleandoc(cls.__doc__ or ""))[0]
    summary, *paragraphs = map(_prose, text.strip().split("\n\n"))
    return summary, paragraphs


def describe_arguments(cls: type) -> list[dict[str, Any]]:
    """Describe each argument of a class's constructor: name, type, default and documentation."""
    documented, types = documented_names(cls, "Args"), parameter_types(cls)
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


def describe_fields(schema: type[BaseModel]) -> list[dict[str, Any]]:
    """Describe each field of a schema: name, type, default and documentation."""
    documented = documented_names(schema, "Attributes")
    hints = get_type_hints(schema)
    return [
        {
            "name": name,
            "type": _in_short(hints[name]),
            "required": field.is_required(),
            "default": None
            if field.is_required()
            else field.get_default(call_default_factory=True),
            "documentation": documented.get(name, ""),
        }
        for name, field in schema.model_fields.items()
    ]


def documented_names(cls: type, section_name: str) -> dict[str, str]:
    """Return the documentation of each name in a section of a class and its bases.

    Docstrings are in Google style: an entry is indented by four, its continuation by more.

    Args:
        cls: The class.
        section_name: ``Args`` or ``Attributes``.
    """
    entries: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition(
            f"\n{section_name}:\n"
        )
        section = re.split(r"\n(?=\S)", section)[0]
        matches = re.findall(r"^ {4}(\w+)(?: \(.*?\))?:(.*(?:\n {5,}\S.*)*)", section, re.MULTILINE)
        entries |= {name: _prose(text) for name, text in matches}
    return entries


def _in_short(annotation: Any) -> str:
    """Return a type as text, without the modules of its names.

    >>> _in_short(re.Pattern[str] | None)
    'Pattern[str] | None'
    """
    return re.sub(r"(?<![\w'.])(?:[A-Za-z_]\w*\.)+", "", inspect.formatannotation(annotation))


def _prose(text: str) -> str:
    """Return the text of a docstring without line breaks and code marks."""
    return " ".join(text.split()).replace("``", "")
