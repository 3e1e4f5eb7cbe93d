"""Cells of models that were trained elsewhere, on the page of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.files.atomic import is_present
from capsbench.files.holder import Holder
from capsbench.files.lease import Lease, lease
from capsbench.measures import MeasureConfig, MeasureResult
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    CellReference,
    ProtocolChanges,
    Provenance,
    WeightsRecord,
)
from capsbench.records.benchmark import CellList
from capsbench.records.cell_files import has_measure, load_measure, load_weights
from capsbench.records.results import load_cell
from capsbench.records.training import DataConfig
from capsbench.reporting import report
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.running.cell import measure_name
from capsbench.running.examples import write_examples
from capsbench.running.leftovers import clear_cell
from capsbench.running.measure_job import measure_record, save_measure
from capsbench.running.plan import resolve_data
from capsbench.running.weights import TrainedModel
from capsbench.schema import Benchmark, build_benchmark, load_benchmark
from capsbench.schema.parts import TRAINED_ELSEWHERE, checked_label
from capsbench.trusted_code import require_trusted

MISSING = "missing"  # identity of a source that is not given; its measures have notes


@dataclass(frozen=True)
class Page:
    """The page of a benchmark that models may join.

    Attributes:
        runs: The runs folder.
        benchmark: The protocol: as recorded in the runs folder, or the given one.
        changes: Its changes to the given one.
        record: The record in the runs folder; None if there is none yet.
    """

    runs: Path
    benchmark: Benchmark
    changes: ProtocolChanges
    record: BenchmarkRecord | None

    @property
    def folder(self) -> BenchmarkFolder:
        """Folder of the benchmark."""
        return BenchmarkFolder(self.runs / self.benchmark.name)

    @classmethod
    def open(cls, benchmark: Benchmark | Path | str, runs: Path, limit: int | None) -> Page:
        """Return the page of a benchmark in a runs folder, whose protocol is the recorded one.

        Args:
            benchmark: A name, a file, or a protocol.
            runs: The runs folder.
            limit: Largest number of images of each split; None for that of the protocol.

        Raises:
            UserError: The benchmark varies something, or the recorded protocol is another one.
        """
        given = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(str(benchmark))
        path = BenchmarkFolder(runs / given.name).record
        record = BenchmarkRecord.load(path) if path.is_file() else None
        if record is not None:
            recorded = record.benchmark.recipe.limit
            if limit not in (None, recorded):
                raise UserError(
                    f"--limit {limit}: models in {path.parent} are measured with a limit of "
                    f"{recorded or 'no'} images; leave it out, or choose another folder"
                )
            limit = recorded
        if record is not None and not all(cell.trained_elsewhere for cell in record.cells):
            changed = given
            if not isinstance(benchmark, Benchmark):
                made = record.changes
                changed = build_benchmark(
                    str(benchmark), made.settings, scale=made.scale, added=made.added
                )
            if _measured_by(changed) != _measured_by(record.benchmark):
                raise UserError(
                    f"{path} has another protocol of '{given.name}': run the benchmark again, or "
                    "choose another folder"
                )
            require_trusted("datamodules", record.benchmark.data.name)
            page = cls(runs, record.benchmark, record.changes, record)
        else:
            recipe = given.recipe.model_copy(update={"limit": limit or given.recipe.limit})
            settings = {} if recipe == given.recipe else {"recipe.limit": limit}
            protocol = given.model_copy(update={"recipe": recipe})
            page = cls(runs, protocol, ProtocolChanges(settings=settings), record)
        if page.benchmark.vary is not None:
            raise UserError(
                f"'{given.name}' varies {page.benchmark.vary.name}, and a model that was trained "
                "elsewhere belongs to none of its values: evaluate it without a folder of runs"
            )
        return page


@dataclass(frozen=True)
class ElsewhereCell:
    """A model that was trained elsewhere, in a runs folder.

    Attributes:
        page: The page that it joins.
        reference: The cell as the benchmark's record lists it.
        weights: Its record.
    """

    page: Page
    reference: CellReference
    weights: WeightsRecord

    @classmethod
    def of(
        cls,
        page: Page,
        trained: TrainedModel,
        *,
        label: str | None,
        sources: Mapping[str, TrainedModel],
        data_root: Path | None,
    ) -> ElsewhereCell:
        """Return the cell of a model.

        Args:
            page: The page that it joins.
            trained: The model.
            label: Its label; by default its name.
            sources: Models that measures use as well, by label.
            data_root: Folder of local data files.

        Raises:
            UserError: The label is none, or that of another model, or the data does not fit the
                measures.
        """
        data, folder = resolve_data(page.benchmark, data_root)
        label = trained.name if label is None else label
        try:
            checked_label(label)
        except ValueError as error:
            raise UserError(f"--label: {error}; got {label!r}") from None
        weights = WeightsRecord(
            label=label,
            model=trained.config,
            file=trained.file,
            sha256=trained.sha256,
            parameters=trained.parameters,
            data=data,
            views=page.benchmark.views,
            limit=page.benchmark.recipe.limit,
            sources={name: each.sha256 for name, each in sources.items()},
            command=trained.command,
            provenance=Provenance.now(),
        )
        path = Path(folder, trained.slug, f"elsewhere-{weights.fingerprint}")
        reference = _reference(page.benchmark, weights, trained.name, path.as_posix())
        _require_own_label(page, page.record, reference)
        if others := kept_cells(page.runs, page.benchmark, data)[1]:
            raise UserError(
                f"{', '.join(others)} on the page in {page.folder.path} was measured on other data "
                "or views than this protocol has: choose another folder"
            )
        return cls(page, reference, weights)

    @property
    def folder(self) -> CellFolder:
        """Folder of the cell."""
        return CellFolder(self.page.runs / self.reference.path)

    @contextmanager
    def lock(self, on_wait: Callable[[Holder], None]) -> Iterator[Lease]:
        """Hold the folder, and write the model's record.

        Args:
            on_wait: Called once with the process that holds it, if there is a wait for one.
        """
        path = self.folder.path
        with lease(self.folder.lease, f"measure {self.weights.label}", on_wait=on_wait) as held:
            clear_cell(self.folder)
            if is_present(self.folder.weights):
                load_weights(self.folder)  # a damaged one is named, not replaced
            self.weights.save(self.folder.weights)
            yield held
        while path != self.page.runs and not any(path.iterdir()):  # after `discard`
            path.rmdir()
            path = path.parent

    def load(self, config: MeasureConfig) -> MeasureResult | None:
        """Return the recorded result of a measure; None if there is none."""
        name = self.reference.measures[config.measure]
        if not has_measure(self.folder, name):
            return None
        record = load_measure(self.folder, name)
        arrays = load_arrays(load_cell(self.page.runs, self.reference), config.measure)
        return MeasureResult(record.values, arrays, record.notes)

    def save(
        self, config: MeasureConfig, result: MeasureResult, *, seconds: float, device: str
    ) -> None:
        """Record the result of a measure."""
        name, rule = self.reference.measures[config.measure], TRAINED_ELSEWHERE
        sources = [self.weights.sources.get(label, MISSING) for label in config.source_models]
        record = measure_record(
            config,
            result,
            sources,
            cell=self.weights.folder_name,
            rule=rule,
            seconds=seconds,
            device=device,
        )
        save_measure(self.folder, name, record, result)

    def discard(self) -> None:
        """Remove the model's record if it has no measure."""
        if not any(self.folder.path.glob("measures/*.json")):
            self.folder.weights.unlink()

    def join(self, data: ImageDataModule) -> Path:
        """Add the cell to the benchmark's record, and build the page.

        Args:
            data: Data of the benchmark, for example images of a page without any.

        Returns:
            The page.

        Raises:
            UserError: Another model has taken its label meanwhile.
        """
        folder = self.page.folder
        with lease(folder.lease, "write the record"):
            record = self._current_record(data)
            _require_own_label(self.page, record, self.reference)
            others, _ = kept_cells(self.page.runs, record.benchmark, self.weights.data)
            cells = [cell for cell in record.cells if not cell.trained_elsewhere]
            cells += [cell for cell in others if cell.path != self.reference.path]
            record.model_copy(update={"cells": (*cells, self.reference)}).save(folder.record)
        return report.build(folder.path)

    def _current_record(self, data: ImageDataModule) -> BenchmarkRecord:
        """Return the record of the trained models; a new one of the others if there are none."""
        folder = self.page.folder
        others: tuple[CellReference, ...] = ()
        if folder.record.is_file():
            record = BenchmarkRecord.load(folder.record)
            if not all(cell.trained_elsewhere for cell in record.cells):
                return record
            others = record.cells
        return BenchmarkRecord(
            benchmark=self.page.benchmark,
            changes=self.page.changes,
            command=self.weights.command,
            cells=others,
            examples=write_examples(self.page.benchmark, data, folder),
            provenance=Provenance.now(),
        )


def kept_cells(
    runs: Path, benchmark: Benchmark, data: DataConfig
) -> tuple[list[CellReference], list[str]]:
    """Return the cells of a benchmark's record that were trained elsewhere, for a new record.

    Measures are those of the new protocol; what it changes is not measured yet.

    Args:
        runs: The runs folder.
        benchmark: The protocol of the new record.
        data: Its data.

    Returns:
        The cells that were measured on the same data and views, and the labels of the others.
    """
    path = BenchmarkFolder(runs / benchmark.name).record
    if not path.is_file():
        return [], []
    kept, others = [], []
    for cell in CellList.load(path).cells:
        if cell.trained_elsewhere and not _is_removed(runs, cell):
            weights = load_weights(CellFolder(runs / cell.path))
            expected = (data, benchmark.views, benchmark.recipe.limit, None)
            if (weights.data, weights.views, weights.limit, benchmark.vary) == expected:
                kept.append(_reference(benchmark, weights, cell.model, cell.path))
            else:
                others.append(cell.label)
    return kept, others


def _reference(
    benchmark: Benchmark, weights: WeightsRecord, model: str, path: str
) -> CellReference:
    """Return a cell as the record of a benchmark lists it, with all of its measures."""
    names = {}
    for config in benchmark.measures:
        sources = {label: weights.sources.get(label, MISSING) for label in config.source_models}
        names[config.measure] = measure_name(config, TRAINED_ELSEWHERE, sources)
    return CellReference(label=weights.label, model=model, seed=None, path=path, measures=names)


def _measured_by(benchmark: Benchmark) -> tuple[dict[str, Any], int | None]:
    """Return the part of a protocol that determines the numbers of a trained model."""
    fields = {"version", "data", "views", "measures"}
    return benchmark.model_dump(mode="json", include=fields), benchmark.recipe.limit


def _require_own_label(
    page: Page, record: BenchmarkRecord | None, reference: CellReference
) -> None:
    """Refuse a label of the protocol's models, or of other weights on the page."""
    cells = record.cells if record else ()
    protocol = {entry.label for entry in page.benchmark.models}
    protocol |= {cell.label for cell in cells if not cell.trained_elsewhere}
    if reference.label in protocol:
        raise UserError(
            f"label '{reference.label}' is that of a model of the protocol: give this one another "
            "label by --label"
        )
    for cell in cells:
        if (
            cell.label == reference.label
            and cell.path != reference.path
            and not _is_removed(page.runs, cell)
        ):
            raise UserError(
                f"label '{reference.label}' is that of other weights on the page: choose another "
                f"by --label, or remove {page.runs / cell.path}"
            )


def _is_removed(runs: Path, cell: CellReference) -> bool:
    """Return True for a model that was trained elsewhere and whose folder was removed."""
    return cell.trained_elsewhere and not is_present(CellFolder(runs / cell.path).weights)
