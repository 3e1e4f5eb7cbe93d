"""What `capsbench.evaluate` returns: the measures of one model, as text, figures and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydantic import TypeAdapter

from capsbench.errors import UserError
from capsbench.measures._result import Measured
from capsbench.records import CellFolder
from capsbench.reporting.figures import accuracy_by_view
from capsbench.reporting.measure_figures import measure_figures
from capsbench.reporting.outcomes import by_image
from capsbench.reporting.results import Cell, Measurement, Protocol, Results
from capsbench.reporting.formatting import listed
from capsbench.schema import Benchmark
from capsbench.statistics.intervals import Interval, bootstrap_over_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIEWS = "accuracy-by-view"


@dataclass(frozen=True)
class Evaluation:
    """What a benchmark's measures found of one model.

    Attributes:
        benchmark: The protocol; nothing of its recipe was carried out.
        model: The name of the model's class.
        measured: The outcome of each measure, by its name.
    """

    benchmark: Benchmark
    model: str
    measured: Mapping[str, Measured]

    @property
    def values(self) -> dict[str, float]:
        """Every number, under ``<measure>: <key>``."""
        return {
            f"{name}: {key}": value
            for name, outcome in self.measured.items()
            for key, value in outcome.values.items()
        }

    @property
    def samples(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Per-sample outcomes, by measure."""
        return {name: outcome.samples for name, outcome in self.measured.items()}

    @cached_property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """By measure and key, 95 % intervals of this very model over other test images.

        Of values with an outcome for each image that vary; see
        `capsbench.statistics.intervals.bootstrap_over_images`. What another training would give is
        not in them.
        """
        return {
            name: {
                key: interval
                for key, (_, row, shown) in by_image(outcome.values, outcome.samples).items()
                if (interval := bootstrap_over_images(row, objects=shown).interval)
            }
            for name, outcome in self.measured.items()
        }

    def table(self) -> str:
        """Every number with the count of images behind it, as text; notes below.

        Brackets hold 95 % intervals over images.
        """
        lines = []
        for name, outcome in self.measured.items():
            lines.append(f"{name} (n = {outcome.n:,})")
            width = max(map(len, outcome.values), default=0)
            for key, value in outcome.values.items():
                limits = self.intervals[name].get(key)
                told = f"  [{limits[0]:.4g}, {limits[1]:.4g}]" if limits else ""
                lines.append(f"  {key:<{width}}  {value:.4g}{told}")
            lines += [f"  {note}" for note in outcome.notes]
        if any(self.intervals.values()):
            lines.append("[low, high]: 95 % interval over test images, of this very model")
        return "\n".join(lines)

    def figures(self) -> dict[str, Figure]:
        """Every figure that the measures allow, by name; the same that a report shows.

        ``accuracy-by-view`` is a curve for each factor; others go layer by layer, or show attacks.
        """
        results = self._results()
        drawn = {VIEWS: accuracy_by_view(results)}
        drawn |= {name: each.figure for name, each in measure_figures(results).items()}
        return {name: figure for name, figure in drawn.items() if figure is not None}

    def plot(self, name: str | None = None) -> Figure:
        """One of the `figures`.

        Args:
            name: Which of them; the first, accuracy by view where it is measured, if left out.

        Raises:
            UserError: There is no such figure, or none at all.
        """
        found = self.figures()
        if not found:
            raise UserError(
                f"nothing to plot: no measure of benchmark '{self.benchmark.name}' has a figure; "
                "ask for accuracy-by-view, a measure of layers, or attacks"
            )
        chosen = next(iter(found)) if name is None else name
        if chosen not in found:
            raise UserError(f"there is no figure '{name}'; there is {listed(list(found))}")
        return found[chosen]

    def to_json(self) -> str:
        """The protocol, and every number, interval over images, view and note, as JSON."""
        content = {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "model": self.model,
            "measures": {
                name: {
                    "n": outcome.n,
                    "values": outcome.values,
                    "intervals over images": self.intervals[name],
                    "views": outcome.views,
                    "notes": list(outcome.notes),
                }
                for name, outcome in self.measured.items()
            },
        }
        return json.dumps(content, indent=2, allow_nan=False)

    def _results(self) -> Results:
        """As a record of one model and one seed, which reports are made of."""
        read = TypeAdapter(Measurement)
        where = {"checkpoint": "", "device": "", "date": "", "versions": {}}
        measurements = {
            name: read.validate_python(
                {
                    "measure": name,
                    "n": outcome.n,
                    "values": outcome.values,
                    "views": outcome.views,
                    "notes": outcome.notes,
                    **where,
                }
            )
            for name, outcome in self.measured.items()
        }
        cell = Cell(
            label=self.model,
            model=self.model,
            seed=0,
            path="",
            measures={name: name for name in measurements},
            folder=CellFolder(Path()),
            config=None,
            training=None,
            trajectory=[],
            measurements=measurements,
        )
        benchmark = self.benchmark.model_copy(update={"vary": None})
        return Results(Protocol(benchmark, (), "", "", ()), (cell,), None)
