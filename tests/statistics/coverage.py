"""Coverage of intervals: the share of them that contain the truth."""

from scipy.stats import binomtest


def covers(estimate, truth):
    low, high = estimate.interval
    return low <= truth <= high


def cover_at(covered, rate=0.95, slack=0.0):
    """Check that the share of True is consistent with a true rate within ``slack`` of ``rate``."""
    hits, trials = sum(covered), len(covered)
    p_values = [
        binomtest(hits, trials, rate - slack, alternative="less").pvalue,
        binomtest(hits, trials, min(rate + slack, 0.999), alternative="greater").pvalue,
    ]
    return min(p_values) > 0.005
