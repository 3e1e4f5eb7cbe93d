"""Section ``kernels``: every routing backend against the textbook in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import unavailable_reason
from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.speed.gpu.parts import Incomplete, NotMeasured, Parts, Values, Work

DTYPES = {"float32": torch.float32, "float64": torch.float64}
FLOAT64 = 1e-9  # tolerance of the relative error
# In float32 the textbook itself is off by rounding, by more in longer routings. A backend may be
# off by this number times as much, and by this much in any case.
FACTOR, LEAST = 20.0, 2e-5
ITERATIONS = 3
ORDER: tuple[Backend, ...] = ("triton", "eager", "compiled")  # all that a GPU can run


@dataclass(frozen=True)
class Dynamic:
    """Dynamic routing of random tensors.

    Attributes:
        batch: Images.
        children: I.
        parents: J.
        lengths: D and E, lengths of the poses of children and parents.
        bias: Add a bias to the sums.
    """

    batch: int
    children: int
    parents: int
    lengths: tuple[int, int] = (8, 16)
    bias: bool = False

    @property
    def name(self) -> str:
        """Sizes in a few words."""
        bias = ", bias" if self.bias else ""
        return f"dynamic {self.children} to {self.parents}, batch {self.batch}{bias}"

    def inputs(self) -> list[Tensor]:
        """Return children, weights and, if there is one, the bias, in float64."""
        dim, parent_dim = self.lengths
        shapes = [(self.batch, self.children, dim), (self.children, self.parents, dim, parent_dim)]
        children, weights, bias = _normal(*shapes, (self.parents, parent_dim))
        scale = (3 / (dim * self.children)) ** 0.5
        return [children, scale * weights, *([0.1 * bias] if self.bias else [])]

    def route(self, inputs: Sequence[Tensor], backend: Backend) -> tuple[Tensor, ...]:
        """Return parents and couplings."""
        children, weights, *bias = inputs
        return dynamic_routing(
            children,
            weights,
            iterations=ITERATIONS,
            bias=bias[0] if bias else None,
            backend=backend,
        )


@dataclass(frozen=True)
class EM:
    """EM routing of random tensors.

    Attributes:
        batch: Images.
        side: Height and width of the map.
        types: Capsule types of children and of parents.
        kernel: Width of the window.
        stride: Step of the window.
        offsets: Add offsets to the votes, as coordinate addition does.
    """

    batch: int
    side: int
    types: tuple[int, int]
    kernel: int
    stride: int = 1
    offsets: bool = False

    @property
    def name(self) -> str:
        """Sizes in a few words."""
        window = f"{self.kernel} x {self.kernel}, stride {self.stride}"
        offsets = ", offsets" if self.offsets else ""
        children, parents = self.types
        return (
            f"EM {self.side} x {self.side} x {children} by {window} to {parents}, "
            f"batch {self.batch}{offsets}"
        )

    def inputs(self) -> list[Tensor]:
        """Return poses, presences, weights, both costs and, if there are any, the offsets."""
        children, parents = self.types
        grid = (self.batch, self.side, self.side, children)
        window = (self.kernel, self.kernel)
        poses, presences, weights, costs, offsets = _normal(
            (*grid, 4, 4), grid, (*window, children, parents, 4, 4), (2, parents), (*window, 4, 4)
        )
        inputs = [0.5 * poses, presences.sigmoid(), 0.5 * weights, *(0.1 * costs)]
        return [*inputs, offsets] if self.offsets else inputs

    def route(self, inputs: Sequence[Tensor], backend: Backend) -> tuple[Tensor, ...]:
        """Return poses, presences and assignments of the parents."""
        poses, presences, weights, beta_u, beta_a, *offsets = inputs
        return em_routing(
            poses,
            presences,
            weights,
            beta_u=beta_u,
            beta_a=beta_a,
            inverse_temperature=0.7,
            iterations=ITERATIONS,
            stride=self.stride,
            offsets=offsets[0].detach() if offsets else None,
            backend=backend,
        )[:3]


Case = Dynamic | EM

# Odd sizes; then the layers of Sabour's network and of `capsnet-em-small`.
SMALL: tuple[Case, ...] = (
    Dynamic(batch=3, children=7, parents=3, lengths=(5, 9), bias=True),
    EM(batch=2, side=5, types=(3, 5), kernel=3, stride=2, offsets=True),
)
FULL: tuple[Case, ...] = (
    *SMALL,
    Dynamic(batch=33, children=100, parents=10),
    Dynamic(batch=128, children=1152, parents=10),
    EM(batch=8, side=14, types=(8, 16), kernel=3, stride=2),
    EM(batch=8, side=6, types=(16, 16), kernel=3),
    EM(batch=16, side=4, types=(16, 5), kernel=4, offsets=True),
)


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return a part for each backend, case and dtype; those that take long to compile are last."""
    cases = SMALL if parts.small else FULL
    return {
        f"{backend}, {case.name}, {dtype}": partial(compare, case, backend, dtype, parts.device)
        for backend, case, dtype in _combinations(cases, small=parts.small)
    }


def _combinations(cases: Sequence[Case], *, small: bool) -> Iterator[tuple[Backend, Case, str]]:
    for backend in ORDER:
        # Compiling takes seconds for each case.
        for case in cases[:1] if small and backend == "compiled" else cases:
            yield backend, case, "float32"
            if backend != "compiled":
                yield backend, case, "float64"


def compare(case: Case, backend: Backend, dtype: str, device: str) -> Values:
    """Compare a backend with the textbook in float64, outputs and all gradients.

    Raises:
        NotMeasured: The backend cannot run on the device.
        Incomplete: An error is too large; it has all errors.
    """
    if reason := unavailable_reason(backend, torch.device(device)):
        raise NotMeasured(reason)
    inputs = [tensor.to(device) for tensor in case.inputs()]
    rounded = [tensor.to(DTYPES[dtype]) for tensor in inputs]
    expected = _results(case, [tensor.double() for tensor in rounded], "textbook")
    errors = _errors(_results(case, rounded, backend), expected)
    values: dict[str, float] = {"values": errors[0], "gradients": errors[1]}
    allowed = (FLOAT64, FLOAT64)
    if dtype == "float32":
        own = _errors(_results(case, rounded, "textbook"), expected)
        values |= {"textbook's values": own[0], "textbook's gradients": own[1]}
        allowed = (max(LEAST, FACTOR * own[0]), max(LEAST, FACTOR * own[1]))
    if not all(error <= limit for error, limit in zip(errors, allowed, strict=True)):
        message = f"relative errors {errors[0]:.1e} and {errors[1]:.1e}, allowed "
        raise Incomplete(
            ArithmeticError(message + f"{allowed[0]:.1e} and {allowed[1]:.1e}"), values
        )
    return values


def _results(
    case: Case, inputs: Sequence[Tensor], backend: Backend
) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs, and gradients of their sum with fixed weights."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    outputs = case.route(leaves, backend)
    factors = _normal(*(output.shape for output in outputs[:2]))
    total = torch.stack(
        [
            (output * factor.to(output)).sum()
            for output, factor in zip(outputs[:2], factors, strict=True)
        ]
    ).sum()
    used = leaves[:5]  # offsets have no gradient
    return [output.detach() for output in outputs], list(torch.autograd.grad(total, used))


def _errors(
    results: tuple[list[Tensor], list[Tensor]], expected: tuple[list[Tensor], list[Tensor]]
) -> tuple[float, float]:
    """Return the largest relative error of the outputs, and that of the gradients."""
    values, gradients = (
        max_or_nan(*(max_relative_error(a.double(), b) for a, b in zip(one, other, strict=True)))
        for one, other in zip(results, expected, strict=True)
    )
    return values, gradients


def _normal(*shapes: Sequence[int]) -> list[Tensor]:
    """Return normal numbers of the processor, the same ones for every device."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(tuple(s), generator=generator, dtype=torch.float64) for s in shapes]
