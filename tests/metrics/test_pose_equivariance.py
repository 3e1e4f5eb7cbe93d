"""Poses at positions explained by one affine map, against least squares and sampled controls."""

import pytest
import torch

from capsbench.data.folds import folds_by_image
from capsbench.metrics.pose_equivariance import (
    PoseEquivariance,
    PoseFit,
    PoseSums,
    combine_fits,
    pose_equivariance,
)
from tests.measures.layered import random

ROWS = torch.arange(60)


def test_without_places_or_images_all_is_undefined():
    no_places = torch.zeros(8, 2, 3, 0)
    empty = pose_equivariance(no_places, no_places, folds_by_image(ROWS[:8]))
    assert all(value.isnan() for value in empty.values.values())
    one = torch.ones(1, 2, 3, 4)
    single = pose_equivariance(one, -one, folds_by_image(ROWS[:1]))
    assert all(value.isnan() for value in single.values.values())


def related(count=60):
    """Return poses, and their images under a map for each type, with noise."""
    warped = random(count, 2, 3, 5, seed=1)
    noise = 0.3 * random(count, 2, 3, 5, seed=3)
    return warped, torch.einsum("cij,ncjp->ncip", random(2, 3, 3, seed=2), warped) + noise


def explained_by_least_squares(warped, transformed, held_out, train, partners):
    """Return the explained share of maps that are fitted to pairs (train, partners)."""
    residual = change = 0.0
    for c in range(warped.shape[1]):
        x, y = (each[:, c].double().transpose(1, 2) for each in (warped, transformed))
        one = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
        fit = torch.linalg.lstsq(one[train].flatten(0, 1), y[partners].flatten(0, 1)).solution
        residual += (y[held_out] - one[held_out] @ fit).square().sum().item()
        change += (y[held_out] - x[held_out]).square().sum().item()
    return 1 - residual / change


def test_against_least_squares_for_each_type():
    warped, transformed = related()
    folds = folds_by_image(ROWS)
    train = (~folds.held_out).nonzero()[:, 0]
    expected = explained_by_least_squares(warped, transformed, folds.held_out, train, train)
    explained = pose_equivariance(warped, transformed, folds).explained.item()
    assert explained == pytest.approx(expected, abs=2e-3)


def test_the_shuffled_control_is_the_mean_over_shuffled_pairs():
    warped, transformed = related(3000)
    folds = folds_by_image(torch.arange(3000))
    train = (~folds.held_out).nonzero()[:, 0]
    shares = []
    for seed in range(5):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        shares.append(
            explained_by_least_squares(warped, transformed, folds.held_out, train, train[order])
        )
    control = pose_equivariance(warped, transformed, folds).shuffled_explained.item()
    assert control == pytest.approx(sum(shares) / len(shares), abs=0.02)


def test_batches_and_their_order_do_not_matter():
    warped, transformed = related()
    expected = pose_equivariance(warped, transformed, folds_by_image(ROWS))
    metric = PoseEquivariance(warped.shape[1:])
    for rows in reversed(ROWS.split(23)):
        metric.update(warped[rows], transformed[rows], folds_by_image(rows))
    torch.testing.assert_close(metric.compute().values, expected.values)


def test_views_weigh_by_their_change():
    """Changes of 100 and of 1, explained by 0.95 and -1, leave 7 of 101."""
    one, other = (
        PoseFit.of(
            PoseSums(*(torch.tensor(each) for each in (left, change, change, change, change))),
            torch.tensor(0.5),
        )
        for left, change in ((5.0, 100.0), (2.0, 1.0))
    )
    assert one.explained.item() == pytest.approx(0.95)
    assert other.explained.item() == pytest.approx(-1)
    assert combine_fits([one, other]).explained.item() == pytest.approx(1 - 7 / 101)
    undefined = PoseFit.of(PoseSums(*5 * (torch.tensor(torch.nan),)), torch.tensor(torch.nan))
    assert undefined.explained.isnan()
    assert combine_fits([one, undefined]).explained.item() == pytest.approx(0.95)
