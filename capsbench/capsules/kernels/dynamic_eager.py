"""Dynamic routing's passes over the votes as matrix products; no vote is stored.

A sum of weighted votes is the product of the weighted children with W. The agreement of a vote with
a parent is û_ij · v_j = u_i · (W_ij v_j). Both intermediate results have the length of a child's
pose, which is shorter than a vote. They are computed for a slice of the children that fits into the
cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from capsbench.capsules.kernels.compiling import Transform, uncompiled

# Elements of one intermediate result: few enough for a CPU's cache, and enough to keep a GPU busy.
SLICE, GPU_SLICE = 2**20, 2**26


class DynamicEagerPasses:
    """The passes, slice by slice; see `capsbench.capsules.kernels.dynamic.DynamicKernels`.

    Args:
        transform: Returns a faster equivalent of the function of one slice.
    """

    def __init__(self, transform: Transform = uncompiled) -> None:
        self._even_sum = transform(_even_sum)
        self._weighted_sum = transform(_weighted_sum)
        self._agreement_gradient = transform(_agreement_gradient)
        self._vote_gradients = transform(_vote_gradients)

    def weighted_sum(
        self, children: Tensor, weights: Tensor, parent_sum: Tensor | None, coupled: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return sums of votes (B, J, E), and couplings (B, I, J) if ``coupled``."""
        num_children, num_parents, _, parent_dim = weights.shape
        sums = children.new_zeros(num_parents, len(children), parent_dim)
        shape = (num_parents, len(children), num_children)
        couplings = children.new_full(shape, 1 / num_parents) if coupled else None
        parents = None if parent_sum is None else _by_parent(parent_sum)
        for part, poses, transforms in _slices(children, weights):
            if parents is None:
                sums += self._even_sum(poses, transforms)
            else:
                partial, shares = self._weighted_sum(poses, transforms, parents)
                sums += partial
                if couplings is not None:
                    couplings[..., part] = shares
        return sums.transpose(0, 1), couplings if couplings is None else couplings.permute(1, 2, 0)

    def agreement_gradient(
        self,
        children: Tensor,
        weights: Tensor,
        parent_sum: Tensor,
        sums_gradient: Tensor,
        couplings_gradient: Tensor | None,
    ) -> Tensor:
        """Return the gradient of ``parent_sum``: (B, J, E)."""
        parents, gradient = map(_by_parent, (parent_sum, sums_gradient))
        result = torch.zeros_like(parents)
        for part, poses, transforms in _slices(children, weights):
            more = None if couplings_gradient is None else couplings_gradient[:, part]
            result += self._agreement_gradient(poses, transforms, parents, gradient, more)
        return result.transpose(0, 1)

    def vote_gradients(
        self,
        children: Tensor,
        weights: Tensor,
        parent_sum: Tensor,
        sums_gradients: Tensor,
        couplings_gradient: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return gradients of children (B, I, D) and weights (I, J, D, E)."""
        children_gradient = torch.empty_like(children)
        weights_gradient = torch.empty_like(weights)
        parents, gradients = map(_by_parent, (parent_sum, sums_gradients))
        for part, poses, transforms in _slices(children, weights):
            more = None if couplings_gradient is None else couplings_gradient[:, part]
            du, dw = self._vote_gradients(poses, transforms, parents, gradients, more)
            children_gradient[:, part] = du.mT
            weights_gradient[part] = dw.view_as(transforms).permute(2, 0, 1, 3)
        return children_gradient, weights_gradient


def _by_parent(steps: Tensor) -> Tensor:
    """Rearrange (..., B, J, E) to (..., J, B, E)."""
    return steps.transpose(-3, -2).contiguous()


def _slices(children: Tensor, weights: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Split children (B, I, D) and weights (I, J, D, E) into slices of nearly equal size.

    Yields:
        The slice, the poses (B, D, I) and the transformations (J, D, I, E).
    """
    num_children, num_parents, dim, _ = weights.shape
    limit = SLICE if children.device.type == "cpu" else GPU_SLICE
    count = math.ceil(num_children * len(children) * num_parents * dim / limit)
    size = math.ceil(num_children / max(1, min(count, num_children)))
    for begin in range(0, num_children, size):
        part = slice(begin, begin + size)
        transforms = weights[part].permute(1, 2, 0, 3).contiguous()
        yield part, children[:, part].mT.contiguous(), transforms


# Shapes of one slice: poses (B, D, I), transforms (J, D, I, E), parents and gradients (J, B, E),
# couplings and logits (J, B, I).


def _back_project(transforms: Tensor, parents: Tensor) -> Tensor:
    """Project parents onto the pose space of each child: W_ij parents_j, (J, B, D, I)."""
    return (parents @ transforms.flatten(1, 2).mT).unflatten(-1, transforms.shape[1:3])


def _agreement(poses: Tensor, projected: Tensor) -> Tensor:
    """Compute û_ij · parents_j from the projected parents."""
    return (projected * poses).sum(dim=2)


def _coupled(poses: Tensor, shares: Tensor) -> Tensor:
    """Compute shares_ij u_i, (J, B, D * I)."""
    return (shares[:, :, None] * poses).flatten(start_dim=2)


def _even(poses: Tensor, transforms: Tensor) -> Tensor:
    """Divide children equally among all parents: (B, D * I)."""
    return poses.flatten(start_dim=1) / len(transforms)


def _even_sum(poses: Tensor, transforms: Tensor) -> Tensor:
    return _even(poses, transforms) @ transforms.flatten(1, 2)


def _weighted_sum(poses: Tensor, transforms: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
    couplings = _agreement(poses, _back_project(transforms, parents)).softmax(dim=0)
    return _coupled(poses, couplings) @ transforms.flatten(1, 2), couplings


def _logit_gradient(
    poses: Tensor, couplings: Tensor, projected: Tensor, couplings_gradient: Tensor | None
) -> Tensor:
    """Backpropagate through the softmax over the parents."""
    gradient = _agreement(poses, projected)
    if couplings_gradient is not None:
        gradient = gradient + couplings_gradient.permute(2, 0, 1)
    return couplings * (gradient - (couplings * gradient).sum(dim=0))


def _agreement_gradient(
    poses: Tensor,
    transforms: Tensor,
    parents: Tensor,
    gradient: Tensor,
    couplings_gradient: Tensor | None,
) -> Tensor:
    couplings = _agreement(poses, _back_project(transforms, parents)).softmax(dim=0)
    projected = _back_project(transforms, gradient)
    logits = _logit_gradient(poses, couplings, projected, couplings_gradient)
    return _coupled(poses, logits) @ transforms.flatten(1, 2)


def _vote_gradients(
    poses: Tensor,
    transforms: Tensor,
    parents: Tensor,
    gradients: Tensor,
    couplings_gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Backpropagate to the votes; parents and gradients are (T, J, B, E)."""
    du = _back_project(transforms, gradients[0]).sum(dim=0) / len(transforms)
    dw = _even(poses, transforms).mT @ gradients[0]
    last = len(parents) - 1
    for step in range(1, len(parents)):
        by_parent = _back_project(transforms, parents[step])
        by_gradient = _back_project(transforms, gradients[step])
        couplings = _agreement(poses, by_parent).softmax(dim=0)
        more = couplings_gradient if step == last else None
        logits = _logit_gradient(poses, couplings, by_gradient, more)
        # dû_ij = c_ij g_j + db_ij a_j, of rank two, is never stored.
        du = du + (couplings[:, :, None] * by_gradient).sum(dim=0)
        du = du + (logits[:, :, None] * by_parent).sum(dim=0)
        dw = dw.baddbmm(_coupled(poses, couplings).mT, gradients[step])
        dw = dw.baddbmm(_coupled(poses, logits).mT, parents[step])
    return du, dw
