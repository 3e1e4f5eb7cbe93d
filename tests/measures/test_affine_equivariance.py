"""Linear equivariance on features whose map is known, and where there is nothing to explain."""

import matplotlib.pyplot as plt
import pytest
import torch

from capsbench.errors import UserError
from capsbench.measures._affine_equivariance import LinearEquivariance, linear_equivariance
from capsbench.measures._affine_maps import divide

N, CLASSES = 2400, 3
INDEX = torch.arange(N)
LABELS = INDEX % CLASSES


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(f_x, *views, width=16, **arguments):
    return linear_equivariance(
        f_x, torch.stack(views, dim=1), LABELS, divide(INDEX, 0), width=width, **arguments
    )


def turned(images):
    return images.rot90(1, (1, 2))


def rolled(images):
    return images.roll(1, 2)


@pytest.fixture(scope="module")
def noise():
    return random(N, 4, 4)


@pytest.mark.parametrize("view", [turned, rolled], ids=["turned", "rolled"])
def test_an_invertible_linear_map_of_noise_is_explained_wholly(noise, view):
    W = torch.linalg.qr(random(16, 16, seed=1)).Q * torch.linspace(0.5, 2, 16).double()

    def network(images):
        return images.flatten(1) @ W.T

    fitted = measured(network(noise), network(view(noise)))
    shares = fitted.overall()
    assert shares.explained.item() == pytest.approx(1, abs=1e-10)
    assert shares.beyond_controls.item() == pytest.approx(1, abs=1e-10)
    assert shares.kept.item() == pytest.approx(1)
    # What moves the pixels, seen in the space of the features, and in that of the components.
    pixels = torch.eye(16).double().reshape(16, 4, 4)
    moves = view(pixels).flatten(1).T
    expected = W @ moves @ torch.linalg.inv(W)
    for components, A in zip(fitted.components, fitted.maps[:, 0, :, :-1], strict=True):
        torch.testing.assert_close(components.T @ A @ components, expected, atol=1e-5, rtol=1e-5)
    off = (expected - torch.eye(16)).norm().item() / 4
    assert shares.distance.item() == pytest.approx(off, rel=1e-5)


def test_pairs_shuffled_within_the_class_explain_nothing(noise):
    x, y = noise.flatten(1), turned(noise).flatten(1)
    partner = torch.empty_like(INDEX)
    for label in range(CLASSES):
        rows = INDEX[LABELS.eq(label)]
        partner[rows] = rows.roll(7)
    shares = measured(x, y[partner]).overall()
    assert shares.beyond_controls.abs() < 0.02
    # Not 0: to predict the class's mean is half the error of predicting an unrelated image.
    assert shares.explained.item() == pytest.approx(0.5, abs=0.05)
    assert shares.shuffled.item() == pytest.approx(shares.explained.item(), abs=0.02)
    # The control of the right pairs is the same.
    right = measured(x, y).overall()
    assert right.shuffled.item() == pytest.approx(0.5, abs=0.05)
    assert right.explained.item() == pytest.approx(1, abs=1e-10)


def test_features_of_the_class_alone_explain_nothing():
    means = 3 * random(CLASSES, 16, seed=2)[LABELS]
    shares = measured(means + random(N, 16, seed=3), means + random(N, 16, seed=4)).overall()
    assert shares.beyond_controls.abs() < 0.02
    assert shares.explained.item() == pytest.approx(shares.shuffled.item(), abs=0.02)
    # Plain R² over all classes is high.
    x, y = means + random(N, 16, seed=3), means + random(N, 16, seed=4)
    A = torch.linalg.lstsq(x, y).solution
    assert 1 - (y - x @ A).square().sum() / (y - y.mean(0)).square().sum() > 0.8
    exact = measured(means, means + 1e-9 * random(N, 16, seed=5)).overall()
    assert torch.isnan(torch.stack([exact.explained, exact.shuffled, exact.beyond_controls])).all()


def test_small_changes_that_are_noise_explain_nothing():
    x = random(N, 16)
    shares = measured(x, x + 0.1 * random(N, 16, seed=1)).overall()
    assert abs(shares.explained) < 0.02
    assert shares.distance < 0.02
    assert shares.shuffled < -10


def test_constants_and_invariant_features_are_undefined():
    constant = torch.full((N, 16), 2.5)
    assert torch.isnan(measured(constant, constant).overall().explained)
    x = random(N, 16).float()
    found = measured(x, x * (1 + 1e-7), x + 1)
    assert torch.isnan(found.by_view().explained).tolist() == [True, False]
    assert torch.isnan(found.by_view().kept).tolist() == [True, False]
    assert found.by_view().distance[0] < 1e-5


def test_each_class_has_its_own_map():
    x = random(N, 16)
    maps = random(CLASSES, 16, 16, seed=1)
    y = torch.einsum("nij,nj->ni", maps[LABELS], x) + random(CLASSES, 16, seed=2)[LABELS]
    fitted = measured(x, y)
    assert fitted.shares().explained.shape == (CLASSES, 1)
    assert fitted.shares().explained.min().item() == pytest.approx(1, abs=1e-9)
    assert fitted.classes.tolist() == [0, 1, 2]


def test_held_out_images_only_judge(noise):
    x, y = noise.flatten(1), turned(noise).flatten(1)
    held_out = divide(INDEX, 0).held_out
    one = measured(x, y, width=8)
    other = measured(x + 5 * held_out[:, None], y - 2 * held_out[:, None], width=8)
    for field in ("maps", "components", "centre", "penalty", "halves", "variance"):
        assert torch.equal(getattr(one, field), getattr(other, field))
    assert (other.residual > one.residual * 2).all()
    assert one.images.sum() == held_out.sum()


def naive_errors(fitted, k, f_x, f_gx):
    """By loops over held-out images, from the maps and the components alone."""
    held_out = divide(INDEX, 0).held_out
    A, b = fitted.maps[k, 0, :, :-1], fitted.maps[k, 0, :, -1]
    residual = change = whole = 0.0
    for n in INDEX[held_out & (k == LABELS)].tolist():
        x, gx = (fitted.components[k] @ (f[n] - fitted.centre[k]) for f in (f_x, f_gx))
        residual += (gx - A @ x - b).square().sum().item()
        change += (gx - x).square().sum().item()
        whole += (f_gx[n] - f_x[n]).square().sum().item()
    return residual, change, whole


def test_against_loops_over_held_out_images():
    f_x = random(N, 20) * 1.3 ** -torch.arange(20).double()
    f_gx = f_x.roll(1, 1) + 0.2 * random(N, 20, seed=1) + 1
    fitted = measured(f_x, f_gx, width=5)
    for k in range(CLASSES):
        expected = naive_errors(fitted, k, f_x, f_gx)
        found = (fitted.residual[k, 0], fitted.change[k, 0], fitted.whole_change[k, 0])
        assert [each.item() for each in found] == pytest.approx(expected, rel=1e-9)
        shares = fitted.shares()
        assert shares.explained[k, 0].item() == pytest.approx(1 - expected[0] / expected[1])
        assert shares.kept[k, 0].item() == pytest.approx(expected[1] / expected[2])
    whole = 1 - fitted.residual.sum() / fitted.change.sum()
    assert fitted.overall().explained.item() == pytest.approx(whole.item())
    assert 0.5 < fitted.overall().kept < 1


def test_change_that_leaves_the_space_of_the_unmoved_images_is_seen():
    """A view that moves what is seen to other channels, as a network by construction would."""
    x = torch.cat([random(N, 6), torch.zeros(N, 6).double()], dim=1)
    shares = measured(x, x.roll(6, 1), width=12).overall()
    assert shares.kept.item() == pytest.approx(1)
    assert shares.explained.item() == pytest.approx(1, abs=1e-9)


def test_rows_of_one_image_serve_for_the_same_and_are_no_partners(noise):
    """Nothing but the image is in the features: a partner of the same image would explain them."""
    x = noise[:800].flatten(1).repeat(3, 1)
    index, labels = INDEX[:800].repeat(3), LABELS[:800].repeat(3)
    fitted = linear_equivariance(x, -x[:, None], labels, divide(index, 0), width=16)
    assert fitted.images.sum() == 3 * divide(index[:800], 0).held_out.sum()
    # Its pairs say nothing of the image: the mean errs by a quarter of |-f - f|², a fit by more.
    assert 0.6 < fitted.overall().shuffled < 0.75
    assert fitted.overall().explained.item() == pytest.approx(1)


def test_neither_batches_nor_order_matter(noise):
    f_x = noise.flatten(1)[:, :12]
    f_gx = torch.stack([turned(noise).flatten(1)[:, :12], f_x**2], dim=1)
    expected = linear_equivariance(f_x, f_gx, LABELS, divide(INDEX, 0), width=6).by_view()
    metric = LinearEquivariance(6)
    for rows in torch.randperm(N, generator=torch.Generator().manual_seed(0)).split(700):
        metric.update(f_x[rows].reshape(-1, 3, 4), f_gx[rows], LABELS[rows], INDEX[rows])
    for one, other in zip(metric.compute().by_view(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    another_seed = linear_equivariance(f_x, f_gx, LABELS, divide(INDEX, 1), width=6).by_view()
    assert another_seed.explained[0] != expected.explained[0]
    figure, axes = metric.plot()
    assert [line.get_ydata()[0] for line in axes.lines[:2]] == pytest.approx(
        expected.explained.tolist()
    )
    plt.close(figure)


def test_what_does_not_suffice():
    x = random(N, 16)
    with pytest.raises(UserError, match="needs as many features; these have 16: ask for a smaller"):
        measured(x, x, width=17)
    few = torch.where(INDEX < 150, 4, LABELS)
    with pytest.raises(UserError, match=r"needs 160 training images of each class; class 4 has"):
        linear_equivariance(x, x[:, None], few, divide(INDEX, 0), width=16)
