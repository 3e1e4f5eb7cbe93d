"""Sentences on the tuning of the models of a page: by which search, or not here."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from capsbench.records import BenchmarkRecord
from capsbench.records.search import is_search_of
from capsbench.reporting.formatting import listed
from capsbench.schema import Benchmark
from capsbench.schema.claims import Claims
from capsbench.schema.parts import point_text

NOT_TUNED = "not tuned here"
SEARCHED = ("data", "views", "models", "recipe", "selection", "threads")  # conditions of a search


def tuning(record: BenchmarkRecord, labels: Collection[str]) -> str:
    """Return which models have the best values of an equal search, and which are not tuned here.

    Args:
        record: The record, with the protocol.
        labels: Labels of the models of the page.
    """
    changes = record.changes
    own = None if record.search is None else record.search.name
    changed = [place for place in changes.settings if place.partition(".")[0] in SEARCHED]
    is_part = changes.claims is not None  # whose changes the claims' file declares
    return _sentences(record.benchmark, labels, own, [] if is_part else changed)


def tuning_of_part(claims: Claims, part: str, scale: str | None) -> str:
    """Return the same of all models of a part of claims at a scale."""
    benchmark = claims.benchmark(part, scale)
    return _sentences(benchmark, [entry.label for entry in benchmark.models], None, [])


def one_iteration(claims: Claims, scale: str | None) -> str:
    """Return sentences on the networks of claims that route once, which is no agreement.

    It is empty if there are none.
    """
    parts: dict[str, list[str]] = {}
    for part in claims.parts:
        benchmark = claims.benchmark(part, scale)
        searched = "iterations" not in benchmark.search.fixed
        for entry in benchmark.models:
            if searched and entry.tuned and entry.arguments.get("iterations") == 1:
                parts.setdefault(entry.label, []).append(part)
    if not parts:
        return ""
    networks = "; ".join(f"{label} on {listed(names)}" for label, names in parts.items())
    return (
        f"The search chose one iteration of routing for these networks: {networks}. One iteration "
        "is no agreement, so their verdicts say nothing about it."
    )


def _sentences(
    benchmark: Benchmark, labels: Collection[str], own: str | None, changed: Sequence[str]
) -> str:
    """Return the tuning of models in words.

    Args:
        benchmark: The protocol.
        labels: Labels of the models.
        own: Name of the search of this very run; None if there was none.
        changed: Places that a command has changed, and that other searches had unchanged.
    """
    entries = [entry for entry in benchmark.models if entry.label in labels]
    searches = dict.fromkeys(entry.tuned for entry in entries if entry.tuned)
    at = benchmark.search.at
    sentences = []
    for name in searches:
        tuned = listed([entry.label for entry in entries if entry.tuned == name])
        is_own = is_search_of(name, benchmark.name)
        where = f" at {point_text(at)}" if benchmark.vary and at is not None and is_own else ""
        sentences.append(
            f"{tuned}: the values with the best validation accuracy among equal trials of each "
            f"model{where}, with seeds that are not reported; search {name}."
        )
        if not is_own:
            sentences.append("That search was made for another benchmark.")
        if changed and name != own:
            sentences.append(f"That search had another protocol, without {listed(changed)}.")
    sentences += [f"{entry.label}: {entry.reason}." for entry in entries if entry.reason]
    iterations = {entry.label: entry.arguments.get("iterations") for entry in entries}
    if known := [f"{label} {number}" for label, number in iterations.items() if number]:
        sentences.append(f"Iterations of routing: {listed(known)}.")
    if others := [entry.label for entry in entries if not entry.tuned]:
        who = listed(others) if searches else "All models"
        sentences.append(f"{who}: {NOT_TUNED}, but trained by the recipe of the protocol.")
    return " ".join(sentences)
