"""Checks of exported claims: verdicts must follow from their tests, and tests from their cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from capsbench.errors import UserError
from capsbench.records import CellResult
from capsbench.reporting.comparisons.claims import (
    JudgedClaim,
    JudgedTest,
    judge_claim,
    pair_of,
    sides_of,
    without_difference,
)
from capsbench.reporting.comparisons.gains import seed_gains
from capsbench.reporting.exports.checks import TOLERANCE, check_cells, check_tests
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.schema import load_claims

DETERMINING = ("name", "version", "parts", "claims")


def check_claims(exported: ExportedClaims) -> None:
    """Check that the claims are the shipped ones, and that verdicts follow from their tests.

    The values must be those of the cells, the cells those of the parts' benchmarks at the named
    scale, and p-values and intervals are corrected again. Standard errors need per-image outcomes,
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
    for each in exported.judged:
        family = [test.difference for test in each.primary if test.difference]
        check_tests(path, family, len(each.primary))
        for test in each.secondary:
            check_tests(path, [test.difference] if test.difference else [])
        for test in each.tests:
            check_tests(path, [test.added] if test.added else [])
        if not (
            tuple(test.test for test in each.tests) == each.claim.tests
            and all(is_test_of(exported.parts[test.test.part], test) for test in each.tests)
            and _verdicts(each) == _verdicts(judge_claim(each.claim, each.tests, record.scale))
        ):
            raise UserError(
                f"{path}: the verdict on '{each.claim.claim}' does not follow from its tests; "
                "export the run again"
            )


def _verdicts(judged: JudgedClaim) -> tuple[object, ...]:
    """Return all that follows from the differences of the tests."""
    return judged.verdict, *((test.verdict, test.reason) for test in judged.tests)


def is_test_of(cells: Sequence[CellResult], judged: JudgedTest) -> bool:
    """Check that values, seeds and the differences of a test are those of the cells of its part."""
    own = without_difference(cells, judged.test)
    if own.at_chance != judged.at_chance or not _close(own.values, judged.values):
        return False
    if not _is_added_by_training(cells, judged):
        return False
    each = judged.difference
    if each is None:
        return True
    first, second = ({} if side is None else side.values for side in sides_of(cells, judged.test))
    if not each.n_images:  # values that are no means over images are compared seed by seed
        common = first.keys() & second.keys()
        first, second = ({seed: side[seed] for seed in common} for side in (first, second))
    if not first or each.n_seeds != (len(first), len(second)):
        return False
    sign = -1 if judged.test.lower_is_better else 1
    mean = sign * (fmean(first.values()) - fmean(second.values())) - judged.test.margin
    return math.isclose(mean, each.mean, abs_tol=TOLERANCE)


def _is_added_by_training(cells: Sequence[CellResult], judged: JudgedTest) -> bool:
    """Check that what training added is that of the cells, of a test that asks for it alone."""
    test, added = judged.test, judged.added
    gains = seed_gains(pair_of(cells, test)[0], test.measure, test.quantity)
    if added is None or gains is None or not test.learned:
        return added is None and (gains is None or not test.learned)
    sign = -1 if test.lower_is_better else 1
    count = len(gains.values)
    return added.n_seeds == (count, count) and math.isclose(
        sign * fmean(gains.values.values()), added.mean, abs_tol=TOLERANCE
    )


def _close(values: Sequence[Sequence[float]], recorded: Sequence[Sequence[float]]) -> bool:
    return all(
        len(one) == len(other)
        and all(abs(a - b) < TOLERANCE for a, b in zip(one, other, strict=True))
        for one, other in zip(values, recorded, strict=True)
    )
