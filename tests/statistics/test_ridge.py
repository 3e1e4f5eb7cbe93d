"""Ridge regression from moments, against numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from capsbench.statistics.ridge import (
    PENALTIES,
    Moments,
    cross_validated_ridge,
    fit_ridge,
    predict,
    r_squared,
    select_penalty,
    sum_moments,
)

IDENTITY = torch.eye(4, 5).double()


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def sample():
    """Return sources, targets, and the rows of two groups."""
    x = random(70, 4) * torch.tensor([3, 1, 0.3, 0.1]) + 1
    y = torch.stack([x @ random(4, 4, seed=view) + random(70, 4, seed=7) for view in (1, 2, 3)], 1)
    return x, y, [torch.arange(0, 40), torch.arange(40, 70)]


@pytest.mark.parametrize("prior", [None, IDENTITY], ids=["zero", "identity"])
@pytest.mark.parametrize("unit", [None, torch.tensor([0.3, 2.0]).double()], ids=["own", "given"])
@pytest.mark.parametrize("penalty", [1e-6, 0.1, 10.0])
def test_maps_are_the_ridge_regression_of_the_difference_from_the_prior(
    sample, penalty, unit, prior
):
    x, y, groups = sample
    maps = fit_ridge(Moments.of(x, y, groups), penalty, prior=prior, unit=unit)
    assert maps.shape == (2, 3, 4, 5)
    prior_map = torch.zeros(4, 5).double() if prior is None else prior
    for k, rows in enumerate(groups):
        source = x[rows].numpy()
        variance = source.var(axis=0).mean() if unit is None else unit[k].item()
        for v in range(3):
            difference = y[rows, v].numpy() - source @ prior_map[:, :-1].T.numpy()
            expected = Ridge(alpha=penalty * variance * len(source)).fit(source, difference)
            np.testing.assert_allclose(
                maps[k, v, :, :-1], expected.coef_ + prior_map[:, :-1].numpy(), atol=1e-9
            )
            np.testing.assert_allclose(maps[k, v, :, -1], expected.intercept_, atol=1e-9)


def test_moments_are_those_of_the_samples(sample):
    x, y, groups = sample
    moments, maps = Moments.of(x, y, groups), random(2, 3, 4, 5, seed=9)
    assert moments.num_samples.tolist() == [40, 30]
    for k, rows in enumerate(groups):
        covariance = np.cov(x[rows].numpy().T, ddof=0)
        np.testing.assert_allclose(moments.covariance()[k], covariance * len(rows), rtol=1e-9)
        assert moments.variance()[k].item() == pytest.approx(np.diag(covariance).mean())
        predicted = predict(maps[k], x[rows])
        for v in range(3):
            A, b = maps[k, v, :, :-1].numpy(), maps[k, v, :, -1].numpy()
            expected = np.stack([A @ x[n].numpy() + b for n in rows])
            np.testing.assert_allclose(predicted[:, v], expected, rtol=1e-9, atol=1e-12)
            squares = np.sum((y[rows, v].numpy() - expected) ** 2)
            assert moments.squared_error(maps)[k, v].item() == pytest.approx(squares)


@pytest.mark.parametrize("unit", [None, torch.tensor([0.3, 2.0]).double()], ids=["own", "given"])
def test_penalties_are_selected_by_cross_validation(sample, unit):
    x, y, groups = sample
    parts = [[rows[part::3] for rows in groups] for part in range(3)]
    folds = [Moments.of(x, y, part) for part in parts]
    selected = select_penalty(folds, prior=IDENTITY, unit=unit)
    for k, rows in enumerate(groups):
        for v in range(3):
            totals = []
            for penalty in PENALTIES:
                total = 0.0
                for part in parts:
                    rest = np.setdiff1d(rows.numpy(), part[k].numpy())
                    source = x[rest].numpy()
                    variance = source.var(axis=0).mean() if unit is None else unit[k].item()
                    ridge = Ridge(alpha=penalty * variance * len(rest))
                    ridge.fit(source, y[rest, v].numpy() - source)
                    tested = x[part[k]].numpy()
                    error = y[part[k], v].numpy() - tested - ridge.predict(tested)
                    total += np.sum(error**2)
                totals.append(total)
            assert selected[k, v] == PENALTIES[int(np.argmin(totals))]
    fit = cross_validated_ridge(folds, prior=IDENTITY, unit=unit)
    assert torch.equal(fit.penalty, selected)
    whole = Moments.of(x, y, groups)
    torch.testing.assert_close(
        fit.maps, fit_ridge(whole, selected, prior=IDENTITY, unit=unit), rtol=1e-9, atol=1e-9
    )


def test_moments_of_parts_add_up(sample):
    x, y, groups = sample
    parts = [Moments.of(x, y, [rows[part::2] for rows in groups]) for part in range(2)]
    whole = Moments.of(x, y, groups)
    torch.testing.assert_close(sum_moments(parts), whole)
    torch.testing.assert_close(whole.minus(parts[0]), parts[1])


def test_without_any_variance_the_map_is_the_prior():
    x = torch.zeros(20, 4).double()
    moments = Moments.of(x, x[:, None], [torch.arange(20)])
    assert torch.equal(fit_ridge(moments, 1e-8, prior=IDENTITY)[0, 0], IDENTITY)


def test_r_squared_is_one_for_the_targets_and_zero_for_their_mean():
    targets = random(50, 2)
    assert r_squared(targets, targets).tolist() == [1, 1]
    assert r_squared(targets.mean(0).expand(50, 2), targets).tolist() == [0, 0]
    assert r_squared(targets, torch.full((50, 2), 0.1).double()).isnan().all()
