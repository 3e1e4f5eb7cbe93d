"""Verdicts: of one primary test from its difference, of several from what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from capsbench.measures import load_measure
from capsbench.schema.claims import Claim
from capsbench.statistics.equivalence import is_equivalent
from capsbench.statistics.paired_difference import LEVEL, Difference

ClaimVerdict = Literal["holds", "does not hold", "no difference", "not decided"]
LEAST_SEEDS = 5  # at a scale
LEAST_SEEDS_AT_FULL_SIZE = 10


def verdict_on(
    difference: Difference | None, *, margin: float, bound: float, least_seeds: int
) -> tuple[ClaimVerdict, str]:
    """Return the verdict on one primary test, and the reason if the numbers cannot decide.

    The claim holds if the improvement is above the margin, and does not hold if it is below. If
    neither is shown, there is no difference if the difference itself lies within ±``bound``. All
    three are read off the corrected interval.

    Args:
        difference: Improvement beyond the margin, corrected for its family; None if not measured.
        margin: The margin.
        bound: Largest difference that counts as none.
        least_seeds: Smallest number of seeds of each model for a verdict.
    """
    if difference is None:
        return "not decided", "not measured"
    if min(difference.n_seeds) < least_seeds:
        return "not decided", f"{min(difference.n_seeds)} of at least {least_seeds} seeds"
    if np.isnan(difference.p_corrected):
        return "not decided", "no outcome varies"
    if difference.p_corrected < LEVEL:
        return ("holds" if difference.mean > 0 else "does not hold"), ""
    if is_equivalent(without_margin(difference, margin), bound):
        return "no difference", ""
    return "not decided", ""


def shared(verdicts: Sequence[ClaimVerdict | None]) -> ClaimVerdict:
    """Return the verdict that all tests share; not decided if they differ.

    >>> shared(["holds", "holds"]), shared(["holds", "not decided"])
    ('holds', 'not decided')
    >>> shared(["does not hold", "holds"]), shared(["does not hold", "does not hold"])
    ('not decided', 'does not hold')
    """
    first, *others = verdicts
    return first if first is not None and all(each == first for each in others) else "not decided"


def without_margin(difference: Difference, margin: float) -> Difference:
    """Return the difference itself from the improvement beyond a margin; p-values stay."""
    low, high = difference.interval or (np.nan, np.nan)
    interval = (low + margin, high + margin) if difference.interval else None
    return difference._replace(mean=difference.mean + margin, interval=interval)


def least_seeds(scale: str | None) -> int:
    """Return the smallest number of seeds for a verdict: more at full size."""
    return LEAST_SEEDS_AT_FULL_SIZE if scale is None else LEAST_SEEDS


def at_scale(scale: str | None) -> str:
    """Return the addition to a verdict that does not hold for the full size."""
    return "" if scale is None else f", at this scale ({scale})"


def verdict_text(verdict: ClaimVerdict, claim: Claim) -> str:
    """Return a verdict in words, with the claim's bound of a difference that counts as none."""
    if verdict != "no difference":
        return verdict
    tests = (test for test in claim.tests if test.primary)
    units = {load_measure(test.measure).metrics[test.quantity.metric].unit for test in tests}
    points = units <= {"share", "difference of shares"}
    return f"no difference beyond {f'{100 * claim.bound:g} points' if points else claim.bound}"
