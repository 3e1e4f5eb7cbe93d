"""Operations and bytes, checked against torch's counter on the textbook backend."""

import math

import pytest
import torch
from torch import nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.speed.counts import (
    count_flops,
    dynamic_routing_bytes,
    dynamic_routing_flops,
    em_routing_bytes,
    em_routing_flops,
)

ITERATIONS = pytest.mark.parametrize("iterations", [1, 2, 3])
PASSES = pytest.mark.parametrize("backward", [False, True])


def pass_through(layer, inputs, backward, *others):
    """Return a call of a layer by the textbook backend, optionally with all gradients."""
    layer.backend = "textbook"
    for tensor in inputs:
        tensor.requires_grad_(backward)

    def call():
        output = layer(*(others or inputs))
        if backward:
            (output.poses.sum() + output.presences.sum()).backward()

    return call


@ITERATIONS
@PASSES
def test_dynamic_routing(iterations, backward):
    layer = DynamicRouting(
        num_children=6, num_parents=5, child_dim=4, parent_dim=7, iterations=iterations
    )
    layer.requires_grad_(backward)
    call = pass_through(layer, [torch.rand(3, 6, 4)], backward)
    flops = dynamic_routing_flops(
        batch=3,
        children=6,
        parents=5,
        child_dim=4,
        parent_dim=7,
        iterations=iterations,
        backward=backward,
    )
    assert flops == count_flops(call)


@ITERATIONS
@PASSES
@pytest.mark.parametrize("conv", [True, False])
def test_em_routing(iterations, backward, conv):
    layer = (
        ConvEMCapsules(3, 4, kernel=3, stride=2, iterations=iterations)
        if conv
        else ClassEMCapsules(3, 4, iterations=iterations)
    ).requires_grad_(backward)
    inputs = [torch.randn(2, 7, 5, 3, 4, 4), torch.rand(2, 7, 5, 3)]
    capsules = Capsules(*inputs)
    call = pass_through(layer, inputs, backward, capsules, 1.0)
    votes = math.prod(layer.vote_shape(capsules, 1.0)) // 16
    flops = em_routing_flops(votes=votes, iterations=iterations, backward=backward)
    assert flops == count_flops(call)


def test_bytes_are_those_of_inputs_and_outputs():
    sizes = {"batch": 3, "children": 6, "parents": 5, "child_dim": 4, "parent_dim": 7}
    inputs, outputs = 3 * 6 * 4 + 6 * 5 * 4 * 7, 3 * 5 * 7
    assert dynamic_routing_bytes(**sizes, backward=False) == 4 * (inputs + outputs)
    # Both are read again with the parents' gradient; the inputs' gradients are written.
    assert dynamic_routing_bytes(**sizes, backward=True) == 4 * (3 * inputs + 2 * outputs)
    sizes = {"children": 7, "weights": 5, "parents": 3}
    inputs, outputs = 7 * (16 + 1) + 5 * 16, 3 * (16 + 1)
    assert em_routing_bytes(**sizes, backward=False) == 4 * (inputs + outputs)
    assert em_routing_bytes(**sizes, backward=True) == 4 * (3 * inputs + 2 * outputs)


def test_counted_flops_are_two_for_each_multiply_add():
    layer = nn.Linear(5, 7)
    assert count_flops(lambda: layer(torch.zeros(3, 5))) == 2 * 3 * 5 * 7
