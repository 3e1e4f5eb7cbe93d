"""A convolution that uses the fastest of several implementations on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules import convolution_products
from capsbench.capsules.autotuning import AutotuningCache, Candidates
from capsbench.capsules.convolution_products import Pair, multiplies_bfloat16, products
from capsbench.capsules.tracing import under_transform

Form = Literal["plain", "channels-last", "products"]

# FLOPs of a forward pass. Below the first number a convolution takes milliseconds in any form and
# is not measured. Larger ones are measured on the largest batch that stays below the second number.
MIN_MEASURED_FLOPS, MAX_BATCH_FLOPS = 1e9, 1.3e10
# Instruction sets for which libraries have separate code.
INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon", "bf16", "sve", "sve_bf16")

FASTEST_FORMS = AutotuningCache("convolutions", get_args(Form), baseline="plain")
_forced_form: ContextVar[Form | None] = ContextVar("forced form of convolutions", default=None)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, computed by torch, in channels-last layout, or as matrix products.

    Large convolutions without groups and dilation are timed when a machine first computes them, and
    use the fastest form from then on (`AutotuningCache`). All others are computed by torch. So are
    all convolutions while torch.compile, torch.func or a counter of FLOPs intercepts operations.
    Parameters are those of `torch.nn.Conv2d`. Results are equal up to rounding; their memory layout
    can differ.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, O, H', W')."""
        # torch.compile traces no code below this line.
        form = "plain" if torch.compiler.is_compiling() else self.form(features)
        if form == "plain":
            return super().forward(features)
        dtype = _compute_dtype(features)
        bias = None if self.bias is None else self.bias.to(dtype)
        return FORMS[form](
            features.to(dtype), self.weight.to(dtype), bias, self.stride, self.padding
        )

    def form(self, features: Tensor) -> Form:
        """Return the form in which maps (B, C, H, W) are convolved in the current context."""
        kind = features.device.type
        supported = (
            kind in ("cpu", "cuda")
            and features.dim() == 4
            and _compute_dtype(features) == _compute_dtype(self.weight)
            and self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
        )
        if not supported:
            return "plain"
        if (forced := _forced_form.get()) is not None:
            return forced
        if _is_intercepted():
            return "plain"
        case = Case.of(self, features)
        if case.flops < MIN_MEASURED_FLOPS:
            return "plain"
        if kind == "cpu" and case.dtype == torch.bfloat16 and not multiplies_bfloat16():
            return "products"  # torch takes up to a minute, too long to measure
        if kind == "cpu" and case.dtype not in (torch.float32, torch.bfloat16):
            return "plain"
        return cast(Form, FASTEST_FORMS.fastest(case.name, case.candidates))


class Case(NamedTuple):
    """The properties of a convolution on which its time depends.

    Attributes:
        device: Device that computes it.
        dtype: Dtype of its operands.
        images: (B, C, H, W), the shape to measure.
        layout: The letters of BCHW by decreasing stride in memory.
        weight: (O, C, KH, KW).
        bias: True for a convolution with a bias.
        stride: Steps of the window, vertical and horizontal.
        padding: Rows above and below, columns left and right.
        gradients: True for each required gradient: of the images, of the parameters.
        flops: FLOPs of a forward pass of all images.
    """

    device: torch.device
    dtype: torch.dtype
    images: tuple[int, ...]
    layout: str
    weight: tuple[int, ...]
    bias: bool
    stride: Pair
    padding: Pair
    gradients: tuple[bool, bool]
    flops: float

    @classmethod
    def of(cls, conv: Conv2d, features: Tensor) -> Case:
        """Return the case of a convolution and its input, with a batch size of a power of two."""
        stride, padding = cast(Pair, conv.stride), cast(Pair, conv.padding)
        batch, *sizes = features.shape
        windows = [
            (size + 2 * border - kernel) // step + 1
            for size, border, kernel, step in zip(
                sizes[1:], padding, conv.kernel_size, stride, strict=True
            )
        ]
        flops = 2.0 * windows[0] * windows[1] * conv.weight.numel()
        max_images = max(1, min(batch, int(MAX_BATCH_FLOPS / max(flops, 1))))
        order = sorted(range(4), key=features.stride, reverse=True)
        has_grad = torch.is_grad_enabled()
        return cls(
            features.device,
            _compute_dtype(features),
            (1 << max_images.bit_length() - 1, *sizes),
            "".join("BCHW"[dim] for dim in order),
            tuple(conv.weight.shape),
            conv.bias is not None,
            stride,
            padding,
            (has_grad and features.requires_grad, has_grad and conv.weight.requires_grad),
            batch * flops,
        )

    @property
    def name(self) -> str:
        """Description of the case, including the machine."""
        gradients = zip(("images", "parameters"), self.gradients, strict=True)
        dtype = str(self.dtype).removeprefix("torch.")
        parts = {
            "images": f"{_join_sizes(self.images)} {dtype} {self.layout}",
            "weights": f"{_join_sizes(self.weight)}{' and bias' if self.bias else ''}",
            "stride": _join_sizes(self.stride),
            "padding": _join_sizes(self.padding),
            "gradients": " and ".join(name for name, needed in gradients if needed) or "none",
        }
        return "; ".join([_machine_name(self.device), *map(" ".join, parts.items())])

    def candidates(self) -> Candidates:
        """Return functions that convolve random numbers, by form, with the required gradients."""
        forms: list[Form] = ["plain", "channels-last"]
        if self.device.type == "cpu":
            forms.append("products")
        # Measuring must not change the random numbers of a training.
        generator = torch.Generator().manual_seed(0)
        order = ["BCHW".index(letter) for letter in self.layout]

        def draw(*shape: int, gradient: bool) -> Tensor:
            values = torch.randn(shape, generator=generator).to(self.device, self.dtype)
            return values.requires_grad_(gradient)

        of_images, of_parameters = self.gradients
        laid_out = draw(*(self.images[dim] for dim in order), gradient=of_images)
        weight = draw(*self.weight, gradient=of_parameters)
        bias = draw(self.weight[0], gradient=of_parameters) if self.bias else None
        inputs = [t for t in (laid_out, weight, bias) if t is not None and t.requires_grad]

        def candidate(form: Form) -> Callable[[], None]:
            def compute() -> None:
                images = laid_out.permute([order.index(dim) for dim in range(4)])
                y = FORMS[form](images, weight, bias, self.stride, self.padding)
                if inputs:
                    torch.autograd.grad(y, inputs, torch.ones_like(y))
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)

            return compute

        return {form: candidate(form) for form in forms}


@contextmanager
def convolution_form(form: Form | None) -> Iterator[None]:
    """Force every `Conv2d` without groups and dilation to one form; None selects automatically.

    torch.compile uses the plain form in any case.
    """
    token = _forced_form.set(form)
    try:
        yield
    finally:
        _forced_form.reset(token)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding)


def _channels_last(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, weight, bias, stride, padding)


def _products(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
) -> Tensor:
    vertical, horizontal = padding
    if vertical or horizontal:
        x = F.pad(x, (horizontal, horizontal, vertical, vertical))
    return products(x, weight, bias, stride)


FORMS: dict[Form, Callable[..., Tensor]] = {
    "plain": _plain,
    "channels-last": _channels_last,
    "products": _products,
}


def _compute_dtype(operand: Tensor) -> torch.dtype:
    """Return the dtype in which torch computes with an operand: autocast's where it is on."""
    kind = operand.device.type
    if torch.is_autocast_enabled(kind) and operand.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return operand.dtype


def _is_intercepted() -> bool:
    """Return whether torch.func, or a dispatch mode such as a counter, intercepts operations."""
    return under_transform() or torch._C._len_torch_dispatch_stack() > 0  # noqa: SLF001


def _join_sizes(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _machine_name(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_processor_name()}, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}, forms {_forms_version()}"


@cache
def _forms_version() -> str:
    """Return a hash of the code of the forms; other code may be faster or slower."""
    files = (__file__, convolution_products.__file__)
    return sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:8]


@cache
def _processor_name() -> str:
    present = torch.cpu.get_capabilities()
    instructions = " ".join(name for name in INSTRUCTIONS if present.get(name))
    return f"{present.get('cpu_name', present['architecture'])} ({instructions})"
