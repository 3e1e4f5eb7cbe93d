"""The tables of a report as plain rows: one source for the terminal, the page, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from capsbench.measures import RenderingError
from capsbench.reporting.aggregate import OverSeeds, curve, keys, measured, measures, over_seeds
from capsbench.reporting.results import ACCURACY_BY_VIEW, RENDERING_ERROR, Cell, Results
from capsbench.reporting.formatting import (
    counted,
    duration,
    number,
    percent,
    points,
    share,
    squared_error,
)

Format = Callable[[float], str]


@dataclass(frozen=True)
class Entry:
    """A quantity over seeds, ready to be shown: never a mean without the values that it is of.

    Attributes:
        over: The values.
        unit: How one number is written, with its unit.
        bare: How one number is written, without.
    """

    over: OverSeeds
    unit: Format
    bare: Format

    @property
    def mean(self) -> str:
        """The mean over seeds."""
        return self.unit(self.over.mean)

    @property
    def interval(self) -> str:
        """The 95 % t interval, or nothing below three seeds."""
        limits = self.over.interval
        return f"{self.bare(limits[0])} to {self.bare(limits[1])}" if limits else ""

    @property
    def seeds(self) -> str:
        """Every seed's value; a line may break between them only."""
        values = map(self.bare, self.over.values.values())
        return ", ".join(value.replace(" ", "\N{NO-BREAK SPACE}") for value in values)

    @property
    def text(self) -> str:
        """All of it in a line."""
        interval = f"95 % interval {self.interval}; " if self.interval else ""
        return f"{self.mean} ({interval}{self.seeds}; n = {self.over.n})"


@dataclass(frozen=True)
class SummaryRow:
    """A model's line in the table.

    Attributes:
        label: The model's label.
        index: The model's place in the list, for its colour.
        model: The model's name.
        entries: What stands in each of the `columns`, None where nothing is known.
        parameters: Number of trained parameters, None before the first training is done.
        seeds: How many seeds have been measured.
        planned: How many seeds were asked for.
        notes: What is missing and why, by seed.
    """

    label: str
    index: int
    model: str
    entries: dict[str, Entry | None]
    parameters: int | None
    seeds: int
    planned: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DrawingRow:
    """How well a model draws images from one range of views that it is told.

    Attributes:
        label: The model's label.
        index: The model's place in the list, for its colour.
        views: The name of the views.
        error: Of what it draws, None where it cannot draw.
        copy: Error of the image left as it was, the same for all models and seeds.
        constant: Error of one image for all, the same for all models and seeds.
        share: ``error`` divided by ``copy``, None also where nothing moves.
    """

    label: str
    index: int
    views: str
    error: Entry | None
    copy: str
    constant: str
    share: Entry | None


# Last words of keys whose values are shares; others are plain numbers.
SHARES = {
    *("accuracy", "area", "worst", "gap", "share of copy", "consistency", "blind", "reached"),
    *("confidence", "share"),
}
DRAWING_COLUMNS = ("Model", "Views", "Error", "Copy", "Constant", "Share of copy")
DRAWING_CAPTION = (
    "Each error is the mean squared difference between the pixels, from 0 to 1, of a moved image "
    "and of what stands for it: what a model draws that is told how the image moves (error), the "
    "image left as it was (copy), or one image for all, the mean of the moved ones (constant). "
    "A good drawing beats both. The share of copy is the error divided by that of the copy."
)
CANNOT_DRAW = "cannot draw"


def columns(results: Results) -> dict[str, str]:
    """The headings of the summary's numbers: those of accuracy only where it is asked for.

    Novel views are parted where some lie between the trained ones, and ask for interpolation.
    """
    seconds = {"seconds": "Training time"}
    if not results.asks(ACCURACY_BY_VIEW):
        return seconds
    novel = {"novel": "Novel"}
    if measured(results.cells, "between/accuracy"):
        novel |= {"between": "Between", "outside": "Outside"}
    return {"familiar": "Familiar", **novel, "gap": "Gap", **seconds}


def summary(results: Results) -> list[SummaryRow]:
    """One row per model, over its seeds."""
    shown, places = columns(results), results.places()
    return [_row(label, places[label], cells, shown) for label, cells in results.by_label().items()]


def _row(label: str, index: int, cells: list[Cell], shown: Iterable[str]) -> SummaryRow:
    trained = [cell for cell in cells if cell.training and cell.training.status == "trained"]
    seconds = over_seeds((c.seed, c.training.seconds) for c in trained if c.training)
    entries = {
        **{
            kind: accuracy(measured(cells, f"{kind}/accuracy"))
            for kind in ("familiar", "novel", "between", "outside")
        },
        "gap": _entry(measured(cells, "gap"), points, share),
        "seconds": _entry(seconds, duration, duration),
    }
    return SummaryRow(
        label=label,
        index=index,
        model=cells[0].model,
        entries={column: entries[column] for column in shown},
        parameters=next((c.training.parameters for c in cells if c.training), None),
        seeds=sum(cell.problem is None for cell in cells),
        planned=len(cells),
        notes=tuple(f"seed {cell.seed} {cell.problem}" for cell in cells if cell.problem),
    )


def accuracy(over: OverSeeds | None) -> Entry | None:
    """A share over seeds, written in per cent."""
    return _entry(over, percent, share)


def _entry(over: OverSeeds | None, unit: Format, bare: Format) -> Entry | None:
    return Entry(over, unit, bare) if over else None


def caption(results: Results) -> str:
    """What the summary's numbers are, in a sentence or two."""
    found = (cell.measurements.get(ACCURACY_BY_VIEW) for cell in results.cells)
    images = {measurement.n for measurement in found if measurement}
    tested = (
        f" on {' or '.join(counted(n, 'test image') for n in sorted(images))} at each view"
        if images
        else ""
    )
    if not results.asks(ACCURACY_BY_VIEW):
        return "Training time is the mean over seeds, with every seed's value beside it."
    return (
        f"Accuracy{tested}, as the mean over seeds with every seed's value beside it. The gap is "
        "familiar minus novel, in percentage points. Familiar and novel accuracy are averaged over "
        "the views of each factor first and over the factors then."
        + (
            " Novel views lie between the trained ones, or outside."
            * ("between" in columns(results))
        )
    )


def drawings(results: Results) -> list[DrawingRow]:
    """One row per range of views and model, as far as measured."""
    rows = (
        _drawing(label, index, cells, views)
        for entry in results.benchmark.measures
        if isinstance(entry, RenderingError)
        for views in entry.views
        for index, (label, cells) in enumerate(results.by_label().items())
    )
    return [row for row in rows if row]


def _drawing(label: str, index: int, cells: list[Cell], views: str) -> DrawingRow | None:
    def found(key: str) -> OverSeeds | None:
        return measured(cells, f"{views}/{key}", measure=RENDERING_ERROR)

    copy, constant = found("copy/error"), found("constant/error")
    if copy is None or constant is None:
        return None
    return DrawingRow(
        label=label,
        index=index,
        views=views,
        error=_entry(found("rendering/error"), squared_error, squared_error),
        copy=squared_error(copy.mean),
        constant=squared_error(constant.mean),
        share=accuracy(found("rendering/share of copy")),
    )


def by_view(results: Results, factor: str) -> list[tuple[float, bool, dict[str, Entry | None]]]:
    """Accuracy at each view of a factor: its value, whether it is familiar, an entry per label."""
    curves = {
        label: {point.value: point for point in curve(cells, factor)}
        for label, cells in results.by_label().items()
    }
    familiar = {
        value: point.familiar for points_ in curves.values() for value, point in points_.items()
    }
    return [
        (
            value,
            familiar[value],
            {
                label: accuracy(found[value].accuracy) if value in found else None
                for label, found in curves.items()
            },
        )
        for value in sorted(familiar)
    ]


def totals(cells: list[Cell]) -> list[tuple[str, Entry]]:
    """A model's values that are not of a single view, such as ``rotation/area``."""
    found = [
        (key, measured(cells, key, measure=measure))
        for measure in measures(cells)
        for key in keys(cells, measure=measure)
        if "=" not in key
    ]
    return [(key, _total(key, over)) for key, over in found if over]


def _total(key: str, over: OverSeeds) -> Entry:
    """A value in the form that its key's last word asks for."""
    kind = key.partition("@")[0].rpartition("/")[2]
    if key.endswith(("rendering/error", "copy/error", "constant/error")):
        return Entry(over, squared_error, squared_error)
    if kind in SHARES:
        return Entry(over, percent, share)
    return Entry(over, number, number)


def csv_text(results: Results) -> str:
    """Every measured value as CSV: one row per cell, measure and key."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["label", "model", "seed", "fingerprint", "measure", "key", "value", "n"])
    for cell in results.cells:
        start = [cell.label, cell.model, cell.seed, cell.fingerprint]
        for measure, outcome in cell.measurements.items():
            writer.writerows(
                [*start, measure, key, value, outcome.n] for key, value in outcome.values.items()
            )
    return stream.getvalue()
