"""Splits of a set's images: functions of a seed, balanced over the classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from capsbench.data.batches import Split
from capsbench.data.randomness import generator
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.spread import Spread


def balanced_order(targets: Tensor, *names: int | str) -> Tensor:
    """Return an order of which every beginning holds the classes in near-equal numbers.

    Args:
        targets: (N,) class indices.
        names: Names that determine the shuffle (`randomness.derive`).

    Returns:
        (N,) indices. After a shuffle, the first image of each class, then the second of each, ...
    """
    shuffled = torch.randperm(len(targets), generator=generator(*names))
    classes = targets[shuffled]
    by_class = torch.argsort(classes, stable=True)
    counts = torch.bincount(classes)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    rank = torch.empty_like(by_class)
    rank[by_class] = torch.arange(len(targets)) - starts
    return shuffled[torch.argsort(rank * len(counts) + classes, stable=True)]


def hold_out(targets: Tensor, share: float, *names: int | str) -> tuple[Tensor, Tensor]:
    """Divide images in two, with the classes in near-equal numbers in the second part.

    Args:
        targets: (N,) class indices.
        share: The second part's share, between 0 and 1.
        names: Names that determine the division.

    Returns:
        Indices that are kept and indices that are held out, each sorted; disjoint, N together.
    """
    order = balanced_order(targets, *names)
    count = round(share * len(targets))
    return order[count:].sort().values, order[:count].sort().values


def hold_out_per_class(targets: Tensor, share: float, *names: int | str) -> tuple[Tensor, Tensor]:
    """Divide images in two, with the same share of each class in the second part.

    Unlike `hold_out`, it leaves no class of few images without any in the first part.

    Args:
        targets: (N,) class indices.
        share: The second part's share of each class, at least one image of it; 0 for none.
        names: Names that determine the division.

    Returns:
        Indices that are kept and indices that are held out, each sorted; disjoint, N together.
    """
    held = torch.zeros(len(targets), dtype=torch.bool)
    if share > 0:
        held[per_class_subset(targets, share, *names)] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


def largest_class(targets: Tensor) -> float:
    """Return the share of the most frequent targets, which is the accuracy of a constant answer.

    Args:
        targets: (N,) class indices, or (N, K) multi-hot.
    """
    counts = targets.unique(dim=0, return_counts=True)[1]
    return int(counts.max()) / len(targets)


def per_class_subset(targets: Tensor, amount: float, *names: int | str) -> Tensor:
    """Select the same number, or share, of the images of each class; smaller sets are nested.

    Args:
        targets: (N,) class indices.
        amount: Number of images of each class; below 1, their share.
        names: Names that determine the selection.

    Returns:
        Indices, sorted.
    """
    order = balanced_order(targets, "some of each", *names)
    classes = targets[order]
    counts = torch.bincount(targets)
    most = (counts * amount).round().clamp(min=1) if amount < 1 else counts.new_tensor(amount)
    earlier = one_hot(classes, len(counts)).cumsum(0)
    rank = earlier.gather(1, classes[:, None])[:, 0] - 1
    return order[rank < most.expand(len(counts))[classes]].sort().values


def recorded_within(images: Split, factors: Mapping[str, Spread]) -> Tensor:
    """Find the images whose recorded factors lie within given values.

    Args:
        images: N images.
        factors: The values of some factors; factors that are left out are not restricted.

    Returns:
        (N,) bool.
    """
    result = torch.ones(len(images), dtype=torch.bool)
    for name, spread in factors.items():
        values, at = images.factors[name].unique(return_inverse=True)
        period = FACTORS[name].period
        fits = [spread.contains(value, period) for value in values.tolist()]
        result &= torch.tensor(fits, dtype=torch.bool)[at]
    return result
