"""Requested models: some of a benchmark's own, and models that are added to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from capsbench.arguments import explain
from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml
from capsbench.schema.parts import ADDED, ModelEntry


class RequestedModels(NamedTuple):
    """Models of a request.

    Attributes:
        own: Labels or names of the benchmark's own models; None for all.
        added: Models that are added to the benchmark.
    """

    own: tuple[str, ...] | None = None
    added: tuple[ModelEntry, ...] = ()


def parse_models(texts: Sequence[str]) -> RequestedModels:
    """Read requested models: labels or names, and models to be added after a ``+``.

    Args:
        texts: Comma-separated lists, such as ``CNN,+net.py:Net``. An added model is a name, or an
            entry of a benchmark file as a YAML flow mapping: ``+{name: net.py:Net, label: Mine}``.
            Commas within braces separate nothing, and empty parts name nothing.

    Returns:
        The requested models; all of the benchmark's own ones if only added models are named.

    Raises:
        UserError: An added model has no name, is not an entry of a benchmark file, or is in a file
            with a comma in its path.

    >>> own, added = parse_models(["CNN,+net.py:Net", "+{name: cnn-p4, label: P4}"])
    >>> own, [(entry.name, entry.label) for entry in added]
    (('CNN',), [('net.py:Net', 'Net'), ('cnn-p4', 'P4')])
    """
    parts = [part.strip() for text in texts for part in _split(text) if part.strip()]
    for first, second in pairwise(parts):
        name = f"{first},{second}".removeprefix(ADDED)
        if first.startswith(ADDED) and _in_file(name) and not _in_file(first.removeprefix(ADDED)):
            raise UserError(
                f"a comma separates models; since one is in the path of the file, write "
                f"""'+{{name: "{name}"}}'"""
            )
    own = tuple(part for part in parts if not part.startswith(ADDED))
    added = tuple(_entry(part) for part in parts if part.startswith(ADDED))
    return RequestedModels(own or None, added)


def _in_file(name: str) -> bool:
    """Check that a name is that of a class in a file."""
    return Path(name.rpartition(":")[0]).is_file()


def _split(text: str) -> Iterator[str]:
    """Split a list at its commas outside of braces and brackets."""
    part, depth = "", 0
    for character in text:
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth <= 0:
            yield part
            part = ""
        else:
            part += character
    yield part


def _entry(part: str) -> ModelEntry:
    """Return the added model of ``+name`` or ``+{name: ...}``."""
    text = part.removeprefix(ADDED).strip()
    if not text:
        raise UserError("'+' adds a model; expected its name, such as +net.py:Net")
    content: Any = {"name": text}
    if text.startswith("{"):
        try:
            content = parse_yaml(text)
        except ValueError as error:
            raise UserError(
                f"'{part}' is not a YAML mapping, such as '+{{name: net.py:Net, label: A}}': "
                f"{error}"
            ) from None
    try:
        return ModelEntry.model_validate(content)
    except ValidationError as error:
        raise UserError(f"'{part}': {explain(error, ModelEntry)}") from None
