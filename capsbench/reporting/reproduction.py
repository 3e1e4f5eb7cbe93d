"""The command that repeats a line of a page, and the files that the line was made from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import quote

from capsbench.names import table
from capsbench.records import BenchmarkRecord, CellFolder, CellResult
from capsbench.reporting.exports.export import portable

RUNS = "../.."  # the runs folder, seen from the page of a benchmark


def reproduce(record: BenchmarkRecord, label: str, seed: int | None = None) -> str:
    """Return the command that trains and measures a model of a benchmark again.

    That of a part of claims, and of a benchmark that is no registered one, is the command of the
    whole run, without folders of the machine that it ran on. A model that was added runs beside the
    first one of the file, with which it is compared.

    Args:
        record: Record of the benchmark.
        label: Label of the model.
        seed: One seed; all seeds of the protocol if left out.
    """
    name, changes = record.benchmark.name, record.changes
    if changes.claims is not None or name not in table("benchmarks"):
        return portable(record.command)
    words = ["capsbench", "run", name]
    words += ["--scale", changes.scale] if changes.scale else []
    for place, value in changes.settings.items():
        words += ["--set", f"{place}={json.dumps(value)}"]
    words += ["--search"] if changes.search else []
    added = {entry.label: entry for entry in changes.added}
    if label in added:
        entry = added[label].model_dump(mode="json", exclude_defaults=True)
        first = next(each.label for each in record.benchmark.models if each.label not in added)
        words += ["--models", first, "--models", f"+{json.dumps(entry)}"]
    else:
        words += ["--models", label]
    words += [] if seed is None else ["--seeds", str(seed)]
    return shlex.join(words)


def record_links(cell: CellResult) -> dict[str, str]:
    """Return the files of a cell that exist, by what they hold, as links from the page."""
    folder = CellFolder(Path(RUNS, cell.reference.path))
    files = {
        "configuration": folder.config if cell.config else None,
        "training": folder.training if cell.training else None,
        "weights": folder.weights if cell.weights else None,
        "failure": folder.failure if cell.failure else None,
    }
    files |= {
        measure: folder.measure(cell.reference.measures[measure])
        for measure in cell.measures
        if measure in cell.reference.measures
    }
    return {name: quote(path.as_posix()) for name, path in files.items() if path is not None}
