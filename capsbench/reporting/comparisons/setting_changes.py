"""Settings that differ between the two sides of a comparison: protocol, code and device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from capsbench.records import CellResult
from capsbench.records.one_version import flattened
from capsbench.reporting.comparisons.sides import Pair

ABSENT = "–"


class SettingChange(NamedTuple):
    """A setting that differs.

    Attributes:
        setting: Its dotted place.
        models: Titles of the pairs of models for which it differs so.
        a: Value of the first side; several are joined.
        b: Value of the second side.
    """

    setting: str
    models: tuple[str, ...]
    a: str
    b: str


def setting_changes(pairs: Sequence[Pair]) -> list[SettingChange]:
    """Return every setting that differs: arguments, recipe, views, seeds, versions, device, commit.

    The time of a training is no setting.
    """
    models: dict[tuple[str, str, str], list[str]] = {}
    for pair in pairs:
        one, other = _settings(pair.a), _settings(pair.b)
        for place in dict.fromkeys((*one, *other)):
            values = one.get(place, ABSENT), other.get(place, ABSENT)
            if values[0] != values[1]:
                models.setdefault((place, *values), []).append(pair.title)
    return [
        SettingChange(setting, tuple(titles), a, b) for (setting, a, b), titles in models.items()
    ]


def _settings(cells: Sequence[CellResult]) -> dict[str, str]:
    """Return the settings of a model by their dotted place; values of several seeds are joined."""
    values: dict[str, dict[str, None]] = {}
    for cell in cells:
        for place, value in flattened(_contents(cell)):
            values.setdefault(place, {})[str(value)] = None
    return {place: " and ".join(each) for place, each in values.items()} | {
        "seeds": ", ".join("none" if c.seed is None else str(c.seed) for c in cells)
    }


def _contents(cell: CellResult) -> Mapping[str, Any]:
    content: dict[str, Any] = {}
    if cell.config is not None:
        content = cell.config.model_dump(mode="json", exclude={"seed"})
    elif cell.weights is not None:
        content = cell.weights.model_dump(mode="json", include={"model", "data", "views", "sha256"})
    content["selection"] = {name: record.rule for name, record in cell.measures.items()}
    if cell.training is not None:
        execution, provenance = cell.training.execution, cell.training.provenance
        content |= {
            "device": execution.device_name,
            "devices": execution.devices * execution.nodes,
            "commit": provenance.commit or "unknown",
            "version": provenance.versions,
        }
    return content
