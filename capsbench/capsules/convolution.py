"""A convolution in the form that suits its device and dtype, by a fixed rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.convolution_products import Pair, multiplies_bfloat16, products
from capsbench.capsules.tracing import under_transform

Form = Literal["plain", "channels-last", "products"]

_forced_form: ContextVar[Form | None] = ContextVar("forced form of convolutions", default=None)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, computed by torch, in channels-last layout, or as matrix products.

    The form is a fixed rule of device and dtype (`form_for`), so that no result depends on measured
    times. Convolutions with groups or dilation are computed by torch. So are all convolutions while
    torch.compile, torch.func or a counter of FLOPs intercepts operations. Parameters are those of
    `torch.nn.Conv2d`. Results are equal up to rounding; their memory layout can differ.
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
        kind, dtype = features.device.type, _compute_dtype(features)
        supported = (
            kind in ("cpu", "cuda")
            and features.dim() == 4
            and dtype == _compute_dtype(self.weight)
            and self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
        )
        if not supported:
            return "plain"
        if (forced := _forced_form.get()) is not None:
            return forced
        return "plain" if _is_intercepted() else form_for(kind, dtype)


def form_for(device: str, dtype: torch.dtype) -> Form:
    """Return the form of convolutions on a kind of device, in the dtype of their operands.

    Tensor cores of GPUs multiply in channels-last layout. Torch's own bfloat16 convolution on a
    processor without instructions for it takes up to a minute. In all other cases torch's form is
    the fastest, see ``docs/performance.md``.

    Args:
        device: ``cpu`` or ``cuda``.
        dtype: Dtype of the operands.
    """
    if device == "cuda" and dtype in (torch.float16, torch.bfloat16):
        return "channels-last"
    if device == "cpu" and dtype == torch.bfloat16 and not multiplies_bfloat16():
        return "products"
    return "plain"


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
    """Return True if torch.func, or a dispatch mode such as a counter, intercepts operations."""
    stack: int = torch._C._len_torch_dispatch_stack()  # noqa: SLF001 - no public function
    return under_transform() or stack > 0
