"""Tables of claims: the verdicts, and the tests of each claim."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.reporting.comparisons.claims import (
    ClaimVerdict,
    JudgedClaim,
    JudgedTest,
    at_scale,
    overall,
)
from capsbench.reporting.comparisons.differences import num_images, p_value
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.reporting.tables.table import (
    MISSING,
    Table,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.schema.parts import point_text

RULE = (
    "A claim holds if all of its tests hold, does not hold if one of them fails, and is not "
    "decided otherwise. A test compares a capsule network with a CNN. The difference is the first "
    "minus the second, with the sign changed if lower is better, so that positive is better. The "
    "test holds if the difference is above its margin, and fails if it is below, at a level of "
    "5 % over all tests together (Holm 1979); each 95 % interval is for one test. If images have "
    "outcomes, seeds and images are both resampled (a studentized bootstrap of a crossed design), "
    "images of one object together; otherwise it is a paired t test over seeds."
)


def claim_tables(judged: Sequence[JudgedClaim], scale: str | None) -> list[Table]:
    """Return the table of verdicts, and that of the tests of each claim."""
    tests = [claim_table(each, number, scale) for number, each in enumerate(judged, start=1)]
    return [verdict_table(judged, scale), *tests]


def verdict_table(judged: Sequence[JudgedClaim], scale: str | None) -> Table:
    """Return one row per claim: its verdict, and that of each network with a count of its tests."""
    models = list(dict.fromkeys(test.test.model for each in judged for test in each.tests))
    rows = []
    for each in judged:
        by_model = [
            _model_verdict([test.verdict for test in each.tests if test.test.model == model])
            for model in models
        ]
        rows.append(TableRow((each.claim.claim, each.verdict + at_scale(scale), *by_model)))
    return Table(
        name="verdicts",
        title="The claims",
        columns=text_columns("Claim", "Verdict", *models),
        rows=tuple(rows),
        caption=RULE,
    )


def claim_table(judged: JudgedClaim, number: int, scale: str | None) -> Table:
    """Return the table of the tests of one claim."""
    return Table(
        name=f"claim-{number}",
        title=judged.claim.claim,
        columns=(
            *text_columns("Test", "Value"),
            *number_columns("Model", "Against", "Difference", "Margin", "95 % interval", "p"),
            *number_columns("Seeds", "Images", "Parameters"),
            *text_columns(f"Verdict{at_scale(scale)}"),
        ),
        rows=tuple(_test_row(test) for test in judged.tests),
        caption=f"Source: {judged.claim.source}.",
    )


def _model_verdict(verdicts: Sequence[ClaimVerdict]) -> str:
    """Return the verdict of one network's tests, with the number of tests behind it.

    >>> _model_verdict(["holds", "not decided", "not decided"]), _model_verdict([])
    ('not decided (2 of 3, 1 holds)', '–')
    """
    if not verdicts:
        return MISSING
    verdict = overall(verdicts)
    counts = [f"{verdicts.count(verdict)} of {len(verdicts)}"]
    counts += [f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts) if v != verdict]
    return f"{verdict} ({', '.join(counts)})"


def _test_row(judged: JudgedTest) -> TableRow:
    test, each = judged.test, judged.difference
    at = "" if test.at is None else f" at {point_text(test.at)}"
    lower = " (lower is better)" if test.lower_is_better else ""
    sizes = " : ".join(MISSING if n is None else f"{n:,}" for n in judged.parameters)
    numbers: tuple[str | None, ...] = (None, f"{test.margin:g}", None, None, None, None)
    if each is not None:
        limits = [f"{limit + test.margin:+.3f}" for limit in each.interval or ()]
        numbers = (
            f"{each.mean + test.margin:+.3f}",
            f"{test.margin:g}",
            " to ".join(limits) or None,
            p_value(each.p_corrected),
            " and ".join(map(str, each.n_seeds)),
            num_images(each),
        )
    return TableRow(
        (
            f"{test.part}{at}: {test.model} against {test.against}",
            measured_text(test.measure, test.quantity) + lower,
            *(None if mean is None else f"{mean:.3f}" for mean in judged.means),
            *numbers,
            sizes,
            judged.verdict,
        )
    )
