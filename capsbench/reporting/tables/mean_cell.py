"""Table cell of a mean over seeds, with its interval and the value of every seed."""

from __future__ import annotations

from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.formatting import NUMBER_FORMATS
from capsbench.reporting.tables.table import TableCell

NO_BREAK = "\N{NO-BREAK SPACE}"


def mean_cell(seed_values: SeedValues | None, unit: str = "share") -> TableCell | None:
    """Return the cell of a mean over seeds; None if there are no numbers.

    Args:
        seed_values: The numbers of all seeds.
        unit: Unit of the numbers, a key of `capsbench.reporting.formatting.NUMBER_FORMATS`.
    """
    if seed_values is None:
        return None
    text, bare = NUMBER_FORMATS[unit]
    if None in seed_values.values:  # trained elsewhere: one model, no mean
        return TableCell(
            text(seed_values.mean),
            note=chance_text(seed_values.at_chance),
            number=seed_values.mean,
        )
    limits = seed_values.interval
    more = seed_values.n - len(seed_values.shown)
    return TableCell(
        text(seed_values.mean),
        interval=f"{bare(limits[0])} to {bare(limits[1])}" if limits else "",
        # A line may break only between two seeds.
        values=", ".join(bare(value).replace(" ", NO_BREAK) for value in seed_values.shown)
        + (f" and {more:,} more" if more else ""),
        seeds=seed_values.n,
        note=chance_text(seed_values.at_chance),
        number=seed_values.mean,
    )
