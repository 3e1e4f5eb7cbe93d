"""Differences between two records of one benchmark that determine numbers, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from capsbench.names import without_folder
from capsbench.records import BenchmarkRecord, SearchRecord
from capsbench.records.one_version import flattened
from capsbench.reporting.exports.export import TEXT_FIELDS
from capsbench.schema import Benchmark, ModelEntry
from capsbench.search_space import Knob

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
    searches = [each.search for each in (base, other) if each.search]
    knobs = {model.label: model.knobs for each in searches for model in each.models}
    for label in entries[0] | entries[1]:
        pair = [entry for each in entries if (entry := each.get(label)) is not None]
        contents = [_without_searched(entry, knobs.get(label)) for entry in pair]
        if len(contents) == 2:
            yield from (f"{text} of model '{label}'" for text in differing(*contents))
        elif label not in added:
            yield f"model '{label}' in one of them alone"


def _without_searched(entry: ModelEntry, knobs: Mapping[str, Knob] | None) -> dict[str, Any]:
    """Return a model as JSON, without the values of a search; ``knobs`` are None without one."""
    content = entry.model_dump(mode="json")
    if knobs is not None:
        del content["recipe"], content["tuned"]
        content["arguments"] = {k: v for k, v in content["arguments"].items() if k not in knobs}
    return content


def _search_differences(one: SearchRecord, other: SearchRecord) -> Iterator[str]:
    if one.seeds != other.seeds:
        yield f"seeds {[*one.seeds]} and {[*other.seeds]} of the search"
    labels = {model.label for model in one.models} & {model.label for model in other.models}
    for label in sorted(labels):
        chosen = [trial.values._asdict() for e in (one, other) if (trial := e.chosen(label))]
        for text in differing(*chosen):
            yield f"best {text} of the search for '{label}'"
