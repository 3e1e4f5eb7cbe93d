"""Dynamic routing's passes over the votes as matrix products; no vote is stored.

A sum of weighted votes is the product of the weighted children with W, and the agreement of a vote
with a parent is û_ij · v_j = u_i · (W_ij v_j). Both are as long as a child's pose, which is shorter
than a vote; they are made for a slice of the children at a time, that stays in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from capsbench.capsules.kernels.compiling import Transform, uncompiled

# Numbers of one intermediate result: what a processor's cache holds, and what keeps a GPU at work.
SLICE, GPU_SLICE = 2**20, 2**26


class EagerKernels:
    """The passes, slice by slice; see `capsbench.capsules.kernels.dynamic.DynamicKernels`.

    Args:
        transform: What turns the function of one slice into a faster one.
    """

    def __init__(self, transform: Transform = uncompiled) -> None:
        self._even_sum = transform(_even_sum)
        self._weighted_sum = transform(_weighted_sum)
        self._agreement_gradient = transform(_agreement_gradient)
        self._vote_gradients = transform(_vote_gradients)

    def weighted_sum(
        self, children: Tensor, weights: Tensor, agreed: Tensor | None, coupled: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Sums of votes (B, J, E), and couplings (B, I, J) if wanted."""
        num_children, num_parents, _, parent_dim = weights.shape
        sums = children.new_zeros(num_parents, len(children), parent_dim)
        shape = (num_parents, len(children), num_children)
        couplings = children.new_full(shape, 1 / num_parents) if coupled else None
        parents = None if agreed is None else _by_parent(agreed)
        for place, poses, transforms in _slices(children, weights):
            if parents is None:
                sums += self._even_sum(poses, transforms)
            else:
                part, shares = self._weighted_sum(poses, transforms, parents)
                sums += part
                if couplings is not None:
                    couplings[..., place] = shares
        return sums.transpose(0, 1), couplings if couplings is None else couplings.permute(1, 2, 0)

    def agreement_gradient(
        self,
        children: Tensor,
        weights: Tensor,
        agreed: Tensor,
        sums_gradient: Tensor,
        couplings_gradient: Tensor | None,
    ) -> Tensor:
        """Gradient of what was agreed: (B, J, E)."""
        parents, gradient = map(_by_parent, (agreed, sums_gradient))
        result = torch.zeros_like(parents)
        for place, poses, transforms in _slices(children, weights):
            more = None if couplings_gradient is None else couplings_gradient[:, place]
            result += self._agreement_gradient(poses, transforms, parents, gradient, more)
        return result.transpose(0, 1)

    def vote_gradients(
        self,
        children: Tensor,
        weights: Tensor,
        agreed: Tensor,
        sums_gradients: Tensor,
        couplings_gradient: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Gradients of children (B, I, D) and weights (I, J, D, E)."""
        children_gradient = torch.empty_like(children)
        weights_gradient = torch.empty_like(weights)
        parents, gradients = map(_by_parent, (agreed, sums_gradients))
        for place, poses, transforms in _slices(children, weights):
            more = None if couplings_gradient is None else couplings_gradient[:, place]
            du, dw = self._vote_gradients(poses, transforms, parents, gradients, more)
            children_gradient[:, place] = du.mT
            weights_gradient[place] = dw.view_as(transforms).permute(2, 0, 1, 3)
        return children_gradient, weights_gradient


def _by_parent(steps: Tensor) -> Tensor:
    """(..., B, J, E) as (..., J, B, E)."""
    return steps.transpose(-3, -2).contiguous()


def _slices(children: Tensor, weights: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Slices of children (B, I, D) and weights (I, J, D, E), nearly all of one size.

    Yields:
        Which children they are, their poses (B, D, I) and transformations (J, D, I, E).
    """
    num_children, num_parents, dim, _ = weights.shape
    limit = SLICE if children.device.type == "cpu" else GPU_SLICE
    count = math.ceil(num_children * len(children) * num_parents * dim / limit)
    size = math.ceil(num_children / max(1, min(count, num_children)))
    for begin in range(0, num_children, size):
        place = slice(begin, begin + size)
        transforms = weights[place].permute(1, 2, 0, 3).contiguous()
        yield place, children[:, place].mT.contiguous(), transforms


# One slice: poses (B, D, I), transforms (J, D, I, E), parents and gradients (J, B, E), couplings
# and logits (J, B, I).


def _wanted(transforms: Tensor, parents: Tensor) -> Tensor:
    """W_ij parents_j: what each parent would have of each child, (J, B, D, I)."""
    return (parents @ transforms.flatten(1, 2).mT).unflatten(-1, transforms.shape[1:3])


def _agreement(poses: Tensor, wanted: Tensor) -> Tensor:
    """û_ij · parents_j for what these want of the children."""
    return (wanted * poses).sum(dim=2)


def _coupled(poses: Tensor, shares: Tensor) -> Tensor:
    """shares_ij u_i, (J, B, D * I)."""
    return (shares[:, :, None] * poses).flatten(start_dim=2)


def _even(poses: Tensor, transforms: Tensor) -> Tensor:
    """Children that all parents share alike: (B, D * I)."""
    return poses.flatten(start_dim=1) / len(transforms)


def _even_sum(poses: Tensor, transforms: Tensor) -> Tensor:
    return _even(poses, transforms) @ transforms.flatten(1, 2)


def _weighted_sum(poses: Tensor, transforms: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
    couplings = _agreement(poses, _wanted(transforms, parents)).softmax(dim=0)
    return _coupled(poses, couplings) @ transforms.flatten(1, 2), couplings


def _logit_gradient(
    poses: Tensor, couplings: Tensor, wanted: Tensor, couplings_gradient: Tensor | None
) -> Tensor:
    """Through the softmax over the parents."""
    found = _agreement(poses, wanted)
    if couplings_gradient is not None:
        found = found + couplings_gradient.permute(2, 0, 1)
    return couplings * (found - (couplings * found).sum(dim=0))


def _agreement_gradient(
    poses: Tensor,
    transforms: Tensor,
    parents: Tensor,
    gradient: Tensor,
    couplings_gradient: Tensor | None,
) -> Tensor:
    couplings = _agreement(poses, _wanted(transforms, parents)).softmax(dim=0)
    wanted = _wanted(transforms, gradient)
    logits = _logit_gradient(poses, couplings, wanted, couplings_gradient)
    return _coupled(poses, logits) @ transforms.flatten(1, 2)


def _vote_gradients(
    poses: Tensor,
    transforms: Tensor,
    parents: Tensor,
    gradients: Tensor,
    couplings_gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Of parents and gradients (T, J, B, E); of the first iteration, nothing is agreed."""
    du = _wanted(transforms, gradients[0]).sum(dim=0) / len(transforms)
    dw = _even(poses, transforms).mT @ gradients[0]
    last = len(parents) - 1
    for step in range(1, len(parents)):
        by_parent = _wanted(transforms, parents[step])
        by_gradient = _wanted(transforms, gradients[step])
        couplings = _agreement(poses, by_parent).softmax(dim=0)
        more = couplings_gradient if step == last else None
        logits = _logit_gradient(poses, couplings, by_gradient, more)
        # dû_ij = c_ij g_j + db_ij a_j, of rank two, is never made.
        du = du + (couplings[:, :, None] * by_gradient).sum(dim=0)
        du = du + (logits[:, :, None] * by_parent).sum(dim=0)
        dw = dw.baddbmm(_coupled(poses, couplings).mT, gradients[step])
        dw = dw.baddbmm(_coupled(poses, logits).mT, parents[step])
    return du, dw
