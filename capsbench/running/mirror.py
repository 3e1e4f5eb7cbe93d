"""Runs on Weights & Biases: one per training, one per measured cell, one per benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from capsbench.files.atomic import is_present, read_json, write_json
from capsbench.fingerprint import fingerprint
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellResult,
    Results,
    load_cell,
    load_results,
)
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, quantities
from capsbench.reporting.stamp import read_stamp
from capsbench.running.cell import Cell
from capsbench.running.session import Session

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

    from capsbench.reporting.wandb import Mirror

Mode = Literal["off", "offline", "online"]
MIRRORED = Path("wandb", "mirrored.json")  # in the folder of a benchmark


@contextmanager
def training_mirror(cell: Cell, benchmark: str, session: Session) -> Iterator[list[Logger]]:
    """Mirror the curves of a training while it runs; yields the Lightning loggers."""
    mirror = _begin_cell(cell, benchmark, session, "train")
    try:
        yield [] if mirror is None else [mirror]
    finally:  # else the next training of this process would join the run of one that failed
        if mirror is not None:
            mirror.close()


def mirror_measures(cell: Cell, benchmark: str, session: Session) -> None:
    """Mirror the measures of a cell from its records, as a separate run."""
    result = load_cell(session.output, cell.reference)
    assert result.training is not None
    record = BenchmarkRecord.load(BenchmarkFolder(session.output / benchmark).record)
    summary: dict[str, Any] = {
        "status": result.training.status,
        "diverged_at": result.training.diverged_at,
        "parameters": result.training.parameters,
        "seconds": result.training.seconds,
    }
    if mirror := _begin_cell(cell, benchmark, session, "evaluate"):
        _log(mirror, summary | _values(result), Results(record, (result,)))


def mirror_benchmark(folder: Path, mode: Mode) -> None:
    """Mirror a benchmark as one run: means over seeds, all values, the figures.

    A benchmark whose page has not changed since it was mirrored is not mirrored again.

    Args:
        folder: Folder of the benchmark, whose page is built.
        mode: ``off``, ``offline`` or ``online``.
    """
    stamp = read_stamp(BenchmarkFolder(folder).report)
    mirrored, of_now = folder / MIRRORED, {"mode": mode, "page": stamp and stamp.inputs}
    if mode == "off" or (is_present(mirrored) and read_json(mirrored) == of_now):
        return
    from capsbench.reporting.wandb import begin

    results = load_results(folder)
    name = results.benchmark.name
    mirror = begin(
        name=name,
        folder=folder,
        run_id=f"{name}-{fingerprint([cell.reference.path for cell in results.cells])}",
        mode=mode,
        group=name,
        job_type="aggregate",
        config=results.benchmark.model_dump(mode="json"),
    )
    if mirror is None:
        return
    means = {
        f"{label}/{measure}/{quantity.name}": seed_values.mean
        for label, cells in results.by_label().items()
        for measure in dict.fromkeys(name for cell in cells for name in cell.measures)
        for trained in quantities(cells, measure)
        for quantity in (trained, trained.of_untrained())
        if (seed_values := aggregate_seeds(cells, measure, quantity)) is not None
    }
    if _log(mirror, means, results):
        write_json(mirrored, of_now)


def _begin_cell(
    cell: Cell, benchmark: str, session: Session, job_type: Literal["train", "evaluate"]
) -> Mirror | None:
    mode = session.execution.wandb
    if mode == "off":
        return None
    from capsbench.reporting.wandb import begin

    # A measure that is added later makes another run; a resumed training joins its own.
    names = [] if job_type == "train" else sorted(cell.measures)
    identity = [cell.config.fingerprint, *names]
    return begin(
        name=f"{cell.title}, seed {cell.seed}",
        folder=session.folder(cell).path,
        run_id=cell.config.fingerprint if job_type == "train" else fingerprint(identity),
        mode=mode,
        group=benchmark,
        job_type=job_type,
        config={
            **cell.config.model_dump(mode="json"),
            "fingerprint": cell.config.fingerprint,
            "benchmark": benchmark,
            "label": cell.label,
            "model": cell.reference.model,
            "arguments": cell.config.model.arguments,
        },
    )


def _values(result: CellResult) -> dict[str, float]:
    return {
        f"{measure}/{value.name}": value.value
        for measure, record in result.measures.items()
        for value in record.values
    }


def _log(mirror: Mirror, summary: Mapping[str, Any], results: Results) -> bool:
    """Send results, and end the run; return True if all of it succeeded."""
    from capsbench.reporting.figures.all_figures import draw_figures
    from capsbench.reporting.figures.plotting import png

    columns = results.columns
    rows = [[row.get(name) for name in columns] for row in results.rows()]
    try:
        pictures = {f"{name}-figure": png(figure) for name, figure in draw_figures(results).items()}
        mirror.log_results(summary, (columns, rows), pictures)
        sent = not mirror.failed
    finally:
        mirror.close()
    return sent and not mirror.failed
