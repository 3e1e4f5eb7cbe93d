"""Work behind a benchmark: what was trained and measured on each day, and by which command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from capsbench.names import without_folder
from capsbench.records import CellResult, Provenance, Results
from capsbench.reporting.tables.further_table import further_records


class Work(BaseModel):
    """Trainings and measures of one day, commit, device and command.

    Attributes:
        date: The day in UTC, such as ``2026-11-30``.
        commit: Commit of the code; ``unknown`` outside a checkout.
        device: Name of the hardware.
        command: The command; empty if it is not known.
        trainings: Number of trainings.
        measures: Names of the measures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: str
    commit: str
    device: str
    command: str
    trainings: int
    measures: tuple[str, ...]


class _Origin(NamedTuple):
    date: str
    commit: str
    device: str
    command: str


def work_of(results: Results) -> list[Work]:
    """Return the trainings and measures of a benchmark's cells, newest first.

    Records of trainings and measures do not name their command. What the benchmark lists is work of
    its command, or of that which evaluated a model trained elsewhere, if it is not older than the
    record with that command. What was measured beside the protocol has no known command.

    Args:
        results: The records.
    """
    done: dict[_Origin, list[str]] = {}  # names of measures, and an empty one for each training
    for cell in results.cells:
        for origin, measure in _work_of_cell(results, cell):
            done.setdefault(origin, []).append(measure)
    return [
        Work(
            **origin._asdict(),
            trainings=names.count(""),
            measures=tuple(sorted({name for name in names if name})),
        )
        for origin, names in sorted(done.items(), reverse=True)
    ]


def _work_of_cell(results: Results, cell: CellResult) -> Iterator[tuple[_Origin, str]]:
    """Yield the origin of the training, and of each measure with its name."""
    source = cell.weights or results.record

    def origin(provenance: Provenance, device: str, *, listed: bool = True) -> _Origin:
        # Dates are in UTC and in one format, so that texts have their order.
        own = listed and provenance.date >= source.provenance.date
        command = source.command if own else ""
        return _Origin(provenance.date[:10], provenance.commit or "unknown", device, command)

    if cell.training:
        yield origin(cell.training.provenance, cell.training.execution.device_name), ""
    for record in cell.measures.values():
        yield origin(record.provenance, record.device), without_folder(record.measure)
    for _, record in further_records(cell):
        further = origin(record.provenance, record.device, listed=False)
        yield further, without_folder(record.measure)
