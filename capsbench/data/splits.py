"""Splits of a set's images: functions of a seed, balanced over the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from capsbench.data.randomness import generator


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
