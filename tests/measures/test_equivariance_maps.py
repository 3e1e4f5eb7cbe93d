"""Equivariance maps of features with a known map, and of features that do not change."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.data.folds import folds_by_image, folds_by_object
from capsbench.errors import UserError
from capsbench.measures._equivariance_maps import fit_equivariance_maps

N, CLASSES = 2400, 3
INDEX = torch.arange(N)
LABELS = INDEX % CLASSES


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fit(f_x, *views, width=16):
    folds = folds_by_image(INDEX)
    return fit_equivariance_maps(f_x, torch.stack(views, dim=1), LABELS, folds, width=width)


def turned(images):
    return images.rot90(1, (1, 2))


def rolled(images):
    return images.roll(1, 2)


@pytest.fixture(scope="module")
def noise():
    return random(N, 4, 4)


@pytest.mark.parametrize("view", [turned, rolled], ids=["turned", "rolled"])
def test_an_invertible_linear_map_of_noise_is_explained_completely(noise, view):
    W = torch.linalg.qr(random(16, 16, seed=1)).Q * torch.linspace(0.5, 2, 16).double()

    def network(images):
        return images.flatten(1) @ W.T

    fitted = fit(network(noise), network(view(noise)))
    shares = fitted.overall()
    assert shares.explained.item() == pytest.approx(1, abs=1e-10)
    assert shares.gain_over_control.item() == pytest.approx(1, abs=1e-10)
    assert shares.change_in_components.item() == pytest.approx(1)
    # The permutation of the pixels, in the space of the features and in that of the components.
    pixels = torch.eye(16).double().reshape(16, 4, 4)
    permutation = view(pixels).flatten(1).T
    expected = W @ permutation @ torch.linalg.inv(W)
    for components, A in zip(fitted.components, fitted.maps[:, 0, :, :-1], strict=True):
        torch.testing.assert_close(components.T @ A @ components, expected, atol=1e-5, rtol=1e-5)
    distance = (expected - torch.eye(16)).norm().item() / 4
    assert shares.distance_from_identity.item() == pytest.approx(distance, rel=1e-5)


def test_pairs_shuffled_within_the_class_explain_nothing(noise):
    x, y = noise.flatten(1), turned(noise).flatten(1)
    partner = torch.empty_like(INDEX)
    for label in range(CLASSES):
        rows = INDEX[LABELS.eq(label)]
        partner[rows] = rows.roll(7)
    shares = fit(x, y[partner]).overall()
    assert shares.gain_over_control.abs() < 0.02
    # Not 0: the class's mean has half the error of an unrelated image.
    assert shares.explained.item() == pytest.approx(0.5, abs=0.05)
    assert shares.shuffled_explained.item() == pytest.approx(shares.explained.item(), abs=0.02)
    # The control of the right pairs is the same.
    right = fit(x, y).overall()
    assert right.shuffled_explained.item() == pytest.approx(0.5, abs=0.05)
    assert right.explained.item() == pytest.approx(1, abs=1e-10)


def test_features_of_the_class_alone_explain_nothing():
    means = 3 * random(CLASSES, 16, seed=2)[LABELS]
    shares = fit(means + random(N, 16, seed=3), means + random(N, 16, seed=4)).overall()
    assert shares.gain_over_control.abs() < 0.02
    assert shares.explained.item() == pytest.approx(shares.shuffled_explained.item(), abs=0.02)
    # Plain R² over all classes is high.
    x, y = means + random(N, 16, seed=3), means + random(N, 16, seed=4)
    A = torch.linalg.lstsq(x, y).solution
    assert 1 - (y - x @ A).square().sum() / (y - y.mean(0)).square().sum() > 0.8
    exact = fit(means, means + 1e-9 * random(N, 16, seed=5)).overall()
    assert torch.isnan(
        torch.stack([exact.explained, exact.shuffled_explained, exact.gain_over_control])
    ).all()


def test_small_changes_that_are_noise_explain_nothing():
    x = random(N, 16)
    shares = fit(x, x + 0.1 * random(N, 16, seed=1)).overall()
    assert abs(shares.explained) < 0.02
    assert shares.distance_from_identity < 0.02
    assert shares.shuffled_explained < -10


def test_constants_and_invariant_features_are_undefined():
    constant = torch.full((N, 16), 2.5)
    assert torch.isnan(fit(constant, constant).overall().explained)
    x = random(N, 16).float()
    fitted = fit(x, x * (1 + 1e-7), x + 1)
    assert torch.isnan(fitted.by_view().explained).tolist() == [True, False]
    assert torch.isnan(fitted.by_view().change_in_components).tolist() == [True, False]
    assert fitted.by_view().distance_from_identity[0] < 1e-5


def test_each_class_has_its_own_map():
    x = random(N, 16)
    maps = random(CLASSES, 16, 16, seed=1)
    y = torch.einsum("nij,nj->ni", maps[LABELS], x) + random(CLASSES, 16, seed=2)[LABELS]
    fitted = fit(x, y)
    assert fitted.shares().explained.shape == (CLASSES, 1)
    assert fitted.shares().explained.min().item() == pytest.approx(1, abs=1e-9)
    assert fitted.classes.tolist() == [0, 1, 2]


def test_held_out_images_have_no_influence_on_the_maps(noise):
    x, y = noise.flatten(1), turned(noise).flatten(1)
    held_out = folds_by_image(INDEX).held_out
    one = fit(x, y, width=8)
    other = fit(x + 5 * held_out[:, None], y - 2 * held_out[:, None], width=8)
    for field in ("maps", "components", "mean", "penalty", "half_maps", "variance"):
        assert torch.equal(getattr(one, field), getattr(other, field))
    assert (other.residual > one.residual * 2).all()
    assert one.images.sum() == held_out.sum()


def naive_errors(fitted, k, f_x, f_gx):
    """Return sums over held-out images in loops, from the maps and the components alone."""
    held_out = folds_by_image(INDEX).held_out
    A, b = fitted.maps[k, 0, :, :-1], fitted.maps[k, 0, :, -1]
    residual = change = whole = 0.0
    for n in INDEX[held_out & (k == LABELS)].tolist():
        x, gx = (fitted.components[k] @ (f[n] - fitted.mean[k]) for f in (f_x, f_gx))
        residual += (gx - A @ x - b).square().sum().item()
        change += (gx - x).square().sum().item()
        whole += (f_gx[n] - f_x[n]).square().sum().item()
    return residual, change, whole


def test_against_loops_over_held_out_images():
    f_x = random(N, 20) * 1.3 ** -torch.arange(20).double()
    f_gx = f_x.roll(1, 1) + 0.2 * random(N, 20, seed=1) + 1
    fitted = fit(f_x, f_gx, width=5)
    for k in range(CLASSES):
        expected = naive_errors(fitted, k, f_x, f_gx)
        sums = (fitted.residual[k, 0], fitted.change[k, 0], fitted.total_change[k, 0])
        assert [each.item() for each in sums] == pytest.approx(expected, rel=1e-9)
        shares = fitted.shares()
        assert shares.explained[k, 0].item() == pytest.approx(1 - expected[0] / expected[1])
        assert shares.change_in_components[k, 0].item() == pytest.approx(expected[1] / expected[2])
    whole = 1 - fitted.residual.sum() / fitted.change.sum()
    assert fitted.overall().explained.item() == pytest.approx(whole.item())
    assert 0.5 < fitted.overall().change_in_components < 1


def test_change_outside_of_the_space_of_the_stored_images_is_included():
    """Use a view that moves features to other channels, as an equivariant network does."""
    x = torch.cat([random(N, 6), torch.zeros(N, 6).double()], dim=1)
    shares = fit(x, x.roll(6, 1), width=12).overall()
    assert shares.change_in_components.item() == pytest.approx(1)
    assert shares.explained.item() == pytest.approx(1, abs=1e-9)


def test_rows_of_one_image_have_one_role_and_are_no_partners(noise):
    """Use features for which a partner of the same image would explain everything."""
    x = noise[:800].flatten(1).repeat(3, 1)
    index, labels = INDEX[:800].repeat(3), LABELS[:800].repeat(3)
    fitted = fit_equivariance_maps(x, -x[:, None], labels, folds_by_image(index), width=16)
    assert fitted.images.sum() == 3 * folds_by_image(index[:800]).held_out.sum()
    # Shuffled pairs carry no information: the mean has a quarter of |-f - f|², a fit has more.
    assert 0.6 < fitted.overall().shuffled_explained < 0.75
    assert fitted.overall().explained.item() == pytest.approx(1)


@pytest.mark.parametrize("objects", range(2, 7))
def test_classes_of_few_objects_are_fitted(objects):
    """Rotate the features of all objects in the same way, so that a map explains everything."""
    count = 120 * objects
    features = random(count, 4)
    rotated = features[:, [1, 0, 3, 2]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    targets, instances = torch.arange(count) % 2, torch.arange(count) // 2 % objects
    folds = folds_by_object(targets, instances, torch.arange(count))
    fitted = fit_equivariance_maps(features, rotated[:, None], targets, folds, width=4)
    assert fitted.overall().explained.item() == pytest.approx(1, abs=1e-6)


def test_the_order_of_images_does_not_matter(noise):
    f_x = noise.flatten(1)[:, :12]
    f_gx = torch.stack([turned(noise).flatten(1)[:, :12], f_x**2], dim=1)
    expected = fit_equivariance_maps(f_x, f_gx, LABELS, folds_by_image(INDEX), width=6).by_view()
    rows = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    fitted = fit_equivariance_maps(
        f_x[rows].reshape(-1, 3, 4), f_gx[rows], LABELS[rows], folds_by_image(rows), width=6
    )
    for shuffled, share in zip(fitted.by_view(), expected, strict=True):
        torch.testing.assert_close(shuffled, share, rtol=1e-6, atol=1e-9)


def test_too_few_features_or_images_are_refused():
    x = random(N, 16)
    with pytest.raises(UserError, match="these have 16"):
        fit(x, x, width=17)
    few = torch.where(INDEX < 150, 4, LABELS)
    with pytest.raises(UserError, match="class 4 has"):
        fit_equivariance_maps(x, x[:, None], few, folds_by_image(INDEX), width=16)


def test_r2_beyond_controls_is_that_of_its_definition():
    x = random(N, 16)
    mixed = x @ random(16, 16, seed=1) + 2 * random(N, 16, seed=2)
    fitted = fit(x, mixed, 0.98 * x)
    held_out = folds_by_image(INDEX).held_out
    gains = []
    for label, maps, shuffled, mean, components in zip(
        fitted.classes,
        fitted.maps,
        fitted.shuffled_maps,
        fitted.mean,
        fitted.components,
        strict=True,
    ):
        rows = LABELS.eq(label) & held_out
        before, after = ((each[rows] - mean) @ components.T for each in (x, mixed))

        def r_squared(predicted, after=after):
            spread = (after - after.mean(dim=0)).square().sum()
            return 1 - (after - predicted).square().sum() / spread

        def of(each, before=before):
            return r_squared(before @ each[0, :, :-1].T + each[0, :, -1])

        gains.append(of(maps) - max(of(shuffled), r_squared(before), 0.0))
    torch.testing.assert_close(fitted.shares().r2_over_control[:, 0], torch.stack(gains))
    # A change of 2 % is explained, and is next to nothing of what differs between images.
    shares = fitted.by_view()
    assert shares.gain_over_control[1] > 0.9
    assert 0 < shares.r2_over_control[1] < 1e-3


@given(st.floats(-3, 3), st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_r2_beyond_controls_is_at_most_one_and_zero_if_nothing_changes(offset, seed):
    x = random(N, 16, seed=seed)
    shares = fit(x, x.flip(1) + offset, x).by_view()
    assert shares.r2_over_control[0] <= 1 + 1e-9
    assert shares.r2_over_control[1].item() == pytest.approx(0, abs=1e-9)
