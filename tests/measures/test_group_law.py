"""Group law: true, false and trivial representations."""

import math

import numpy as np
import pytest
import torch

from capsbench.data.folds import folds_by_image
from capsbench.measures._equivariance_maps import fit_equivariance_maps
from capsbench.measures._group_law import compositions, group_law, group_law_of_maps

N, CLASSES = 3000, 2
INDEX = torch.arange(N)
LABELS = INDEX % CLASSES
ANGLES = (30.0, 60.0, 90.0)


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(degrees):
    """Return a rotation of three planes by one, two and three times an angle, in 8 dimensions."""
    A = torch.eye(8).double()
    for plane in range(3):
        angle = math.radians(degrees) * (plane + 1)
        cos, sin = math.cos(angle), math.sin(angle)
        A[2 * plane : 2 * plane + 2, 2 * plane : 2 * plane + 2] = torch.tensor(
            [[cos, -sin], [sin, cos]]
        )
    return A


def law_of(maps, noise=0.3):
    """Return the group law of features that each view maps by a matrix, up to noise."""
    f_x = random(N, 8) + random(CLASSES, 8, seed=1)[LABELS]
    f_gx = torch.stack([f_x @ A.T for A in maps], dim=1) + noise * random(N, len(maps), 8, seed=2)
    fitted = fit_equivariance_maps(f_x, f_gx, LABELS, folds_by_image(INDEX), width=8)
    return group_law_of_maps(fitted, compositions(ANGLES, period=360))


def test_the_error_of_a_true_representation_is_the_noise_of_fitting():
    law = law_of([rotation(angle) for angle in ANGLES])
    assert law.error.shape == (2,)  # 30 + 30 and 30 + 60
    assert (law.error < 1.1 * law.noise).all()
    assert (law.error > 0.3 * law.noise).all()
    assert (law.distance > 0.3).all()
    exact = law_of([rotation(angle) for angle in ANGLES], noise=0.0)
    assert (exact.error < 1e-12).all()


def test_the_error_of_a_false_representation_is_large():
    law = law_of([rotation(30.0), rotation(60.0), rotation(105.0)])
    assert law.error[0] < 1.1 * law.noise[0]
    assert law.error[1] > 10 * law.noise[1]


def test_maps_fitted_to_upright_images_alone_can_have_a_large_error():
    """Use true rotations of features that fill only a subspace before the rotation."""
    f_x = random(N, 8) * torch.tensor([1, 0, 0, 0, 1, 0, 1, 1])
    maps = [rotation(angle) for angle in (30.0, 60.0, 90.0, 120.0, 150.0)]
    turns = compositions((30, 60, 90, 120, 150), period=360)

    def law(sources, index):
        f_gx = torch.stack([sources @ A.T for A in maps], dim=1)
        f_gx = f_gx + 0.1 * random(*f_gx.shape, seed=2)
        labels = LABELS[index]
        return group_law_of_maps(
            fit_equivariance_maps(sources, f_gx, labels, folds_by_image(index), width=8), turns
        )

    upright = law(f_x, INDEX)
    assert (upright.error > 10 * upright.noise).any()
    everywhere = torch.cat([f_x, *(f_x @ A.T for A in maps)])
    from_all_views = law(everywhere, INDEX.repeat(6))
    assert (from_all_views.error < 1.1 * from_all_views.noise).all()


def test_the_identity_satisfies_the_law_trivially():
    law = law_of([torch.eye(8).double()] * 3, noise=0.01)
    assert (law.error < 0.01).all()
    assert (law.distance < 0.01).all()


def test_against_a_loop_over_images():
    A_g, A_h, A_gh, first, second = (random(3, 4, 4, seed=seed) for seed in range(5))
    features = random(3, 30, 4, seed=9)
    covariance = features.mT @ features
    law = group_law(A_g, A_h, A_gh, covariance, (first, second))

    def mean_square(A):
        return np.mean(
            [
                np.sum((A[k].numpy() @ features[k, n].numpy()) ** 2)
                for k in range(3)
                for n in range(30)
            ]
        )

    size = mean_square(A_gh)
    product = torch.stack([g @ h for g, h in zip(A_g, A_h, strict=True)])
    assert law.error.item() == pytest.approx(mean_square(A_gh - product) / size)
    assert law.noise.item() == pytest.approx(mean_square(first - second) / size)
    off = [
        np.mean([np.linalg.norm(A[k].numpy() - np.eye(4)) / 2 for k in range(3)])
        for A in (A_g, A_h)
    ]
    assert law.distance.item() == pytest.approx(max(off))
    # Views in a batch do not mix.
    pair = [torch.stack([A, 2 * A]) for A in (A_g, A_h, A_gh)]
    batch = group_law(pair[0], pair[1], pair[2], covariance, (first, first))
    assert batch.error[0].item() == pytest.approx(law.error.item())
    assert batch.error[1] > batch.error[0]
    assert batch.noise.tolist() == [0, 0]


def test_the_order_of_the_product_counts():
    A_g, A_h = random(1, 4, 4), random(1, 4, 4, seed=1)
    unit = torch.eye(4).double()[None]
    assert group_law(A_g, A_h, A_g @ A_h, unit, (A_g, A_g)).error < 1e-20
    assert group_law(A_g, A_h, A_h @ A_g, unit, (A_g, A_g)).error > 0.1


def test_features_that_never_vary_are_undefined():
    A = random(1, 4, 4)
    assert torch.isnan(group_law(A, A, A, torch.zeros(1, 4, 4).double(), (A, A)).error)


def test_compositions():
    turns = compositions([-180, -90, 0, 90, 180], period=360).tolist()
    assert [0, 1, 3] in turns  # -180 - 90 is 90
    assert [1, 3, 2] not in turns  # a turn and its reverse are the identity, which is trivial
    assert all(2 not in each for each in turns)
    assert compositions([1, 2, 3]).tolist() == [[0, 0, 1], [0, 1, 2]]
    scales = [math.log(scale) for scale in (0.5, 2, 4)]
    assert compositions(scales).tolist() == [[0, 2, 1], [1, 1, 2]]
