"""Inspection of trained capsules: images along each pose dimension, and parts of each whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.capsule import Capsules, length
from capsbench.capsules.em_layers import EMCapsules
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.pair_layers import PairRouting
from capsbench.capsules.window_layers import WindowCapsules
from capsbench.capsules.windows import sum_over_windows
from capsbench.errors import UserError

# -0.25 to 0.25 in steps of 0.05, as in figure 4 of Sabour 2017.
OFFSETS = tuple(step / 20 for step in range(-5, 6))


@torch.no_grad()
def sweep_pose(
    decoder: Callable[[Tensor, Tensor], Tensor],
    poses: Tensor,
    classes: Tensor,
    *,
    offsets: Sequence[float] = OFFSETS,
) -> Tensor:
    """Draw images while one element of a class capsule's pose varies (Sabour 2017, fig. 4).

    Args:
        decoder: From poses (B, K, ...) and classes (B, K), 1 for the classes to draw, to images
            (B, C, H, W), such as a `ClassConditionalDecoder`. It is called once.
        poses: (B, K, D) or (B, K, 4, 4), of all class capsules; D = 16 in the second case.
        classes: (B,), the class of each image whose capsule is varied and drawn.
        offsets: S numbers, each added to one element of the pose.

    Returns:
        (B, D, S, C, H, W).
    """
    selected = F.one_hot(classes, poses.shape[1]).to(poses)
    dim, steps = poses[0, 0].numel(), poses.new_tensor(offsets)
    changes = steps[:, None] * torch.eye(dim, device=poses.device, dtype=poses.dtype)[:, None]
    added = selected[:, None, None, :, None] * changes[None, :, :, None]  # (B, D, S, K, D)
    swept = poses.flatten(start_dim=2)[:, None, None] + added
    masks = selected[:, None, None].expand(swept.shape[:-1])
    images = decoder(swept.flatten(0, 2).unflatten(-1, poses.shape[2:]), masks.flatten(0, 2))
    return images.unflatten(0, (len(poses), dim, len(offsets)))


class RoutingInspection(NamedTuple):
    """Assignment of the children of a routing layer to parents, in a list or on a map.

    Attributes:
        shares: (B, I, J) or (B, H, W, C, P): fraction of each child that is assigned to each
            parent, or to all parents of each type. They sum to one over the last dimension for
            children of at least one parent, unless the routing starts with other sums.
        entropy: (B, I) or (B, H, W, C), of each child over all its parents, in nats: 0 if it is
            assigned to one parent, the logarithm of their number if it is divided equally.
        num_parents: (B, I) or (B, H, W, C), number of parents of each child.
        presences: (B, I) or (B, H, W, C), of the children.
    """

    shares: Tensor
    entropy: Tensor
    num_parents: Tensor
    presences: Tensor

    def on_map(self, height: int, width: int) -> RoutingInspection:
        """Arrange the children of a list (B, I) on the map that they come from.

        Args:
            height: H of the map; I = H W C in row-major order.
            width: W of the map.
        """
        shares, *others = (part.unflatten(1, (height, width, -1)) for part in self)
        return RoutingInspection(shares, *others)

    def mean_entropy(self) -> Tensor:
        """Return the mean entropy (B,) in nats of children with a parent, weighted by presence."""
        return self._mean(self.entropy, self.num_parents > 0)

    def relative_entropy(self) -> Tensor:
        """Return the mean (B,) of each child's entropy divided by the largest possible.

        0 if every child is assigned to one parent, 1 if all are divided equally. Children with
        fewer than two parents are excluded.
        """
        return self._mean(self.entropy / self.num_parents.clamp_min(2).log(), self.num_parents > 1)

    def maps(self) -> Tensor:
        """Return a map of the children of each parent type: (B, H, W, P).

        Sums over child types of presence times share, of children on a map. Their sum over parent
        types is the sum of the presences of all children at a position.
        """
        return (self.presences[..., None] * self.shares).sum(dim=3)

    def _mean(self, values: Tensor, counts: Tensor) -> Tensor:
        """Average values over counted children, weighted by presence; NaN if none is present."""
        weights = (self.presences * counts).flatten(start_dim=1)
        return (weights * values.flatten(start_dim=1)).sum(dim=1) / weights.sum(dim=1)


@singledispatch
def inspect_routing(layer: RoutingLayer, *_: Any) -> RoutingInspection:
    """Return the assignment of the children of a routing layer, the inputs of its ``forward``.

    Support another routing layer with ``@inspect_routing.register`` above a function of the layer
    and its inputs.

    Args:
        layer: A layer of this package.
        *_: Its inputs.

    Raises:
        UserError: No function is registered for this type of layer.
    """
    raise UserError(
        f"no inspection of {type(layer).__name__} is registered; register a function of the layer "
        f"and its inputs with @capsbench.capsules.inspection.inspect_routing.register"
    )


@inspect_routing.register
@torch.no_grad()
def _(layer: PairRouting, children: Tensor) -> RoutingInspection:
    shares = layer.route(children).couplings
    entropy = torch.special.entr(shares).sum(dim=-1)
    return RoutingInspection(
        shares, entropy, torch.full_like(entropy, shares.shape[-1]), length(children)
    )


@inspect_routing.register
@torch.no_grad()
def _(
    layer: EMCapsules, capsules: Capsules, inverse_temperature: Tensor | float
) -> RoutingInspection:
    assignments = layer.route(capsules, inverse_temperature).assignments
    return _inspection_of_windows(assignments, capsules, layer.stride)


@inspect_routing.register
@torch.no_grad()
def _(layer: WindowCapsules, capsules: Capsules) -> RoutingInspection:
    return _inspection_of_windows(layer.route(capsules).couplings, capsules, layer.stride)


def _inspection_of_windows(
    assignments: Tensor, capsules: Capsules, stride: int
) -> RoutingInspection:
    """Return the assignment of children on a map from (B, H', W', P, KH, KW, C)."""
    size, types = capsules.presences.shape[1:3], assignments.shape[3]

    def over_parents(values: Tensor) -> Tensor:
        return sum_over_windows(values, (size[0], size[1]), stride)

    by_type = assignments.movedim(3, -1)  # (B, H', W', KH, KW, C, P)
    shares = over_parents(by_type.flatten(start_dim=5)).unflatten(-1, (-1, types))
    entropy = over_parents(torch.special.entr(by_type).sum(dim=-1))
    num_parents = types * over_parents(torch.ones_like(by_type[..., 0]))
    return RoutingInspection(shares, entropy, num_parents, capsules.presences)


@torch.no_grad()
def inspect_routings(model: nn.Module, images: Tensor) -> dict[str, RoutingInspection]:
    """Return the assignments in each routing layer of a model, for some images.

    Args:
        model: A network, in evaluation mode.
        images: (B, C, H, W), or any other input of the model.

    Returns:
        By the layers' dotted paths in the model, in order; empty without a routing layer.
    """
    inspections: dict[str, RoutingInspection] = {}

    def record(name: str) -> Callable[..., None]:
        # Before the call: the layer, and what follows it, may change its inputs in place.
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            assert isinstance(layer, RoutingLayer)
            inspections[name] = inspect_routing(layer, *args, **kwargs)

        return hook

    hooks = [
        module.register_forward_pre_hook(record(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, RoutingLayer)
    ]
    try:
        model(images)
    finally:
        for handle in hooks:
            handle.remove()
    return inspections
