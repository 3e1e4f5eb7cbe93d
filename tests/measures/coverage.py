"""Whether intervals hold the truth as often as they say."""

from scipy.stats import binomtest


def covers(estimate, truth):
    low, high = estimate.interval
    return low <= truth <= high


def cover_at(found, rate=0.95, slack=0.0):
    """Whether a share of hits may come from a true rate within ``slack`` of the stated one."""
    hits, trials = sum(found), len(found)
    chances = [
        binomtest(hits, trials, rate - slack, alternative="less").pvalue,
        binomtest(hits, trials, min(rate + slack, 0.999), alternative="greater").pvalue,
    ]
    return min(chances) > 0.005
