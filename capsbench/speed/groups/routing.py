"""Rows of group ``routing``: single capsule layers, by backend."""

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
    """Sizes of a dynamic routing layer.

    The defaults are those of Sabour's network for 28 x 28 images.

    Attributes:
        children: I.
        parents: J.
        child_dim: Components D of a child's pose.
        parent_dim: Components E of a parent's pose.
        iterations: Routing iterations.
    """

    children: int = 1152
    parents: int = 10
    child_dim: int = 8
    parent_dim: int = 16
    iterations: int = 3


@dataclass(frozen=True)
class EMSizes:
    """Sizes of an EM routing layer.

    Attributes:
        side: Height and width of the input map.
        in_types: Capsule types of the input.
        out_types: Capsule types of the output.
        kernel: Width of the window; None for a class layer over the whole map.
        stride: Step of the window.
        iterations: Routing iterations.
    """

    side: int
    in_types: int
    out_types: int
    kernel: int | None = None
    stride: int = 1
    iterations: int = 3

    @property
    def positions(self) -> int:
        """Positions of the output map."""
        return 1 if self.kernel is None else ((self.side - self.kernel) // self.stride + 1) ** 2

    @property
    def window(self) -> int:
        """Children in a parent's window."""
        return (self.kernel or self.side) ** 2 * self.in_types

    def layer(self) -> EMCapsules:
        """Build the layer with new weights."""
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
class RoutingSizes:
    """Sizes of the measured layers.

    Attributes:
        dynamic: Dynamic routing layer.
        batch_sizes: Batch sizes of the dynamic routing layer.
        gpu_batch_sizes: Further batch sizes on a GPU.
        em: EM routing layers: those of ``capsnet-em-small`` for 32 x 32 images.
        em_batch_size: Batch size of the EM routing layers.
    """

    dynamic: DynamicSizes = DynamicSizes()
    batch_sizes: tuple[int, ...] = (128,)
    gpu_batch_sizes: tuple[int, ...] = (512,)
    em: tuple[EMSizes, ...] = (
        EMSizes(side=14, in_types=8, out_types=16, kernel=3, stride=2),
        EMSizes(side=6, in_types=16, out_types=16, kernel=3),
        EMSizes(side=4, in_types=16, out_types=5),
    )
    em_batch_size: int = 64


def comparisons(device: str, sizes: RoutingSizes) -> list[Comparison]:
    """Compare the backends of each layer, forward and then forward with backward."""
    gpu_only = None if device == "cuda" else "this batch size is only measured on a CUDA device"
    batches: list[tuple[int, str | None]] = [(batch, None) for batch in sizes.batch_sizes]
    batches += [(batch, gpu_only) for batch in sizes.gpu_batch_sizes]
    result = []
    for batch, reason in batches:
        result += [_dynamic(device, sizes.dynamic, batch, back, reason) for back in (False, True)]
    for layer in sizes.em:
        result += [_em(device, layer, sizes.em_batch_size, back) for back in (False, True)]
    return result


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
        f"dynamic routing, batch {batch}, {_passes_name(backward)}",
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

    parents = batch * sizes.positions * sizes.out_types
    window = "all" if sizes.kernel is None else f"{sizes.kernel} x {sizes.kernel}"
    layer_name = f"{sizes.side} x {sizes.side} x {sizes.in_types} by {window} to {sizes.out_types}"
    return _comparison(
        f"EM routing, {layer_name}, batch {batch}, {_passes_name(backward)}",
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


def _passes_name(backward: bool) -> str:
    return "forward + backward" if backward else "forward"


def _passes(call: Callable[[], Capsules], inputs: Sequence[Tensor], backward: bool) -> Work:
    """Return work of a forward pass without gradients, or of one with the gradients of inputs."""
    if not backward:

        @torch.no_grad()
        def forward() -> None:
            call()

        return forward
    for tensor in inputs:
        tensor.requires_grad_()
    output_gradients = [torch.randn_like(output) for output in call()]

    def forward_backward() -> None:
        torch.autograd.grad(call(), inputs, output_gradients)

    return forward_backward
