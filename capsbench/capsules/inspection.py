"""What capsules learned: what each number of a pose draws, and which parts went to which whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.capsule import Capsules, length
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import EMCapsules
from capsbench.capsules.layer import RoutingLayer
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
    """Draw images again while one number of a class capsule's pose changes (Sabour 2017, fig. 4).

    Args:
        decoder: From poses (B, K, ...) and classes (B, K), 1 for the ones to draw, to images
            (B, C, H, W), such as a `ClassConditionalDecoder`. It is called once.
        poses: (B, K, D) or (B, K, 4, 4), of all class capsules; D = 16 in the second case.
        classes: (B,), the class of each image whose capsule is changed and drawn.
        offsets: S numbers, each added to one number of the pose.

    Returns:
        (B, D, S, C, H, W).
    """
    chosen = F.one_hot(classes, poses.shape[1]).to(poses)
    dim, steps = poses[0, 0].numel(), poses.new_tensor(offsets)
    changes = steps[:, None] * torch.eye(dim, device=poses.device, dtype=poses.dtype)[:, None]
    added = chosen[:, None, None, :, None] * changes[None, :, :, None]  # (B, D, S, K, D)
    swept = poses.flatten(start_dim=2)[:, None, None] + added
    masks = chosen[:, None, None].expand(swept.shape[:-1])
    images = decoder(swept.flatten(0, 2).unflatten(-1, poses.shape[2:]), masks.flatten(0, 2))
    return images.unflatten(0, (len(poses), dim, len(offsets)))


class Routing(NamedTuple):
    """How a routing layer distributed its children, which stand in a list or on a map.

    Attributes:
        shares: (B, I, J) or (B, H, W, C, P): how much of each child went to each parent, or to all
            parents of each type. They sum to one over the last dimension where a parent sees the
            child, unless the routing itself starts otherwise.
        entropy: (B, I) or (B, H, W, C), of each child over all parents that see it, in nats: 0
            where it goes to one parent, the logarithm of their number where it goes to all alike.
        parents: (B, I) or (B, H, W, C), how many parents see each child.
        presences: (B, I) or (B, H, W, C), of the children.
    """

    shares: Tensor
    entropy: Tensor
    parents: Tensor
    presences: Tensor

    def on_map(self, height: int, width: int) -> Routing:
        """The same with children of a list (B, I) on the map that they were listed from.

        Args:
            height: H of the map; I = H W C, rows first, then columns, then types.
            width: W of the map.
        """
        shares, *others = (part.unflatten(1, (height, width, -1)) for part in self)
        return Routing(shares, *others)

    def mean_entropy(self) -> Tensor:
        """(B,): entropy in nats, averaged by presence over the children that a parent sees."""
        return self._mean(self.entropy, self.parents > 0)

    def relative_entropy(self) -> Tensor:
        """(B,): like `mean_entropy`, of each child as a share of the largest possible.

        0 where every child goes to one parent, 1 where it goes to all alike. A child that no more
        than one parent sees has no choice, and does not count.
        """
        return self._mean(self.entropy / self.parents.clamp_min(2).log(), self.parents > 1)

    def maps(self) -> Tensor:
        """Where the children of each parent type are: (B, H, W, P).

        Sums over child types of presence times share, of children on a map. They sum over parent
        types to the presences of all children at a place.
        """
        return (self.presences[..., None] * self.shares).sum(dim=3)

    def _mean(self, values: Tensor, counts: Tensor) -> Tensor:
        """Mean over the children that count, weighted by presence; 0 / 0 if none is present."""
        weights = (self.presences * counts).flatten(start_dim=1)
        return (weights * values.flatten(start_dim=1)).sum(dim=1) / weights.sum(dim=1)


@singledispatch
def inspect_routing(layer: RoutingLayer, *_: Any) -> Routing:
    """How a routing layer distributes its children, the inputs of its `forward`.

    A routing of one's own is made known by ``@inspect_routing.register`` above a function of the
    layer and its inputs.

    Args:
        layer: A layer under dynamic or EM routing.
        *_: Its inputs.

    Raises:
        UserError: Nothing is registered for such a layer.
    """
    raise UserError(
        f"how {type(layer).__name__} distributes its children is not known; register a function "
        f"that tells it with @capsbench.capsules.inspection.inspect_routing.register"
    )


@inspect_routing.register
@torch.no_grad()
def _(layer: DynamicRouting, children: Tensor) -> Routing:
    shares = layer.route(children).couplings
    entropy = torch.special.entr(shares).sum(dim=-1)
    return Routing(shares, entropy, torch.full_like(entropy, shares.shape[-1]), length(children))


@inspect_routing.register
@torch.no_grad()
def _(layer: EMCapsules, capsules: Capsules, inverse_temperature: Tensor | float) -> Routing:
    assignments = layer.route(capsules, inverse_temperature).assignments
    size, types = capsules.presences.shape[1:3], assignments.shape[3]

    def over_parents(values: Tensor) -> Tensor:
        return sum_over_windows(values, (size[0], size[1]), layer.stride)

    by_type = assignments.movedim(3, -1)  # (B, H', W', KH, KW, C, P)
    shares = over_parents(by_type.flatten(start_dim=5)).unflatten(-1, (-1, types))
    entropy = over_parents(torch.special.entr(by_type).sum(dim=-1))
    parents = types * over_parents(torch.ones_like(by_type[..., 0]))
    return Routing(shares, entropy, parents, capsules.presences)


@torch.no_grad()
def inspect_routings(model: nn.Module, images: Tensor) -> dict[str, Routing]:
    """How each routing layer of a model distributes its children, for some images.

    Args:
        model: A network with layers under dynamic or EM routing, in evaluation mode.
        images: (B, C, H, W), or whatever the model takes.

    Returns:
        By the layers' dotted paths in the model, in their order; empty without a routing layer.
    """
    found: dict[str, Routing] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
            assert isinstance(layer, RoutingLayer)
            found[name] = inspect_routing(layer, *args, **kwargs)

        return hook

    hooks = [
        module.register_forward_hook(note(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, RoutingLayer)
    ]
    try:
        model(images)
    finally:
        for handle in hooks:
            handle.remove()
    return found
