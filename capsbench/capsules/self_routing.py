"""Self-routing: each child chooses its parents by itself, from its pose, without any agreement.

Hahn, Pyeon, Kim, 'Self-Routing Capsule Networks' (NeurIPS 2019), section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.capsules.mixture_windows import LEAST_PRESENCE
from capsbench.capsules.precision import full_precision
from capsbench.capsules.windows import windows
from capsbench.errors import UserError


class SelfRoutingResult(NamedTuple):
    """Result of `self_routing`.

    Attributes:
        poses: (B, H', W', P, E), or None if there are no pose weights.
        presences: (B, H', W', P), which sum to one over the types of a position.
        couplings: (B, H', W', P, KH, KW, C); those of a child sum to one over the types of each
            position.
    """

    poses: Tensor | None
    presences: Tensor
    couplings: Tensor


@full_precision
def self_routing(
    poses: Tensor,
    presences: Tensor,
    weights: Tensor | None,
    *,
    route_weights: Tensor,
    route_bias: Tensor,
    stride: int = 1,
) -> SelfRoutingResult:
    """Route capsules to parents with a window of the map each, by a routing network of each child.

    The couplings of a child are the softmax of its own linear layer, c_i = softmax(W_i u_i + b_i).
    The presence of a parent is Σ_i c_ij a_i / Σ_i a_i, and its pose the mean of its votes with the
    weights c_ij a_i. There are no iterations. Without ``weights`` no vote is computed: the class
    layer of the authors' code has presences alone.

    Args:
        poses: (B, H, W, C, D) of the children.
        presences: (B, H, W, C) of the children.
        weights: (KH, KW, C, P, D, E), the transformation of each pair of child and parent type;
            None for parents without poses.
        route_weights: (KH, KW, C, P, D), the routing network of each child.
        route_bias: (KH, KW, C, P).
        stride: Step of the window; without padding.

    Raises:
        UserError: No window fits into the map.
    """
    kernel = route_weights.shape[0], route_weights.shape[1]
    if poses.shape[1] < kernel[0] or poses.shape[2] < kernel[1]:
        raise UserError(
            f"self-routing needs a map of at least {kernel[0]} x {kernel[1]} positions, its "
            f"window; got {poses.shape[1]} x {poses.shape[2]}"
        )
    patches = windows(poses, kernel, stride)
    grid = patches.shape[:6]  # (B, H', W', KH, KW, C)
    rows = patches.flatten(3, 5).flatten(0, 2).transpose(0, 1)  # (I, N, D)
    present = windows(presences, kernel, stride).flatten(3, 5).flatten(0, 2)  # (N, I)
    present = present + (LEAST_PRESENCE - present.sum(dim=-1, keepdim=True)).clamp_min(0)
    logits = torch.baddbmm(
        route_bias.flatten(0, 2)[:, None], rows, route_weights.flatten(0, 2).transpose(1, 2)
    )
    couplings = logits.softmax(dim=-1).transpose(0, 1)  # (N, I, P)
    assigned = couplings * present[..., None]
    mass = assigned.sum(dim=1)  # (N, P)
    result = mass / present.sum(dim=-1, keepdim=True)
    pose = None
    if weights is not None:
        shares = assigned / mass[:, None]
        columns = weights.flatten(0, 2).transpose(1, 2)  # (I, D, P, E)
        votes = (rows @ columns.flatten(2)).unflatten(-1, columns.shape[2:])  # (I, N, P, E)
        pose = torch.einsum("nip,inpe->npe", shares, votes).unflatten(0, grid[:3])
    return SelfRoutingResult(
        pose,
        result.unflatten(0, grid[:3]),
        couplings.mT.unflatten(0, grid[:3]).unflatten(-1, grid[3:]),
    )
