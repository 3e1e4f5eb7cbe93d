"""The job that builds the page of a benchmark."""

from __future__ import annotations

from capsbench.errors import UserError
from capsbench.files.lease import lease
from capsbench.records import BenchmarkFolder, BenchmarkRecord
from capsbench.records.training import DataConfig
from capsbench.reporting import report
from capsbench.running.elsewhere import kept_cells
from capsbench.running.jobs import ReportJob
from capsbench.running.mirror import mirror_benchmark
from capsbench.running.session import Session


def build_report(job: ReportJob, session: Session) -> None:
    """Build the page of a benchmark from its records, and mirror it.

    The record is written again first: another run may have replaced it meanwhile, or a model that
    was trained elsewhere has joined.

    Args:
        job: The job.
        session: The session.
    """
    folder = BenchmarkFolder(session.output / job.benchmark)
    save_record(job.record, job.data, session)
    report.build(folder.path)
    mirror_benchmark(folder, session)


def save_record(record: BenchmarkRecord, data: DataConfig, session: Session) -> list[str]:
    """Save the record of a benchmark, with the models that were trained elsewhere for it.

    Args:
        record: The record, with its cells or those of before.
        data: Data of the benchmark.
        session: The session.

    Returns:
        Labels of models trained elsewhere that are no longer on the page.

    Raises:
        UserError: One of them has the label of a cell.
    """
    folder = BenchmarkFolder(session.output / record.benchmark.name)
    trained = [cell for cell in record.cells if cell.seed is not None]
    with lease(folder.lease, "write the record"):  # a model may join at the same time
        kept, others = kept_cells(session.output, record.benchmark, data)
        labels = {cell.label for cell in trained}
        if same := [cell for cell in kept if cell.label in labels]:
            raise UserError(
                f"label '{same[0].label}' is that of a model that was trained elsewhere, on the "
                f"page in {folder.path}: remove {session.output / same[0].path}, or choose another "
                "--output"
            )
        record = record.model_copy(update={"cells": (*trained, *kept)})
        record.save_if_changed(folder.record)
    return others
