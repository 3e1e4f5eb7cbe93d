"""Table of the errors of drawings: images that a model draws from views that it is given."""

from __future__ import annotations

from capsbench.measures.rendering_error import RenderingErrorConfig
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.formatting import squared_error
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns
from capsbench.values import Quantity

RENDERING_ERROR = "rendering-error"
CANNOT_DRAW = "cannot draw"
CAPTION = (
    "Each error is the mean squared difference of pixels, from 0 to 1, between a moved image and "
    "one of three others: the image that a model draws from the view (error), the image without "
    "the move (copy), or one image for all, the mean of the moved ones (constant). A good drawing "
    "has a lower error than both. The last column is the error divided by that of the copy."
)


def drawing_table(results: Results) -> Table | None:
    """Return one row per range of views and model; None if nothing is measured."""
    configs = [c for c in results.benchmark.measures if isinstance(c, RenderingErrorConfig)]
    color_indices = results.color_indices()
    rows = [
        row
        for config in configs
        for views in config.views
        for title, cells in results.by_label().items()
        if (row := _row(title, color_indices[title], cells, views)) is not None
    ]
    if not rows:
        return None
    return Table(
        name="drawings",
        title="Drawings of moved images",
        columns=(
            *text_columns("Model", "Views"),
            *number_columns("Error", "Copy", "Constant", "Relative to copy"),
        ),
        rows=tuple(rows),
        caption=CAPTION,
    )


def _row(title: str, color_index: int, cells: list[CellResult], views: str) -> TableRow | None:
    """Return the row of a model; the errors of copy and constant are equal for all models."""

    def seed_values(metric: str) -> SeedValues | None:
        return aggregate_seeds(cells, RENDERING_ERROR, Quantity(metric=metric, split=views))

    copy, constant = seed_values("copy_error"), seed_values("constant_error")
    if copy is None or constant is None:
        return None
    error = mean_cell(seed_values("rendering_error"), "squared error")
    baselines = squared_error(copy.mean), squared_error(constant.mean)
    relative = mean_cell(seed_values("error_relative_to_copy"))
    return TableRow((title, views, error or CANNOT_DRAW, *baselines, relative), color=color_index)
