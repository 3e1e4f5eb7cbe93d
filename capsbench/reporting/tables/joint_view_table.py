"""Table of accuracy over joint views, one row per model."""

from __future__ import annotations

from capsbench.measures.accuracy_by_joint_view import AccuracyByJointView, AccuracyByJointViewConfig
from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, quantities
from capsbench.reporting.comparisons.joint_views import ACCURACY_BY_JOINT_VIEW
from capsbench.reporting.formatting import FACTORS, counted_range, listed
from capsbench.reporting.tables.mean_cell import WITH_SEEDS, mean_cell
from capsbench.reporting.tables.split_table import MERGED_REASON, heading
from capsbench.reporting.tables.table import Table, TableColumn, TableRow, text_columns
from capsbench.values import MERGED_ACCURACY, Quantity

HEADINGS = {"worst_accuracy": "Worst"}  # where the name of the metric is longer than it must be


def joint_view_table(results: Results) -> Table | None:
    """Return the summaries of accuracy over joint views; None if nothing is measured."""
    configs = [c for c in results.benchmark.measures if isinstance(c, AccuracyByJointViewConfig)]
    columns = quantities(results.cells, ACCURACY_BY_JOINT_VIEW, view=None)
    if not configs or not columns:
        return None
    (config,) = configs
    units = {name: spec.unit for name, spec in AccuracyByJointView.metrics.items()}
    color_indices = results.color_indices()
    factors = listed([FACTORS[factor].lower() for factor in config.grid.factors()])
    return Table(
        name="joint-views",
        title=f"Accuracy if {factors} change together",
        columns=(*text_columns("Model"), *map(_column, columns)),
        rows=tuple(
            TableRow(
                (
                    title,
                    *(
                        mean_cell(
                            aggregate_seeds(cells, ACCURACY_BY_JOINT_VIEW, quantity),
                            units[quantity.metric],
                        )
                        for quantity in columns
                    ),
                ),
                color=color_indices[title],
            )
            for title, cells in results.by_label().items()
        ),
        caption=_caption(columns, _images_at_views(results)),
    )


def _column(quantity: Quantity) -> TableColumn:
    if quantity.split:
        return TableColumn(heading(quantity), accuracy=(ACCURACY_BY_JOINT_VIEW, quantity))
    return TableColumn(HEADINGS.get(quantity.metric, quantity.metric.capitalize()))


def _images_at_views(results: Results) -> set[int]:
    """Return the numbers of test images at the joint views."""
    records = (cell.measures.get(ACCURACY_BY_JOINT_VIEW) for cell in results.cells)
    values = (value for record in records if record for value in record.values)
    return {value.n for value in values if value.view is not None}


def _caption(columns: list[Quantity], images: set[int]) -> str:
    at_views = f" on {counted_range(images, 'test image')} at each view" if images else ""
    text = (
        f"Accuracy{at_views}, as the mean over seeds {WITH_SEEDS}. Each view has "
        "the same weight. A joint view is familiar if the values of both factors are. The gap is "
        "familiar minus novel, in percentage points; worst is the lowest accuracy at any view."
    )
    if any(quantity.metric == MERGED_ACCURACY for quantity in columns):
        text += f" {MERGED_REASON}"
    if any(quantity.metric == "interaction" for quantity in columns):
        text += (
            " The interaction compares views with two novel values with the harder one of the two "
            "alone, the other factor being familiar: it is negative if both changes together are "
            "harder than that."
        )
    return text
