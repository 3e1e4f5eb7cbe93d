"""Rows of group ``step``: whole training steps, inference, and what Lightning adds to a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from capsbench.capsules.backend_names import BACKENDS
from capsbench.speed.loops import bare_loop, lightning_loop
from capsbench.speed.nets import (
    FAST,
    FAST_BF16,
    TEXTBOOK,
    Net,
    Way,
    flops_of,
    inference,
    training_step,
)
from capsbench.speed.rows import Comparison, Row, Work

CAPSNET = Net("capsnet-dr", image_shape=(1, 28, 28), num_classes=10, size=128)
MATRIX_CAPSULES = Net("capsnet-em-small", image_shape=(1, 32, 32), num_classes=5, size=64)


@dataclass(frozen=True)
class Sizes:
    """The networks that are trained.

    Attributes:
        dynamic: Sabour's network with dynamic routing.
        em: The smaller matrix capsules, of three iterations.
        steps: Steps in a row of which the time under Lightning is taken.
    """

    dynamic: Net = CAPSNET
    em: Net = MATRIX_CAPSULES
    steps: int = 3


def comparisons(device: str, sizes: Sizes) -> list[Comparison]:
    """Steps of both networks in a bare loop, inference of the first, its steps under Lightning."""
    return [
        _dynamic_steps(device, sizes.dynamic),
        _inference(device, sizes.dynamic),
        _em_steps(device, sizes.em),
        _frameworks(device, sizes.dynamic, sizes.steps),
    ]


def _dynamic_steps(device: str, net: Net) -> Comparison:
    step, alone = flops_of(training_step, net), flops_of(convolutions, net)
    rows = [_row(training_step, net, way, device, step) for way in (TEXTBOOK, FAST, FAST_BF16)]
    rows += [
        _row(convolutions, net, way, device, alone, name=f"convolutions alone, {way.name}")
        for way in (FAST, FAST_BF16)
    ]
    return Comparison(f"{net.model} training step, batch {net.size}", tuple(rows))


def _inference(device: str, net: Net) -> Comparison:
    flops = flops_of(inference, net)
    rows = [_row(inference, net, way, device, flops) for way in (TEXTBOOK, FAST, FAST_BF16)]
    return Comparison(f"{net.model} inference, batch {net.size}", tuple(rows))


def _em_steps(device: str, net: Net) -> Comparison:
    flops = flops_of(training_step, net)
    ways = [TEXTBOOK, *(Way(backend) for backend in BACKENDS[1:]), FAST]
    rows = [_row(training_step, net, way, device, flops) for way in ways]
    return Comparison(f"{net.model} training step, batch {net.size}", tuple(rows))


def _frameworks(device: str, net: Net, steps: int) -> Comparison:
    flops = flops_of(training_step, net)
    loops = {"bare loop": bare_loop, "Lightning": lightning_loop}
    rows = [
        Row(name, partial(loop, net, device, steps), flops=flops, units=steps)
        for name, loop in loops.items()
    ]
    return Comparison(f"{net.model} training loop, batch {net.size}", tuple(rows))


def _row(
    work: Callable[[Net, Way, str], Work],
    net: Net,
    way: Way,
    device: str,
    flops: int,
    name: str | None = None,
) -> Row:
    return Row(
        name or way.name,
        partial(work, net, way, device),
        flops=flops,
        precision=way.precision,
        not_measured=way.problem(device),
    )


def convolutions(net: Net, way: Way, device: str) -> Work:
    """Both convolutions of Sabour's network, forward and backward."""
    model, images = net.build(way, device), net.batch(device).images
    first, second = model.get_submodule("conv"), model.get_submodule("primary.conv")
    parameters = [*first.parameters(), *second.parameters()]
    above = torch.randn_like(second(first(images)))

    def work() -> None:
        with way.forward(device):
            features = second(F.relu(first(images)))
        torch.autograd.grad(features, parameters, above.to(features.dtype))

    return work
