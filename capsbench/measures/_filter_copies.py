"""Whether first-layer filters are turned and scaled copies of one another."""

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

ANGLES = tuple(range(15, 360, 15))  # degrees; 0 would count filters learned twice
SCALES = (1.0, 1.25, 1.5)  # below 1 a copy would show what lies outside of the filter
QUANTILE = 0.95
NULL_SETS = 20
SMALLEST = 3
ROUNDING = 1e-10  # of a filter's length: what varies less is constant

Null = Literal["phases", "pixels"]


class Copies(NamedTuple):
    """For each filter the best copy of another.

    Attributes:
        share: () share of the filters that are more alike to a copy of another than 95 % of random
            ones are: 0.05 by chance. NaN without a filter that varies.
        threshold: () the 95 % quantile of the similarity of random filters.
        similarity: (F,) cosine of each filter with its best copy; NaN of a filter that is constant.
        source: (F,) number of the filter that the copy is of.
        angle: (F,) degrees, counter-clockwise, by which it is turned.
        scale: (F,) by which it is enlarged.
        random: (S, F) similarities of the random filters.
    """

    share: Tensor
    threshold: Tensor
    similarity: Tensor
    source: Tensor
    angle: Tensor
    scale: Tensor
    random: Tensor


def turned_copies(
    filters: Tensor,
    *,
    angles: Sequence[float] = ANGLES,
    scales: Sequence[float] = SCALES,
    null: Null = "phases",
    null_sets: int = NULL_SETS,
    seed: int = 0,
) -> Copies:
    """Share of filters explained by a turned and scaled copy of another.

    Article, 'Data Augmentation': early layers of CNNs 'are rotated, scaled and translated copies of
    one another' (after Zeiler & Fergus 2013). Of filter i that is
    max over j ≠ i, angles θ and scales s of cos(m w_i, m R(θ, s) w_j),
    with R the warp (bilinear) about the middle, m the disc that turns onto itself, and each
    channel's mean over the disc taken off. The best of many is high by chance, the more so with
    few pixels; hence the random sets, of as many filters, treated alike.

    Args:
        filters: (F, C, K, K), weights of a convolution on the image.
        angles: Degrees.
        scales: Factors from 1 up.
        null: How random filters are made of the true ones: ``phases`` keeps each filter's spectrum
            (its frequency, orientation and smoothness) and draws the phases anew, the same for all
            channels; ``pixels`` shuffles the places, which leaves no smooth filter, and is beaten
            easily.
        null_sets: S, how many sets of random filters.
        seed: Of the random sets.

    Returns:
        On the device of the filters, in float64.

    Raises:
        UserError: There are fewer than two filters, or they are not square, or too small to turn;
            or a scale lies below 1.
    """
    if filters.dim() != 4 or len(filters) < 2 or filters.shape[-1] != filters.shape[-2]:
        raise UserError(
            f"filters must be two or more, (F, C, K, K); got shape {tuple(filters.shape)}"
        )
    if filters.shape[-1] < SMALLEST:
        raise UserError(
            f"filters of at least {SMALLEST} x {SMALLEST} can be turned; got {filters.shape[-1]}"
        )
    if min(scales) < 1:
        raise UserError(f"scales must be 1 or more; got {min(scales)}")
    given = filters.detach().double()
    views = list(product(angles, scales))
    turns = _turns(views, given.shape[-1]).to(given.device)
    similarity, best = _best_copies(given, turns)
    randomness = generator(seed, "random filters")
    randomize = _with_random_phases if null == "phases" else _with_shuffled_pixels
    random = torch.stack(
        [_best_copies(randomize(given, randomness), turns)[0] for _ in range(null_sets)]
    )
    threshold = random.nanquantile(QUANTILE)
    defined = similarity.isfinite()
    settings = given.new_tensor(views)[best % len(views)]
    return Copies(
        (similarity > threshold).sum() / defined.sum().double(),
        threshold,
        similarity,
        best // len(views),
        settings[:, 0],
        settings[:, 1],
        random,
    )


def _turns(views: Sequence[tuple[float, float]], size: int) -> Tensor:
    """(V, K K, K K) for each angle and scale what every pixel of a filter becomes: R is linear."""
    angles, scales = torch.tensor(views, dtype=torch.float64).unbind(-1)
    shown = replace(
        Views.identity(len(views)), rotation=angles, scale=scales[:, None].expand(-1, 2)
    )
    pixels = torch.eye(size * size, dtype=torch.float64).view(-1, size, size)
    copies = pixels.expand(len(views), *pixels.shape)  # the pixels as channels
    return warp(copies, shown.matrices(size, size)).flatten(start_dim=2)


def _best_copies(filters: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """(F,) best cosine, and which of the F V copies has it, by filter and view."""
    count = len(filters)
    copies = torch.einsum("fcp,vpq->fvcq", filters.flatten(start_dim=2), turns)
    copies = copies.unflatten(3, filters.shape[2:]).flatten(0, 1)
    cosines = (_on_disc(filters) @ _on_disc(copies).T).unflatten(1, (count, len(turns)))
    same = torch.eye(count, dtype=torch.bool, device=filters.device)[..., None]
    # A filter that is constant is like none: as a copy it is passed over.
    candidates = cosines.nan_to_num(-1).masked_fill(same, -torch.inf).flatten(start_dim=1)
    highest, best = candidates.max(dim=1)
    return highest.masked_fill(cosines.isnan().all(dim=2).all(dim=1), torch.nan), best


def _on_disc(filters: Tensor) -> Tensor:
    """(N, C M) of length one: the M pixels on the disc, without each channel's mean there."""
    size = filters.shape[-1]
    place = torch.arange(size, device=filters.device) - (size - 1) / 2
    disc = place[:, None].square() + place.square() <= ((size - 1) / 2) ** 2
    pixels = filters[:, :, disc]
    centred = (pixels - pixels.mean(dim=2, keepdim=True)).flatten(start_dim=1)
    length = centred.norm(dim=1, keepdim=True)
    varies = length > ROUNDING * pixels.flatten(start_dim=1).norm(dim=1, keepdim=True)
    return centred / length.where(varies, torch.nan)


def _with_random_phases(filters: Tensor, randomness: Generator) -> Tensor:
    """Filters of the same spectra: each times the phases of a filter of noise."""
    noise = torch.randn(
        len(filters), 1, *filters.shape[-2:], generator=randomness, dtype=torch.float64
    )
    phases = torch.fft.fft2(noise.to(filters.device)).sgn()
    return torch.fft.ifft2(torch.fft.fft2(filters) * phases).real


def _with_shuffled_pixels(filters: Tensor, randomness: Generator) -> Tensor:
    """Filters of the same weights, each at other places, its channels together."""
    flat = filters.flatten(start_dim=2)
    keys = torch.rand(len(flat), 1, flat.shape[2], generator=randomness, dtype=torch.float64)
    order = keys.argsort(dim=2).to(filters.device)
    return flat.gather(2, order.expand_as(flat)).view_as(filters)
