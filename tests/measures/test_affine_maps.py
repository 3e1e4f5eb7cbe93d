"""Affine maps by class and view, against numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from capsbench.measures._affine_maps import (
    FOLDS,
    HELD_OUT,
    PENALTIES,
    Moments,
    choose_penalty,
    divide,
    principal_components,
    ridge,
    together,
)


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_images_are_divided_by_their_number_alone():
    index = torch.arange(6000)
    whole = divide(index, 0)
    some = torch.tensor([4012, 7, 300])
    for part, of_some in zip(whole, divide(some, 0), strict=True):
        assert torch.equal(part[some], of_some)
    assert whole.held_out.double().mean().item() == pytest.approx(HELD_OUT, abs=0.02)
    training = whole.fold[~whole.held_out]
    assert training.bincount().tolist() == pytest.approx([4000 / FOLDS] * FOLDS, rel=0.1)
    assert not torch.equal(whole.held_out, divide(index, 1).held_out)


def test_components_are_those_of_a_singular_value_decomposition():
    samples = random(300, 60) * 1.25 ** -torch.arange(60.0).double() + random(60, seed=1)
    space = principal_components(samples, 12)
    centred = (samples - samples.mean(0)).numpy()
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(space.components @ space.components.T, torch.eye(12).double())
    # Up to their sign, the same directions in the same order.
    np.testing.assert_allclose(
        np.abs(space.components.numpy() @ directions[:12].T), np.eye(12), atol=1e-3
    )
    share = (singular[:12] ** 2).sum() / (singular**2).sum()
    assert space.variance.item() == pytest.approx(share, rel=1e-6)
    projected = space.project(samples.float())
    np.testing.assert_allclose(projected.square().sum().item(), (singular[:12] ** 2).sum(), 1e-5)


def test_wider_than_what_varies():
    space = principal_components(torch.cat([random(50, 3), torch.ones(50, 5).double()], 1), 6)
    torch.testing.assert_close(space.components @ space.components.T, torch.eye(6).double())
    assert space.variance.item() == pytest.approx(1)


@pytest.fixture
def sample():
    """Sources, targets, and the rows of two classes."""
    x = random(70, 4) * torch.tensor([3, 1, 0.3, 0.1]) + 1
    y = torch.stack([x @ random(4, 4, seed=view) + random(70, 4, seed=7) for view in (1, 2, 3)], 1)
    return x, y, [torch.arange(0, 40), torch.arange(40, 70)]


@pytest.mark.parametrize("penalty", [1e-6, 0.1, 10.0])
def test_maps_are_the_ridge_regression_of_the_change(sample, penalty):
    x, y, rows = sample
    maps = ridge(Moments.of(x, y, rows), penalty)
    assert maps.shape == (2, 3, 4, 5)
    for k, row in enumerate(rows):
        source = x[row].numpy()
        scale = source.var(axis=0).mean() * len(source)
        for v in range(3):
            change = y[row, v].numpy() - source
            theirs = Ridge(alpha=penalty * scale).fit(source, change)
            np.testing.assert_allclose(maps[k, v, :, :-1], theirs.coef_ + np.eye(4), atol=1e-9)
            np.testing.assert_allclose(maps[k, v, :, -1], theirs.intercept_, atol=1e-9)


def test_errors_and_covariances_are_those_of_the_samples(sample):
    x, y, rows = sample
    moments, maps = Moments.of(x, y, rows), random(2, 3, 4, 5, seed=9)
    for k, row in enumerate(rows):
        covariance = np.cov(x[row].numpy().T) * (len(row) - 1)
        np.testing.assert_allclose(moments.covariance()[k], covariance, rtol=1e-9)
        for v in range(3):
            A, b = maps[k, v, :, :-1].numpy(), maps[k, v, :, -1].numpy()
            errors = [np.sum((y[n, v].numpy() - A @ x[n].numpy() - b) ** 2) for n in row]
            assert moments.error(maps)[k, v].item() == pytest.approx(np.sum(errors))


def test_penalties_are_chosen_by_cross_validation(sample):
    x, y, rows = sample
    parts = [[row[part::3] for row in rows] for part in range(3)]
    folds = [Moments.of(x, y, part) for part in parts]
    chosen = choose_penalty(folds)
    for k, row in enumerate(rows):
        for v in range(3):
            totals = []
            for penalty in PENALTIES:
                total = 0.0
                for part in parts:
                    rest = np.setdiff1d(row.numpy(), part[k].numpy())
                    source = x[rest].numpy()
                    alpha = penalty * source.var(axis=0).mean() * len(rest)
                    fitted = Ridge(alpha=alpha).fit(source, y[rest, v].numpy() - source)
                    left = x[part[k]].numpy()
                    total += np.sum((y[part[k], v].numpy() - left - fitted.predict(left)) ** 2)
                totals.append(total)
            assert chosen[k, v] == PENALTIES[int(np.argmin(totals))]
    torch.testing.assert_close(together(folds), Moments.of(x, y, rows))


def test_without_any_variance_the_map_changes_nothing():
    x = torch.zeros(20, 3).double()
    maps = ridge(Moments.of(x, x[:, None], [torch.arange(20)]), 1e-8)
    assert torch.equal(maps[0, 0], torch.eye(3, 4).double())
