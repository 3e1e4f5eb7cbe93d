"""Tables of the comparison of two sides: differences, differences at each view, settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from capsbench.measures import load_measure
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.differences import num_images, p_value
from capsbench.reporting.comparisons.paired import NotCompared, PairedDifference
from capsbench.reporting.comparisons.setting_changes import SettingChange
from capsbench.reporting.comparisons.sides import Pair
from capsbench.reporting.formatting import (
    FACTORS,
    NUMBER_FORMATS,
    count_range,
    counted,
    listed,
    view,
)
from capsbench.reporting.tables.missing_table import ALL
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
    text_rows,
)
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL

NUMBERS = ("A", "B", "B minus A", "95 % interval", "Corrected p")
OVER_SEEDS = (
    "The interval, and p for the hypothesis of no difference, allow for other seeds and other test "
    "images (Student's t with Satterthwaite's degrees of freedom, of a crossed design); those of "
    "values that are no means over images, for other seeds alone (paired t test). They need "
    f"{SEEDS_FOR_INTERVAL} or more seeds of each model."
)
OVER_IMAGES = (
    "The interval, and p for the hypothesis of no difference, are of these two networks on other "
    "test images (paired t test over images): networks of other seeds would differ more."
)


def differences_table(rows: Sequence[PairedDifference], *, single: bool) -> Table | None:
    """Return one row per model and value; None if there are none.

    Args:
        rows: The differences.
        single: True for two cells, which are compared over images alone.
    """
    if not rows:
        return None
    titles = dict.fromkeys(row.pair.title for row in rows)
    several = len(titles) > 1
    return Table(
        name="differences",
        title="Differences" if several else f"Differences: {next(iter(titles))}",
        columns=(
            *text_columns(*(["Model"] if several else []), "Value"),
            *number_columns(*NUMBERS, "Seeds", "Images"),
        ),
        rows=tuple(
            TableRow(
                (
                    *([row.pair.title] if several else []),
                    measured_text(row.measure, row.quantity),
                    *_numbers(row),
                    " and ".join(map(str, reversed(row.difference.n_seeds))),
                    num_images(row.difference),
                )
            )
            for row in rows
        ),
        caption=_caption(rows, single=single),
    )


def view_differences_table(rows: Sequence[PairedDifference], number: int, *, single: bool) -> Table:
    """Return one row per view of a pair of models; familiar views are marked.

    Args:
        rows: Differences of one pair at single views.
        number: Number of the table, for its name.
        single: True for two cells, which are compared over images alone.
    """
    images = count_range({row.difference.n_images for row in rows})
    return Table(
        name=f"views-{number}",
        title=f"{rows[0].pair.title}: each view",
        columns=(*text_columns("View"), *number_columns(*NUMBERS)),
        rows=tuple(
            TableRow((_view_text(row), *_numbers(row)), marked=row.quantity.split == "familiar")
            for row in rows
        ),
        caption=f"On {images} test images at each view. {_caption(rows, single=single)}",
    )


def changes_table(changes: Sequence[SettingChange], pairs: Sequence[Pair]) -> Table | None:
    """Return one row per setting that differs; None if none does."""
    if not changes:
        return None
    several = len(pairs) > 1
    return Table(
        name="settings",
        title="What else differs",
        columns=text_columns("Setting", *(["Models"] if several else []), "A", "B"),
        rows=text_rows(
            [
                (
                    each.setting,
                    *([_models(each.models, pairs)] if several else []),
                    each.a,
                    each.b,
                )
                for each in changes
            ]
        ),
        caption="Each of these, or several together, can be the reason for a difference.",
    )


def not_compared_table(rows: Sequence[NotCompared], pairs: Sequence[Pair]) -> Table | None:
    """Return one row per measure and reason, with the models; None if all were compared."""
    titles: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        titles.setdefault((row.measure, row.reason), []).append(row.title)
    if not titles:
        return None
    return Table(
        name="not-compared",
        title="Not compared",
        columns=text_columns("Measure", "Models", "Reason"),
        rows=text_rows(
            [
                (measure, _models(models, pairs), reason)
                for (measure, reason), models in titles.items()
            ]
        ),
    )


def _models(titles: Sequence[str], pairs: Sequence[Pair]) -> str:
    return ALL if len(titles) == len(pairs) > 1 else listed(titles)


def verdict(rows: Sequence[PairedDifference], *, single: bool) -> str:
    """Return a sentence on how many differences are shown.

    Args:
        rows: The differences over splits and ranges of views.
        single: True for two cells: the sentence is on these two networks alone.
    """
    limits = [each for row in rows if (each := row.difference.interval) is not None]
    if not limits:
        if not rows:
            return "Nothing over splits or ranges of views is compared."
        return f"No difference has an interval: it needs {SEEDS_FOR_INTERVAL} seeds of each model."
    higher = sum(low > 0 for low, _ in limits)
    lower = sum(high < 0 for _, high in limits)
    whose = "of these two trained networks" if single else ""
    values = f"{counted(len(limits), 'value')} {whose}".strip()
    return (
        f"Of {values}, B is shown to be higher in {higher} and lower in "
        f"{lower}; not decided: {len(limits) - higher - lower}."
    )


def _numbers(row: PairedDifference) -> tuple[TableCell | str | None, ...]:
    each, unit = row.difference, load_measure(row.measure).metrics[row.quantity.metric].unit
    text = NUMBER_FORMATS[unit].text
    changed, bare = NUMBER_FORMATS["difference of shares" if unit == "share" else unit]
    return (
        TableCell(text(row.a), number=row.a),
        TableCell(text(row.b), number=row.b),
        TableCell(_signed(each.mean, changed), number=each.mean),
        " to ".join(_signed(limit, bare) for limit in each.interval or ()) or None,
        p_value(each.p_corrected),
    )


def _signed(value: float, text: Callable[[float], str]) -> str:
    """Return a number with its sign, also in a format that is made for positive ones."""
    size = text(abs(value))
    return f"−{size}" if value < 0 and size != text(0.0) else size


def _view_text(row: PairedDifference) -> str:
    factor, value = row.quantity.factor, row.quantity.view
    if row.measure != ACCURACY_BY_VIEW or factor is None or value is None:
        return measured_text(row.measure, row.quantity)
    familiar = ", familiar" if row.quantity.split == "familiar" else ""
    return f"{FACTORS[factor]} {view(factor, value)}{familiar}"


def _caption(rows: Sequence[PairedDifference], *, single: bool) -> str:
    text = (
        "Shares are in per cent, their differences in percentage points: positive if B is higher. "
    )
    text += OVER_IMAGES if single else OVER_SEEDS
    comparisons = max(row.difference.comparisons for row in rows)
    if comparisons > 1:
        text += (
            f" Interval and p hold for all {comparisons} comparisons of this table together "
            "(Bonferroni)."
        )
    return text
