"""EM routing by kernels: passes that compute votes where they are used.

The algorithm is implemented once, in `capsbench.capsules.em_routing`, on tensors with at most one
number per vote. Everything that depends on the votes themselves, sixteen numbers each, is computed
by the kernels of a backend. An M-step is one pass, `moments`, and an E-step is one,
`log_densities`. Parents at different positions compete for a child, so one pass cannot do both.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor
from torch.autograd.function import once_differentiable

from capsbench.capsules.kernels.first_order import FirstOrder

# Added to each assignment in an M-step, so that no parent is without votes. A power of two is the
# same in every dtype.
PRIOR_SHARE = 2.0**-50


class Windows(NamedTuple):
    """Inputs from which votes are computed: those of child i for parents of type p at position n.

    V_nip = M_ni W_ip + offset_i - centre_np (article, eq. 4), relative to a centre, so that
    E[V²] - E[V]² is accurate. All float32, or all float64.

    Attributes:
        patches: (N, I, 4, 4), poses M of the children in the window of each position.
        weights: (I, P, 4, 4).
        offsets: (I, 4, 4).
        centre: (N, P, 4, 4).
    """

    patches: Tensor
    weights: Tensor
    offsets: Tensor
    centre: Tensor


class Assignments(NamedTuple):
    """Assignments of children to parents, R_nip = exp(log_weights_nip - log_totals_ni) (eq. 29).

    Attributes:
        log_weights: (N, I, P), log a_p p_ip; None for zeros.
        log_totals: (N, I), log of the sum over all parents of the child.
        presences: (N, I), of the children, relative to their sum at each position.
    """

    log_weights: Tensor | None
    log_totals: Tensor
    presences: Tensor

    def shares(self, types: int) -> Tensor:
        """Return R, (N, I, P), for P parent types."""
        if self.log_weights is None:
            return (-self.log_totals[..., None]).exp().expand(-1, -1, types)
        return (self.log_weights - self.log_totals[..., None]).exp()


class EMKernels(Protocol):
    """The passes over the votes of EM routing, and their gradients."""

    def moments(self, windows: Windows, assignments: Assignments) -> tuple[Tensor, Tensor, Tensor]:
        """Return mass (N, P), and mean and mean square (N, P, 4, 4) around the centre (eq. 21-22).

        A vote has the weight (R + `PRIOR_SHARE`) times the presence. The mass is the sum of the
        weights, and at least `PRIOR_SHARE`.
        """

    def moments_gradient(
        self,
        windows: Windows,
        assignments: Assignments,
        moments: tuple[Tensor, Tensor, Tensor],
        gradients: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return gradients of patches, weights, log_weights, log_totals and presences.

        The gradient of ``log_weights`` is zeros if these are None.
        """

    def log_densities(
        self, windows: Windows, mean: Tensor, precision: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log weights of the parents per vote, and the log of their sum over types (eq. 28).

        Args:
            windows: The votes.
            mean: (N, P, 4, 4), around the centre.
            precision: (N, P, 4, 4), 1 / σ².
            base: (N, P), added: all terms that do not depend on the vote.

        Returns:
            base_np - Σ_h precision_nph (V_niph - mean_nph)² / 2, (N, I, P), and its logsumexp over
            p, (N, I).
        """

    def log_densities_gradient(
        self,
        windows: Windows,
        mean: Tensor,
        precision: Tensor,
        outputs: tuple[Tensor, Tensor],
        gradients: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return gradients of patches, weights, mean, log precision and base, given the outputs.

        The gradient is that of the log precision, since distances of huge votes overflow if it is
        not scaled.
        """


def moments(
    kernels: EMKernels, windows: Windows, assignments: Assignments
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `EMKernels.moments`, with its gradient."""
    mass, mean, square = _Moments.apply(kernels, *windows, *assignments)
    return mass, mean, square


def log_densities(
    kernels: EMKernels, windows: Windows, mean: Tensor, log_variance: Tensor, base: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `EMKernels.log_densities` with its gradient, from the log variance (N, P, 4, 4)."""
    log_weights, log_sums = _LogDensities.apply(kernels, *windows, mean, log_variance, base)
    return log_weights, log_sums


class _Moments(FirstOrder):
    @staticmethod
    def forward(kernels: EMKernels, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return kernels.moments(Windows(*inputs[:4]), Assignments(*inputs[4:]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.kernels = inputs[0]
        ctx.save_for_backward(*inputs[1:], *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        windows, assignments = Windows(*saved[:4]), Assignments(*saved[4:7])
        patches, weights, log_weights, log_totals, presences = ctx.kernels.moments_gradient(
            windows, assignments, saved[7:], tuple(x.contiguous() for x in gradients)
        )
        if assignments.log_weights is None:
            log_weights = None
        return None, patches, weights, None, None, log_weights, log_totals, presences


class _LogDensities(FirstOrder):
    @staticmethod
    def forward(kernels: EMKernels, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *windows, mean, log_variance, base = inputs
        precision = (-log_variance).exp()
        return kernels.log_densities(Windows(*windows), mean.contiguous(), precision, base)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.kernels = inputs[0]
        ctx.save_for_backward(*inputs[1:-1], *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        patches, weights, mean, log_precision, base = ctx.kernels.log_densities_gradient(
            Windows(*saved[:4]),
            saved[4].contiguous(),
            (-saved[5]).exp(),
            saved[6:],
            tuple(x.contiguous() for x in gradients),
        )
        return None, patches, weights, None, None, mean, -log_precision, base
