"""Sentences on the tuning of the models of a page: by which search, or not here."""

from __future__ import annotations

from collections.abc import Collection

from capsbench.records import BenchmarkRecord
from capsbench.records.search import is_search_of
from capsbench.reporting.formatting import listed
from capsbench.schema.parts import point_text

NOT_TUNED = "not tuned here"
SEARCHED = ("data", "views", "models", "recipe", "selection", "threads")  # conditions of a search


def tuning(record: BenchmarkRecord, labels: Collection[str]) -> str:
    """Return which models have the best values of an equal search, and which are not tuned here.

    Args:
        record: The record, with the protocol.
        labels: Labels of the models of the page.
    """
    benchmark, changes = record.benchmark, record.changes
    entries = [entry for entry in benchmark.models if entry.label in labels]
    searches = dict.fromkeys(entry.tuned for entry in entries if entry.tuned)
    own = record.search and record.search.name
    changed = [place for place in changes.settings if place.partition(".")[0] in SEARCHED]
    at = benchmark.search.at
    sentences = []
    for name in searches:
        tuned = listed([entry.label for entry in entries if entry.tuned == name])
        is_own = is_search_of(name, benchmark.name)
        where = f" at {point_text(at)}" if benchmark.vary and at is not None and is_own else ""
        sentences.append(
            f"{tuned}: the values with the best validation accuracy among equal trials of each "
            f"model{where}, with a seed that is not reported; search {name}."
        )
        if not is_own:
            sentences.append("That search was of another benchmark.")
        if changed and name != own and changes.claims is None:
            sentences.append(f"That search had another protocol, without {listed(changed)}.")
    if others := [entry.label for entry in entries if not entry.tuned]:
        who = listed(others) if searches else "All models"
        sentences.append(f"{who}: {NOT_TUNED}, but trained by the recipe of the protocol.")
    return " ".join(sentences)
