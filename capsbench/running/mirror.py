"""What of a benchmark goes to Weights & Biases: a run per cell, and one that sums it up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from capsbench.records import fingerprint
from capsbench.reporting.aggregate import keys, measured, measures
from capsbench.reporting.figures import accuracy_by_view, png
from capsbench.reporting.measure_figures import measure_figures
from capsbench.reporting.results import ACCURACY_BY_VIEW, Protocol, Results, load_cell
from capsbench.reporting.wandb import Mirror, begin
from capsbench.running.plan import Cell
from capsbench.schema import Benchmark

Mode = Literal["off", "offline", "online"]
COLUMNS = ("model", "seed", "factor", "value", "familiar", "accuracy")


def cell_mirror(cell: Cell, benchmark: str, folder: Path, mode: Mode) -> Mirror | None:
    """Begin the run of a cell: its configuration and curves, later its measures.

    Args:
        cell: The cell.
        benchmark: Name of the benchmark that runs it.
        folder: The cell's folder.
        mode: ``off``, ``offline`` or ``online``.

    Returns:
        The run; None if mirrors are off or it could not be begun.
    """
    if mode == "off":
        return None
    return begin(
        name=f"{cell.title}, seed {cell.seed}",
        folder=folder,
        run_id=cell.record["fingerprint"],
        mode=mode,
        group=benchmark,
        job_type="cell",
        config={
            **cell.record,
            "benchmark": benchmark,
            "label": cell.label,
            "model": cell.entry.model,
            "arguments": cell.config["model"]["arguments"],
        },
    )


def mirror_cell(mirror: Mirror, benchmark: Benchmark, output: Path, cell: Cell) -> None:
    """Log a finished cell's measures, and end its run.

    Args:
        mirror: The cell's run.
        benchmark: The benchmark that runs it.
        output: The runs folder.
        cell: The cell.
    """
    found = load_cell(output, cell.entry)
    assert found.training is not None
    values: dict[str, Any] = {
        "status": found.training.status,
        "diverged_at": found.training.diverged_at,
        "parameters": found.training.parameters,
        "seconds": found.training.seconds,
    }
    for measure, outcome in found.measurements.items():
        values |= {_name(measure, key): value for key, value in outcome.values.items()}
    protocol = Protocol(benchmark, changes=(), command="", date="", cells=(cell.entry,))
    _log(mirror, values, Results(protocol, (found,), examples=None))


def mirror_benchmark(folder: Path, results: Results, mode: Mode) -> None:
    """Log a benchmark as one aggregated run: means over seeds, all curves, the figures.

    Args:
        folder: The benchmark's folder.
        results: What its records say.
        mode: ``off``, ``offline`` or ``online``.
    """
    name = results.benchmark.name
    mirror = None
    if mode != "off":
        mirror = begin(
            name=name,
            folder=folder,
            run_id=f"{name}-{fingerprint([cell.path for cell in results.cells])}",
            mode=mode,
            group=name,
            job_type="aggregate",
            config=results.benchmark.model_dump(mode="json"),
        )
    if mirror is None:
        return
    values = {
        f"{label}/{_name(measure, key)}": over.mean
        for label, cells in results.by_label().items()
        for measure in measures(cells)
        for key in keys(cells, measure=measure)
        if (over := measured(cells, key, measure=measure)) is not None
    }
    _log(mirror, values, results)


def _name(measure: str, key: str) -> str:
    """A value's name: two measures may have values of one key, such as ``novel/accuracy``."""
    return key if measure == ACCURACY_BY_VIEW else f"{measure}/{key}"


def _log(mirror: Mirror, values: dict[str, Any], results: Results) -> None:
    rows = [
        [cell.label, cell.seed, view.factor, view.value, view.familiar, view.accuracy]
        for cell in results.cells
        for measurement in cell.measurements.values()
        for view in measurement.views
    ]
    figure = accuracy_by_view(results)
    pictures = {} if figure is None else {"accuracy-by-view-figure": png(figure)}
    pictures |= {
        f"{name}-figure": png(each.figure) for name, each in measure_figures(results).items()
    }
    mirror.log_results(values, (COLUMNS, rows), pictures)
    mirror.close()
