"""Principal components of features, exact or by randomized subspace iteration."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

OVERSAMPLING, ITERATIONS = 10, 6  # of the subspace iteration
RANK_TOLERANCE = 1e-12  # of the largest variance; components below are rounding


class PrincipalComponents(NamedTuple):
    """Orthonormal directions of largest variance about a mean.

    Attributes:
        mean: (D,) subtracted from features.
        directions: (d, D) orthonormal rows, by decreasing variance.
        explained: Share of the samples' variance in these directions, 0-d.
    """

    mean: Tensor
    directions: Tensor
    explained: Tensor

    def project(self, features: Tensor) -> Tensor:
        """Return the coordinates (..., d) of features (..., D), in float64."""
        return (features.double() - self.mean) @ self.directions.T


def principal_components(
    samples: Tensor, width: int, *, generator: Generator | None = None
) -> PrincipalComponents:
    """Compute the principal components of samples.

    Without a generator they are exact, by an eigendecomposition of the smaller of the two Gram
    matrices; directions without variance are left out. With one, they are computed by subspace
    iteration from a random start (Halko, Martinsson & Tropp 2011, algorithm 4.4): linear in samples
    and features, exact if ``width`` + 10 is at least D, and always ``width`` directions.

    Args:
        samples: (n, D) float64.
        width: d, the largest number of components; with a generator at most D.
        generator: CPU generator of the random start.
    """
    if generator is None:
        return _exact(samples, width)
    mean = samples.mean(dim=0)
    centred = samples - mean
    size = (samples.shape[1], min(width + OVERSAMPLING, samples.shape[1]))
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(start.to(samples.device)).Q
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    coordinates = centred @ basis
    variances, axes = torch.linalg.eigh(coordinates.T @ coordinates)  # by increasing variance
    directions = (basis @ axes.flip(-1)[:, :width]).T
    explained = variances[-width:].sum() / centred.square().sum()
    return PrincipalComponents(mean, directions, explained)


def _exact(samples: Tensor, width: int) -> PrincipalComponents:
    varies = (samples != samples[:1]).any(dim=0)
    if not varies.any():
        nothing = samples.new_zeros(0, samples.shape[1])
        return PrincipalComponents(samples[0], nothing, samples.new_ones(()))
    # Features that do not vary are left out: rounding would give them a small variance.
    mean = samples.mean(dim=0)
    centred = samples[:, varies] - mean[varies]
    wide = centred.shape[1] > centred.shape[0]
    variances, axes = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    count = min(int((variances > RANK_TOLERANCE * variances[-1]).sum()), width)
    variances, axes = variances[-count:].flip(0), axes[:, -count:].flip(1)
    if wide:
        axes = centred.T @ axes / variances.sqrt()
    directions = samples.new_zeros(count, samples.shape[1])
    directions[:, varies] = axes.T
    return PrincipalComponents(mean, directions, variances.sum() / centred.square().sum())
