"""Seconds of a forward pass and of a training step of a network, for each form of its routing."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

import torch

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import use_backend
from capsbench.capsules.layer import RoutingLayer
from capsbench.contracts import Batch, Model
from capsbench.profiling.timing import seconds_per_call
from capsbench.viewpoint.views import Views

REPEATS = 5  # timed calls, after two untimed ones; the median counts


class StepTime(NamedTuple):
    """Seconds of a batch of images.

    Attributes:
        backend: Form of the routing, ``auto`` or ``textbook``.
        forward: A pass without gradients.
        training: A pass, the loss and the gradients, without the optimizer.
    """

    backend: Backend
    forward: float
    training: float


def step_times(model: Model, batch_size: int) -> list[StepTime]:
    """Time a network on noise, on its device; also in the textbook's form of its routing.

    Args:
        model: The network; its backend is ``auto`` afterwards.
        batch_size: Images in a batch.
    """
    device = next(model.parameters()).device
    index = torch.arange(batch_size, device=device)
    images = torch.rand(batch_size, *model.image_shape, device=device)
    batch = Batch(images, index % model.num_classes, Views.identity(batch_size), index)
    routed = any(isinstance(m, RoutingLayer) and not m.one_form for m in model.modules())
    backends: tuple[Backend, ...] = ("textbook", "auto") if routed else ("auto",)

    @torch.inference_mode()
    def forward() -> None:
        model(images)

    def training() -> None:
        model.loss(model(images), batch, 0.0).backward()
        model.zero_grad()

    times = []
    for backend in backends:
        use_backend(model, backend)
        model.eval()
        forwards = seconds_per_call(forward, str(device), REPEATS)
        model.train()
        trainings = seconds_per_call(training, str(device), REPEATS)
        times.append(StepTime(backend, median(forwards), median(trainings)))
    return times
