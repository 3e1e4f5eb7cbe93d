"""Tables of claims: the verdict of each network, and the tests of each claim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capsbench.measures import load_measure
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
from capsbench.reporting.comparisons.differences import num_images, p_value
from capsbench.reporting.comparisons.verdicts import (
    LEAST_SEEDS,
    LEAST_SEEDS_AT_FULL_SIZE,
    at_scale,
    verdict_text,
    without_margin,
)
from capsbench.reporting.formatting import counted, percent, points
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.reporting.tables.table import (
    MISSING,
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.schema.claims import Claim, ClaimTest
from capsbench.schema.parts import point_text
from capsbench.statistics.power import smallest_detectable

RULE = (
    "Each network has one primary test on each set, declared in the file. A test compares a "
    "capsule network with another network. It holds if the difference is above its margin, with "
    "the sign changed if lower is better, and does not hold if it is below, at a level of 5 % over "
    "all primary tests of the claim together (Bonferroni). If neither is shown, and the corrected "
    "interval lies within the bound of the claim, there is no difference beyond this bound. "
    "Everything else is not decided. The verdict of a network is the one that it has on every set, "
    "and that of a claim the one that every network has; where they differ, nothing is decided. "
    f"Fewer than {LEAST_SEEDS} seeds ({LEAST_SEEDS_AT_FULL_SIZE} at full size) decide nothing."
)
PRIMARY = (
    "Intervals and corrected p are those of all {count} together. 'Detectable' is the smallest "
    "true difference that the comparison, with its seeds and images, would have shown with a "
    "probability of 80 %."
)
SECONDARY = "These tests decide nothing: each p and 95 % interval is that of one test alone."
TEST = (
    "The standard error of images with outcomes allows for other seeds and other test images "
    "(Student's t on a crossed table, images of one object together); that of other numbers is "
    "that of a paired t test over seeds."
)


def claim_tables(judged: Sequence[JudgedClaim], scale: str | None) -> list[Table]:
    """Return the table of verdicts, and those of the tests of each claim."""
    tests = [
        table
        for number, each in enumerate(judged, start=1)
        for table in (primary_table(each, number, scale), secondary_table(each, number))
        if table is not None
    ]
    return [verdict_table(judged, scale), *tests]


def verdict_table(judged: Sequence[JudgedClaim], scale: str | None) -> Table:
    """Return one row per claim with its verdict, and below it one row per network."""
    rows = []
    for each in judged:
        sets = {test.test.part for test in each.primary}
        count = counted(len(each.primary), "primary test")
        rows.append(
            TableRow(
                (
                    each.claim.claim,
                    verdict_text(each.verdict, each.claim) + at_scale(scale),
                    f"{count} on {counted(len(sets), 'set')}",
                ),
                marked=True,
            )
        )
        rows += [
            TableRow(
                (
                    f"· {label}",
                    verdict_text(verdict, each.claim) + at_scale(scale),
                    "; ".join(
                        f"{test.test.part}: {_verdict(test, each.claim)}"
                        for test in each.primary
                        if test.test.model == label
                    ),
                )
            )
            for label, verdict in each.networks.items()
        ]
    return Table(
        name="verdicts",
        title="The claims",
        columns=text_columns("Claim and network", "Verdict", "On each set"),
        rows=tuple(rows),
        caption=RULE,
    )


def primary_table(judged: JudgedClaim, number: int, scale: str | None) -> Table:
    """Return the table of the tests that decide a claim."""
    return Table(
        name=f"claim-{number}",
        title=judged.claim.claim,
        columns=(
            *text_columns("Test", "Value", f"Verdict{at_scale(scale)}"),
            *number_columns("Model", "Against", "Difference", "Margin", "Interval", "p"),
            *number_columns("Corrected p", "Detectable", "Seeds", "Images", "Parameters"),
        ),
        rows=tuple(_primary_row(test, judged.claim) for test in judged.primary),
        caption=" ".join(
            [
                f"Source: {judged.claim.source}.",
                PRIMARY.format(count=counted(len(judged.primary), "primary test")),
                TEST,
            ]
        ),
    )


def secondary_table(judged: JudgedClaim, number: int) -> Table | None:
    """Return the table of the other tests of a claim; None if there are none."""
    if not judged.secondary:
        return None
    return Table(
        name=f"claim-{number}-secondary",
        title=f"{judged.claim.claim}: secondary tests",
        columns=(
            *text_columns("Test", "Value"),
            *number_columns("Model", "Against", "Difference", "Margin", "95 % interval", "p"),
            *number_columns("Seeds", "Images", "Parameters"),
        ),
        rows=tuple(_secondary_row(test) for test in judged.secondary),
        caption=SECONDARY,
    )


def _primary_row(judged: JudgedTest, claim: Claim) -> TableRow:
    test, each = judged.test, judged.difference
    further: tuple[str | None, ...] = (None, None, None, None)
    if each is not None:
        detectable = smallest_detectable(each)
        further = (
            p_value(each.p_corrected),
            None if np.isnan(detectable) else _difference_text(test, detectable),
            _seeds(judged),
            num_images(each),
        )
    return TableRow(
        (*_names(test), _verdict(judged, claim), *_numbers(judged), *further, _sizes(judged))
    )


def _secondary_row(judged: JudgedTest) -> TableRow:
    each = judged.difference
    images = None if each is None else num_images(each)
    return TableRow(
        (*_names(judged.test), *_numbers(judged), _seeds(judged), images, _sizes(judged))
    )


def _verdict(judged: JudgedTest, claim: Claim) -> str:
    """Return the verdict on a primary test, with the reason if there is one."""
    assert judged.verdict is not None
    reason = f" ({judged.reason})" if judged.reason else ""
    return verdict_text(judged.verdict, claim) + reason


def _names(test: ClaimTest) -> tuple[str, str]:
    """Return the networks and the value that a test compares."""
    at = "" if test.at is None else f" at {point_text(test.at)}"
    value = measured_text(test.measure, test.quantity)
    if test.against_quantity is not None:
        value += f", against {measured_text(test.measure, test.against_quantity)}"
    value += ", gained by training" if test.gain else ""
    value += " (lower is better)" if test.lower_is_better else ""
    return f"{test.part}{at}: {test.model} against {test.against}", value


def _numbers(judged: JudgedTest) -> tuple[TableCell | str | None, ...]:
    """Return the means of both, then difference, margin, interval and p of the one test."""
    test, each = judged.test, judged.difference
    means = [
        None if mean is None else TableCell(_value_text(test, mean), note=chance_text(at_chance))
        for mean, at_chance in zip(judged.means, judged.at_chance, strict=True)
    ]
    margin = _difference_text(test, test.margin) if test.margin else "none"
    if each is None:
        return *means, None, margin, None, None
    own = without_margin(each, test.margin)
    limits = [_difference_text(test, limit) for limit in own.interval or ()]
    return (
        *means,
        _difference_text(test, own.mean),
        margin,
        " to ".join(limits) or None,
        p_value(each.p),
    )


def _is_share(test: ClaimTest) -> bool:
    unit = load_measure(test.measure).metrics[test.quantity.metric].unit
    return unit in ("share", "difference of shares")


def _value_text(test: ClaimTest, value: float) -> str:
    return percent(value) if _is_share(test) else f"{value:.3f}"


def _difference_text(test: ClaimTest, value: float) -> str:
    return points(value) if _is_share(test) else f"{value:.3f}"


def _seeds(judged: JudgedTest) -> str | None:
    return None if judged.difference is None else " and ".join(map(str, judged.difference.n_seeds))


def _sizes(judged: JudgedTest) -> str:
    return " : ".join(MISSING if n is None else f"{n:,}" for n in judged.parameters)
