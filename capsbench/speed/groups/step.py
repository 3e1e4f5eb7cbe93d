"""Rows of group ``step``: whole training steps, inference, and the overhead of Lightning."""

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
    Variant,
    flops_of,
    inference,
    training_step,
)
from capsbench.speed.rows import Comparison, Row, Work

CAPSNET = Net("capsnet-dr", image_shape=(1, 28, 28), num_classes=10, batch_size=128)
MATRIX_CAPSULES = Net("capsnet-em-small", image_shape=(1, 32, 32), num_classes=5, batch_size=64)


@dataclass(frozen=True)
class StepSizes:
    """Measured networks.

    Attributes:
        dynamic: Sabour's network with dynamic routing.
        em: The smaller matrix capsules with three iterations.
        steps: Timed steps of the training loops.
    """

    dynamic: Net = CAPSNET
    em: Net = MATRIX_CAPSULES
    steps: int = 3


def comparisons(device: str, sizes: StepSizes) -> list[Comparison]:
    """Compare steps of both networks, inference of the first, and its training loops."""
    return [
        _dynamic_steps(device, sizes.dynamic),
        _inference(device, sizes.dynamic),
        _em_steps(device, sizes.em),
        _loops(device, sizes.dynamic, sizes.steps),
    ]


def _dynamic_steps(device: str, net: Net) -> Comparison:
    step_flops, convolution_flops = flops_of(training_step, net), flops_of(convolutions, net)
    rows = [
        _row(training_step, net, variant, device, step_flops)
        for variant in (TEXTBOOK, FAST, FAST_BF16)
    ]
    rows += [
        _row(
            convolutions,
            net,
            variant,
            device,
            convolution_flops,
            name=f"convolutions alone, {variant.name}",
        )
        for variant in (FAST, FAST_BF16)
    ]
    return Comparison(f"{net.model} training step, batch {net.batch_size}", tuple(rows))


def _inference(device: str, net: Net) -> Comparison:
    flops = flops_of(inference, net)
    rows = [_row(inference, net, variant, device, flops) for variant in (TEXTBOOK, FAST, FAST_BF16)]
    return Comparison(f"{net.model} inference, batch {net.batch_size}", tuple(rows))


def _em_steps(device: str, net: Net) -> Comparison:
    flops = flops_of(training_step, net)
    variants = [TEXTBOOK, *(Variant(backend) for backend in BACKENDS[1:]), FAST]
    rows = [_row(training_step, net, variant, device, flops) for variant in variants]
    return Comparison(f"{net.model} training step, batch {net.batch_size}", tuple(rows))


def _loops(device: str, net: Net, steps: int) -> Comparison:
    flops = flops_of(training_step, net)
    loops = {"bare loop": bare_loop, "Lightning": lightning_loop}
    rows = [
        Row(name, partial(loop, net, device, steps), flops=flops, units=steps)
        for name, loop in loops.items()
    ]
    return Comparison(f"{net.model} training loop, batch {net.batch_size}", tuple(rows))


def _row(
    work: Callable[[Net, Variant, str], Work],
    net: Net,
    variant: Variant,
    device: str,
    flops: int,
    name: str | None = None,
) -> Row:
    return Row(
        name or variant.name,
        partial(work, net, variant, device),
        flops=flops,
        precision=variant.precision,
        not_measured=variant.not_measured(device),
    )


def convolutions(net: Net, variant: Variant, device: str) -> Work:
    """Prepare both convolutions of Sabour's network, forward and backward."""
    model, images = net.build(variant, device), net.make_batch(device).images
    first, second = model.get_submodule("conv"), model.get_submodule("primary.conv")
    parameters = [*first.parameters(), *second.parameters()]
    output_gradient = torch.randn_like(second(first(images)))

    def work() -> None:
        with variant.forward(device):
            features = second(F.relu(first(images)))
        torch.autograd.grad(features, parameters, output_gradient.to(features.dtype))

    return work
