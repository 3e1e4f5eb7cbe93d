"""Differences between the first model of a benchmark and each of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from capsbench.files.csv_text import csv_text
from capsbench.measures import load_measure
from capsbench.names import without_folder
from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import bounds_of
from capsbench.reporting.comparisons.chance import chance_text, seeds_at_chance
from capsbench.reporting.comparisons.per_image import load_outcomes
from capsbench.reporting.formatting import NUMBER_FORMATS
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.statistics.bounded import range_of_difference
from capsbench.statistics.correction import corrected
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL
from capsbench.statistics.paired_difference import Difference, difference
from capsbench.statistics.power import smallest_detectable
from capsbench.values import MERGED_ACCURACY, Quantity


@dataclass(frozen=True)
class ModelDifference:
    """Difference of one value between a model and the first one.

    Attributes:
        title: Title of the model.
        measure: Name of the measure.
        quantity: The value.
        difference: The model minus the first one.
    """

    title: str
    measure: str
    quantity: Quantity
    difference: Difference


def model_differences(results: Results) -> list[ModelDifference]:
    """Compare every value with per-image outcomes between each model and the first one.

    A protocol compares the other models with its first one; fewer comparisons leave more power to
    each. If a benchmark varies something, models are compared at each value. All p-values and
    intervals are corrected together. Values that two models have for different images are left
    out. So are those of layers, which differ from model to model: claims name the layers that they
    compare. Accuracies with alike classes as one are left out too: they would only make more
    comparisons of the same.

    Args:
        results: The records.

    Raises:
        UserError: A record is damaged.
    """
    rows = list(_compare(results))
    adjusted = corrected([row.difference for row in rows])
    return [replace(row, difference=each) for row, each in zip(rows, adjusted, strict=True)]


def _compare(results: Results) -> Iterator[ModelDifference]:
    for at in dict.fromkeys(cell.at for cell in results.cells):
        (_, first), *others = results.by_label(at).items()
        for measure in dict.fromkeys(config.measure for config in results.benchmark.measures):
            loaded = [(title, load_outcomes(cells, measure)) for title, cells in others]
            for quantity, base in load_outcomes(first, measure).items():
                for title, outcomes in loaded:
                    own = outcomes.get(quantity)
                    if quantity.layer is not None or quantity.is_untrained:
                        continue
                    if quantity.metric == MERGED_ACCURACY:
                        continue
                    if own and np.array_equal(own.numbers, base.numbers):
                        bounds = bounds_of(measure, quantity)
                        each = difference(
                            own.table,
                            base.table,
                            objects=base.objects,
                            bounds=range_of_difference(bounds, bounds),
                        )
                        yield ModelDifference(title, measure, quantity, each)


def difference_table(results: Results, rows: Sequence[ModelDifference]) -> Table | None:
    """Return the table of differences; None if there are none."""
    if not rows:
        return None
    color_indices = results.color_indices()
    elsewhere = {cell.title for cell in results.cells if cell.trained_elsewhere}
    notes = _chance_notes(results)
    return Table(
        name="differences",
        title="Differences between models",
        columns=(
            *text_columns("Model", "Value"),
            *number_columns("Difference", "95 % interval", "p", "Corrected p", "Detectable"),
            *number_columns("Seeds", "Images"),
        ),
        rows=tuple(
            _table_row(row, color_indices[row.title], elsewhere, notes[row.title]) for row in rows
        ),
        caption=_caption(results, rows),
    )


def _chance_notes(results: Results) -> dict[str, str]:
    """Return the seeds at chance of each model and of the first one, in words, by title."""
    notes = {}
    for at in dict.fromkeys(cell.at for cell in results.cells):
        (title_of_first, first), *others = results.by_label(at).items()
        of_first = chance_text(seeds_at_chance(first))
        for title, cells in others:
            texts = [chance_text(seeds_at_chance(cells))]
            texts += [f"{title_of_first}: {of_first}"] if of_first else []
            notes[title] = "; ".join(filter(None, texts))
    return notes


def _table_row(
    row: ModelDifference, color_index: int, elsewhere: Collection[str], note: str
) -> TableRow:
    each = row.difference
    unit = load_measure(row.measure).metrics[row.quantity.metric].unit
    text, bare = NUMBER_FORMATS["difference of shares" if unit == "share" else unit]
    limits = [bare(limit) for limit in each.interval or ()]
    detectable = smallest_detectable(each)
    return TableRow(
        (
            row.title,
            measured_text(row.measure, row.quantity),
            TableCell(text(each.mean), note=note, number=each.mean),
            TableCell(" to ".join(limits), limits=each.interval) if limits else None,
            p_cell(each.p),
            p_cell(each.p_corrected),
            None if np.isnan(detectable) else TableCell(text(detectable), number=detectable),
            None if row.title in elsewhere else " and ".join(map(str, each.n_seeds)),
            num_images(each),
        ),
        color=color_index,
    )


def num_images(difference: Difference) -> str | None:
    """Return the number of images behind a difference, and of objects if these were drawn."""
    if not difference.n_images:
        return None
    objects = difference.n_objects
    return f"{difference.n_images:,}{'' if objects is None else f' of {objects:,} objects'}"


def p_cell(p: float) -> TableCell | None:
    """Return the cell of a p-value; None if it is undefined."""
    text = p_value(p)
    return None if text is None else TableCell(text, number=p)


def p_value(p: float) -> str | None:
    """Return a p-value with two digits, or a bound; None if it is undefined.

    >>> p_value(0.0321), p_value(0.0005), p_value(float("nan"))
    ('0.032', '< 0.001', None)
    """
    if np.isnan(p):
        return None
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def _caption(results: Results, rows: Sequence[ModelDifference]) -> str:
    differences = [row.difference for row in rows]
    first = results.cells[0]
    text = (
        f"Each model minus {first.title if first.trained_elsewhere else first.label}, shares in "
        "percentage points: positive if the model has more. The interval, and p for the hypothesis "
        "of no difference, allow for both other seeds and other test images (Student's t with "
        "Satterthwaite's degrees of freedom, of a crossed design)."
    )
    if any(each.n_objects is not None for each in differences):
        text += " Images of one object count together: they are not independent evidence."
    if any(min(each.n_seeds) < SEEDS_FOR_INTERVAL for each in differences):
        text += f" Both need {SEEDS_FOR_INTERVAL} or more seeds of each model."
    if any(cell.trained_elsewhere for cell in results.cells):
        text += " A model that was trained elsewhere has no seeds, so that neither is known."
    if any(np.isnan(each.p) and min(each.n_seeds) >= SEEDS_FOR_INTERVAL for each in differences):
        text += (
            " Neither is stated where no outcome varies, nor of records from before November 30, "
            "2026, whose p-values were too small."
        )
    if tested := [each for each in differences if not np.isnan(each.p)]:
        text += (
            f" p is of one comparison. Corrected p is for all {tested[0].comparisons} comparisons "
            "of this table, as are the intervals (Bonferroni). Detectable is the smallest true "
            "difference that each comparison would have detected in 80 % of repetitions."
        )
    return text


def differences_csv(results: Results, rows: Sequence[ModelDifference]) -> str:
    """Return the differences as CSV, with the fields of the values and shares as numbers."""
    columns = [
        *("label", "measure", *Quantity.columns(row.quantity for row in rows)),
        *("difference", "low", "high", "standard_error", "degrees", "p", "p_corrected"),
        *("comparisons", "detectable"),
        *("seeds", "seeds_of_first", "images", "objects"),
    ]
    elsewhere = {cell.title for cell in results.cells if cell.trained_elsewhere}
    lines = []
    for row in rows:
        each = row.difference
        lines.append(
            {
                "label": row.title,
                "measure": without_folder(row.measure),
                **row.quantity.row(),
                **difference_numbers(each),
                "seeds": None if row.title in elsewhere else each.n_seeds[0],
                "seeds_of_first": each.n_seeds[1],
            }
        )
    return csv_text(columns, lines)


def difference_numbers(each: Difference) -> dict[str, float | None]:
    """Return the numbers of a difference by name; those that are undefined are None."""
    low, high = each.interval or (None, None)
    numbers = {
        "standard_error": each.standard_error,
        "degrees": each.degrees,
        "p": each.p,
        "p_corrected": each.p_corrected,
        "detectable": smallest_detectable(each),
    }
    return {
        "difference": each.mean,
        "low": low,
        "high": high,
        **{name: None if np.isnan(x) else x for name, x in numbers.items()},
        "comparisons": each.comparisons,
        "images": each.n_images,
        "objects": each.n_objects,
    }
