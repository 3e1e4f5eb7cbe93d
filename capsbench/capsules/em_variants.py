"""What the equations of EM routing leave open: the paper's text, and its authors' released code."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class EMVariant:
    """How EM routing fills in what the article's equations 20-29 leave open.

    Attributes:
        variance_floor: Added to each variance.
        mass_epsilon: Added to each parent's mass, so that a parent of little mass has a pose near
            zero; where it is 0, only a parent of no mass at all is guarded.
        memory: Share of the previous iteration's mean in the present one; the first mean has a
            predecessor of zero.
        split_among_places: Whether assignments start uniform over all parents that see a child
            (eq. 20), or over the types of each place on its own.
        relative_mass: Whether mass enters the cost (eq. 26) relative to the layer's number of
            children per parent, of those that a parent sees, or as it is: as printed, which for
            the text is ``replace(PAPER, relative_mass=False)``.
        cost_scale: Factor of the cost of eq. 26.
        beta_u_scale: Factor of β_u in it.
        beta_a_scale: Factor of β_a in eq. 27.
        inverse_temperature_scale: Share of the network's λ that is this layer's.
        inverse_temperature_base: λ rises with the iterations, see `raised_per_iteration`; 0 holds
            it constant.
        identity: Factor of the identity matrix from which transformations start.
        deviation: Standard deviation of the normal noise around it, cut off at two of them.
        beta_u: Where β_u starts.
        beta_a: Where β_a starts.
    """

    variance_floor: float
    mass_epsilon: float
    memory: float
    split_among_places: bool
    relative_mass: bool
    cost_scale: float
    beta_u_scale: float
    beta_a_scale: float
    inverse_temperature_scale: float
    inverse_temperature_base: float
    identity: float
    deviation: float
    beta_u: float
    beta_a: float

    @property
    def pulled_to_zero(self) -> bool:
        """Whether means lie between those of the votes and zero."""
        return self.memory > 0 or self.mass_epsilon > 0

    def initial_weights(self, *shape: int, size: int = 4) -> Tensor:
        """Transformations to start from, (..., D, D) with ``shape`` in front.

        Args:
            shape: What stands in front.
            size: D, 4 for matrix poses. Of larger ones each element is the smaller for it, so that
                votes vary as much.
        """
        noise = torch.empty(*shape, size, size)
        deviation = self.deviation * math.sqrt(4 / size)
        nn.init.trunc_normal_(noise, std=deviation, a=-2 * deviation, b=2 * deviation)
        return self.identity * torch.eye(size) + noise


# Hinton 2018, section 3, and the article. Three things are ours, for the text has none of them: the
# floor of the variance, without which a parent of one child has none (Gritzman's first pitfall);
# the relative mass, without which costs, betas and λ would mean different things in layers of
# different size (his second); and where parameters start. A presence that saturates before training
# never learns, since the spread loss sees differences of presences alone. Transformations therefore
# start near the identity, which keeps poses alive through the layers; β_u half a unit of log σ
# below that of votes with a spread of one, so that mass speaks for a parent; and β_a at the cost of
# a parent with half of its mass.
PAPER = EMVariant(
    variance_floor=5e-4,
    mass_epsilon=0.0,
    memory=0.0,
    split_among_places=True,
    relative_mass=True,
    cost_scale=1.0,
    beta_u_scale=1.0,
    beta_a_scale=1.0,
    inverse_temperature_scale=1.0,
    inverse_temperature_base=0.0,
    identity=1.0,
    deviation=0.1,
    beta_u=-0.5,
    beta_a=-4.0,
)

# google-research/capsule_em, em_layers.py (commit 0089511), the convolutional layers. The cost
# takes the log of the variance, which doubles it; with β_u = 1 it is twice the article's eq. 25.
# The E-step is the paper's (eq. 29, over types and places): the released lines for it divide by a
# sum over places alone, type by type, and with a stride of 2 they sum over different children.
AUTHORS_CODE = EMVariant(
    variance_floor=5e-4,
    mass_epsilon=1e-7,
    memory=0.1,
    split_among_places=False,
    relative_mass=False,
    cost_scale=2.0,
    beta_u_scale=0.5 + 0.5 * math.log(2 * math.pi),
    beta_a_scale=-5000.0,
    inverse_temperature_scale=1.0,
    inverse_temperature_base=0.95,
    identity=0.0,
    deviation=0.3,
    beta_u=0.5,
    beta_a=0.5,
)

# The same code's class layer.
AUTHORS_CODE_CLASSES = replace(
    AUTHORS_CODE,
    mass_epsilon=1e-5,
    inverse_temperature_scale=0.25,
    deviation=0.01,
    beta_u=2.0,
    beta_a=1.0,
)


def raised_over_training(progress: float, *, start: float, end: float) -> float:
    """Inverse temperature λ, raised linearly over the training.

    Hinton 2018, section 3, and the article say only that λ rises with the training.

    Args:
        progress: Share of the training that is over, in [0, 1].
        start: λ at the beginning.
        end: λ at the end.
    """
    return start + (end - start) * progress


def raised_per_iteration(
    final: Tensor | float, *, iteration: int, base: float = 0.95
) -> Tensor | float:
    """Inverse temperature λ, raised with each iteration of one routing, as in the authors' code.

    >>> [round(raised_per_iteration(0.01, iteration=i), 6) for i in range(3)]
    [0.0005, 0.000975, 0.001426]

    Args:
        final: λ after endless iterations.
        iteration: 0, 1, ...
        base: λ is the final one times 1 - base^(iteration + 1).
    """
    return final * (1 - base ** (iteration + 1))
