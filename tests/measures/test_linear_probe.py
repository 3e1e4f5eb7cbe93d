"""Read-outs of targets that are in the features, are not, or do not vary."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit

from capsbench.errors import UserError
from capsbench.measures import readout
from capsbench.measures._linear_probe import (
    LinearReadOut,
    angle,
    common_width,
    held_out_rows,
    r_squared,
    read_out,
)

ROWS = 600


def randn(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def groups():
    return torch.arange(ROWS) // 3  # three views of each image


def test_what_is_linear_in_the_features_is_read_wholly(groups):
    features = randn(ROWS, 4, 5)
    targets = features.flatten(1) @ randn(20, 2, seed=1) + 3
    found = read_out(features, targets, held_out_rows(groups), groups)
    assert found.r2.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert found.explained == pytest.approx(1)
    assert found.width == 20
    assert (found.n_train, len(found.errors)) == (300, 300)
    assert (found.shuffled < 0.05).all()


def test_in_batches_of_any_order_it_is_the_same(groups):
    features, targets = randn(ROWS, 4, 5), randn(ROWS, 2, seed=1)
    targets = targets + features.flatten(1)[:, :2]
    metric = LinearReadOut(width=8)
    for rows in torch.randperm(ROWS, generator=torch.Generator().manual_seed(2)).split(170):
        metric.update(features[rows], targets[rows], groups[rows], rows)
    found = metric.compute()
    expected = read_out(features, targets, held_out_rows(groups), groups, width=8)
    torch.testing.assert_close(found.r2, expected.r2)
    torch.testing.assert_close(found.shuffled, expected.shuffled)
    figure, axes = metric.plot()
    assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx(found.r2.tolist())
    plt.close(figure)


def test_what_is_not_in_the_features_is_not_read(groups):
    found = read_out(randn(ROWS, 20), randn(ROWS, 3, seed=1), held_out_rows(groups), groups)
    assert (found.r2.abs() < 0.05).all()
    assert (found.shuffled.abs() < 0.05).all()


def test_shuffled_targets_are_read_no_better_than_their_mean(groups):
    """Even where features outnumber rows, and would fit any target."""
    features = randn(ROWS, 900)
    targets = features[:, :2] * 30 + randn(ROWS, 2, seed=1)
    found = read_out(features, targets, held_out_rows(groups), groups, width=100)
    assert (found.shuffled.abs() < 0.05).all()
    assert found.width == 100


def test_undefined_where_constant_zero_where_there_is_no_feature(groups):
    held_out = held_out_rows(groups)
    targets = torch.stack([randn(ROWS), torch.full((ROWS,), 0.1, dtype=torch.float64)], dim=1)
    found = read_out(randn(ROWS, 5), targets, held_out, groups)
    assert found.r2.isnan().tolist() == found.shuffled.isnan().tolist() == [False, True]
    found = read_out(torch.full((ROWS, 5), 0.1), targets, held_out, groups)
    assert found.r2[0] == pytest.approx(0, abs=0.05)
    assert found.width == 0


@pytest.mark.parametrize("size", [12, 400])
@pytest.mark.parametrize("width", [None, 8])
def test_it_agrees_with_sklearn(groups, size, width):
    features = randn(ROWS, size) * torch.linspace(0.1, 9, size) + 5
    features[:, 3] = 1  # a feature that does not vary
    targets = torch.stack(
        [features[:, 0] + randn(ROWS, seed=1), features[:, 1] ** 2, 50 * features[:, 2]], dim=1
    )
    held_out = held_out_rows(groups, seed=4)
    found = read_out(features, targets, held_out, groups, width=width, seed=4)

    train, test = features[~held_out].numpy(), features[held_out].numpy()
    pca = PCA(found.width, svd_solver="full").fit(train)
    train, test = (pca.transform(part) for part in (train, test))
    assert found.explained == pytest.approx(pca.explained_variance_ratio_.sum())
    folds = readout._positions(groups[~held_out], "folds", 4) % readout.FOLDS
    scale = np.mean(train**2) * len(train) * (readout.FOLDS - 1) / readout.FOLDS
    for target in range(3):
        ridge = RidgeCV(
            np.array(readout.PENALTIES) * scale,
            cv=PredefinedSplit(folds.numpy()),
            scoring="neg_mean_squared_error",
        ).fit(train, targets[~held_out, target].numpy())
        assert ridge.alpha_ / scale == pytest.approx(float(found.penalties[target]))
        # The folds hold four fifths of the rows, and so of the penalty.
        ridge.set_params(alphas=[ridge.alpha_ * 5 / 4], cv=None).fit(
            train, targets[~held_out, target].numpy()
        )
        truth = targets[held_out, target].numpy()
        assert r2_score(truth, ridge.predict(test)) == pytest.approx(
            float(found.r2[target]), abs=1e-6
        )


def test_the_unit_of_a_representation_does_not_matter(groups):
    features = randn(ROWS, 6)
    targets = features[:, :1] + randn(ROWS, 1, seed=1)
    held_out = held_out_rows(groups)
    one = read_out(features, targets, held_out, groups)
    other = read_out(features * 1000 + 2, targets * 5 - 1, held_out, groups)
    torch.testing.assert_close(one.r2, other.r2)


def test_images_stay_together(groups):
    held_out = held_out_rows(groups, share=0.25)
    assert held_out.float().mean() == 0.25
    by_image = held_out.view(-1, 3)
    assert (by_image == by_image[:, :1]).all()
    assert torch.equal(held_out, held_out_rows(groups * 10 + 7, share=0.25))
    assert not torch.equal(held_out, held_out_rows(groups, share=0.25, seed=1))
    folds = readout._positions(groups, "folds", 0) % readout.FOLDS
    assert (folds.view(-1, 3) == folds.view(-1, 3)[:, :1]).all()


def test_views_of_an_image_in_several_folds_would_choose_no_penalty():
    """Rows of an image are alike: a penalty chosen by rows would trust them too much."""
    groups = torch.arange(60).repeat_interleave(10)
    features = randn(60, 80)[groups] + 0.01 * randn(600, 80, seed=1)
    targets = randn(60, 1, seed=2)[groups]
    held_out = held_out_rows(groups)
    whole = read_out(features, targets, held_out, groups)
    leaking = read_out(features, targets, held_out, torch.arange(600))
    assert leaking.penalties[0] < whole.penalties[0]
    assert leaking.r2[0] < whole.r2[0]


def test_angles_wrap():
    found = angle(torch.tensor([0.0, 90.0, 359.0, 361.0]))
    assert found[:2].flatten().tolist() == pytest.approx([1, 0, 0, 1])
    torch.testing.assert_close(found[2] * torch.tensor([1, -1]), found[3])


def test_widths_leave_ten_rows_a_component():
    assert common_width([160, 2048], 5000) == 160
    assert common_width([160, 2048], 900) == 90
    assert common_width([160], 5) == 1


def test_r_squared_of_the_mean_is_zero():
    targets = randn(50, 2)
    assert r_squared(targets, targets).tolist() == [1, 1]
    assert r_squared(targets.mean(0).expand(50, 2), targets).tolist() == [0, 0]


def test_bad_input_is_told(groups):
    features, targets, held_out = randn(ROWS, 4), randn(ROWS, 1), held_out_rows(groups)
    with pytest.raises(UserError, match="finite"):
        read_out(features * torch.nan, targets, held_out, groups)
    with pytest.raises(UserError, match=r"5 images or more .* got 1 and 1"):
        read_out(features, targets, held_out, held_out.long())


def test_a_feature_that_hardly_ever_varies_spoils_nothing(groups):
    """As a pixel at the border, which one training row alone lights up, and faintly."""
    features, held_out = randn(ROWS, 10), held_out_rows(groups)
    targets = features[:, :1]
    rare = torch.zeros(ROWS, 5, dtype=torch.float64)
    rare[(~held_out).nonzero()[0, 0]] = 1e-3
    rare[held_out] = randn(int(held_out.sum()), 5, seed=1)
    found = read_out(torch.cat([features, rare], dim=1), targets, held_out, groups, width=10)
    assert found.r2[0] > 0.99
