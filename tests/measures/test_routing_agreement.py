"""The spread of votes in loops; presence against it."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from capsbench.measures._routing_agreement import (
    PresenceAgainstSpread,
    presence_against_spread,
    vote_spread,
)


def test_spread_in_loops():
    randomness = torch.Generator().manual_seed(1)
    votes = torch.randn(2, 5, 3, 4, generator=randomness, dtype=torch.float64)
    weights = torch.rand(2, 5, 3, generator=randomness, dtype=torch.float64)
    found = vote_spread(votes, weights)
    for image in range(2):
        for parent in range(3):
            these, shares = votes[image, :, parent].numpy(), weights[image, :, parent].numpy()
            mean = np.average(these, axis=0, weights=shares)
            variance = np.average(((these - mean) ** 2).sum(axis=1), weights=shares)
            square = np.average((these**2).sum(axis=1), weights=shares)
            assert float(found.absolute[image, parent]) == pytest.approx(math.sqrt(variance))
            assert float(found.relative[image, parent]) == pytest.approx(
                math.sqrt(variance / square)
            )


def test_spread_of_equal_opposite_and_absent_votes():
    votes = torch.tensor([[[1.0, 2.0]] * 4, [[1.0, 2.0], [-1.0, -2.0], [7.0, 7.0], [0.0, 0.0]]])
    weights = torch.ones(2, 4)
    weights[:, 2], weights[1, 3] = 0, 0
    found = vote_spread(votes, weights)
    assert found.relative[:2].tolist() == [0, 1]
    assert found.absolute[1] == pytest.approx(math.sqrt(5))
    assert found.absolute[2].isnan()  # nobody's parent
    assert vote_spread(torch.zeros(2, 1, 3), torch.ones(2, 1)).relative.isnan()
    longer = vote_spread(10 * votes, weights)
    torch.testing.assert_close(longer.relative, found.relative, equal_nan=True)


def pairs(images=60, capsules=3):
    randomness = torch.Generator().manual_seed(2)
    spreads = torch.rand(images, capsules, generator=randomness).double().round(decimals=1)  # ties
    noise = torch.randn(images, capsules, generator=randomness)
    return torch.sigmoid(torch.arange(capsules) - 3 * spreads + 0.2 * noise), spreads


def test_correlations_are_those_of_scipy():
    presences, spreads = pairs()
    found = presence_against_spread(presences, spreads)
    for capsule in range(3):
        both = presences[:, capsule].numpy(), spreads[:, capsule].numpy()
        assert float(found.pearson[capsule]) == pytest.approx(pearsonr(*both).statistic)
        assert float(found.spearman[capsule]) == pytest.approx(spearmanr(*both).statistic)
    both = presences.flatten().numpy(), spreads.flatten().numpy()
    assert float(found.pooled_pearson) == pytest.approx(pearsonr(*both).statistic)
    assert float(found.pooled_spearman) == pytest.approx(spearmanr(*both).statistic)
    assert (found.spearman < -0.8).all()
    assert found.n == 60


def test_correlation_with_what_does_not_vary_is_undefined():
    presences, spreads = pairs()
    presences[:, 0] = 0.1
    spreads[3, 1] = math.nan
    found = presence_against_spread(presences, spreads)
    assert found.pearson.isnan().tolist() == found.spearman.isnan().tolist() == [True, True, False]
    assert found.pooled_spearman.isnan()


def test_batches_of_capsules_add_up():
    presences, spreads = pairs()
    metric = PresenceAgainstSpread(3)
    for part in zip(presences.split(25), spreads.split(25), strict=True):
        metric.update(*part)
    whole = presence_against_spread(presences, spreads)
    found = metric.compute()
    assert [torch.as_tensor(v).tolist() for v in found] == [
        torch.as_tensor(v).tolist() for v in whole
    ]
    _, axes = metric.plot()
    assert axes.lines[0].get_ydata().tolist() == whole.spearman.tolist()
    _, axes = metric.plot(whole.spearman)
    assert len(axes.lines) == 3
