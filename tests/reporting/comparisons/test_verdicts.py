"""Verdicts follow from the corrected interval, and p and interval never contradict each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.reporting.comparisons.verdicts import (
    at_scale,
    least_seeds,
    verdict_on,
    verdict_text,
    without_margin,
)
from capsbench.schema.claims import Claim
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import difference

BOUND = 0.02


def compared(mean, spread=0.004, *, seeds=5, margin=0.0, comparisons=1):
    """Return a difference over many images, whose seeds deviate by ``spread``."""
    random = np.random.default_rng(0)
    deviations = spread * np.linspace(-1, 1, seeds)[:, None]
    noise = 1e-3 * random.standard_normal((2, seeds, 50))
    first, second = 0.8 + mean - margin + deviations + noise[0], 0.8 - deviations + noise[1]
    return corrected([difference(first, second)] * comparisons)[0]


def judged(each, *, margin=0.0, least=5):
    return verdict_on(each, margin=margin, bound=BOUND, least_seeds=least)


@pytest.mark.parametrize(
    ("mean", "spread", "margin", "verdict"),
    [
        (0.05, 0.004, 0.0, "holds"),
        (-0.05, 0.004, 0.0, "does not hold"),
        (0.001, 0.004, 0.0, "no difference"),
        (0.05, 0.2, 0.0, "not decided"),
        (0.01, 0.02, 0.0, "not decided"),  # neither a difference nor its absence
        (0.05, 0.004, 0.1, "does not hold"),  # less than the margin
        (-0.05, 0.004, -0.1, "holds"),  # a loss that the margin allows
        (-0.005, 0.004, -0.005, "no difference"),  # the bound is of the difference itself
        (-0.018, 0.004, -0.018, "not decided"),
    ],
)
def test_each_verdict(mean, spread, margin, verdict):
    assert judged(compared(mean, spread, margin=margin), margin=margin) == (verdict, "")


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        (None, "not measured"),
        (compared(0.5, seeds=4), "4 of at least 5 seeds"),
        (difference(np.ones((5, 9)), np.ones((5, 9))), "no outcome varies"),
    ],
)
def test_what_cannot_decide_has_a_reason(each, reason):
    assert judged(each) == ("not decided", reason)


def test_full_size_takes_ten_seeds():
    assert (least_seeds("cpu"), least_seeds(None)) == (5, 10)
    assert judged(compared(0.5, seeds=9), least=least_seeds(None))[1] == "9 of at least 10 seeds"
    assert judged(compared(0.5, seeds=10), least=least_seeds(None))[0] == "holds"


def test_a_larger_family_decides_less():
    borderline = compared(0.012, 0.01)
    assert judged(borderline)[0] == "holds"
    assert judged(compared(0.012, 0.01, comparisons=30))[0] == "not decided"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(-0.3, 0.3),
    st.floats(0, 0.1),
    st.integers(1, 12),
    st.floats(-0.05, 0.05),
)
def test_p_interval_and_verdict_never_contradict(seed, gap, spread, comparisons, margin):
    random = np.random.default_rng(seed)
    means = np.clip(
        0.5 + gap * np.array([[1], [0]]) + spread * random.standard_normal((2, 5)), 0, 1
    )
    tables = (random.random((2, 5, 200)) < means[..., None]).astype(float)
    bounds = (-1 - margin, 1 - margin)
    each = corrected([difference(tables[0] - margin, tables[1], bounds=bounds)] * comparisons)[0]
    assert each.interval is not None
    low, high = without_margin(each, margin).interval or (np.nan, np.nan)
    verdict, _ = judged(each, margin=margin)
    assert -1 - 1e-9 <= low <= high <= 1 + 1e-9
    assert (each.p_corrected < 0.05) == (not each.interval[0] <= 0 <= each.interval[1])
    assert (verdict == "holds") == (low > margin)
    assert (verdict == "does not hold") == (high < margin)
    if verdict == "no difference":
        assert -BOUND < low <= high < BOUND
        assert low <= margin <= high


@pytest.mark.parametrize(
    ("measure", "metric", "text"),
    [
        ("accuracy-by-split", "accuracy", "no difference beyond 3 points"),
        ("linear-equivariance", "gain_over_control", "no difference beyond 0.03"),
    ],
)
def test_equivalence_names_its_bound(measure, metric, text):
    test = {
        "part": "p",
        "model": "m",
        "against": "a",
        "primary": True,
        "measure": measure,
        "quantity": {"metric": metric},
    }
    claim = Claim.model_validate({"claim": "c", "source": "s", "bound": 0.03, "tests": [test]})
    assert verdict_text("no difference", claim) == text
    assert verdict_text("not decided", claim) == "not decided"
    assert (at_scale("cpu"), at_scale(None)) == (", at this scale (cpu)", "")
