"""Whether claims hold: each test's difference, with an interval, and a verdict for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from capsbench.reporting.aggregate import measured
from capsbench.reporting.differences import RESAMPLES, images_told, p_value
from capsbench.reporting.outcomes import outcomes
from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import Cell, Results
from capsbench.schema.claims import Claim, Claims, ClaimTest
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import (
    Difference,
    difference,
    difference_over_seeds,
)

Verdict = Literal["holds", "does not hold", "not decided"]
LEVEL = 0.05
RULE = (
    "A claim holds if it holds in all of its tests, does not hold if it fails in one, and is not "
    "decided otherwise. A test compares a capsule network with a CNN: the difference is the first "
    "less the second, turned so that positive is better. It holds if the difference is above the "
    "least one that is asked for, and fails if it is below, at a level of 5 % over all tests "
    "together (Holm 1979); intervals are of one test each, at 95 %. Where images have outcomes, "
    "seeds and images are both drawn anew (a studentised bootstrap of a crossed design), images of "
    "one object together; else it is a paired t test over seeds."
)


@dataclass(frozen=True)
class Tested:
    """One test with what was found.

    Attributes:
        test: The test.
        found: How much better the model is, beyond ``test.least``; None where it is not measured.
        values: The mean values of the model and of the other.
        parameters: Of the model and of the other.
        verdict: Of this test.
    """

    test: ClaimTest
    found: Difference | None
    values: tuple[float | None, float | None]
    parameters: tuple[int | None, int | None]
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """A claim with its tests and its verdict."""

    claim: Claim
    tests: tuple[Tested, ...]
    verdict: Verdict


def judge(claims: Claims, parts: Mapping[str, Results]) -> list[Judged]:
    """The verdict of each claim.

    Args:
        claims: The claims.
        parts: What the records of each part say.

    Raises:
        UserError: A record is damaged.
    """
    tests = [(claim, test) for claim in claims.claims for test in claim.tests]
    found = [_difference(parts[test.part], test) for _, test in tests]
    measured_ones = iter(corrected([each for each in found if each is not None]))
    adjusted = [None if each is None else next(measured_ones) for each in found]
    judged = []
    for claim in claims.claims:
        mine = tuple(
            _tested(parts[test.part], test, each)
            for (of, test), each in zip(tests, adjusted, strict=True)
            if of is claim
        )
        judged.append(Judged(claim, mine, overall([each.verdict for each in mine])))
    return judged


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim, of those of its tests.

    >>> overall(["holds", "holds"]), overall(["holds", "not decided"])
    ('holds', 'not decided')
    >>> overall(["not decided", "does not hold"])
    'does not hold'
    """
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if all(each == "holds" for each in verdicts) else "not decided"


def verdict_on(found: Difference | None) -> Verdict:
    """The verdict on one test, of what was found beyond the least that is asked for."""
    if found is None or not found.p_corrected < LEVEL:  # also where it is undefined
        return "not decided"
    return "holds" if found.mean > 0 else "does not hold"


def _tested(results: Results, test: ClaimTest, found: Difference | None) -> Tested:
    pair = [_cells(results.cells, label, test.at) for label in (test.model, test.against)]
    sizes = [next((c.training.parameters for c in cs if c.training), None) for cs in pair]
    values = values_of(results.cells, test)
    return Tested(test, found, values, (sizes[0], sizes[1]), verdict_on(found))


def values_of(cells: Sequence[Cell], test: ClaimTest) -> tuple[float | None, float | None]:
    """The mean values of the model and of the other, over seeds."""
    pair = [_cells(cells, label, test.at) for label in (test.model, test.against)]
    keys = (test.key, test.against_key or test.key)
    over = [measured(c, key, measure=test.measure) for c, key in zip(pair, keys, strict=True)]
    first, second = (each.mean if each else None for each in over)
    return first, second


def _difference(results: Results, test: ClaimTest) -> Difference | None:
    """How much better the model is than the other, less the least that is asked for."""
    sign = -1.0 if test.lower else 1.0
    pair = [_cells(results.cells, label, test.at) for label in (test.model, test.against)]
    keys = (test.key, test.against_key or test.key)
    kept = [outcomes(cells, test.measure).get(k) for cells, k in zip(pair, keys, strict=True)]
    first, second = kept
    if first and second and np.array_equal(first.numbers, second.numbers):
        tables = sign * first.table - test.least, sign * second.table
        return difference(*tables, objects=first.objects, resamples=RESAMPLES)
    over = [measured(c, key, measure=test.measure) for c, key in zip(pair, keys, strict=True)]
    if over[0] is None or over[1] is None:
        return None
    both = [seed for seed in over[0].values if seed in over[1].values]
    if not both:
        return None
    values = [[sign * each.values[seed] for seed in both] for each in over if each]
    return difference_over_seeds(np.array(values[0]) - test.least, values[1])


def _cells(cells: Sequence[Cell], label: str, at: float | None) -> list[Cell]:
    return [cell for cell in cells if (cell.label, cell.at) == (label, at)]


def verdict_table(judged: Sequence[Judged], scale: str | None) -> PlainTable:
    """One row per claim: its verdict, and each network's, with how many of its tests say so."""
    models = list(dict.fromkeys(test.test.model for each in judged for test in each.tests))
    rows = tuple(
        (
            each.claim.claim,
            each.verdict + at_scale(scale),
            *(
                _of_model([test.verdict for test in each.tests if test.test.model == m])
                for m in models
            ),
        )
        for each in judged
    )
    return PlainTable("verdicts", "The claims", ("Claim", "Verdict", *models), rows, RULE)


def _of_model(verdicts: Sequence[Verdict]) -> str:
    """The verdict of one network's tests, with how many say so.

    >>> _of_model(["holds", "not decided", "not decided"]), _of_model([])
    ('not decided (2 of 3, 1 holds)', '–')
    """
    if not verdicts:
        return "–"
    verdict = overall(verdicts)
    others = [kind for kind in dict.fromkeys(verdicts) if kind != verdict]
    told = [f"{verdicts.count(verdict)} of {len(verdicts)}"]
    told += [f"{verdicts.count(kind)} {kind}" for kind in others]
    return f"{verdict} ({', '.join(told)})"


def table_of_tests(each: Judged, number: int, scale: str | None) -> PlainTable:
    """The tests of one claim."""
    return PlainTable(
        f"claim-{number}",
        each.claim.claim,
        (
            *("Test", "Value", "Model", "Against", "Difference", "Least", "95 % interval", "p"),
            *("Seeds", "Images", "Parameters", f"Verdict{at_scale(scale)}"),
        ),
        tuple(_row(test) for test in each.tests),
        f"Source: {each.claim.source}.",
        numbers=tuple(range(2, 11)),
    )


def at_scale(scale: str | None) -> str:
    """What is added to a verdict that is not of the full size."""
    return "" if scale is None else f", at this scale ({scale})"


def _row(tested: Tested) -> tuple[str, ...]:
    test, found = tested.test, tested.found
    at = "" if test.at is None else f" at {test.at:g}"
    names = f"{test.part}{at}: {test.model} against {test.against}"
    value = f"{test.measure}: {test.key}{' (lower is better)' if test.lower else ''}"
    means = tuple("–" if each is None else f"{each:.3f}" for each in tested.values)
    sizes = " : ".join("–" if each is None else f"{each:,}" for each in tested.parameters)
    if found is None:
        middle: tuple[str, ...] = ("–", f"{test.least:g}", "–", "–", "–", "–")
    else:
        low_high = found.interval
        shift = test.least
        middle = (
            f"{found.mean + shift:+.3f}",
            f"{test.least:g}",
            "–"
            if low_high is None
            else f"{low_high[0] + shift:+.3f} to {low_high[1] + shift:+.3f}",
            p_value(found.p_corrected),
            " and ".join(map(str, found.n_seeds)),
            images_told(found),
        )
    return (names, value, *means, *middle, sizes, tested.verdict)
