"""What of a benchmark goes to Weights & Biases: a run per cell, and one that sums it up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from capsbench.records import fingerprint
from capsbench.reporting.aggregate import keys, measured
from capsbench.reporting.figures import accuracy_by_view, png
from capsbench.reporting.results import Results, load
from capsbench.reporting.wandb import Mirror
from capsbench.running.plan import Cell
from capsbench.training.execution import Execution

COLUMNS = ("model", "seed", "factor", "value", "familiar", "accuracy")


def cell_mirror(cell: Cell, benchmark: str, folder: Path, execution: Execution) -> Mirror:
    """The run of a cell: its configuration and curves, later its measures.

    Args:
        cell: The cell.
        benchmark: Name of the benchmark that runs it.
        folder: The cell's folder.
        execution: Where it runs; ``wandb`` must not be ``off``.
    """
    assert execution.wandb != "off"
    return Mirror(
        name=f"{cell.label}, seed {cell.seed}",
        folder=folder,
        run_id=cell.record["fingerprint"],
        mode=execution.wandb,
        group=benchmark,
        job_type="cell",
        config={
            "benchmark": benchmark,
            "label": cell.label,
            "model": cell.model,
            **{key: value for key, value in cell.record.items() if key != "model"},
            "arguments": cell.config["model"]["arguments"],
            "execution": execution.model_dump(mode="json"),
        },
    )


def mirror_results(mirror: Mirror, cell: Cell, folder: Path) -> None:
    """Log a finished cell's measures, and end its run.

    Args:
        mirror: The cell's run.
        cell: The cell.
        folder: The benchmark's folder.
    """
    results = load(folder)
    paths = cell.path.as_posix()
    alone = replace(results, cells=tuple(c for c in results.cells if c.path == paths))
    (found,) = alone.cells
    assert found.training is not None
    values: dict[str, Any] = {
        "status": found.training.status,
        "diverged_at": found.training.diverged_at,
        "parameters": found.training.parameters,
        "seconds": found.training.seconds,
    }
    for measurement in found.measurements.values():
        values |= measurement.values
    _log(mirror, values, alone)


def mirror_benchmark(name: str, folder: Path, results: Results, execution: Execution) -> None:
    """Log a benchmark as one aggregated run: means over seeds, all curves, the figure.

    Args:
        name: The benchmark's name.
        folder: The benchmark's folder.
        results: What its records say.
        execution: ``wandb`` may be ``off``.
    """
    if execution.wandb == "off":
        return
    mirror = Mirror(
        name=name,
        folder=folder,
        run_id=f"{name}-{fingerprint([cell.path for cell in results.cells])}",
        mode=execution.wandb,
        group=name,
        job_type="aggregate",
        config=results.benchmark.model_dump(mode="json"),
    )
    values = {
        f"{label}/{key}": over.mean
        for label, cells in results.by_label().items()
        for key in keys(cells)
        if (over := measured(cells, key)) is not None
    }
    _log(mirror, values, results)


def _log(mirror: Mirror, values: dict[str, Any], results: Results) -> None:
    rows = [
        [cell.label, cell.seed, view.factor, view.value, view.familiar, view.accuracy]
        for cell in results.cells
        for measurement in cell.measurements.values()
        for view in measurement.views
    ]
    figure = accuracy_by_view(results)
    pictures = {} if figure is None else {"accuracy-by-view-figure": png(figure)}
    mirror.log_results(values, (COLUMNS, rows), pictures)
    mirror.close()
