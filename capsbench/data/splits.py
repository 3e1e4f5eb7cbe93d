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
    """An order of the images in which every beginning holds the classes in near-equal numbers.

    Args:
        targets: (N,) class indices.
        names: What the shuffle is a function of (`randomness.derive`).

    Returns:
        (N,) indices: after a shuffle, the first image of each class, then the second of each, ...
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
        names: What the division is a function of.

    Returns:
        Indices that are kept and indices that are held out, each sorted; disjoint, N together.
    """
    order = balanced_order(targets, *names)
    count = round(share * len(targets))
    return order[count:].sort().values, order[:count].sort().values


def hold_out_of_each(targets: Tensor, share: float, *names: int | str) -> tuple[Tensor, Tensor]:
    """Divide images in two, with the same share of each class in the second part.

    Unlike `hold_out` it leaves no class of few images without any in the first part.

    Args:
        targets: (N,) class indices.
        share: The second part's share of each class, at least one image of it; none where it is 0.
        names: What the division is a function of.

    Returns:
        Indices that are kept and indices that are held out, each sorted; disjoint, N together.
    """
    held = torch.zeros(len(targets), dtype=torch.bool)
    if share > 0:
        held[some_of_each(targets, share, *names)] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


def some_of_each(targets: Tensor, wanted: float, *names: int | str) -> Tensor:
    """The same number, or share, of the images of each class; fewer are a part of more.

    Args:
        targets: (N,) class indices.
        wanted: How many of each class, or below 1 the share of each.
        names: What the choice is a function of.

    Returns:
        Indices, sorted.
    """
    order = balanced_order(targets, "some of each", *names)
    classes = targets[order]
    counts = torch.bincount(targets)
    most = (counts * wanted).round().clamp(min=1) if wanted < 1 else counts.new_tensor(wanted)
    earlier = one_hot(classes, len(counts)).cumsum(0)
    rank = earlier.gather(1, classes[:, None])[:, 0] - 1
    return order[rank < most.expand(len(counts))[classes]].sort().values


def inside(images: Split, wanted: Mapping[str, Spread]) -> Tensor:
    """Which images were recorded inside of what is wanted.

    Args:
        images: N images.
        wanted: The values of some of their factors; what is left out is not restricted.

    Returns:
        (N,) bool.
    """
    result = torch.ones(len(images), dtype=torch.bool)
    for name, spread in wanted.items():
        values, at = images.factors[name].unique(return_inverse=True)
        period = FACTORS[name].period
        fits = [spread.contains(value, period) for value in values.tolist()]
        result &= torch.tensor(fits, dtype=torch.bool)[at]
    return result
