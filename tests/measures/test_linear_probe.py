"""Linear probes of targets that are in the features, are not, or do not vary."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit

from capsbench.errors import UserError
from capsbench.measures._linear_probe import (
    NUM_FOLDS,
    PENALTIES,
    common_width,
    cosine_and_sine,
    fold_of_rows,
    held_out_rows,
    linear_probe,
)

ROWS = 600


def randn(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def groups():
    return torch.arange(ROWS) // 3  # three views of each image


def test_linear_targets_are_predicted_completely(groups):
    features = randn(ROWS, 4, 5)
    targets = features.flatten(1) @ randn(20, 2, seed=1) + 3
    result = linear_probe(features, targets, held_out_rows(groups), groups, width=30)
    assert result.r2.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert result.explained_variance == pytest.approx(1)
    assert result.width == 20
    assert (result.num_training, len(result.squared_errors)) == (300, 300)
    assert (result.shuffled_r2 < 0.05).all()


def test_squared_errors_are_those_of_r2(groups):
    features, held_out = randn(ROWS, 20), held_out_rows(groups)
    targets = features[:, :2] + randn(ROWS, 2, seed=1)
    result = linear_probe(features, targets, held_out, groups, width=20)
    spread = (targets[held_out] - targets[held_out].mean(dim=0)).square().sum(dim=0)
    torch.testing.assert_close(1 - result.squared_errors.sum(dim=0) / spread, result.r2)


def test_unrelated_targets_are_not_predicted(groups):
    targets, held_out = randn(ROWS, 3, seed=1), held_out_rows(groups)
    result = linear_probe(randn(ROWS, 20), targets, held_out, groups, width=20)
    assert (result.r2.abs() < 0.05).all()
    assert (result.shuffled_r2.abs() < 0.05).all()


def test_shuffled_targets_are_predicted_no_better_than_by_their_mean(groups):
    """Use more features than rows, which would fit any target."""
    features = randn(ROWS, 900)
    targets = features[:, :2] * 30 + randn(ROWS, 2, seed=1)
    result = linear_probe(features, targets, held_out_rows(groups), groups, width=100)
    assert (result.shuffled_r2.abs() < 0.05).all()
    assert result.width == 100


def test_constant_targets_are_undefined_and_constant_features_predict_nothing(groups):
    held_out = held_out_rows(groups)
    targets = torch.stack([randn(ROWS), torch.full((ROWS,), 0.1, dtype=torch.float64)], dim=1)
    result = linear_probe(randn(ROWS, 5), targets, held_out, groups, width=5)
    assert result.r2.isnan().tolist() == result.shuffled_r2.isnan().tolist() == [False, True]
    result = linear_probe(torch.full((ROWS, 5), 0.1), targets, held_out, groups, width=5)
    assert result.r2[0] == pytest.approx(0, abs=0.05)
    assert result.width == 0


@pytest.mark.parametrize(("size", "width"), [(12, 50), (12, 8), (400, 60), (400, 8)])
def test_results_agree_with_sklearn(groups, size, width):
    features = randn(ROWS, size) * torch.linspace(0.1, 9, size) + 5
    features[:, 3] = 1  # a feature that does not vary
    targets = torch.stack(
        [features[:, 0] + randn(ROWS, seed=1), features[:, 1] ** 2, 50 * features[:, 2]], dim=1
    )
    held_out = held_out_rows(groups)
    result = linear_probe(features, targets, held_out, groups, width=width)

    train, test = features[~held_out].numpy(), features[held_out].numpy()
    pca = PCA(result.width, svd_solver="full").fit(train)
    train, test = (pca.transform(part) for part in (train, test))
    assert result.explained_variance == pytest.approx(pca.explained_variance_ratio_.sum())
    folds = fold_of_rows(groups[~held_out])
    scale = np.mean(train**2) * len(train) * (NUM_FOLDS - 1) / NUM_FOLDS
    for target in range(3):
        ridge = RidgeCV(
            np.array(PENALTIES) * scale,
            cv=PredefinedSplit(folds.numpy()),
            scoring="neg_mean_squared_error",
        ).fit(train, targets[~held_out, target].numpy())
        assert ridge.alpha_ / scale == pytest.approx(float(result.penalty[target]))
        # The folds hold four fifths of the rows, and so of the penalty.
        ridge.set_params(alphas=[ridge.alpha_ * 5 / 4], cv=None).fit(
            train, targets[~held_out, target].numpy()
        )
        truth = targets[held_out, target].numpy()
        assert r2_score(truth, ridge.predict(test)) == pytest.approx(
            float(result.r2[target]), abs=1e-6
        )


def test_the_unit_of_a_representation_does_not_matter(groups):
    features = randn(ROWS, 6)
    targets = features[:, :1] + randn(ROWS, 1, seed=1)
    held_out = held_out_rows(groups)
    one = linear_probe(features, targets, held_out, groups, width=6)
    other = linear_probe(features * 1000 + 2, targets * 5 - 1, held_out, groups, width=6)
    torch.testing.assert_close(one.r2, other.r2)


def test_rows_of_an_image_stay_together(groups):
    held_out = held_out_rows(groups)
    assert held_out.float().mean() == 0.5
    for rows in (held_out, fold_of_rows(groups)):
        by_image = rows.view(-1, 3)
        assert (by_image == by_image[:, :1]).all()
    assert torch.equal(held_out, held_out_rows(groups * 10 + 7))
    assert fold_of_rows(groups).unique().tolist() == list(range(NUM_FOLDS))


def test_views_of_an_image_in_several_folds_select_too_small_a_penalty():
    """Compare folds of images with folds of rows, for rows of an image that are nearly equal."""
    groups = torch.arange(60).repeat_interleave(10)
    features = randn(60, 80)[groups] + 0.01 * randn(600, 80, seed=1)
    targets = randn(60, 1, seed=2)[groups]
    held_out = held_out_rows(groups)
    by_image = linear_probe(features, targets, held_out, groups, width=80)
    by_row = linear_probe(features, targets, held_out, torch.arange(600), width=80)
    assert by_row.penalty[0] < by_image.penalty[0]
    assert by_row.r2[0] < by_image.r2[0]


def test_angles_wrap():
    columns = cosine_and_sine(torch.tensor([0.0, 90.0, 359.0, 361.0]))
    assert columns[:2].flatten().tolist() == pytest.approx([1, 0, 0, 1])
    torch.testing.assert_close(columns[2] * torch.tensor([1, -1]), columns[3])


def test_widths_leave_ten_rows_per_component():
    assert common_width(160, 5000) == 160
    assert common_width(160, 900) == 90
    assert common_width(160, 5) == 1


def test_bad_input_is_refused(groups):
    features, targets, held_out = randn(ROWS, 4), randn(ROWS, 1), held_out_rows(groups)
    with pytest.raises(UserError, match="finite"):
        linear_probe(features * torch.nan, targets, held_out, groups, width=4)
    with pytest.raises(UserError, match="got 1 and 1"):
        linear_probe(features, targets, held_out, held_out.long(), width=4)


def test_a_feature_that_hardly_varies_spoils_nothing(groups):
    """Use features like pixels at the border, which are lit faintly in one training row."""
    features, held_out = randn(ROWS, 10), held_out_rows(groups)
    targets = features[:, :1]
    rare = torch.zeros(ROWS, 5, dtype=torch.float64)
    rare[(~held_out).nonzero()[0, 0]] = 1e-3
    rare[held_out] = randn(int(held_out.sum()), 5, seed=1)
    both = torch.cat([features, rare], dim=1)
    result = linear_probe(both, targets, held_out, groups, width=10)
    assert result.r2[0] > 0.99
