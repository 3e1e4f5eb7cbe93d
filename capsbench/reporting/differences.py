"""Differences between the first model of a benchmark and each of the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from capsbench.reporting.outcomes import outcomes
from capsbench.reporting.results import Cell, Results
from capsbench.reporting.formatting import points, share
from capsbench.statistics.correction import corrected
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL
from capsbench.statistics.paired_difference import Difference, difference

RESAMPLES = 1999
TITLE = "Differences between models"
COLUMNS = ("Difference", "95 % interval", "p", "Seeds", "Images")


@dataclass(frozen=True)
class DifferenceRow:
    """How far a model lies from the first one.

    Attributes:
        label: The model's label.
        index: Its place in the list, for its colour.
        measure: The measure.
        key: The value.
        found: The model minus the first one.
    """

    label: str
    index: int
    measure: str
    key: str
    found: Difference

    @property
    def what(self) -> str:
        """The value, with its measure."""
        return f"{self.measure}: {self.key}"

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in the `COLUMNS`."""
        limits = self.found.interval
        return (
            points(self.found.mean),
            f"{share(limits[0])} to {share(limits[1])}" if limits else "–",
            p_value(self.found.p_corrected),
            " and ".join(map(str, self.found.n_seeds)),
            images_told(self.found),
        )


def differences(results: Results, *, resamples: int = RESAMPLES) -> list[DifferenceRow]:
    """Every value whose outcomes are kept, of each model beside the first one.

    The first model is what a protocol compares the others with; fewer comparisons leave more power
    to each. Where a benchmark varies something, it is done at each value. All p-values are
    corrected together. A value of other images under both is left out; so are those of layers,
    which are other ones in each model: claims name the layers that they compare.

    Args:
        results: What the records say.
        resamples: How often seeds and images are drawn.

    Raises:
        UserError: A record is damaged.
    """
    found = list(_compared(results, resamples))
    adjusted = corrected([row.found for row in found])
    return [
        DifferenceRow(row.label, row.index, row.measure, row.key, each)
        for row, each in zip(found, adjusted, strict=True)
    ]


def _compared(results: Results, resamples: int) -> Iterator[DifferenceRow]:
    places = results.places()
    for at in dict.fromkeys(cell.at for cell in results.cells):
        groups = results.by_label(at)
        yield from _compared_there(results, groups, places, resamples)


def _compared_there(
    results: Results,
    groups: Mapping[str, list[Cell]],
    places: Mapping[str, int],
    resamples: int,
) -> Iterator[DifferenceRow]:
    """The models at one value of what the benchmark varies."""
    (_, first), *others = groups.items()
    for measure in dict.fromkeys(entry.measure for entry in results.benchmark.measures):
        base = outcomes(first, measure)
        kept = [(label, outcomes(cells, measure)) for label, cells in others]
        for key, of_first in base.items():
            for label, mine in kept:
                if (
                    "@" not in key
                    and key in mine
                    and np.array_equal(mine[key].numbers, of_first.numbers)
                ):
                    found = difference(
                        mine[key].table,
                        of_first.table,
                        objects=of_first.objects,
                        resamples=resamples,
                    )
                    yield DifferenceRow(label, places[label], measure, key, found)


def images_told(found: Difference) -> str:
    """How many images a difference is of, and how many objects they show where that counts."""
    if not found.n_images:
        return "–"
    of = "" if found.n_objects is None else f" of {found.n_objects:,} objects"
    return f"{found.n_images:,}{of}"


def p_value(p: float) -> str:
    """A p-value with two digits, or a bound.

    >>> p_value(0.0321), p_value(0.0005), p_value(float("nan"))
    ('0.032', '< 0.001', '–')
    """
    if np.isnan(p):
        return "–"
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def caption(results: Results, rows: list[DifferenceRow]) -> str:
    """What the table's numbers are, in a few sentences."""
    first = results.cells[0].label if results.cells else ""
    counted = max((row.found.comparisons for row in rows), default=0)
    text = (
        f"Each model minus {first}, in percentage points of the value named: positive where the "
        "model has more. The interval and p, of no difference, allow for other seeds and for other "
        "test images at once: both are drawn anew (a studentised bootstrap of a crossed design; "
        f"{RESAMPLES:,} draws)."
    )
    if any(row.found.n_objects is not None for row in rows):
        text += " Images of one object are drawn together, for they are no independent evidence."
    if any(min(row.found.n_seeds) < SEEDS_FOR_INTERVAL for row in rows):
        text += f" They need {SEEDS_FOR_INTERVAL} seeds or more of both models."
    if counted:
        text += (
            f" p is corrected for all {counted} comparisons of this table (Holm 1979); intervals "
            "are of one comparison each."
        )
    return text


def csv_text(rows: list[DifferenceRow]) -> str:
    """The table as CSV, with shares as numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            *("label", "measure", "key", "difference", "low", "high", "p", "p_corrected"),
            *("comparisons", "seeds", "seeds_of_first", "images", "objects"),
        ]
    )
    for row in rows:
        found = row.found
        limits = found.interval or ("", "")
        p = ["" if np.isnan(each) else each for each in (found.p, found.p_corrected)]
        writer.writerow(
            [
                *(row.label, row.measure, row.key, found.mean, *limits, *p),
                *(found.comparisons, *found.n_seeds, found.n_images, found.n_objects),
            ]
        )
    return stream.getvalue()
