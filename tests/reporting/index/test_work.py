"""Work behind a benchmark, from the provenance of records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from capsbench.records import CellResult, Provenance, Results, WeightsRecord, load_results
from capsbench.reporting.index.work import work_of
from capsbench.values import Quantity

BY_VIEW = "accuracy-by-view"
COMMAND = "capsbench run quick"
MODELS = (("CNN", "cnn-small"), ("Dynamic routing", "capsnet-dr"))


@pytest.fixture
def results(tmp_path: Path, write_benchmark) -> Results:
    """The records of a run that began at 19:30: trained at 19:31, measured at 19:32."""
    return load_results(write_benchmark(tmp_path, models=MODELS, seeds=(0, 1)))


def dated(provenance: Provenance, date: str) -> dict[str, Provenance]:
    return {"provenance": provenance.model_copy(update={"date": date})}


def test_a_run_is_one_row(results: Results):
    (row,) = work_of(results)
    assert row.model_dump() == {
        "date": "2026-11-22",
        "commit": "0123abcd",
        "device": "two cores",
        "command": COMMAND,
        "trainings": 4,
        "measures": (BY_VIEW,),
    }


def test_what_is_older_than_the_record_is_work_of_no_known_command(results: Results):
    record = results.record
    later = record.model_copy(update=dated(record.provenance, "2026-11-22T19:32:00+00:00"))
    rows = {each.command: each for each in work_of(replace(results, record=later))}
    assert rows.keys() == {"", COMMAND}
    assert (rows[""].trainings, rows[""].measures) == (4, ())
    assert (rows[COMMAND].trainings, rows[COMMAND].measures) == (0, (BY_VIEW,))


def test_each_day_commit_and_device_has_a_row_the_newest_first(results: Results):
    first, *others = results.cells
    assert first.training is not None
    provenance = first.training.provenance.model_copy(
        update={"date": "2026-11-23T08:00:00+00:00", "commit": None}
    )
    execution = first.training.execution.model_copy(update={"device_name": "a GPU"})
    training = first.training.model_copy(update={"provenance": provenance, "execution": execution})
    cells = (replace(first, training=training), *others)
    rows = work_of(replace(results, cells=cells))
    assert [(each.date, each.commit, each.device, each.trainings) for each in rows] == [
        ("2026-11-23", "unknown", "a GPU", 1),
        ("2026-11-22", "0123abcd", "two cores", 3),
    ]


def test_what_was_measured_beside_the_protocol_has_no_known_command(results: Results, add_measure):
    folder = results.cells[0].folder.path.parents[2] / "quick"
    flops = Quantity(metric="flops").with_value(1000.0, 0)
    add_measure(folder, "CNN", 0, {"measure": "cost"}, [flops])
    rows = {each.command: each for each in work_of(results)}  # whose record does not list it
    assert (rows[""].trainings, rows[""].measures) == (0, ("cost",))
    assert rows[COMMAND].measures == (BY_VIEW,)
    (row,) = work_of(load_results(folder))  # whose record does
    assert row.measures == (BY_VIEW, "cost")


def test_a_model_trained_elsewhere_has_the_command_that_evaluated_it(results: Results):
    first, *others = results.cells
    cells = (evaluated(first, "19:31"), *others)
    rows = {each.command: each for each in work_of(replace(results, cells=cells))}
    assert rows.keys() == {COMMAND, "capsbench evaluate net.pt"}
    assert rows["capsbench evaluate net.pt"].trainings == 0
    assert rows["capsbench evaluate net.pt"].measures == (BY_VIEW,)
    assert rows[COMMAND].trainings == 3


def evaluated(cell: CellResult, time: str) -> CellResult:
    """Return a cell as that of a model that was trained elsewhere, evaluated at a time."""
    assert cell.config is not None and cell.training is not None
    weights = WeightsRecord(
        label=cell.label,
        model=cell.config.model,
        sha256="f00d",
        parameters=10,
        data=cell.config.data,
        views=cell.config.views,
        command="capsbench evaluate net.pt",
        **dated(cell.training.provenance, f"2026-11-22T{time}:00+00:00"),
    )
    reference = cell.reference.model_copy(update={"seed": None})
    return replace(cell, reference=reference, config=None, training=None, weights=weights)
