"""One layer for each routing, all on the same votes; `ROUTINGS` has them by name."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from capsbench.capsules.attention_routing import attention_routing
from capsbench.capsules.capsule import Capsules, length
from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.em_variants import OURS, EMVariant, raised_over_training
from capsbench.capsules.heinsen_routing import heinsen_routing
from capsbench.capsules.orthogonal_routing import orthogonal_routing
from capsbench.capsules.pair_layers import PairRoutingResult
from capsbench.capsules.relative_error import max_relative_error
from capsbench.capsules.self_routing import self_routing
from capsbench.capsules.vb_routing import vb_routing
from capsbench.capsules.window_layers import Routed, WindowCapsules

TINY = torch.finfo(torch.float32).tiny


class DynamicCapsules(WindowCapsules):
    """Dynamic routing (Sabour 2017): parents are squashed, and their lengths are the presences."""

    across_positions = False
    weighs_presences = False

    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""
        parents, couplings = self._vector_routing(*self._vectors(capsules))
        poses = self._on_map(capsules, parents)
        presences = length(poses)
        return Routed(
            self._poses(poses),
            presences,
            presences.clamp_min(TINY).log(),
            self._couplings(capsules, couplings),
        )

    def _vector_routing(self, children: Tensor, weights: Tensor) -> PairRoutingResult:
        return dynamic_routing(children, weights, iterations=self.iterations, backend=self.backend)


class AverageCapsules(DynamicCapsules):
    """No routing: every child has equal shares of all parents, as in one iteration of the dynamic.

    Paik, Kwak, Kim (2019) and Gu, Tresp, Hu (2021) compare routings with it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"iterations": 1})


class SelfCapsules(WindowCapsules):
    """Self-routing (Hahn 2019): each child chooses its parents from its own pose.

    Routing networks start at 0, as in the authors' code, so that all couplings are equal at first.
    """

    across_positions = False
    one_form = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        *window, dim, _ = self.weights.shape
        size = 16 if self.pose == "matrix" else dim
        self.route_weights = nn.Parameter(torch.zeros(*window, size))
        self.route_bias = nn.Parameter(torch.zeros(*window))

    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""
        flat = capsules.poses if self.pose == "vector" else capsules.poses.flatten(-2)
        poses, presences, couplings = self_routing(
            flat,
            capsules.presences,
            self._vector_weights(),
            route_weights=self.route_weights,
            route_bias=self.route_bias,
            stride=self.stride,
        )
        assert poses is not None
        return Routed(self._poses(poses), presences, presences.clamp_min(TINY).log(), couplings)


class AttentionCapsules(WindowCapsules):
    """Inverted dot-product attention (Tsai 2020): parents are layer-normalised.

    There are no presences in the paper. A linear map of a parent's pose, the same for all types, is
    its logit, as in the authors' classifier; the presence is the sigmoid of it.
    """

    across_positions = False
    weighs_presences = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalize = nn.LayerNorm(16)
        self.score = nn.Linear(16, 1)

    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""
        children, weights = self._vectors(capsules)
        parents, couplings = attention_routing(
            children,
            weights,
            normalize=self.normalize,
            iterations=self.iterations,
            backend=self.backend,
        )
        poses = self._on_map(capsules, parents)
        logits = self.score(poses).squeeze(-1)
        return Routed(
            self._poses(poses), logits.sigmoid(), logits, self._couplings(capsules, couplings)
        )


class EMCapsules(WindowCapsules):
    """EM routing (Hinton 2018) with the constants of `OURS`.

    Args:
        inverse_temperature: λ at the beginning and at the end of the training.
        logit_scale: Factor of the logits of classes, which are β_a - cost without λ.
        **kwargs: As for `WindowCapsules`.
    """

    variant: ClassVar[EMVariant] = OURS
    inverse_temperature: Tensor

    def __init__(
        self,
        *,
        inverse_temperature: tuple[float, float] = (0.1, 0.3),
        logit_scale: float = 20.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        types = self.weights.shape[3]
        self.temperatures = inverse_temperature
        self.logit_scale = logit_scale
        self.beta_u = nn.Parameter(torch.full((types,), self.variant.beta_u))
        self.beta_a = nn.Parameter(torch.full((types,), self.variant.beta_a))
        self.register_buffer("inverse_temperature", torch.tensor(inverse_temperature[0]))

    def advance(self, progress: float) -> None:
        """Raise the inverse temperature."""
        start, end = self.temperatures
        self.inverse_temperature.fill_(raised_over_training(progress, start=start, end=end))

    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""
        result = em_routing(
            self._rows(capsules),
            capsules.presences,
            self.weights,
            beta_u=self.beta_u,
            beta_a=self.beta_a,
            inverse_temperature=self.inverse_temperature,
            iterations=self.iterations,
            stride=self.stride,
            variant=self.variant,
            backend=self.backend,
        )
        logits = result.logits * (self.logit_scale / self.inverse_temperature)
        return Routed(
            self._poses(result.poses.flatten(-2)), result.presences, logits, result.assignments
        )


class VBCapsules(WindowCapsules):
    """Variational Bayes routing (Ribeiro 2020), with the batch normalisation of the authors' code.

    Posterior means and the logits of presences are normalised over the batch, without parameters.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        types = self.weights.shape[3]
        self.beta_u = nn.Parameter(torch.zeros(types))
        self.beta_a = nn.Parameter(torch.zeros(types))
        self.normalize_poses = nn.BatchNorm3d(types, affine=False)
        self.normalize_logits = nn.BatchNorm2d(types, affine=False)

    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""
        result = vb_routing(
            self._rows(capsules),
            capsules.presences,
            self.weights,
            beta_u=self.beta_u,
            beta_a=self.beta_a,
            iterations=self.iterations,
            stride=self.stride,
            backend=self.backend,
        )
        poses = result.poses.flatten(-2).movedim(3, 1)  # (B, P, H', W', 16)
        poses = self.normalize_poses(poses).movedim(1, 3)
        logits = self.normalize_logits(result.logits.movedim(3, 1)).movedim(1, 3)
        return Routed(self._poses(poses), logits.sigmoid(), logits, result.assignments)


class HeinsenCapsules(WindowCapsules):
    """Heinsen routing (2019), without the biases of its votes; betas start at 0, as in his code.

    With betas of 0 all scores are 0: parents differ by the densities of the votes alone.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        window = self.weights.shape[:4]
        self.beta_use = nn.Parameter(torch.zeros(window))
        self.beta_ignore = nn.Parameter(torch.zeros(window))

    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""
        result = heinsen_routing(
            self._rows(capsules),
            capsules.presences,
            self.weights,
            beta_use=self.beta_use,
            beta_ignore=self.beta_ignore,
            iterations=self.iterations,
            stride=self.stride,
            backend=self.backend,
        )
        return Routed(
            self._poses(result.poses.flatten(-2)),
            result.logits.sigmoid(),
            result.logits,
            result.assignments,
        )


class OrthogonalCapsules(DynamicCapsules):
    """Sparse attention on votes by orthogonal transformations, after OrthCaps (Geng 2024).

    Each transformation is a product of Householder reflections, so that it keeps the lengths and
    angles of poses; ``vote_scale`` has no effect.
    """

    one_form = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        nn.utils.parametrizations.orthogonal(self, "transformations", orthogonal_map="householder")

    @torch.no_grad()
    def check_transformations(self) -> float:
        """Check that the transformations are orthogonal: W Wᵀ = 1."""
        product = self.weights @ self.weights.mT
        return max_relative_error(
            product, torch.eye(product.shape[-1]).to(product).expand_as(product)
        )

    def _vector_routing(self, children: Tensor, weights: Tensor) -> PairRoutingResult:
        return orthogonal_routing(children, weights)


ROUTINGS: dict[str, type[WindowCapsules]] = {
    "dynamic": DynamicCapsules,
    "em": EMCapsules,
    "self": SelfCapsules,
    "vb": VBCapsules,
    "attention": AttentionCapsules,
    "heinsen": HeinsenCapsules,
    "orthogonal": OrthogonalCapsules,
    "average": AverageCapsules,
}
