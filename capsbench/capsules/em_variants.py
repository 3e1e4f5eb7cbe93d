"""Details that the equations of EM routing leave open: the text, the authors' code, and ours."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class EMVariant:
    """Choices for details of EM routing that the article's equations 20-29 leave open.

    Attributes:
        variance_floor: Added to each variance.
        mass_epsilon: Added to each parent's mass, so that the pose of a parent of little mass is
            near zero; if 0, a parent without mass is at the centre of its votes.
        memory: Fraction of the previous iteration's mean in the current one; the mean before the
            first iteration is zero.
        split_among_positions: Start assignments uniformly over all parents of a child (eq. 20), not
            over the types of each position separately.
        relative_mass: Divide the mass in the cost (eq. 26) by the layer's number of children per
            parent, counting children of at least one parent. ``replace(PAPER,
            relative_mass=False)`` is eq. 26 as printed.
        density_power: Power of the densities in the E-step (eq. 28-29). Below 1 assignments are
            softer, as in deterministic annealing (Ueda, Nakano 1998, 'Deterministic annealing EM
            algorithm'); 1 / 16 takes the geometric mean over the elements of a pose.
        cost_scale: Factor of the cost of eq. 26.
        beta_u_scale: Factor of β_u in it.
        beta_a_scale: Factor of β_a in eq. 27.
        inverse_temperature_scale: Factor of the network's λ in this layer.
        inverse_temperature_base: Schedule of λ over the iterations, see `raised_per_iteration`; 0
            for a constant λ.
        identity: Factor of the identity matrix in the initial transformations.
        noise_std: Standard deviation of the normal noise added to it, truncated at two of them.
        beta_u: Initial β_u.
        beta_a: Initial β_a.
    """

    variance_floor: float
    mass_epsilon: float
    memory: float
    split_among_positions: bool
    relative_mass: bool
    density_power: float
    cost_scale: float
    beta_u_scale: float
    beta_a_scale: float
    inverse_temperature_scale: float
    inverse_temperature_base: float
    identity: float
    noise_std: float
    beta_u: float
    beta_a: float

    @property
    def pulled_to_zero(self) -> bool:
        """True if means are pulled from the mean of the votes towards zero."""
        return self.memory > 0 or self.mass_epsilon > 0

    def initial_weights(self, *shape: int, size: int = 4) -> Tensor:
        """Return random initial transformations of shape ``(*shape, D, D)``.

        Args:
            shape: Leading dimensions.
            size: D, 4 for matrix poses. Elements of larger matrices are smaller, so that votes have
                the same variance.
        """
        noise = torch.empty(*shape, size, size)
        std = self.noise_std * math.sqrt(4 / size)
        nn.init.trunc_normal_(noise, std=std, a=-2 * std, b=2 * std)
        return self.identity * torch.eye(size) + noise


# Hinton 2018, section 3, and the article. Three details are not in the text and are our choice.
# First, the floor of the variance: without it a parent of one child has a variance of zero
# (Gritzman's first pitfall). Second, the relative mass: without it costs, betas and λ have
# different scales in layers of different size (his second pitfall). Third, the initial values. A
# presence that is saturated at the start never learns, since the spread loss depends on differences
# of presences only. Transformations therefore start near the identity, which preserves the scale of
# poses through the layers. β_u starts half a unit of log σ below that of votes with a spread of
# one, so that mass raises the presence of a parent. β_a starts at the cost of a parent with half of
# its mass.
PAPER = EMVariant(
    variance_floor=5e-4,
    mass_epsilon=0.0,
    memory=0.0,
    split_among_positions=True,
    relative_mass=True,
    density_power=1.0,
    cost_scale=1.0,
    beta_u_scale=1.0,
    beta_a_scale=1.0,
    inverse_temperature_scale=1.0,
    inverse_temperature_base=0.0,
    identity=1.0,
    noise_std=0.1,
    beta_u=-0.5,
    beta_a=-4.0,
)

# Ours, see docs/em-grid.md. The floor of the variance is that of initial votes, so that no parent
# of few children is far narrower than others. Densities are means over the elements of a pose, so
# that more iterations do not assign each child to a single parent: with sums over 16 elements they
# do from the second iteration on. The betas and the inverse temperature of the network keep the
# presences of all layers away from 0 and 1; β_a moves ten times as far in a step.
OURS = replace(
    PAPER,
    variance_floor=0.01,
    density_power=1 / 16,
    beta_a_scale=10.0,
    beta_u=0.65,
    beta_a=-0.4,
)

# google-research/capsule_em, em_layers.py (commit 0089511), the convolutional layers. The cost uses
# the log of the variance, which doubles it; with β_u = 1 it is twice the article's eq. 25. The
# E-step is the paper's (eq. 29, over types and positions): the released code divides by a sum over
# positions only, separately for each type, and with a stride of 2 it sums over different children.
AUTHORS_CODE = EMVariant(
    variance_floor=5e-4,
    mass_epsilon=1e-7,
    memory=0.1,
    split_among_positions=False,
    relative_mass=False,
    density_power=1.0,
    cost_scale=2.0,
    beta_u_scale=0.5 + 0.5 * math.log(2 * math.pi),
    beta_a_scale=-5000.0,
    inverse_temperature_scale=1.0,
    inverse_temperature_base=0.95,
    identity=0.0,
    noise_std=0.3,
    beta_u=0.5,
    beta_a=0.5,
)

# The class layer of the same code.
AUTHORS_CODE_CLASSES = replace(
    AUTHORS_CODE,
    mass_epsilon=1e-5,
    inverse_temperature_scale=0.25,
    noise_std=0.01,
    beta_u=2.0,
    beta_a=1.0,
)


def raised_over_training(progress: float, *, start: float, end: float) -> float:
    """Return the inverse temperature λ, which rises linearly over the training.

    Hinton 2018, section 3, and the article only say that λ rises over the training.

    Args:
        progress: Fraction of the training that is over, in [0, 1].
        start: λ at the beginning.
        end: λ at the end.
    """
    return start + (end - start) * progress


def raised_per_iteration(
    final: Tensor | float, *, iteration: int, base: float = 0.95
) -> Tensor | float:
    """Return the inverse temperature λ of one routing iteration, as in the authors' code.

    >>> [round(raised_per_iteration(0.01, iteration=i), 6) for i in range(3)]
    [0.0005, 0.000975, 0.001426]

    Args:
        final: Limit of λ over many iterations.
        iteration: 0, 1, ...
        base: λ is the final one times 1 - base^(iteration + 1).
    """
    return final * (1 - base ** (iteration + 1))
