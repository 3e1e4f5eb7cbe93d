"""Spread of votes against loops, and its correlation with presence against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from capsbench.measures._routing_agreement import (
    correlate_presence_with_spread,
    vote_spread,
)


def test_spread_against_loops():
    randomness = torch.Generator().manual_seed(1)
    votes = torch.randn(2, 5, 3, 4, generator=randomness, dtype=torch.float64)
    weights = torch.rand(2, 5, 3, generator=randomness, dtype=torch.float64)
    spread = vote_spread(votes, weights)
    for image in range(2):
        for parent in range(3):
            own_votes, shares = votes[image, :, parent].numpy(), weights[image, :, parent].numpy()
            mean = np.average(own_votes, axis=0, weights=shares)
            variance = np.average(((own_votes - mean) ** 2).sum(axis=1), weights=shares)
            square = np.average((own_votes**2).sum(axis=1), weights=shares)
            assert float(spread.absolute[image, parent]) == pytest.approx(math.sqrt(variance))
            assert float(spread.relative[image, parent]) == pytest.approx(
                math.sqrt(variance / square)
            )


def test_spread_of_equal_opposite_and_absent_votes():
    votes = torch.tensor([[[1.0, 2.0]] * 4, [[1.0, 2.0], [-1.0, -2.0], [7.0, 7.0], [0.0, 0.0]]])
    weights = torch.ones(2, 4)
    weights[:, 2], weights[1, 3] = 0, 0
    spread = vote_spread(votes, weights)
    assert spread.relative[:2].tolist() == [0, 1]
    assert spread.absolute[1] == pytest.approx(math.sqrt(5))
    assert spread.absolute[2].isnan()  # no child's parent
    assert vote_spread(torch.zeros(2, 1, 3), torch.ones(2, 1)).relative.isnan()
    longer = vote_spread(10 * votes, weights)
    torch.testing.assert_close(longer.relative, spread.relative, equal_nan=True)


def pairs(images=60, capsules=3):
    randomness = torch.Generator().manual_seed(2)
    spreads = torch.rand(images, capsules, generator=randomness).double().round(decimals=1)  # ties
    noise = torch.randn(images, capsules, generator=randomness)
    return torch.sigmoid(torch.arange(capsules) - 3 * spreads + 0.2 * noise), spreads


def test_correlations_equal_those_of_scipy():
    presences, spreads = pairs()
    correlation = correlate_presence_with_spread(presences, spreads)
    for capsule in range(3):
        both = presences[:, capsule].numpy(), spreads[:, capsule].numpy()
        assert float(correlation.pearson[capsule]) == pytest.approx(pearsonr(*both).statistic)
        assert float(correlation.spearman[capsule]) == pytest.approx(spearmanr(*both).statistic)
    both = presences.flatten().numpy(), spreads.flatten().numpy()
    assert float(correlation.pooled_pearson) == pytest.approx(pearsonr(*both).statistic)
    assert float(correlation.pooled_spearman) == pytest.approx(spearmanr(*both).statistic)
    assert (correlation.spearman < -0.8).all()


def test_correlation_with_constants_is_undefined():
    presences, spreads = pairs()
    presences[:, 0] = 0.1
    spreads[3, 1] = math.nan
    correlation = correlate_presence_with_spread(presences, spreads)
    assert (
        correlation.pearson.isnan().tolist()
        == correlation.spearman.isnan().tolist()
        == [True, True, False]
    )
    assert correlation.pooled_spearman.isnan()
