"""Rotated and scaled copies among the filters of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from capsbench.data.randomness import generator
from capsbench.errors import UserError
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

ANGLES = tuple(range(15, 360, 15))  # degrees; 0 would count filters that were learned twice
SCALES = (1.0, 1.25, 1.5)  # below 1 a copy would show what lies outside of the filter
QUANTILE = 0.95
NULL_SETS = 20
MIN_SIZE = 3
ROUNDING = 1e-10  # of a filter's norm; a filter that varies less is constant

NullDistribution = Literal["phases", "pixels"]


class FilterCopies(NamedTuple):
    """Best copy of another filter for each filter.

    Attributes:
        share: () share of the filters that are more similar to a copy of another than 95 % of
            random filters are: 0.05 by chance. NaN if all filters are constant.
        threshold: () 95 % quantile of the similarity of random filters.
        similarity: (F,) cosine of each filter with its best copy; NaN for a constant filter.
        source: (F,) number of the copied filter.
        angle: (F,) degrees, counter-clockwise, by which the copy is rotated.
        scale: (F,) factor by which the copy is enlarged.
        random_similarity: (S, F) similarities of the random filters.
    """

    share: Tensor
    threshold: Tensor
    similarity: Tensor
    source: Tensor
    angle: Tensor
    scale: Tensor
    random_similarity: Tensor


def rotated_copies(
    filters: Tensor,
    *,
    angles: Sequence[float] = ANGLES,
    scales: Sequence[float] = SCALES,
    null: NullDistribution = "phases",
    null_sets: int = NULL_SETS,
    seed: int = 0,
) -> FilterCopies:
    """Compare each filter with the rotated and scaled copies of the others.

    Article, 'Data Augmentation': early layers of CNNs 'are rotated, scaled and translated copies of
    one another' (after Zeiler & Fergus 2013). The similarity of filter i is
    max over j ≠ i, angles θ and scales s of cos(m w_i, m R(θ, s) w_j),
    with R the warp (bilinear) about the centre, m the disc that rotates onto itself, and each
    channel's mean over the disc subtracted. The best of many copies is similar by chance,
    especially with few pixels. Its similarity is therefore compared with that of random sets of as
    many filters.

    Args:
        filters: (F, C, K, K), weights of a convolution on the image.
        angles: Degrees.
        scales: Factors of at least 1.
        null: Random filters: ``phases`` keeps each filter's spectrum (its frequency, orientation
            and smoothness) and draws random phases, the same for all channels; ``pixels`` permutes
            the pixels, which leaves no smooth filter and is exceeded easily.
        null_sets: S, the number of sets of random filters.
        seed: Seed of the random sets.

    Returns:
        Tensors on the device of the filters, in float64.

    Raises:
        UserError: There are fewer than two filters, or they are not square, or too small to rotate;
            or a scale is below 1.
    """
    if filters.dim() != 4 or len(filters) < 2 or filters.shape[-1] != filters.shape[-2]:
        raise UserError(
            f"filters must be two or more, (F, C, K, K); got shape {tuple(filters.shape)}"
        )
    if filters.shape[-1] < MIN_SIZE:
        raise UserError(
            f"filters of at least {MIN_SIZE} x {MIN_SIZE} can be rotated; got {filters.shape[-1]}"
        )
    if min(scales) < 1:
        raise UserError(f"scales must be 1 or more; got {min(scales)}")
    weights = filters.detach().double()
    views = list(product(angles, scales))
    warps = _warp_matrices(views, weights.shape[-1]).to(weights.device)
    similarity, best = _best_copies(weights, warps)
    randomness = generator(seed, "random filters")
    randomize = _with_random_phases if null == "phases" else _with_permuted_pixels
    random_similarity = torch.stack(
        [_best_copies(randomize(weights, randomness), warps)[0] for _ in range(null_sets)]
    )
    threshold = random_similarity.nanquantile(QUANTILE)
    varying = similarity.isfinite()
    settings = weights.new_tensor(views)[best % len(views)]
    return FilterCopies(
        (similarity > threshold).sum() / varying.sum().double(),
        threshold,
        similarity,
        best // len(views),
        settings[:, 0],
        settings[:, 1],
        random_similarity,
    )


def _warp_matrices(views: Sequence[tuple[float, float]], size: int) -> Tensor:
    """Return R for each angle and scale as a matrix of the pixels of a filter, (V, K K, K K)."""
    angles, scales = torch.tensor(views, dtype=torch.float64).unbind(-1)
    warps = replace(
        Views.identity(len(views)), rotation=angles, scale=scales[:, None].expand(-1, 2)
    )
    pixels = torch.eye(size * size, dtype=torch.float64).view(-1, size, size)
    copies = pixels.expand(len(views), *pixels.shape)  # the pixels as channels
    return warp(copies, warps.matrices(size, size)).flatten(start_dim=2)


def _best_copies(filters: Tensor, warps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best cosine, (F,), and the index of the copy among the F V, by filter and view."""
    count = len(filters)
    copies = torch.einsum("fcp,vpq->fvcq", filters.flatten(start_dim=2), warps)
    copies = copies.unflatten(3, filters.shape[2:]).flatten(0, 1)
    cosines = (_on_disc(filters) @ _on_disc(copies).T).unflatten(1, (count, len(warps)))
    same = torch.eye(count, dtype=torch.bool, device=filters.device)[..., None]
    # A copy of a constant filter is skipped.
    candidates = cosines.nan_to_num(-1).masked_fill(same, -torch.inf).flatten(start_dim=1)
    highest, best = candidates.max(dim=1)
    return highest.masked_fill(cosines.isnan().all(dim=2).all(dim=1), torch.nan), best


def _on_disc(filters: Tensor) -> Tensor:
    """Return the M pixels on the disc without each channel's mean, normalized, (N, C M)."""
    size = filters.shape[-1]
    position = torch.arange(size, device=filters.device) - (size - 1) / 2
    disc = position[:, None].square() + position.square() <= ((size - 1) / 2) ** 2
    pixels = filters[:, :, disc]
    centred = (pixels - pixels.mean(dim=2, keepdim=True)).flatten(start_dim=1)
    norm = centred.norm(dim=1, keepdim=True)
    varies = norm > ROUNDING * pixels.flatten(start_dim=1).norm(dim=1, keepdim=True)
    return centred / norm.where(varies, torch.nan)


def _with_random_phases(filters: Tensor, randomness: Generator) -> Tensor:
    """Return filters of the same spectra with the phases of filters of noise."""
    noise = torch.randn(
        len(filters), 1, *filters.shape[-2:], generator=randomness, dtype=torch.float64
    )
    phases = torch.fft.fft2(noise.to(filters.device)).sgn()
    return torch.fft.ifft2(torch.fft.fft2(filters) * phases).real


def _with_permuted_pixels(filters: Tensor, randomness: Generator) -> Tensor:
    """Return filters with permuted pixels, the same permutation for all channels."""
    flat = filters.flatten(start_dim=2)
    keys = torch.rand(len(flat), 1, flat.shape[2], generator=randomness, dtype=torch.float64)
    order = keys.argsort(dim=2).to(filters.device)
    return flat.gather(2, order.expand_as(flat)).view_as(filters)
