"""The answers of claims in sentences: each verdict with the differences behind it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
from capsbench.reporting.comparisons.verdicts import (
    ClaimVerdict,
    verdict_text,
    without_margin,
)
from capsbench.reporting.formatting import counted, counted_range, interval_text, listed, share
from capsbench.reporting.tables.claims_tables import (
    bare_difference,
    difference_text,
    is_share,
)
from capsbench.schema.claims import Claim
from capsbench.schema.parts import point_text
from capsbench.statistics.power import smallest_detectable

VERBS: dict[ClaimVerdict, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "no difference": ("shows no difference", "show no difference"),
    "not decided": ("is not decided", "are not decided"),
}


class ClaimAnswer(NamedTuple):
    """The answer to a claim in sentences.

    Attributes:
        verdict: The claim with its verdict.
        tests: Each primary test, with interval and smallest detectable difference.
    """

    verdict: str
    tests: str

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.verdict} {self.tests}"


def claim_answers(judged: Sequence[JudgedClaim]) -> list[ClaimAnswer]:
    """Return the answer to each claim.

    Args:
        judged: The verdicts.
    """
    return [_answer(each) for each in judged]


def verdict_counts(judged: Sequence[JudgedClaim]) -> str:
    """Return in two sentences how many claims and primary tests have each verdict.

    Args:
        judged: The verdicts.
    """
    tests = [test.verdict for each in judged for test in each.primary]
    return (
        f"Of {counted(len(judged), 'claim')} {_counts([each.verdict for each in judged])}. "
        f"Of {counted(len(tests), 'primary test')}, each of one network on one set, "
        f"{_counts(tests)}."
    )


def _counts(verdicts: Sequence[ClaimVerdict | None]) -> str:
    """Return the number of each verdict, also if it is 0."""
    return listed(
        [
            f"{verdicts.count(verdict)} {one if verdicts.count(verdict) == 1 else several}"
            for verdict, (one, several) in VERBS.items()
        ]
    )


def _answer(judged: JudgedClaim) -> ClaimAnswer:
    sentences = []
    for label in judged.networks:
        tests = [test for test in judged.primary if test.test.model == label]
        sentences.append(f"{label}: {'; '.join(_on_set(test, judged.claim) for test in tests)}.")
    seeds = {n for test in judged.primary if test.difference for n in test.difference.n_seeds}
    if seeds:
        sentences.append(f"{counted_range(seeds, 'seed')} of each network.")
    verdict = f"{judged.claim.claim}: {verdict_text(judged.verdict, judged.claim)}."
    return ClaimAnswer(verdict, " ".join(sentences))


def _on_set(judged: JudgedTest, claim: Claim) -> str:
    """Return the verdict of a primary test on its set, with the difference and its interval."""
    assert judged.verdict is not None
    test, each = judged.test, judged.difference
    at = "" if test.at is None else f" at {point_text(test.at)}"
    verdict = f"{verdict_text(judged.verdict, claim)} on {test.part}{at}"
    facts = [judged.reason] if judged.reason else []
    facts.append(f"against {test.against}")
    if each is not None:
        own = without_margin(each, test.margin)
        facts.append(difference_text(test, own.mean))
        if own.interval:
            bare = share if is_share(test) else partial(bare_difference, test)
            facts.append(f"95 % interval {interval_text(own.interval, bare)}")
        if not np.isnan(detectable := smallest_detectable(each)):
            facts.append(f"detectable {difference_text(test, detectable)}")
    facts += [
        f"{label}: {chance_text(seeds)}"
        for label, seeds in zip((test.model, test.against), judged.at_chance, strict=True)
        if seeds
    ]
    return f"{verdict} ({', '.join(facts)})"
