"""Rows of group ``routing``: layers of capsules alone, by backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from capsbench.capsules.backend_names import BACKENDS, Backend
from capsbench.capsules.backends import unavailable_reason, use_backend
from capsbench.capsules.capsule import Capsules, squash
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules, EMCapsules
from capsbench.speed.counts import (
    dynamic_routing_bytes,
    dynamic_routing_flops,
    em_routing_bytes,
    em_routing_flops,
)
from capsbench.speed.rows import Comparison, Row, Work


@dataclass(frozen=True)
class DynamicSizes:
    """A layer under dynamic routing: I children of length D, J parents of length E.

    The defaults are those of Sabour's network for 28 x 28 images.
    """

    children: int = 1152
    parents: int = 10
    child_dim: int = 8
    parent_dim: int = 16
    iterations: int = 3


@dataclass(frozen=True)
class EMSizes:
    """A layer under EM routing.

    Attributes:
        side: Height and width of the map below.
        in_types: Types of the capsules below.
        out_types: Types of the layer's capsules.
        kernel: Width of the window; None for a class layer, which sees the whole map.
        stride: Step of the window.
        iterations: Iterations of EM routing.
    """

    side: int
    in_types: int
    out_types: int
    kernel: int | None = None
    stride: int = 1
    iterations: int = 3

    @property
    def places(self) -> int:
        """Places of the layer's map."""
        return 1 if self.kernel is None else ((self.side - self.kernel) // self.stride + 1) ** 2

    @property
    def window(self) -> int:
        """Children that a parent sees."""
        return (self.kernel or self.side) ** 2 * self.in_types

    def layer(self) -> EMCapsules:
        """The layer, freshly initialised."""
        if self.kernel is None:
            return ClassEMCapsules(self.in_types, self.out_types, iterations=self.iterations)
        return ConvEMCapsules(
            self.in_types,
            self.out_types,
            kernel=self.kernel,
            stride=self.stride,
            iterations=self.iterations,
        )


@dataclass(frozen=True)
class Sizes:
    """The layers that are measured.

    Attributes:
        dynamic: The layer under dynamic routing.
        batches: Its batch sizes.
        large_batches: More of them, for a GPU.
        em: The layers under EM routing: those of ``capsnet-em-small`` for 32 x 32 images.
        em_batch: Their batch size.
    """

    dynamic: DynamicSizes = DynamicSizes()
    batches: tuple[int, ...] = (128,)
    large_batches: tuple[int, ...] = (512,)
    em: tuple[EMSizes, ...] = (
        EMSizes(side=14, in_types=8, out_types=16, kernel=3, stride=2),
        EMSizes(side=6, in_types=16, out_types=16, kernel=3),
        EMSizes(side=4, in_types=16, out_types=5),
    )
    em_batch: int = 64


def comparisons(device: str, sizes: Sizes) -> list[Comparison]:
    """Each layer forward, then forward and backward, with a row for each backend."""
    large = None if device == "cuda" else "so large a batch is for CUDA devices"
    batches: list[tuple[int, str | None]] = [(batch, None) for batch in sizes.batches]
    batches += [(batch, large) for batch in sizes.large_batches]
    found = []
    for batch, reason in batches:
        found += [_dynamic(device, sizes.dynamic, batch, back, reason) for back in (False, True)]
    for layer in sizes.em:
        found += [_em(device, layer, sizes.em_batch, back) for back in (False, True)]
    return found


def _dynamic(
    device: str, sizes: DynamicSizes, batch: int, backward: bool, not_measured: str | None
) -> Comparison:
    shape = {
        "batch": batch,
        "children": sizes.children,
        "parents": sizes.parents,
        "child_dim": sizes.child_dim,
        "parent_dim": sizes.parent_dim,
    }

    def prepare(backend: Backend) -> Work:
        torch.manual_seed(0)
        layer = DynamicRouting(
            num_children=sizes.children,
            child_dim=sizes.child_dim,
            num_parents=sizes.parents,
            parent_dim=sizes.parent_dim,
            iterations=sizes.iterations,
        ).to(device)
        use_backend(layer, backend)
        children = squash(torch.randn(batch, sizes.children, sizes.child_dim, device=device))
        return _passes(partial(layer, children), [children, layer.weights], backward)

    return _comparison(
        f"dynamic routing, batch {batch}, {_told(backward)}",
        device,
        prepare,
        flops=dynamic_routing_flops(**shape, iterations=sizes.iterations, backward=backward),
        moved=dynamic_routing_bytes(**shape, backward=backward),
        not_measured=not_measured,
    )


def _em(device: str, sizes: EMSizes, batch: int, backward: bool) -> Comparison:
    def prepare(backend: Backend) -> Work:
        torch.manual_seed(0)
        layer = sizes.layer().to(device)
        use_backend(layer, backend)
        maps = (batch, sizes.side, sizes.side, sizes.in_types)
        poses = torch.randn(*maps, 4, 4, device=device)
        presences = torch.rand(*maps, device=device)
        inputs = [poses, presences, *layer.parameters()]
        return _passes(partial(layer, Capsules(poses, presences), 1.0), inputs, backward)

    parents = batch * sizes.places * sizes.out_types
    window = "all" if sizes.kernel is None else f"{sizes.kernel} x {sizes.kernel}"
    what = f"{sizes.side} x {sizes.side} x {sizes.in_types} by {window} to {sizes.out_types}"
    return _comparison(
        f"EM routing, {what}, batch {batch}, {_told(backward)}",
        device,
        prepare,
        flops=em_routing_flops(
            votes=parents * sizes.window, iterations=sizes.iterations, backward=backward
        ),
        moved=em_routing_bytes(
            children=batch * sizes.side**2 * sizes.in_types,
            weights=sizes.out_types * (sizes.window if sizes.kernel else sizes.in_types),
            parents=parents,
            backward=backward,
        ),
    )


def _comparison(
    name: str,
    device: str,
    prepare: Callable[[Backend], Work],
    *,
    flops: int,
    moved: int,
    not_measured: str | None = None,
) -> Comparison:
    rows = [
        Row(
            backend,
            partial(prepare, backend),
            flops=flops,
            bytes=moved,
            not_measured=not_measured or unavailable_reason(backend, torch.device(device)),
        )
        for backend in BACKENDS
    ]
    return Comparison(name, tuple(rows))


def _told(backward: bool) -> str:
    return "forward + backward" if backward else "forward"


def _passes(call: Callable[[], Capsules], inputs: Sequence[Tensor], backward: bool) -> Work:
    """A pass forward without gradients, or one and then the gradients of all inputs."""
    if not backward:

        @torch.no_grad()
        def forward() -> None:
            call()

        return forward
    for tensor in inputs:
        tensor.requires_grad_()
    above = [torch.randn_like(output) for output in call()]

    def both() -> None:
        torch.autograd.grad(call(), inputs, above)

    return both
