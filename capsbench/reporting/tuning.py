"""Sentences on the tuning of the models of a page: by which search, or not here."""

from __future__ import annotations

from collections.abc import Collection

from capsbench.reporting.formatting import listed
from capsbench.schema import Benchmark

NOT_TUNED = "not tuned here"


def tuning(benchmark: Benchmark, labels: Collection[str]) -> str:
    """Return which models have the best values of an equal search, and which are not tuned here.

    Args:
        benchmark: The protocol.
        labels: Labels of the models of the page.
    """
    entries = [entry for entry in benchmark.models if entry.label in labels]
    searches = dict.fromkeys(entry.tuned for entry in entries if entry.tuned)
    sentences = []
    for name in searches:
        tuned = listed([entry.label for entry in entries if entry.tuned == name])
        sentences.append(
            f"{tuned}: the values with the best validation accuracy among equal trials of each "
            f"model, with a seed that is not reported; search {name}."
        )
    if others := [entry.label for entry in entries if not entry.tuned]:
        who = listed(others) if searches else "All models"
        sentences.append(f"{who}: {NOT_TUNED}, but trained by the recipe of the protocol.")
    return " ".join(sentences)
