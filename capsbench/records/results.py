"""Records of a benchmark, loaded: everything that a table, figure or page is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.errors import UserError
from capsbench.files.atomic import Row, is_present
from capsbench.records.benchmark import BenchmarkRecord, CellReference, ExampleList
from capsbench.records.cell_files import (
    load_arrays,
    load_complete_measure,
    load_config,
    load_failure,
    load_training,
    load_trajectory,
    load_weights,
    measure_remedy,
)
from capsbench.records.failure import FailureRecord
from capsbench.records.folders import BenchmarkFolder, CellFolder
from capsbench.records.measure import MeasureRecord, require_declared
from capsbench.records.one_version import require_one_version
from capsbench.records.record import damaged_record
from capsbench.records.training import DataConfig, TrainingConfig, TrainingRecord
from capsbench.records.weights import WeightsRecord
from capsbench.schema import Benchmark
from capsbench.schema.parts import Point
from capsbench.values import Quantity, Value

FLOPS = Quantity(metric="flops")

IDENTITY = ("benchmark", "label", "at", "model", "seed", "fingerprint")  # columns of every row
Images = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class CellResult:
    """A cell with the contents of its folder so far.

    Attributes:
        reference: The cell as the benchmark lists it.
        folder: Its folder.
        config: What determines the training; None before it begins.
        training: Outcome of the training; None before it is done.
        trajectory: One row per validation.
        measures: Record of each finished measure, by the measure's name.
        weights: Record of a model that was trained elsewhere; None for a training.
        failure: Record of the job that failed; None if none did. A failed cell has no numbers,
            whatever was recorded before, so that it takes part in no mean.
    """

    reference: CellReference
    folder: CellFolder
    config: TrainingConfig | None
    training: TrainingRecord | None
    trajectory: list[Row]
    measures: dict[str, MeasureRecord]
    weights: WeightsRecord | None = None
    failure: FailureRecord | None = None

    @property
    def label(self) -> str:
        """Label of the model."""
        return self.reference.label

    @property
    def title(self) -> str:
        """The label, with the value of what the benchmark varies."""
        return self.reference.title

    @property
    def seed(self) -> int | None:
        """Seed of the training; None if the model was trained elsewhere."""
        return self.reference.seed

    @property
    def at(self) -> float | None:
        """Value of what the benchmark varies, or number of the case."""
        return self.reference.at

    @property
    def point(self) -> Point | None:
        """Value of what the benchmark varies, or name of the case."""
        return self.reference.point

    @property
    def trained_elsewhere(self) -> bool:
        """True if the model was not trained under the protocol."""
        return self.reference.trained_elsewhere

    @property
    def data(self) -> DataConfig | None:
        """The data; None before the training begins."""
        record = self.weights or self.config
        return None if record is None else record.data

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the model; empty before the training begins."""
        record = self.weights or self.config
        return {} if record is None else record.model.arguments

    @property
    def parameters(self) -> int | None:
        """Number of parameters; None before the training is done."""
        record = self.weights or self.training
        return None if record is None else record.parameters

    @property
    def flops(self) -> int | None:
        """Operations of one image, recorded with the training or by the measure ``cost``."""
        if self.training is not None and self.training.flops is not None:
            return self.training.flops
        measured = self.measures["cost"].get(FLOPS) if "cost" in self.measures else None
        return None if measured is None else round(measured)

    @property
    def problem(self) -> str | None:
        """Reason why the cell has no numbers (yet), in a few words; None if it has them."""
        if self.failure is not None:
            return self.failure.problem
        if self.trained_elsewhere:
            if self.weights is None:
                return "its records were removed"
        elif self.training is None:
            return "not finished yet"
        elif self.training.status == "diverged":
            step = self.training.diverged_at
            return "diverged" if step is None else f"diverged at step {step}"
        missing = set(self.reference.measures) - set(self.measures)
        return "not measured yet" if missing else None


@dataclass(frozen=True)
class Results:
    """All that a report shows.

    Attributes:
        record: Record of the benchmark.
        cells: The cells with their contents, in the order of the record.
        examples: (V, K, C, H, W) uint8, the images of ``record.examples``; None if there are none.
    """

    record: BenchmarkRecord
    cells: tuple[CellResult, ...]
    examples: Images | None = None

    @property
    def benchmark(self) -> Benchmark:
        """The resolved protocol."""
        return self.record.benchmark

    def under_protocol(self) -> Results:
        """Return the results without models that were trained elsewhere."""
        cells = tuple(cell for cell in self.cells if not cell.trained_elsewhere)
        references = tuple(cell.reference for cell in cells)
        return replace(
            self, record=self.record.model_copy(update={"cells": references}), cells=cells
        )

    def by_label(self, at: float | None = None) -> dict[str, list[CellResult]]:
        """Group the cells by title, in the order of their first appearance.

        A title is the label of a model; of a benchmark that varies something, with the value.

        Args:
            at: Value of what the benchmark varies, or number of the case; all if left out.
        """
        groups: dict[str, list[CellResult]] = {}
        for cell in self.cells:
            if at is None or cell.at == at:
                groups.setdefault(cell.title, []).append(cell)
        return groups

    def color_indices(self) -> dict[str, int]:
        """Return the color index of each title: the position of its model among the models."""
        models = list(dict.fromkeys((cell.label, cell.trained_elsewhere) for cell in self.cells))
        return {
            title: models.index((cells[0].label, cells[0].trained_elsewhere))
            for title, cells in self.by_label().items()
        }

    def notes(self, measure: str) -> dict[str, tuple[str, ...]]:
        """Return what was not measured, and why, by title; notes of several seeds appear once."""
        notes = {
            title: tuple(
                dict.fromkeys(
                    note
                    for cell in cells
                    if measure in cell.measures
                    for note in cell.measures[measure].notes
                )
            )
            for title, cells in self.by_label().items()
        }
        return {title: each for title, each in notes.items() if each}

    def has_measure(self, measure: str) -> bool:
        """Check that the benchmark names a measure."""
        return any(config.measure == measure for config in self.benchmark.measures)

    def data(self) -> DataConfig | None:
        """Return the data of the cells, once one training has begun."""
        return next((cell.data for cell in self.cells if cell.data), None)

    @property
    def columns(self) -> list[str]:
        """Columns of the `rows`."""
        records = (record for cell in self.cells for record in cell.measures.values())
        own = Value.columns(value for record in records for value in record.values)
        return [*IDENTITY, "rule", "measure", *own]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every value as a tidy row: the identity of the cell, then the value's fields.

        Conditions have one column per name, ``condition_<name>``.
        """
        for cell in self.cells:
            own = (self.benchmark.name, cell.label, cell.point, cell.reference.model, cell.seed)
            identity = dict(zip(IDENTITY, (*own, cell.reference.fingerprint), strict=True))
            for record in cell.measures.values():
                measure = {"rule": record.rule, "measure": record.measure}
                for value in record.values:
                    yield {**identity, **measure, **value.row()}


def load_results(folder: Path) -> Results:
    """Load a benchmark's record and the cells that it lists.

    Cells may be unfinished, diverged, failed or not measured yet.

    Args:
        folder: ``runs/<benchmark>``.

    Raises:
        UserError: There is no record, one is damaged, or the cells are of different revisions.
    """
    files = BenchmarkFolder(folder)
    if not files.record.is_file():
        raise UserError(f"{folder} holds no benchmark.json: it is not the folder of a benchmark")
    record = BenchmarkRecord.load(files.record)
    cells = tuple(load_cell(folder.parent, cell) for cell in record.cells)
    require_one_version(files.record, cells)
    return Results(record, cells, _load_examples(files.examples, record.examples))


def load_cell(runs: Path, reference: CellReference) -> CellResult:
    """Load the contents of a cell's folder so far.

    Raises:
        UserError: A record is damaged or belongs to another folder, or one of a finished training
            is missing.
    """
    folder = CellFolder(runs / reference.path)
    measures = {
        measure: record
        for measure, name in reference.measures.items()
        if (record := load_complete_measure(folder, name)) is not None
    }
    for measure, record in measures.items():
        try:
            require_declared(measure, record)
        except UserError as error:
            path = folder.measure(reference.measures[measure])
            raise damaged_record(path, str(error), measure_remedy(folder)) from None
    training = load_training(folder) if is_present(folder.training) else None
    config = load_config(folder) if training or is_present(folder.config) else None
    missing = reference.measures.keys() - measures.keys()
    unfinished = training is None or (training.status == "trained" and missing)
    # One that has all that this benchmark needs failed for another benchmark.
    if unfinished and is_present(folder.failure):
        return CellResult(reference, folder, config, None, [], {}, failure=load_failure(folder))
    return CellResult(
        reference=reference,
        folder=folder,
        config=config,
        weights=load_weights(folder) if is_present(folder.weights) else None,
        training=training,
        trajectory=load_trajectory(folder, config, training),
        measures=measures,
    )


def _load_examples(path: Path, listed: ExampleList | None) -> Images | None:
    if listed is None or not is_present(path):
        return None
    images = load_arrays(path, listed.sha256).get("images")
    if images is None:
        raise damaged_record(path, "no array of images")
    expected = (len(listed.views), len(listed.classes))
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[:2] != expected:
        raise damaged_record(path, f"expected {expected} uint8 images, got {images.shape}")
    return images
