"""Rows of group ``routings``: one network under every routing, and in the textbook's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import use_backend
from capsbench.capsules.routings import ROUTINGS
from capsbench.contracts import Batch
from capsbench.names import find
from capsbench.speed.rows import Comparison, Row, Work
from capsbench.viewpoint.views import Views

BASELINE = "average"  # equal weights, in one pass


@dataclass(frozen=True)
class RoutingsSizes:
    """Sizes of the network.

    The defaults are those of the table of times in docs/models.md.

    Attributes:
        batch_size: Images in a batch.
        arguments: Arguments of ``capsnet``, apart from the routing.
    """

    batch_size: int = 32
    arguments: Mapping[str, Any] = field(default_factory=dict)


def comparisons(device: str, sizes: RoutingsSizes) -> list[Comparison]:
    """Compare the routings, forward with loss and backward, without the optimizer."""
    names = [BASELINE, *(name for name in ROUTINGS if name != BASELINE)]
    rows = []
    for name in names:
        backends: tuple[Backend, ...] = (
            ("auto",) if ROUTINGS[name].one_form else ("auto", "textbook")
        )
        rows += [
            Row(
                name if backend == "auto" else f"{name}, {backend}",
                partial(_prepare, name, backend, device, sizes),
            )
            for backend in backends
        ]
    return [Comparison(f"capsnet, batch {sizes.batch_size}, forward + backward", tuple(rows))]


def _prepare(routing: str, backend: Backend, device: str, sizes: RoutingsSizes) -> Work:
    torch.manual_seed(0)
    cls = find("models", "capsnet").load()
    arguments = {"pose": "matrix", "iterations": 3} | dict(sizes.arguments)
    model = cls(image_shape=(1, 28, 28), num_classes=10, routing=routing, **arguments).to(device)
    use_backend(model, backend)
    index = torch.arange(sizes.batch_size, device=device)
    images = torch.rand(sizes.batch_size, 1, 28, 28, device=device)
    batch = Batch(images, index % 10, Views.identity(sizes.batch_size), index)

    def step() -> None:
        model.loss(model(images), batch, 0.0).backward()
        model.zero_grad()

    return step
