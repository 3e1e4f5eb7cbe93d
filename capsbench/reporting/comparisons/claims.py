"""Verdicts on claims: the difference of each test, with an interval, and whether it is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.comparisons.differences import RESAMPLES
from capsbench.reporting.comparisons.per_image import load_outcomes
from capsbench.schema.claims import Claim, Claims, ClaimTest
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import (
    Difference,
    difference,
    difference_over_seeds,
)

ClaimVerdict = Literal["holds", "does not hold", "not decided"]
LEVEL = 0.05


@dataclass(frozen=True)
class JudgedTest:
    """One test with its result.

    Attributes:
        test: The test.
        difference: Improvement of the model beyond the margin of the test; None if not measured.
        means: Mean values of the model and of the other one; None if not measured.
        parameters: Numbers of parameters of the model and of the other one; None if not trained.
        verdict: Verdict on this test.
    """

    test: ClaimTest
    difference: Difference | None
    means: tuple[float | None, float | None]
    parameters: tuple[int | None, int | None]
    verdict: ClaimVerdict


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its tests and its verdict."""

    claim: Claim
    tests: tuple[JudgedTest, ...]
    verdict: ClaimVerdict


def judge(claims: Claims, parts: Mapping[str, Results]) -> list[JudgedClaim]:
    """Return the verdict on each claim.

    Args:
        claims: The claims.
        parts: Records of each part's benchmark.

    Raises:
        UserError: A record is damaged.
    """
    tests = [(claim, test) for claim in claims.claims for test in claim.tests]
    measured = [_difference(parts[test.part], test) for _, test in tests]
    adjusted = iter(corrected([each for each in measured if each is not None]))
    judged = [
        (claim, _judge_test(parts[test.part], test, None if each is None else next(adjusted)))
        for (claim, test), each in zip(tests, measured, strict=True)
    ]
    result = []
    for claim in claims.claims:
        own = tuple(test for of, test in judged if of is claim)
        result.append(JudgedClaim(claim, own, overall([test.verdict for test in own])))
    return result


def overall(verdicts: Sequence[ClaimVerdict]) -> ClaimVerdict:
    """Return the verdict on a claim from the verdicts on its tests.

    >>> overall(["holds", "holds"]), overall(["holds", "not decided"])
    ('holds', 'not decided')
    >>> overall(["not decided", "does not hold"])
    'does not hold'
    """
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if all(each == "holds" for each in verdicts) else "not decided"


def verdict_on(difference: Difference | None) -> ClaimVerdict:
    """Return the verdict on one test from the improvement beyond its margin."""
    if difference is None or not difference.p_corrected < LEVEL:  # also if it is undefined
        return "not decided"
    return "holds" if difference.mean > 0 else "does not hold"


def mean_values(cells: Sequence[CellResult], test: ClaimTest) -> tuple[float | None, float | None]:
    """Return the mean values of the model and of the other one, over seeds."""
    first, second = (
        None if seed_values is None else seed_values.mean for seed_values in _sides(cells, test)
    )
    return first, second


def at_scale(scale: str | None) -> str:
    """Return the addition to a verdict that does not hold for the full size."""
    return "" if scale is None else f", at this scale ({scale})"


def _judge_test(results: Results, test: ClaimTest, each: Difference | None) -> JudgedTest:
    first, second = (
        next((cell.training.parameters for cell in cells if cell.training), None)
        for cells in _pair(results.cells, test)
    )
    means = mean_values(results.cells, test)
    return JudgedTest(test, each, means, (first, second), verdict_on(each))


def _difference(results: Results, test: ClaimTest) -> Difference | None:
    """Return the improvement of the model over the other one, beyond the margin of the test."""
    sign = -1.0 if test.lower_is_better else 1.0
    quantities = test.quantity, test.against_quantity or test.quantity
    first, second = (
        load_outcomes(cells, test.measure).get(quantity)
        for cells, quantity in zip(_pair(results.cells, test), quantities, strict=True)
    )
    if first and second and np.array_equal(first.numbers, second.numbers):
        tables = sign * first.table - test.margin, sign * second.table
        return difference(*tables, objects=first.objects, resamples=RESAMPLES)
    one, other = _sides(results.cells, test)
    if one is None or other is None:
        return None
    seeds = [seed for seed in one.values if seed in other.values]
    if not seeds:
        return None
    values = [
        np.array([sign * seed_values.values[seed] for seed in seeds])
        for seed_values in (one, other)
    ]
    return difference_over_seeds(values[0] - test.margin, values[1])


def _sides(
    cells: Sequence[CellResult], test: ClaimTest
) -> tuple[SeedValues | None, SeedValues | None]:
    """Return the numbers of the model and of the other one."""
    one, other = _pair(cells, test)
    return (
        aggregate_seeds(one, test.measure, test.quantity),
        aggregate_seeds(other, test.measure, test.against_quantity or test.quantity),
    )


def _pair(
    cells: Sequence[CellResult], test: ClaimTest
) -> tuple[list[CellResult], list[CellResult]]:
    """Return the cells of the model and of the other one."""
    return (
        [cell for cell in cells if (cell.label, cell.point) == (test.model, test.at)],
        [cell for cell in cells if (cell.label, cell.point) == (test.against, test.at)],
    )
