"""A convolution that is computed in the form which is the fastest on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules import convolution_products
from capsbench.capsules.choices import Choices, Ways
from capsbench.capsules.convolution_products import Pair, multiplies_bfloat16, products
from capsbench.capsules.tracing import is_seen_through

Form = Literal["plain", "channels-last", "products"]

# FLOPs of a forward pass. What has fewer is over in milliseconds, in whichever form; what has more
# is measured on as many images as do not go beyond the second number.
FEWEST, MEASURED = 1e9, 1.3e10
# Instructions for which libraries have code of their own.
INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon", "bf16", "sve", "sve_bf16")

CHOICES = Choices("convolutions", baseline="plain")
_forced: ContextVar[Form | None] = ContextVar("forced form of convolutions", default=None)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, computed as torch does, in channels-last layout, or by matrix products.

    Large convolutions without groups and dilation are measured when a machine first computes them,
    and from then on computed in the form that was the fastest (`Choices`). The others are left to
    torch, and so are all while something looks at the operations themselves: torch.compile, the
    transforms of torch.func, a counter of FLOPs. Parameters are those of `torch.nn.Conv2d`, and so
    are results, up to rounding; their layout in memory may be another.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, O, H', W')."""
        # torch.compile reads no further than this.
        form = "plain" if torch.compiler.is_compiling() else self.form(features)
        if form == "plain":
            return super().forward(features)
        dtype = _computed(features)
        bias = None if self.bias is None else self.bias.to(dtype)
        return FORMS[form](
            features.to(dtype), self.weight.to(dtype), bias, self.stride, self.padding
        )

    def form(self, features: Tensor) -> Form:
        """The form in which maps (B, C, H, W) are convolved, here and now."""
        kind = features.device.type
        simple = (
            kind in ("cpu", "cuda")
            and features.dim() == 4
            and _computed(features) == _computed(self.weight)
            and self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
        )
        if not simple:
            return "plain"
        if (forced := _forced.get()) is not None:
            return forced
        if _is_watched():
            return "plain"
        case = Case.of(self, features)
        if case.flops < FEWEST:
            return "plain"
        if kind == "cpu" and case.dtype == torch.bfloat16 and not multiplies_bfloat16():
            return "products"  # torch would take a minute: nothing that one would measure
        if kind == "cpu" and case.dtype not in (torch.float32, torch.bfloat16):
            return "plain"
        return cast(Form, CHOICES.find(case.name, case.ways))


class Case(NamedTuple):
    """A convolution as far as its time depends on it.

    Attributes:
        device: Where it is computed.
        dtype: Of its operands.
        images: (B, C, H, W) of what is measured.
        layout: The letters of BCHW, from the dimension with the largest stride in memory on.
        weight: (O, C, KH, KW).
        bias: Whether there is one.
        stride: Steps of the window, down and to the right.
        padding: Rows above and below, columns to the left and to the right.
        gradients: Whether one of the images is wanted, and one of the parameters.
        flops: Of a forward pass of all images.
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
        """The case of a convolution and its maps, whose number is rounded to a power of two."""
        stride, padding = cast(Pair, conv.stride), cast(Pair, conv.padding)
        batch, *sizes = features.shape
        windows = [
            (size + 2 * border - kernel) // step + 1
            for size, border, kernel, step in zip(
                sizes[1:], padding, conv.kernel_size, stride, strict=True
            )
        ]
        flops = 2.0 * windows[0] * windows[1] * conv.weight.numel()
        most = max(1, min(batch, int(MEASURED / max(flops, 1))))
        order = sorted(range(4), key=features.stride, reverse=True)
        learns = torch.is_grad_enabled()
        return cls(
            features.device,
            _computed(features),
            (1 << most.bit_length() - 1, *sizes),
            "".join("BCHW"[dim] for dim in order),
            tuple(conv.weight.shape),
            conv.bias is not None,
            stride,
            padding,
            (learns and features.requires_grad, learns and conv.weight.requires_grad),
            batch * flops,
        )

    @property
    def name(self) -> str:
        """The case in words, the machine included."""
        gradients = zip(("images", "parameters"), self.gradients, strict=True)
        parts = {
            "images": f"{_by(self.images)} {str(self.dtype).removeprefix('torch.')} {self.layout}",
            "weights": f"{_by(self.weight)}{' and bias' if self.bias else ''}",
            "stride": _by(self.stride),
            "padding": _by(self.padding),
            "gradients": " and ".join(of for of, wanted in gradients if wanted) or "none",
        }
        return "; ".join([_machine(self.device), *map(" ".join, parts.items())])

    def ways(self) -> Ways:
        """Computes the convolution of random numbers in each form, with the gradients wanted."""
        forms: list[Form] = ["plain", "channels-last"]
        if self.device.type == "cpu":
            forms.append("products")
        # The numbers that a training draws must not depend on what has been measured.
        generator = torch.Generator().manual_seed(0)
        order = ["BCHW".index(letter) for letter in self.layout]

        def draw(*shape: int, gradient: bool) -> Tensor:
            drawn = torch.randn(shape, generator=generator).to(self.device, self.dtype)
            return drawn.requires_grad_(gradient)

        of_images, of_parameters = self.gradients
        laid_out = draw(*(self.images[dim] for dim in order), gradient=of_images)
        weight = draw(*self.weight, gradient=of_parameters)
        bias = draw(self.weight[0], gradient=of_parameters) if self.bias else None
        wanted = [t for t in (laid_out, weight, bias) if t is not None and t.requires_grad]

        def way(form: Form) -> Callable[[], None]:
            def compute() -> None:
                images = laid_out.permute([order.index(dim) for dim in range(4)])
                y = FORMS[form](images, weight, bias, self.stride, self.padding)
                if wanted:
                    torch.autograd.grad(y, wanted, torch.ones_like(y))
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)

            return compute

        return {form: way(form) for form in forms}


@contextmanager
def convolution_form(form: Form | None) -> Iterator[None]:
    """Compute every `Conv2d` without groups and dilation in one form; None leaves the choice.

    torch.compile takes the plain form even so.
    """
    token = _forced.set(form)
    try:
        yield
    finally:
        _forced.reset(token)


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
    down, right = padding
    if down or right:
        x = F.pad(x, (right, right, down, down))
    return products(x, weight, bias, stride)


FORMS: dict[Form, Callable[..., Tensor]] = {
    "plain": _plain,
    "channels-last": _channels_last,
    "products": _products,
}


def _computed(operand: Tensor) -> torch.dtype:
    """The type in which torch would take an operand: autocast's where it is on."""
    kind = operand.device.type
    if torch.is_autocast_enabled(kind) and operand.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return operand.dtype


def _is_watched() -> bool:
    """Whether something looks at the operations: torch.func, or a mode such as a counter."""
    return is_seen_through() or torch._C._len_torch_dispatch_stack() > 0  # noqa: SLF001


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}, forms {_forms()}"


@cache
def _forms() -> str:
    """Tells one state of the forms' code from another, which may be faster or slower."""
    files = (__file__, convolution_products.__file__)
    return sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:8]


@cache
def _processor() -> str:
    present = torch.cpu.get_capabilities()
    instructions = " ".join(name for name in INSTRUCTIONS if present.get(name))
    return f"{present.get('cpu_name', present['architecture'])} ({instructions})"
