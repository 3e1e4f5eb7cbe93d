"""Records of one benchmark without conflicts as one record."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.records import BenchmarkRecord, CellReference, ProtocolChanges, SearchRecord
from capsbench.running.merging.commands import united_command
from capsbench.schema import Benchmark, ModelEntry


def united_record(
    trained: Sequence[BenchmarkRecord], all_: Sequence[BenchmarkRecord]
) -> BenchmarkRecord:
    """Return one record of records without conflicts.

    Args:
        trained: Records with trainings, of which the first has the texts and examples.
        all_: All records, also those of models alone that were trained elsewhere.
    """
    base = trained[0]
    seeds = _united_seeds(trained)
    models = _united_models(trained)
    search = _united_search(trained, [entry.label for entry in models])
    if search is not None:
        models = tuple(map(search.applied_to, models))  # which names the united record
    benchmark = base.benchmark.model_copy(update={"seeds": seeds, "models": models})
    added = {entry.label: entry for each in reversed(trained) for entry in each.changes.added}
    selected = [each.changes.models for each in trained]
    known = {"seeds": list(seeds)}
    if any("seeds" not in r.changes.settings and r.benchmark.seeds == seeds for r in trained):
        known = {}
    settings = {k: v for k, v in base.changes.settings.items() if k != "seeds"} | known
    changes = ProtocolChanges(
        scale=base.changes.scale,
        settings=settings,
        models=None
        if None in selected
        else tuple(dict.fromkeys(name for names in selected for name in names or ())),
        added=tuple(added[m.label] for m in models if m.label in added),
        search=base.changes.search,
        claims=base.changes.claims,
    )
    return base.model_copy(
        update={
            "benchmark": benchmark,
            "changes": changes,
            "command": united_command([each.command for each in trained], changes),
            "cells": _ordered(benchmark, [cell for each in all_ for cell in each.cells]),
            "search": search,
            "provenance": max((each.provenance for each in trained), key=lambda each: each.date),
        }
    )


def _united_search(
    records: Sequence[BenchmarkRecord], labels: Sequence[str]
) -> SearchRecord | None:
    """Return one search with the models of all, each with the trials of the first that has it.

    Args:
        records: The records.
        labels: Labels of all models, in order.
    """
    searches = [each.search for each in records if each.search is not None]
    if not searches:
        return None
    models = {model.label: model for each in reversed(searches) for model in each.models}
    trials = {m.label: s.trials_of(m.label) for s in reversed(searches) for m in s.models}
    return searches[0].model_copy(
        update={
            "models": tuple(models[label] for label in labels if label in models),
            "trials": tuple(trial for label in labels for trial in trials.get(label, [])),
            "devices": tuple(sorted({device for each in searches for device in each.devices})),
            "provenance": max((each.provenance for each in searches), key=lambda each: each.date),
        }
    )


def _united_seeds(records: Sequence[BenchmarkRecord]) -> tuple[int, ...]:
    """Return the seeds of all records, in the order of the first one if it has all."""
    seeds = records[0].benchmark.seeds
    others = {seed for each in records for seed in each.benchmark.seeds}
    return seeds if others <= set(seeds) else tuple(sorted(others))


def _united_models(records: Sequence[BenchmarkRecord]) -> tuple[ModelEntry, ...]:
    """Return the models of all records, each with the values of its search if there was one."""
    entries: dict[str, ModelEntry] = {}
    for record in records:
        searched = {model.label for model in record.search.models} if record.search else set()
        for entry in record.benchmark.models:
            if entry.label in searched:
                entries[entry.label] = entry
            else:
                entries.setdefault(entry.label, entry)
    return tuple(entries.values())


def _ordered(benchmark: Benchmark, cells: Sequence[CellReference]) -> tuple[CellReference, ...]:
    """Return cells as a run lists them: by model, value and seed, then those without a seed."""
    labels = [entry.label for entry in benchmark.models]
    unique = {(cell.path, cell.label, cell.at): cell for cell in reversed(cells)}
    trained = [cell for cell in unique.values() if not cell.trained_elsewhere]
    elsewhere = [cell for cell in unique.values() if cell.trained_elsewhere]
    points = list(dict.fromkeys(cell.at for cell in cells))
    trained.sort(
        key=lambda cell: (
            labels.index(cell.label),
            points.index(cell.at),
            benchmark.seeds.index(cell.seed) if cell.seed in benchmark.seeds else cell.seed,
        )
    )
    return (*trained, *sorted(elsewhere, key=lambda cell: cell.path))
