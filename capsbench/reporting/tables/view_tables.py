"""Tables of accuracy at each view of a factor: the numbers behind a figure."""

from __future__ import annotations

from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import curve
from capsbench.reporting.formatting import FACTORS, count_range, view
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)


def view_table(results: Results, factor: str) -> Table:
    """Return accuracy at each view of a factor, one column per model; familiar views are marked.

    A column has the number of test images at each view, or its range if models were tested on
    different numbers.
    """
    curves = {
        title: {point.view: point for point in curve(cells, factor)}
        for title, cells in results.by_label().items()
    }
    familiar = {
        value: point.familiar for points in curves.values() for value, point in points.items()
    }
    images = {
        value: frozenset().union(
            *(points[value].seed_values.images for points in curves.values() if value in points)
        )
        for value in familiar
    }
    return Table(
        name=f"accuracy-{factor}",
        title=f"{FACTORS[factor]}: accuracy at each view",
        columns=(*text_columns("View", "Seen in training"), *number_columns("Images", *curves)),
        rows=tuple(
            TableRow(
                (
                    TableCell(view(factor, value), number=value),
                    "familiar" if familiar[value] else "novel",
                    count_range(images[value]) if images[value] else None,
                    *(
                        mean_cell(points[value].seed_values) if value in points else None
                        for points in curves.values()
                    ),
                ),
                marked=familiar[value],
            )
            for value in sorted(familiar)
        ),
    )
