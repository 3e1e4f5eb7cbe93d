"""EM routing in loops, from the article's equations 20-29 and the authors' code; test layers."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, OURS, PAPER
from capsbench.capsules.kernels.em import PRIOR_SHARE
from capsbench.capsules.mixture_windows import LEAST_PRESENCE

DOUBLE = torch.float64
FLOOR = 5e-4  # of the variance
PRINTED = replace(PAPER, relative_mass=False)  # eq. 26 with absolute mass


class Layer(NamedTuple):
    """Tensors of a layer."""

    poses: Tensor
    presences: Tensor
    weights: Tensor
    beta_u: Tensor
    beta_a: Tensor

    def route(self, router=em_routing, **arguments):
        arguments = {"inverse_temperature": 0.7, "iterations": 3, **arguments}
        return router(*self[:3], beta_u=self.beta_u, beta_a=self.beta_a, **arguments)

    def map(self, function):
        return Layer(*map(function, self))


def layer(*, size=(3, 3), in_types=2, out_types=3, kernel=(2, 2), batch=2, scale=0.1):
    """Return a layer whose votes nearly agree, so that assignments stay soft and the floor matters.

    A large ``scale`` of the weights makes votes disagree.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    poses = torch.eye(4, dtype=DOUBLE) + 0.2 * normal(batch, *size, in_types, 4, 4)
    weights = normal(4, 4) + scale * normal(*kernel, in_types, out_types, 4, 4)
    presences = normal(batch, *size, in_types).sigmoid()
    return Layer(poses, presences, weights, 0.3 * normal(out_types), 0.3 * normal(out_types))


def naive(poses, presences, weights, *, offsets=None, variant=PAPER, **arguments):
    """Return poses, presences and assignments of `naive_image` for each image."""
    m_step = STEPS[variant]
    images = [
        naive_image(*image, weights, offsets=offsets, step=m_step(), **arguments)
        for image in zip(poses, presences, strict=True)
    ]
    return tuple(map(torch.stack, zip(*images, strict=True)))


class TextStep:
    """The M-step of one parent by the article's equations 22, 26 and 27."""

    split_among_positions = True
    relative_mass = True
    floor = FLOOR
    beta_a_scale: float = 1
    density_power: float = 1

    def __call__(
        self, assigned, votes, previous, beta_u, beta_a, inv_temperature, iteration, average
    ):
        mass = sum(assigned)
        mean = sum(a * v for a, v in zip(assigned, votes, strict=True)) / mass
        squares = sum(a * (v - mean) ** 2 for a, v in zip(assigned, votes, strict=True))
        std = (squares / mass + self.floor).sqrt()
        cost = (beta_u + std.log()) * (mass / average if self.relative_mass else mass)
        logit = inv_temperature * (self.beta_a_scale * beta_a - cost.sum())
        return mean, std, torch.sigmoid(logit)


class PrintedStep(TextStep):
    """The M-step with eq. 26 as printed."""

    relative_mass = False


class OurStep(TextStep):
    """The M-step of our variant."""

    floor, beta_a_scale, density_power = 0.01, 10, 1 / 16


class CodeStep:
    """The M-step of the authors' code, in a convolutional layer."""

    split_among_positions = False
    density_power = 1
    epsilon, share = 1e-7, 1.0

    def __call__(
        self, assigned, votes, previous, beta_u, beta_a, inv_temperature, iteration, average
    ):
        mass = sum(assigned) + self.epsilon
        current = sum(a * v for a, v in zip(assigned, votes, strict=True)) / mass
        mean = 0.9 * current + 0.1 * (torch.zeros_like(current) if previous is None else previous)
        squares = sum(a * (v - mean) ** 2 for a, v in zip(assigned, votes, strict=True))
        variance = FLOOR + squares / mass
        fit = mass * (-variance.log().sum() - beta_u * 16 * (math.log(2 * math.pi) + 1))
        inv_temperature = self.share * inv_temperature * (1 - 0.95 ** (iteration + 1))
        return mean, variance.sqrt(), torch.sigmoid(inv_temperature * (fit - 5000 * beta_a))


class CodeClassStep(CodeStep):
    """The M-step of the authors' code, in the class layer."""

    epsilon, share = 1e-5, 0.25


STEPS = {
    PAPER: TextStep,
    PRINTED: PrintedStep,
    OURS: OurStep,
    AUTHORS_CODE: CodeStep,
    AUTHORS_CODE_CLASSES: CodeClassStep,
}


def naive_image(
    poses,
    presences,
    weights,
    *,
    beta_u,
    beta_a,
    inverse_temperature,
    iterations,
    step,
    stride=1,
    offsets,
):
    """Loop over parents and children; return the assignments of the last M-step."""
    rows, columns, in_types, out_types = weights.shape[:4]
    tops, lefts = (
        [start for start in range(0, size, stride) if start + window <= size]
        for size, window in zip(presences.shape, (rows, columns), strict=False)
    )
    parents = list(product(tops, lefts, range(out_types)))
    window = list(product(range(rows), range(columns), range(in_types)))
    votes, parents_of, children_of = {}, defaultdict(list), defaultdict(list)
    for y, x, p in parents:
        for dy, dx, c in window:
            child = y + dy, x + dx, c
            vote = poses[child] @ weights[dy, dx, c, p]  # eq. 4
            vote = vote if offsets is None else vote + offsets[dy, dx]
            votes[child, (y, x, p)] = vote.flatten()
            parents_of[child].append((y, x, p))
            children_of[y, x, p].append(child)
    average_mass = len(parents_of) / len(parents)
    missing = {
        j: (LEAST_PRESENCE - sum(presences[i] for i in children_of[j])).clamp_min(0)
        for j in parents
    }
    r = {  # eq. 20
        (i, j): weights.new_tensor(
            1 / (len(parents_of[i]) if step.split_among_positions else out_types)
        )
        for i, j in votes
    }
    mean: dict[tuple[int, int, int], Tensor] = {}
    std, presence = {}, {}
    for iteration in range(iterations):
        for j in parents:
            mean[j], std[j], presence[j] = step(
                [  # eq. 21
                    (r[i, j] + PRIOR_SHARE) * (presences[i] + missing[j]) for i in children_of[j]
                ],
                [votes[i, j] for i in children_of[j]],
                mean.get(j),
                beta_u[j[2]],
                beta_a[j[2]],
                inverse_temperature,
                iteration,
                average_mass,
            )
        if iteration + 1 < iterations:
            for i, others in parents_of.items():
                densities = [  # eq. 28
                    Normal(mean[j], std[j]).log_prob(votes[i, j]).sum() for j in others
                ]
                logs = [
                    presence[j].log() + step.density_power * p
                    for j, p in zip(others, densities, strict=True)
                ]
                shares = torch.stack(logs).softmax(dim=0)  # eq. 29
                r |= {(i, j): share for j, share in zip(others, shares, strict=True)}
    shape = len(tops), len(lefts), out_types
    return (
        torch.stack([mean[j] for j in parents]).view(*shape, 4, 4),
        torch.stack([presence[j] for j in parents]).view(shape),
        torch.stack([r[i, j] for j in parents for i in children_of[j]]).view(
            *shape, *weights.shape[:3]
        ),
    )


def gradients(outputs, inputs):
    """Return gradients of a sum of poses and presences with fixed random factors."""
    generator = torch.Generator().manual_seed(1)
    total = sum(
        (torch.randn(x.shape, generator=generator, dtype=DOUBLE) * x).sum() for x in outputs[:2]
    )
    return torch.autograd.grad(total, inputs)


# The code multiplies betas by 5,000: small ones keep its presences away from 0 and 1.
def for_variant(tensors, variant):
    if variant in (PAPER, OURS):
        return tensors
    return tensors._replace(beta_a=tensors.beta_a / 500, beta_u=tensors.beta_u - 1)


VARIANTS = {"text": PAPER, "ours": OURS, "code": AUTHORS_CODE}
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())

GEOMETRIES: dict[str, tuple[dict[str, Any], int]] = {
    "1x1": ({"size": (2, 3), "kernel": (1, 1)}, 1),
    "1x1, stride 2": ({"size": (3, 4), "kernel": (1, 1)}, 2),
    "3x3": ({"size": (4, 5), "kernel": (3, 3), "out_types": 2}, 1),
    "3x3, stride 2": ({"size": (5, 5), "kernel": (3, 3), "out_types": 2}, 2),
    "3x3, stride 2, last row uncovered": ({"size": (6, 3), "kernel": (3, 3)}, 2),
    "2x2, stride 3, every third line uncovered": ({"size": (5, 6), "kernel": (2, 2)}, 3),
    "2x1": ({"size": (3, 3), "kernel": (2, 1)}, 1),
    "one type each": ({"size": (3, 3), "kernel": (2, 2), "in_types": 1, "out_types": 1}, 1),
    "whole map": ({"size": (2, 3), "kernel": (2, 3)}, 1),
}
