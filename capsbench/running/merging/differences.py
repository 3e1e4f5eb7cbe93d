"""Differences between two finished cells of one name, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsbench.records import MeasureRecord, WeightsRecord
from capsbench.records.one_version import flattened
from capsbench.running.checkpoints import has_checkpoint, weights_sha256
from capsbench.running.merging.source import CellSource

MAX_DIFFERENCES = 3  # that a message names
DIGITS = 12  # of a checksum in a message


def cell_difference(one: CellSource, other: CellSource) -> str:
    """Return the difference of two finished cells of one name in words; empty if there is none."""
    if one.training is None or other.training is None:
        return _elsewhere_difference(one.weights, other.weights)
    if one.training == other.training:  # a copy, also one whose weights were deleted
        return ""
    trainings = (one.training, other.training)
    dates = f"of {one.date} and {other.date}"
    outcomes = [(each.status, each.diverged_at) for each in trainings]
    if outcomes[0] != outcomes[1]:
        texts = [status if step is None else f"{status} at {step}" for status, step in outcomes]
        return f"other outcomes, {' and '.join(texts)}, {dates}"
    for rule in one.training.selected:
        sums = [_weights_sum(each, rule) for each in (one, other)]
        if None in sums or sums[0] != sums[1]:
            texts = [(each or "unknown")[:DIGITS] for each in sums]
            devices = [each.execution.device_name for each in trainings]
            return f"other weights '{rule}', {' and '.join(texts)}, {dates}, on " + (
                " and ".join(dict.fromkeys(devices))
            )
    return ""


def _weights_sum(source: CellSource, rule: str) -> str | None:
    """Return the SHA-256 of selected weights; that of the numbers, which have no date."""
    assert source.training is not None
    if recorded := source.training.weights.get(rule):
        return recorded
    checkpoint = source.folder.checkpoint(rule)  # records from before November 29, 2026
    return weights_sha256(checkpoint) if has_checkpoint(checkpoint) else None


def _elsewhere_difference(one: WeightsRecord | None, other: WeightsRecord | None) -> str:
    if one is None or other is None:
        return "a training and a model that was trained elsewhere"
    names = ("label", "parameters", "sources")
    different = [name for name in names if getattr(one, name) != getattr(other, name)]
    texts = [f"{name} {getattr(one, name)} and {getattr(other, name)}" for name in different]
    return f"other {', '.join(texts)}" if texts else ""


def measure_difference(one: MeasureRecord, other: MeasureRecord) -> str:
    """Return the difference of two records of a measure in words; empty if there is none.

    Times, dates and devices may differ.
    """
    contents = [_content(record) for record in (one, other)]
    names = [name for name in contents[0] | contents[1] if not _same(name, *contents)]
    texts = [f"{name} {contents[0].get(name)} and {contents[1].get(name)}" for name in names]
    dates = f", of {one.provenance.date} and {other.provenance.date}"
    more = f", and {len(texts) - MAX_DIFFERENCES} more" if len(texts) > MAX_DIFFERENCES else ""
    return f"other {', '.join(texts[:MAX_DIFFERENCES])}{more}{dates}" if texts else ""


def _content(record: MeasureRecord) -> dict[str, Any]:
    content = record.model_dump(
        mode="json", include={"revision", "rule", "arguments", "notes", "arrays_sha256"}
    )
    sum_ = content.pop("arrays_sha256")
    own = dict(flattened(content)) | {value.name: value.value for value in record.values}
    return own | ({} if sum_ is None else {"arrays": sum_[:DIGITS]})


def _same(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if name == "arrays" and not (name in one and name in other):
        return True  # records from before November 29, 2026 do not state it
    return name in one and name in other and one[name] == other[name]
