"""Result of `capsbench.evaluate`: the measures of one model, as text, figures and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.measures import MeasureResult
from capsbench.names import from_folder, without_folder
from capsbench.records import (
    BenchmarkRecord,
    CellFolder,
    CellReference,
    CellResult,
    MeasureRecord,
    Provenance,
    Results,
)
from capsbench.reporting.comparisons.per_image import outcomes
from capsbench.reporting.figures.all_figures import draw_figures
from capsbench.reporting.formatting import listed
from capsbench.reporting.tables.evaluation_tables import evaluation_tables
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.tables.render_html import render_notebook
from capsbench.schema import Benchmark
from capsbench.statistics.intervals import Interval, bootstrap_over_images
from capsbench.values import Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Evaluation:
    """The measures of a benchmark, computed on one model.

    Attributes:
        benchmark: The protocol; its recipe was not used.
        model: Name of the model's class.
        device: Device of the model.
        results: Result of each measure by its name.
        page: The page that the model has joined; None if nothing was recorded.
    """

    benchmark: Benchmark
    model: str
    device: str
    results: Mapping[str, MeasureResult]
    page: Path | None = None

    @cached_property
    def intervals(self) -> dict[str, dict[Quantity, Interval]]:
        """95 % intervals over test images, by measure and quantity.

        They exist for values with per-image outcomes that vary, and hold for this very model:
        another training would differ more. See `bootstrap_over_images`.
        """
        return {
            measure: {
                quantity: interval
                for quantity, each in outcomes(result.values, result.per_image).items()
                if (interval := bootstrap_over_images(each.table, objects=each.objects).interval)
            }
            for measure, result in self.results.items()
        }

    @property
    def is_empty(self) -> bool:
        """True if nothing at all was measured; the notes have the reasons."""
        return not any(result.values for result in self.results.values())

    def value(self, measure: str, **fields: Any) -> float:
        """Return one value.

        Args:
            measure: Name of the measure.
            fields: Fields of the quantity, such as ``metric="accuracy", split="novel"``; all others
                are absent.

        Raises:
            UserError: There is no such value, or no such field.
        """
        try:
            quantity = Quantity(**fields)
        except ValidationError as error:
            raise UserError(f"a value of {measure}: {one_line(error)}") from None
        result = self.results.get(from_folder(Path.cwd(), measure))
        for value in result.values if result else ():
            if value.name == quantity.name:
                return value.value
        raise UserError(f"{measure} has no value {quantity.name}; rows() lists all values")

    def rows(self) -> list[dict[str, Any]]:
        """Return every value as a tidy row, ready for pandas, with its interval if it has one."""
        rows = []
        for measure, result in self.results.items():
            for value in result.values:
                low, high = self.intervals[measure].get(value.quantity, (None, None))
                own = {"measure": without_folder(measure), **value.row()}
                rows.append(own | {"low": low, "high": high})
        return rows

    def table(self) -> str:
        """Return every value with its number of images n and its interval, with notes below."""
        lines = []
        for measure, result in self.results.items():
            lines.append(without_folder(measure))
            names = [quantity_text(value) for value in result.values]
            width = max(map(len, names), default=0)
            for name, value in zip(names, result.values, strict=True):
                limits = self.intervals[measure].get(value.quantity)
                interval = f"  [{limits[0]:.4g}, {limits[1]:.4g}]" if limits else ""
                images = f"  (n = {value.n:,})" if value.n else ""
                lines.append(f"  {name:<{width}}  {value.value:.4g}{images}{interval}")
            lines += [f"  {note}" for note in result.notes]
        if any(self.intervals.values()):
            lines.append("[low, high]: 95 % interval over test images, for this very model")
        return "\n".join(lines)

    def __repr__(self) -> str:
        measures = ", ".join(map(without_folder, self.results))
        page = "" if self.page is None else f"; {self.page}"
        return f"<{self.model} at the views of '{self.benchmark.name}': {measures}{page}>"

    def _repr_html_(self) -> str:
        return render_notebook(
            f"{self.model} at the views of '{self.benchmark.name}'",
            evaluation_tables(self.results, self.intervals),
            notes=["95 % intervals over test images hold for this very model."],
        )

    def figures(self) -> dict[str, Figure]:
        """Return every figure of the measures by name, the same that a report shows."""
        return draw_figures(self._as_results())

    def plot(self, name: str | None = None) -> Figure:
        """Return one of the `figures`.

        Args:
            name: Its name; by default the first one, which is accuracy by view if it is measured.

        Raises:
            UserError: There is no such figure, or none at all.
        """
        figures = self.figures()
        if not figures:
            raise UserError(
                f"nothing to plot: no measure of benchmark '{self.benchmark.name}' has a figure; "
                "evaluate accuracy-by-view, a measure of layers, or attacks"
            )
        name = next(iter(figures)) if name is None else name
        if name not in figures:
            raise UserError(f"there is no figure '{name}'; there is {listed(list(figures))}")
        return figures[name]

    def to_json(self) -> str:
        """Return the protocol, every value with its interval, the notes and the page, as JSON."""
        content = {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "model": self.model,
            "values": self.rows(),
            "notes": {measure: list(result.notes) for measure, result in self.results.items()},
            "page": None if self.page is None else str(self.page),
        }
        return json.dumps(content, indent=2, allow_nan=False)

    def _as_results(self) -> Results:
        """Return the records of one model and one seed, from which reports are made."""
        provenance = Provenance.now()
        cell = CellReference(
            label=self.model,
            model=self.model,
            seed=0,
            path="",
            measures={measure: measure for measure in self.results},
        )
        records = {
            measure: MeasureRecord(
                measure=measure,
                arguments={},
                rule="",
                values=tuple(result.values),
                notes=result.notes,
                device=self.device,
                provenance=provenance,
            )
            for measure, result in self.results.items()
        }
        record = BenchmarkRecord(
            benchmark=self.benchmark.model_copy(update={"vary": None}),
            command="",
            cells=(cell,),
            provenance=provenance,
        )
        return Results(record, (CellResult(cell, CellFolder(Path()), None, None, [], records),))
