"""File of a section's process: one JSON object per line, appended as soon as it is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capsbench.speed.gpu.record import PartResult


class Unfinished(NamedTuple):
    """Part that began and did not end.

    Attributes:
        name: Its name.
        values: Values that it kept.
    """

    name: str
    values: dict[str, Any]


def append_line(file: Path, content: Mapping[str, Any]) -> None:
    """Append a JSON object as a line."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(content) + "\n")


def read_parts(file: Path) -> tuple[list[PartResult], Unfinished | None, list[str]]:
    """Read what a section's process wrote, also if it was killed while it wrote a line.

    Returns:
        The results; the part that began and did not end, if any; the names of all parts.
    """
    results: list[PartResult] = []
    unfinished: Unfinished | None = None
    planned: list[str] = []
    for content in _complete_lines(file):
        if "planned" in content:
            planned = content["planned"]
        elif "begun" in content:
            unfinished = Unfinished(content["begun"], {})
        elif "kept" in content and unfinished:
            unfinished = unfinished._replace(values=content["kept"])
        elif "part" in content:
            results.append(PartResult.model_validate(content["part"]))
            unfinished = None
    return results, unfinished, planned


def _complete_lines(file: Path) -> Iterable[dict[str, Any]]:
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
