"""Differences between two records of one benchmark that determine numbers, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from capsbench.names import without_folder
from capsbench.records import BenchmarkRecord, SearchRecord
from capsbench.records.one_version import flattened
from capsbench.reporting.exports.export import TEXT_FIELDS
from capsbench.schema import Benchmark

# Fields of a protocol that may differ: texts, and what is united.
FREE = {*TEXT_FIELDS, "scales", "models", "seeds"}
MEASURED = {"version", "data", "views", "measures"}  # of models that were trained elsewhere


def has_trainings(record: BenchmarkRecord) -> bool:
    """Check that a record does not list only models that were trained elsewhere."""
    return not all(cell.trained_elsewhere for cell in record.cells)


def protocol_differences(base: BenchmarkRecord, other: BenchmarkRecord) -> Iterator[str]:
    """Yield the differences of two protocols that determine numbers, in words."""
    one, two = base.benchmark, other.benchmark
    if one.version != two.version:
        yield f"version {one.version} and {two.version}"
        return
    if not has_trainings(other):
        fields = [_fields(each, MEASURED) for each in (one, two)]
        limits = [{"limit": each.recipe.limit} for each in (one, two)]
        yield from differing(fields[0] | limits[0], fields[1] | limits[1])
        return
    names = set(Benchmark.model_fields) - FREE
    yield from differing(_fields(one, names), _fields(two, names))
    changes = [
        each.changes.model_dump(mode="json", include={"scale", "search", "claims"})
        for each in (base, other)
    ]
    yield from differing(*changes)
    yield from _model_differences(base, other)
    if base.search and other.search:
        yield from _search_differences(base.search, other.search)


def _fields(benchmark: Benchmark, names: set[str]) -> dict[str, Any]:
    return benchmark.model_dump(mode="json", include=names)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that differ between two contents of JSON, in words."""
    first, second = (
        {place: _portable(value) for place, value in flattened(each)} for each in (one, other)
    )
    for place in first | second:
        if first.get(place) != second.get(place):
            yield f"{place} {first.get(place)} and {second.get(place)}"


def _portable(value: Any) -> Any:
    """Return the name of a user's own file without its folder, which differs between machines."""
    return without_folder(value) if isinstance(value, str) and ".py:" in value else value


def _model_differences(base: BenchmarkRecord, other: BenchmarkRecord) -> Iterator[str]:
    """Yield the differences of models of one label; models may be added to one record alone."""
    entries = [{m.label: m for m in each.benchmark.models} for each in (base, other)]
    added = {entry.label for each in (base, other) for entry in each.changes.added}
    without = {"recipe", "reason"} if base.changes.search else set()
    for label in entries[0] | entries[1]:
        pair = [each.get(label) for each in entries]
        contents = [m.model_dump(mode="json", exclude=without) for m in pair if m is not None]
        if len(contents) == 2:
            yield from (f"{text} of model '{label}'" for text in differing(*contents))
        elif label not in added:
            yield f"model '{label}' in one of them alone"


def _search_differences(one: SearchRecord, other: SearchRecord) -> Iterator[str]:
    if one.seed != other.seed:
        yield f"seeds {one.seed} and {other.seed} of the search"
    chosen = [{t.label: t.recipe for t in each.trials if t.chosen} for each in (one, other)]
    for label in chosen[0].keys() & chosen[1].keys():
        for text in differing(chosen[0][label], chosen[1][label]):
            yield f"best {text} of the search for '{label}'"
