"""Tables of claims: the verdict of each network, and the tests of each claim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capsbench.measures import load_measure
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
from capsbench.reporting.comparisons.differences import p_value
from capsbench.reporting.comparisons.verdicts import (
    LEAST_SEEDS,
    LEAST_SEEDS_AT_FULL_SIZE,
    at_scale,
    verdict_text,
    without_margin,
)
from capsbench.reporting.formatting import counted, percent, points, share
from capsbench.reporting.tables.quantity_text import measured_text, quantity_text
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.schema.claims import Claim, ClaimTest
from capsbench.schema.parts import point_text
from capsbench.statistics.paired_difference import Difference
from capsbench.statistics.power import smallest_detectable

RULE = (
    "Each network has one primary test on each set, declared in the file. A test compares a "
    "capsule network with another network. It holds if the difference is above its margin, with "
    "the sign changed if lower is better, and does not hold if it is below, at a level of 5 % over "
    "all primary tests of the claim together (Bonferroni). A test of what is learned holds only if "
    "training has raised the network's own value, too. If neither is shown, and the corrected "
    "interval lies within the bound of the claim, there is no difference beyond this bound. "
    "Everything else is not decided. The verdict of a network is the one that it has on every set, "
    "and that of a claim the one that every network has; where they differ, nothing is decided. "
    f"Fewer than {LEAST_SEEDS} seeds ({LEAST_SEEDS_AT_FULL_SIZE} at full size) decide nothing."
)
PRIMARY = (
    "Interval and corrected p are at 95 % for all {count} together. 'Detectable' is the smallest "
    "true difference, beyond the margin if there is one, that the comparison, with its seeds and "
    "images, would have shown with a probability of 80 %."
)
SECONDARY = (
    "These tests decide nothing: p, 95 % interval and detectable difference are those of one test "
    "alone."
)
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
        verdict = verdict_text(each.verdict, each.claim)
        on_sets = f"{count} on {counted(len(sets), 'set')}"
        rows.append(TableRow((each.claim.claim, verdict, on_sets), marked=True))
        for label, own in each.networks.items():
            tests = (test for test in each.primary if test.test.model == label)
            by_set = "; ".join(_on_set(test, each.claim) for test in tests)
            rows.append(TableRow((f"· {label}", verdict_text(own, each.claim), by_set)))
    return Table(
        name="verdicts",
        title="The claims",
        columns=text_columns("Claim and network", f"Verdict{at_scale(scale)}", "On each set"),
        rows=tuple(rows),
        caption=RULE,
        sortable=False,
    )


def primary_table(judged: JudgedClaim, number: int, scale: str | None) -> Table:
    """Return the table of the tests that decide a claim."""
    count = counted(len(judged.primary), "primary test")
    size = f"Verdicts are{at_scale(scale).removeprefix(',')}. " if scale else ""
    return Table(
        name=f"claim-{number}",
        title=judged.claim.claim,
        columns=(
            *text_columns("Network", "Verdict", "Value"),
            *number_columns("Measured", "Against", "Difference", "Interval", "p", "Corrected p"),
            *number_columns("Detectable", "Seeds"),
        ),
        rows=tuple(
            TableRow((network_text(test.test), _verdict(test, judged.claim), *_numbers(test)))
            for test in judged.primary
        ),
        caption=f"{size}Source: {judged.claim.source}. {PRIMARY.format(count=count)} {TEST}",
    )


def secondary_table(judged: JudgedClaim, number: int) -> Table | None:
    """Return the table of the other tests of a claim; None if there are none."""
    if not judged.secondary:
        return None
    return Table(
        name=f"claim-{number}-secondary",
        title=f"{judged.claim.claim}: secondary tests",
        columns=(
            *text_columns("Network", "Value"),
            *number_columns("Measured", "Against", "Difference", "95 % interval", "p"),
            *number_columns("Detectable", "Seeds"),
        ),
        rows=tuple(
            TableRow((network_text(test.test), *_numbers(test))) for test in judged.secondary
        ),
        caption=SECONDARY,
    )


def network_text(test: ClaimTest) -> str:
    """Return the network of a test and its set, with the varied value if there is one."""
    at = "" if test.at is None else f" at {point_text(test.at)}"
    return f"{test.model} on {test.part}{at}"


def _on_set(judged: JudgedTest, claim: Claim) -> str:
    """Return the set of a primary test with its verdict, and all seeds at chance behind it."""
    labels = judged.test.model, judged.test.against
    at_chance = (
        f"{label}: {chance_text(seeds)}"
        for label, seeds in zip(labels, judged.at_chance, strict=True)
        if seeds
    )
    return f"{judged.test.part}: {_verdict(judged, claim, *at_chance)}"


def _verdict(judged: JudgedTest, claim: Claim, *remarks: str) -> str:
    """Return the verdict on a primary test, with the reason if there is one, and remarks."""
    assert judged.verdict is not None
    text = "; ".join(filter(None, (judged.reason, *remarks)))
    return verdict_text(judged.verdict, claim) + (f" ({text})" if text else "")


def _value(test: ClaimTest) -> str:
    """Return the compared value in words."""
    value = measured_text(test.measure, test.quantity)
    if test.against_quantity is not None:
        value += f", against {quantity_text(test.against_quantity)}"
    value += ", as far as it is learned" if test.learned else ""
    return value + (" (lower is better)" if test.lower_is_better else "")


def _numbers(judged: JudgedTest) -> tuple[TableCell | str | None, ...]:
    """Return the value and its numbers; corrected ones only of a primary test."""
    test, each = judged.test, judged.difference
    values = (_value(test), *_means(judged))
    if each is None:
        return (*values, *(None,) * (6 if test.primary else 5))
    own = without_margin(each, test.margin)
    margin = f"margin {difference_text(test, test.margin)}" if test.margin else ""
    limits = [bare_difference(test, limit) for limit in own.interval or ()]
    detectable = smallest_detectable(each)
    return (
        *values,
        TableCell(difference_text(test, own.mean), details=margin),
        " to ".join(limits) or None,
        p_value(each.p),
        *((p_value(each.p_corrected),) if test.primary else ()),
        None if np.isnan(detectable) else difference_text(test, detectable),
        TableCell(" and ".join(map(str, each.n_seeds)), details=_images_text(each)),
    )


def _images_text(difference: Difference) -> str:
    """Return the number of images behind a difference, and of objects if these were drawn."""
    if not difference.n_images:
        return ""
    objects = "" if difference.n_objects is None else f" of {difference.n_objects:,} objects"
    return f"{difference.n_images:,} images{objects}"


def _means(judged: JudgedTest) -> list[TableCell | None]:
    """Return the means of the model and of the other one, whose name is below its mean."""
    labels = ("", f"{judged.test.against}, ")
    added = ("" if judged.added is None else _added_text(judged.test, judged.added), "")
    return [
        None
        if mean is None
        else TableCell(
            _value_text(judged.test, mean),
            values=", ".join(bare_difference(judged.test, each) for each in own),
            seeds=len(own),
            details=label + ("" if size is None else f"{size:,} parameters") + more,
            note=chance_text(at_chance),
        )
        for label, mean, own, size, more, at_chance in zip(
            labels,
            judged.means,
            judged.values,
            judged.parameters,
            added,
            judged.at_chance,
            strict=True,
        )
    ]


def _added_text(test: ClaimTest, added: Difference) -> str:
    """Return what training added to a network's own value."""
    sign = -1 if test.lower_is_better else 1
    return f"; {difference_text(test, sign * added.mean)} added by training, p {p_value(added.p)}"


def is_share(test: ClaimTest) -> bool:
    """Return True if the compared value is a share, or a difference of shares."""
    unit = load_measure(test.measure).metrics[test.quantity.metric].unit
    return unit in ("share", "difference of shares")


def _value_text(test: ClaimTest, value: float) -> str:
    return percent(value) if is_share(test) else bare_difference(test, value)


def difference_text(test: ClaimTest, value: float) -> str:
    """Return a difference with its unit."""
    return points(value) if is_share(test) else bare_difference(test, value)


def bare_difference(test: ClaimTest, value: float) -> str:
    """Return a difference without its unit."""
    return share(value) if is_share(test) else f"{value:.3f}".replace("-", "−")
