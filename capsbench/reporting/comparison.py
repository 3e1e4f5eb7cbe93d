"""Comparison of two folders of records: tables for the terminal, a page, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from capsbench.files.atomic import write_bytes
from capsbench.names import without_folder
from capsbench.reporting.charts.difference_charts import difference_charts, pair_places
from capsbench.reporting.comparisons.differences import difference_numbers
from capsbench.reporting.comparisons.paired import (
    PairedDifference,
    PairedDifferences,
    paired_differences,
)
from capsbench.reporting.comparisons.setting_changes import SettingChange, setting_changes
from capsbench.reporting.comparisons.sides import Pair, Side, load_sides, pair_models
from capsbench.reporting.formatting import counted, listed
from capsbench.reporting.tables import render_html
from capsbench.reporting.tables.comparison_tables import (
    changes_table,
    differences_table,
    not_compared_table,
    verdict,
    view_differences_table,
)
from capsbench.reporting.tables.table import Table


@dataclass(frozen=True)
class Comparison:
    """Two sides and all differences between them.

    Attributes:
        a: First side.
        b: Second side.
        pairs: The models that are compared.
        changes: Settings that differ.
        differences: B minus A.
    """

    a: Side
    b: Side
    pairs: Sequence[Pair]
    changes: Sequence[SettingChange]
    differences: PairedDifferences

    @property
    def verdict(self) -> str:
        """A sentence on how many differences over splits and ranges of views are shown."""
        rows = [*self.differences.values, *chain.from_iterable(self.differences.views)]
        if all(row.a == row.b for row in rows):
            return f"All {counted(len(rows), 'value')} of A and B are equal."
        return verdict(self.differences.values, single=self.a.is_cell)

    @property
    def left_out(self) -> str:
        """A sentence on the models that only one side has; empty if there are none."""
        parts = [
            f"in {name} alone: {listed(missing)}"
            for name, own, other in (("A", self.a, self.b), ("B", self.b, self.a))
            if (missing := [title for title in own.models if title not in other.models])
        ]
        return f"Not compared, {'; '.join(parts)}." if parts and not self.a.is_cell else ""

    def tables(self) -> list[Table]:
        """Return the tables of the page: differences, single views, settings, what is missing."""
        single = self.a.is_cell
        tables = (
            differences_table(self.differences.values, single=single),
            *(
                view_differences_table(rows, number, single=single)
                for number, rows in enumerate(self.differences.views, start=1)
            ),
            changes_table(self.changes, self.pairs),
            not_compared_table(self.differences.not_compared, self.pairs),
        )
        return [table for table in tables if table is not None]

    def as_json(self) -> dict[str, Any]:
        """Return all numbers as plain JSON; what is undefined is None."""
        views = chain.from_iterable(self.differences.views)
        return {
            "a": str(self.a.folder),
            "b": str(self.b.folder),
            "models": [{"a": each.title_a, "b": each.title_b} for each in self.pairs],
            "settings": [each._asdict() for each in self.changes],
            "differences": [_row(row) for row in (*self.differences.values, *views)],
            "not_compared": [each._asdict() for each in self.differences.not_compared],
        }

    def write_page(self, path: Path) -> None:
        """Write the page, one self-contained HTML file.

        Raises:
            UserError: It cannot be written.
        """
        panels = list(difference_charts(self.differences.views))
        page = render_html.render(
            "comparison.html.jinja",
            charts=bool(panels),
            comparison=self,
            tables=self.tables(),
            panels=panels,
            legend=pair_places(self.differences.views),
        )
        write_bytes(path, page.encode())


def compare(a: Path, b: Path, chosen: Mapping[str, str]) -> Comparison:
    """Compare the records of two folders; nothing is trained or measured.

    Args:
        a: Folder of a benchmark, ``runs/<benchmark>``, or of a cell.
        b: Another one of the same kind.
        chosen: Titles of models in ``a`` with those in ``b`` that they are compared with; equal
            titles if empty.

    Raises:
        UserError: The folders hold no records, or nothing in them can be compared.
    """
    one, other = load_sides(a, b)
    pairs = pair_models(one, other, chosen)
    return Comparison(
        one, other, pairs, setting_changes(pairs), paired_differences(one, other, pairs)
    )


def _row(row: PairedDifference) -> dict[str, Any]:
    seeds_b, seeds_a = row.difference.n_seeds
    return {
        "model_a": row.pair.title_a,
        "model_b": row.pair.title_b,
        "measure": without_folder(row.measure),
        **row.quantity.row(),
        "a": row.a,
        "b": row.b,
        **difference_numbers(row.difference),
        "seeds_a": seeds_a,
        "seeds_b": seeds_b,
    }
