"""Records of one benchmark without conflicts as one record."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.records import BenchmarkRecord, CellReference, ProtocolChanges, SearchRecord, Trial
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
    searches = [each.search for each in trained if each.search is not None]
    trials: dict[tuple[str, str], Trial] = {}
    for trial in (trial for each in searches for trial in each.trials):
        trials.setdefault((trial.label, str(trial.recipe)), trial)
    return base.model_copy(
        update={
            "benchmark": benchmark,
            "changes": changes,
            "command": united_command([each.command for each in trained], changes),
            "cells": _ordered(benchmark, [cell for each in all_ for cell in each.cells]),
            "search": SearchRecord(seed=searches[0].seed, trials=tuple(trials.values()))
            if searches
            else None,
            "provenance": max((each.provenance for each in trained), key=lambda each: each.date),
        }
    )


def _united_seeds(records: Sequence[BenchmarkRecord]) -> tuple[int, ...]:
    """Return the seeds of all records, in the order of the first one if it has all."""
    seeds = records[0].benchmark.seeds
    others = {seed for each in records for seed in each.benchmark.seeds}
    return seeds if others <= set(seeds) else tuple(sorted(others))


def _united_models(records: Sequence[BenchmarkRecord]) -> tuple[ModelEntry, ...]:
    """Return the models of all records, each with the recipe of its search if there was one."""
    entries: dict[str, ModelEntry] = {}
    for record in records:
        searched = {trial.label for trial in record.search.trials} if record.search else set()
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
