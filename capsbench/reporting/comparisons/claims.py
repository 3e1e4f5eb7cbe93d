"""Verdicts on claims: the difference of each test, the verdict of each network, and of the claim.

The primary tests of a claim are its family: Bonferroni's correction within it applies to p-values
and intervals alike. Its size is the number of the declared ones, also where some are not measured.
Secondary tests have raw p-values and decide nothing. A verdict on several tests is the one that all
of them share, so that one test neither makes a claim hold nor fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.comparisons.gains import gain_outcomes, seed_gains
from capsbench.reporting.comparisons.per_image import load_outcomes
from capsbench.reporting.comparisons.verdicts import (
    ClaimVerdict,
    least_seeds,
    shared,
    verdict_on,
)
from capsbench.schema.claims import Claim, Claims, ClaimTest
from capsbench.statistics.bounded import range_of_difference
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import (
    LEVEL,
    Difference,
    difference,
    difference_over_seeds,
)
from capsbench.values import Quantity

Cells = tuple[list[CellResult], list[CellResult]]  # of the model, and of the other one
Sides = tuple[SeedValues | None, SeedValues | None]
NOTHING_ADDED = "training has not raised its own number"


@dataclass(frozen=True)
class JudgedTest:
    """One test with its result.

    Attributes:
        test: The test.
        difference: Improvement of the model beyond the margin of the test; None if not measured.
            That of a primary test is corrected for all primary tests of the claim.
        added: What training added to the model's own number, of a test that is `learned`; positive
            if better. None if the test is not, or if it is not measured.
        values: Values of the seeds of the model and of the other one; empty if not measured.
        parameters: Numbers of parameters of the model and of the other one; None if not trained.
        at_chance: Seeds of the model and of the other one whose networks are at chance.
        verdict: Verdict on a primary test; None of a secondary one.
        reason: Reason why nothing is decided, if it is not the numbers; empty otherwise.
    """

    test: ClaimTest
    difference: Difference | None
    values: tuple[tuple[float, ...], tuple[float, ...]]
    parameters: tuple[int | None, int | None]
    at_chance: tuple[tuple[int, ...], tuple[int, ...]]
    added: Difference | None = None
    verdict: ClaimVerdict | None = None
    reason: str = ""

    @property
    def means(self) -> tuple[float | None, float | None]:
        """Means over seeds of the model and of the other one; None if not measured."""
        one, other = (fmean(each) if each else None for each in self.values)
        return one, other


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its tests and its verdict."""

    claim: Claim
    tests: tuple[JudgedTest, ...]
    verdict: ClaimVerdict

    @property
    def primary(self) -> tuple[JudgedTest, ...]:
        """The tests that decide."""
        return tuple(test for test in self.tests if test.test.primary)

    @property
    def secondary(self) -> tuple[JudgedTest, ...]:
        """The other tests."""
        return tuple(test for test in self.tests if not test.test.primary)

    @property
    def networks(self) -> dict[str, ClaimVerdict]:
        """Verdict of each network: the one that its primary tests on all sets share."""
        return {
            label: shared([test.verdict for test in self.primary if test.test.model == label])
            for label in self.claim.networks
        }


def judge(claims: Claims, parts: Mapping[str, Results], scale: str | None) -> list[JudgedClaim]:
    """Return the verdict on each claim.

    Args:
        claims: The claims.
        parts: Records of each part's benchmark.
        scale: Name of the scale; None at full size, which takes more seeds.

    Raises:
        UserError: A record is damaged.
    """
    return [
        judge_claim(claim, [_measure(parts[test.part].cells, test) for test in claim.tests], scale)
        for claim in claims.claims
    ]


def judge_claim(claim: Claim, tests: Sequence[JudgedTest], scale: str | None) -> JudgedClaim:
    """Return the verdict on a claim from its measured tests, whose family is corrected here.

    Args:
        claim: The claim.
        tests: Its tests; what they hold of verdicts and corrections is made again.
        scale: Name of the scale; None at full size.
    """
    family = [test.difference for test in tests if test.test.primary]
    adjusted = iter(corrected([each for each in family if each is not None], len(family)))
    judged = []
    for test in tests:
        if not test.test.primary:
            judged.append(replace(test, verdict=None, reason=""))
            continue
        each = None if test.difference is None else next(adjusted)
        verdict, reason = verdict_on(
            each, margin=test.test.margin, bound=claim.bound, least_seeds=least_seeds(scale)
        )
        if test.test.learned and verdict == "holds" and not _is_raised(test.added):
            verdict, reason = "not decided", NOTHING_ADDED
        judged.append(replace(test, difference=each, verdict=verdict, reason=reason))
    verdict = shared([test.verdict for test in judged if test.test.primary])
    return JudgedClaim(claim, tuple(judged), verdict)


def without_difference(cells: Sequence[CellResult], test: ClaimTest) -> JudgedTest:
    """Return a test with what records alone state, without the outcomes of images."""
    first, second = (
        next((cell.training.parameters for cell in own if cell.training), None)
        for own in pair_of(cells, test)
    )
    sides = sides_of(cells, test)
    one, other = (() if side is None else tuple(side.values.values()) for side in sides)
    at_chance = [
        tuple(seed for seed in (side.at_chance if side else ()) if seed is not None)
        for side in sides
    ]
    return JudgedTest(
        test, None, (one, other), (first, second), at_chance=(at_chance[0], at_chance[1])
    )


def _measure(cells: Sequence[CellResult], test: ClaimTest) -> JudgedTest:
    """Return a test with its differences, before any correction."""
    pair = pair_of(cells, test)
    return replace(
        without_difference(cells, test),
        difference=_difference(pair, sides_of(cells, test), test),
        added=_added(pair[0], test) if test.learned else None,
    )


def _is_raised(added: Difference | None) -> bool:
    """Check that training is shown to have raised a number.

    Both this and the compared difference must be shown, so that neither is corrected for the other.
    """
    return added is not None and added.mean > 0 and added.p < LEVEL


def _added(cells: Sequence[CellResult], test: ClaimTest) -> Difference | None:
    """Return what training added to the number of a model, seed by seed and image by image."""
    sign = -1.0 if test.lower_is_better else 1.0
    outcomes = gain_outcomes(load_outcomes(cells, test.measure), test.quantity)
    if outcomes:
        table = sign * outcomes.table
        return difference(table, np.zeros_like(table), objects=outcomes.objects)
    gains = seed_gains(cells, test.measure, test.quantity)
    if gains is None:
        return None
    values = sign * np.array([*gains.values.values()])
    return difference_over_seeds(values, np.zeros_like(values))


def _difference(pair: Cells, sides: Sides, test: ClaimTest) -> Difference | None:
    """Return the improvement of the model over the other one, beyond the margin of the test."""
    one, other = sides
    if one is None or other is None:
        return None
    sign = -1.0 if test.lower_is_better else 1.0
    bounds = range_of_difference(one.bounds, other.bounds)
    if bounds is not None:
        low, high = sorted(sign * limit for limit in bounds)
        bounds = low - test.margin, high - test.margin
    first, second = (
        load_outcomes(cells, test.measure).get(quantity)
        for cells, quantity in zip(pair, _quantities(test), strict=True)
    )
    if first and second and np.array_equal(first.numbers, second.numbers):
        tables = sign * first.table - test.margin, sign * second.table
        return difference(*tables, objects=first.objects, bounds=bounds)
    seeds = [seed for seed in one.values if seed in other.values]
    if not seeds:
        return None
    values = [
        np.array([sign * seed_values.values[seed] for seed in seeds])
        for seed_values in (one, other)
    ]
    return difference_over_seeds(values[0] - test.margin, values[1], bounds=bounds)


def sides_of(cells: Sequence[CellResult], test: ClaimTest) -> Sides:
    """Return the numbers of the model and of the other one."""
    one, other = (
        aggregate_seeds(own, test.measure, quantity)
        for own, quantity in zip(pair_of(cells, test), _quantities(test), strict=True)
    )
    return one, other


def _quantities(test: ClaimTest) -> tuple[Quantity, Quantity]:
    return test.quantity, test.against_quantity or test.quantity


def pair_of(cells: Sequence[CellResult], test: ClaimTest) -> Cells:
    """Return the cells of the model and of the other one."""
    return (
        [cell for cell in cells if (cell.label, cell.point) == (test.model, test.at)],
        [cell for cell in cells if (cell.label, cell.point) == (test.against, test.at)],
    )
