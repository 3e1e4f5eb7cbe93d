"""Convolution as explicit matrix products, for processors whose products are faster than that.

Row by row: what all windows see of one row of pixels, (B W', KW C), is unfolded and multiplied with
each row of the kernel that meets it there; the products add up to rows of the result, (B W', O). So
only one row is unfolded at a time, along its width alone, and stays in the cache for all of its
products. The gradient of the images is gathered, not scattered: of each column of pixels, the
windows that saw it lie next to each other, and one product per row of the kernel sums over them.

Where the processor has no instructions for bfloat16, its numbers are multiplied as float32. Their
products are exact there, and sums are as wide as those of processors that have such instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

Pair = tuple[int, int]

# Instructions that multiply bfloat16, as torch names them: AMX, AVX-512, Arm.
BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")
# A product that sums over fewer numbers is bound by its result: then the kernel is taken whole.
FEWEST_SUMMED = 128


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; without, torch is 30 times slower."""
    present = torch.cpu.get_capabilities()
    return any(present.get(name) for name in BF16_INSTRUCTIONS)


def products(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair) -> Tensor:
    """A convolution without padding, as matrix products; differentiable like any other.

    Args:
        x: (B, C, H, W), best with channels next to each other in memory.
        weight: (O, C, KH, KW), of the same type.
        bias: (O,) or None.
        stride: Steps of the window, down and to the right.

    Returns:
        (B, O, H', W'), laid out in memory as (H', B, W', O).
    """
    y: Tensor = _Products.apply(x, weight, bias, stride)
    return y.unflatten(1, (len(x), -1)).permute(1, 3, 0, 2)


class _Products(Function):
    """Returns (H', B W', O), since a view that is made in here could not be changed in place."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair) -> Tensor:
        return _output(x, weight, bias, stride)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.stride = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        return (
            _input_gradient(x, weight, errors, ctx.stride) if of_x else None,
            _weight_gradient(x, weight, errors, ctx.stride) if of_weight else None,
            errors.sum((0, 1)) if of_bias else None,
            None,
        )

    @staticmethod
    def jvp(
        ctx: Any, x_tangent: Tensor, weight_tangent: Tensor, bias_tangent: Tensor | None, _: None
    ) -> Tensor:
        x, weight = ctx.saved_tensors
        tangent = F.conv2d(x_tangent, weight, bias_tangent, ctx.stride)
        tangent = tangent + F.conv2d(x, weight_tangent, None, ctx.stride)
        return tangent.permute(2, 0, 3, 1).flatten(1, 2)


def _output(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair) -> Tensor:
    rows, columns = _windows(x, weight, stride)
    parts = _parts(weight)
    kernel = _channels_last(weight).view(len(weight), parts, -1).transpose(0, 1).contiguous()
    start = kernel.new_zeros(len(weight)) if bias is None else bias
    dtype = kernel.dtype if parts == 1 else _summed(kernel.dtype)
    y = start.to(dtype).repeat(rows, len(x) * columns, 1)
    for seen, met in _rows_seen(x, weight, stride):
        for row, part in met:
            _add_product(y[row], seen, kernel[part].t())
    return y.to(x.dtype)


def _weight_gradient(x: Tensor, weight: Tensor, errors: Tensor, stride: Pair) -> Tensor:
    out_channels, channels, height, width = weight.shape
    parts, dtype = _parts(weight), _multiplied(x.dtype)
    sums = x.new_zeros(parts, out_channels, weight[0].numel() // parts, dtype=_summed(dtype))
    errors = errors.to(dtype)
    for seen, met in _rows_seen(x, weight, stride):
        for row, part in met:
            _add_product(sums[part], errors[row].t(), seen)
    gradient = sums.to(weight.dtype).transpose(0, 1)
    return gradient.reshape(out_channels, height, width, channels).permute(0, 3, 1, 2)


def _input_gradient(x: Tensor, weight: Tensor, errors: Tensor, stride: Pair) -> Tensor:
    (batch, channels, height, width), (down, right) = x.shape, stride
    kernel_height, kernel_width = weight.shape[2:]
    rows, columns = _windows(x, weight, stride)
    # Windows from right to left: so the columns of the kernel, through which they see one column of
    # pixels, go from left to right, one in every `right`.
    errors = errors.to(_multiplied(x.dtype)).reshape(rows * batch, columns, -1).flip(1)
    kernel = _channels_last(weight).permute(1, 2, 0, 3)  # (KH, KW, O, C)
    kernels = [kernel[:, start::right].contiguous() for start in range(right)]
    gradient = x.new_zeros(height, batch, width, channels)
    for column in range(width):
        last = min(columns - 1, column // right)
        first = max(0, -((kernel_width - 1 - column) // right))
        count = last + 1 - first
        if count == 0:
            continue
        seen = errors.narrow(1, columns - 1 - last, count).flatten(1).contiguous()  # (H' B, n O)
        tap, start = divmod(column - last * right, right)
        through = kernels[start].narrow(1, tap, count).flatten(1, 2)  # (KH, n O, C)
        for phase in range(down):
            total = seen.new_zeros(len(range(phase, height, down)), batch, channels)
            for row in range(phase, kernel_height, down):
                reached = total.narrow(0, row // down, rows)
                _add_product(reached.view(-1, channels), seen, through[row])
            gradient[phase::down, :, column] = total
    return gradient.permute(1, 3, 0, 2)


def _rows_seen(
    x: Tensor, weight: Tensor, stride: Pair
) -> Iterator[tuple[Tensor, list[tuple[int, int]]]]:
    """What windows see of each row of pixels, (B W', KW C).

    Where the kernel is taken whole, what each row of windows sees, (B W', KH KW C).

    Yields:
        What is seen, and by which rows of windows with which part of the kernel.
    """
    (_, channels, height, width), (down, right) = weight.shape, stride
    rows, _ = _windows(x, weight, stride)
    x = x.to(_multiplied(x.dtype))
    if (x.stride(1), x.stride(3)) != (1, channels):
        x = x.contiguous(memory_format=torch.channels_last)
    images = x.permute(2, 0, 3, 1)  # (H, B, W, C)
    if _parts(weight) == 1:
        for row in range(rows):
            whole = images[row * down :][:height].unfold(2, width, right)  # (KH, B, W', C, KW)
            yield whole.permute(1, 2, 0, 4, 3).flatten(2).flatten(0, 1), [(row, 0)]
        return
    for line in range((rows - 1) * down + height):
        windows = images[line].unfold(1, width, right)  # (B, W', C, KW)
        met = [(row, line - row * down) for row in range(rows) if 0 <= line - row * down < height]
        yield windows.transpose(2, 3).flatten(2).flatten(0, 1), met


def _windows(x: Tensor, weight: Tensor, stride: Pair) -> Pair:
    """How many windows there are, below and beside each other."""
    (height, width), (kernel_height, kernel_width) = x.shape[2:], weight.shape[2:]
    return (height - kernel_height) // stride[0] + 1, (width - kernel_width) // stride[1] + 1


def _parts(weight: Tensor) -> int:
    """How many parts a kernel is taken in: its rows, or one."""
    _, channels, height, width = weight.shape
    return 1 if channels * width < FEWEST_SUMMED else height


def _channels_last(weight: Tensor) -> Tensor:
    """Weights (O, C, KH, KW) as (O, KH, KW, C), in the type in which they are multiplied."""
    return weight.to(_multiplied(weight.dtype)).permute(0, 2, 3, 1).contiguous()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to a matrix of its type or of a wider one, in place.

    Autocast leaves alone what is done in place, and what is in its own type already.
    """
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _multiplied(dtype: torch.dtype) -> torch.dtype:
    """The type in which numbers of a type are multiplied."""
    return torch.float32 if dtype == torch.bfloat16 and not multiplies_bfloat16() else dtype


def _summed(dtype: torch.dtype) -> torch.dtype:
    """The type in which many products of a type are added, so that their sum is rounded once."""
    return torch.float32 if dtype == torch.bfloat16 else dtype
