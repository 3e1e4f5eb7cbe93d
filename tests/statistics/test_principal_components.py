"""Principal components, exact and randomized, against a singular value decomposition."""

import numpy as np
import pytest
import torch

from capsbench.statistics.principal_components import principal_components


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(
    ("rows", "generator", "tolerance"),
    [(300, start, 1e-3), (300, lambda: None, 1e-9), (40, lambda: None, 1e-9)],
    ids=["randomized", "exact", "exact, more features than samples"],
)
def test_components_are_those_of_a_singular_value_decomposition(rows, generator, tolerance):
    samples = random(rows, 60) * 1.25 ** -torch.arange(60.0).double() + random(60, seed=1)
    space = principal_components(samples, 12, generator=generator())
    centred = (samples - samples.mean(0)).numpy()
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(space.directions @ space.directions.T, torch.eye(12).double())
    # Up to their sign, the same directions in the same order.
    np.testing.assert_allclose(
        np.abs(space.directions.numpy() @ directions[:12].T), np.eye(12), atol=tolerance
    )
    share = (singular[:12] ** 2).sum() / (singular**2).sum()
    assert space.explained.item() == pytest.approx(share, rel=1e-6)
    projected = space.project(samples.float())
    np.testing.assert_allclose(projected.square().sum().item(), (singular[:12] ** 2).sum(), 1e-5)


def test_randomized_components_have_the_width_that_is_given():
    samples = torch.cat([random(50, 3), torch.ones(50, 5).double()], 1)
    space = principal_components(samples, 6, generator=start())
    torch.testing.assert_close(space.directions @ space.directions.T, torch.eye(6).double())
    assert space.explained.item() == pytest.approx(1)


def test_exact_components_leave_out_directions_without_variance():
    samples = torch.cat([random(50, 3), torch.full((50, 5), 0.1).double()], 1)
    space = principal_components(samples, 6)
    assert space.directions.shape == (3, 8)
    assert (space.directions[:, 3:] == 0).all()
    assert space.explained.item() == pytest.approx(1)
    constant = principal_components(samples[:, 3:], 6)
    assert constant.project(samples[:, 3:]).shape == (50, 0)
