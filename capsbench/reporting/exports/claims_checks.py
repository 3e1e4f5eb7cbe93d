"""Checks of exported claims: verdicts must follow from their tests, and tests from their cells."""

from __future__ import annotations

import math

from capsbench.errors import UserError
from capsbench.reporting.comparisons.claims import JudgedTest, mean_values, overall, verdict_on
from capsbench.reporting.exports.checks import TOLERANCE, check_cells
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.schema import load_claims
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import Difference

DETERMINING = ("name", "version", "parts", "claims")


def check_claims(exported: ExportedClaims) -> None:
    """Check that the claims are the shipped ones, and that verdicts follow from their tests.

    The means must be those of the cells, the cells those of the parts' benchmarks at the named
    scale, and the p-values are corrected again. The p-values themselves need per-image outcomes,
    and are trusted.

    Raises:
        UserError: A check fails.
    """
    path, record = exported.path, exported.record
    shipped = load_claims(record.claims.name, record.scale)
    for name in DETERMINING:
        if getattr(shipped, name) != getattr(record.claims, name):
            raise UserError(
                f"{path}: '{shipped.name}' has other {name} here; run the claims as shipped"
            )
    if tuple(each.claim for each in exported.judged) != shipped.claims:
        raise UserError(f"{path} judges other claims than it names; export the run again")
    if set(exported.parts) != set(shipped.parts):
        raise UserError(f"{path} does not have the cells of all parts; export the run again")
    for part, cells in exported.parts.items():
        check_cells(path, shipped.benchmark(part, record.scale), cells)
    tests = [test for each in exported.judged for test in each.tests]
    adjusted = iter(corrected([t.difference for t in tests if t.difference is not None]))
    for each in exported.judged:
        consistent = [
            _is_consistent(exported, test, next(adjusted) if test.difference else None)
            for test in each.tests
        ]
        same_tests = tuple(test.test for test in each.tests) == each.claim.tests
        verdict = overall([test.verdict for test in each.tests])
        if not (all(consistent) and same_tests and each.verdict == verdict):
            raise UserError(
                f"{path}: the verdict on '{each.claim.claim}' does not follow from its tests; "
                "export the run again"
            )


def _is_consistent(exported: ExportedClaims, judged: JudgedTest, again: Difference | None) -> bool:
    """Check a test against its cells, and against its p-value corrected again."""
    means = mean_values(exported.parts[judged.test.part], judged.test)
    if judged.verdict != verdict_on(again) or not _close(means, judged.means):
        return False
    if judged.difference is None or again is None:
        return True
    first, second = means
    low, high = judged.difference.interval or (-math.inf, math.inf)
    sign = -1 if judged.test.lower_is_better else 1
    return (
        first is not None
        and second is not None
        and math.isclose(
            sign * (first - second) - judged.test.margin, again.mean, abs_tol=TOLERANCE
        )
        and low <= again.mean <= high
    )


def _close(
    means: tuple[float | None, float | None], recorded: tuple[float | None, float | None]
) -> bool:
    return all(
        one is other or (one is not None and other is not None and abs(one - other) < TOLERANCE)
        for one, other in zip(means, recorded, strict=True)
    )
