"""Convolution as explicit matrix products, for CPUs on which these are faster.

The input is processed row by row. The pixels of one row that all windows cover, (B W', KW C), are
unfolded and multiplied with each row of the kernel that covers this row of pixels; the products
are summed into rows of the output, (B W', O). So only one row is unfolded at a time, along its
width only, and it stays in the cache for all of its products. The gradient of the images is
gathered, not scattered: for each column of pixels, the windows that cover it are adjacent in
memory, and one product per row of the kernel sums over them.

If the CPU has no bfloat16 instructions, bfloat16 numbers are multiplied as float32. Their products
are exact in float32, and sums are as wide as those of CPUs that have such instructions.
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

# Instruction sets that multiply bfloat16, by torch's names: AMX, AVX-512, Arm.
BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")
# A product that sums over fewer numbers is limited by writing its result. The kernel is then used
# as a whole.
MIN_SUMMED = 128


@cache
def multiplies_bfloat16() -> bool:
    """Return whether this CPU has bfloat16 instructions; otherwise torch is 30 times slower."""
    present = torch.cpu.get_capabilities()
    return any(present.get(name) for name in BF16_INSTRUCTIONS)


def products(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair) -> Tensor:
    """Compute a convolution without padding as matrix products; differentiable.

    Args:
        x: (B, C, H, W), fastest with adjacent channels in memory (channels last).
        weight: (O, C, KH, KW), of the same dtype.
        bias: (O,) or None.
        stride: Steps of the window, vertical and horizontal.

    Returns:
        (B, O, H', W'), with memory layout (H', B, W', O).
    """
    y: Tensor = _Products.apply(x, weight, bias, stride)
    return y.unflatten(1, (len(x), -1)).permute(1, 3, 0, 2)


class _Products(Function):
    """Returns (H', B W', O), since a view made in here could not be modified in-place."""

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
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            _input_gradient(x, weight, errors, ctx.stride) if needs_x else None,
            _weight_gradient(x, weight, errors, ctx.stride) if needs_weight else None,
            errors.sum((0, 1)) if needs_bias else None,
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
    rows, columns = _window_counts(x, weight, stride)
    parts = _num_parts(weight)
    kernel = _channels_last(weight).view(len(weight), parts, -1).transpose(0, 1).contiguous()
    start = kernel.new_zeros(len(weight)) if bias is None else bias
    dtype = kernel.dtype if parts == 1 else _sum_dtype(kernel.dtype)
    y = start.to(dtype).repeat(rows, len(x) * columns, 1)
    for unfolded, pairs in _unfolded_rows(x, weight, stride):
        for row, part in pairs:
            _add_product(y[row], unfolded, kernel[part].t())
    return y.to(x.dtype)


def _weight_gradient(x: Tensor, weight: Tensor, errors: Tensor, stride: Pair) -> Tensor:
    out_channels, channels, height, width = weight.shape
    parts, dtype = _num_parts(weight), _product_dtype(x.dtype)
    sums = x.new_zeros(parts, out_channels, weight[0].numel() // parts, dtype=_sum_dtype(dtype))
    errors = errors.to(dtype)
    for unfolded, pairs in _unfolded_rows(x, weight, stride):
        for row, part in pairs:
            _add_product(sums[part], errors[row].t(), unfolded)
    gradient = sums.to(weight.dtype).transpose(0, 1)
    return gradient.reshape(out_channels, height, width, channels).permute(0, 3, 1, 2)


def _input_gradient(x: Tensor, weight: Tensor, errors: Tensor, stride: Pair) -> Tensor:
    (batch, channels, height, width), (down, right) = x.shape, stride
    kernel_height, kernel_width = weight.shape[2:]
    rows, columns = _window_counts(x, weight, stride)
    # Windows from right to left. The kernel columns that cover one column of pixels then run from
    # left to right, in steps of `right`.
    errors = errors.to(_product_dtype(x.dtype)).reshape(rows * batch, columns, -1).flip(1)
    kernel = _channels_last(weight).permute(1, 2, 0, 3)  # (KH, KW, O, C)
    kernels = [kernel[:, start::right].contiguous() for start in range(right)]
    gradient = x.new_zeros(height, batch, width, channels)
    for column in range(width):
        last = min(columns - 1, column // right)
        first = max(0, -((kernel_width - 1 - column) // right))
        count = last + 1 - first
        if count == 0:
            continue
        # (H' B, n O)
        covering = errors.narrow(1, columns - 1 - last, count).flatten(1).contiguous()
        tap, start = divmod(column - last * right, right)
        through = kernels[start].narrow(1, tap, count).flatten(1, 2)  # (KH, n O, C)
        for phase in range(down):
            total = covering.new_zeros(len(range(phase, height, down)), batch, channels)
            for row in range(phase, kernel_height, down):
                covered = total.narrow(0, row // down, rows)
                _add_product(covered.view(-1, channels), covering, through[row])
            gradient[phase::down, :, column] = total
    return gradient.permute(1, 3, 0, 2)


def _unfolded_rows(
    x: Tensor, weight: Tensor, stride: Pair
) -> Iterator[tuple[Tensor, list[tuple[int, int]]]]:
    """Unfold each row of pixels into the pixels of all windows, (B W', KW C).

    If the kernel is used as a whole, unfold the rows of each row of windows, (B W', KH KW C).

    Yields:
        The unfolded pixels, and pairs of a row of windows and the part of the kernel to multiply.
    """
    (_, channels, height, width), (down, right) = weight.shape, stride
    rows, _ = _window_counts(x, weight, stride)
    x = x.to(_product_dtype(x.dtype))
    if (x.stride(1), x.stride(3)) != (1, channels):
        x = x.contiguous(memory_format=torch.channels_last)
    images = x.permute(2, 0, 3, 1)  # (H, B, W, C)
    if _num_parts(weight) == 1:
        for row in range(rows):
            whole = images[row * down :][:height].unfold(2, width, right)  # (KH, B, W', C, KW)
            yield whole.permute(1, 2, 0, 4, 3).flatten(2).flatten(0, 1), [(row, 0)]
        return
    for line in range((rows - 1) * down + height):
        windows = images[line].unfold(1, width, right)  # (B, W', C, KW)
        pairs = [(row, line - row * down) for row in range(rows) if 0 <= line - row * down < height]
        yield windows.transpose(2, 3).flatten(2).flatten(0, 1), pairs


def _window_counts(x: Tensor, weight: Tensor, stride: Pair) -> Pair:
    """Return the number of windows, vertically and horizontally."""
    (height, width), (kernel_height, kernel_width) = x.shape[2:], weight.shape[2:]
    return (height - kernel_height) // stride[0] + 1, (width - kernel_width) // stride[1] + 1


def _num_parts(weight: Tensor) -> int:
    """Return the number of parts of a kernel that are multiplied separately: its rows, or one."""
    _, channels, height, width = weight.shape
    return 1 if channels * width < MIN_SUMMED else height


def _channels_last(weight: Tensor) -> Tensor:
    """Rearrange weights (O, C, KH, KW) to (O, KH, KW, C), in the dtype of the products."""
    return weight.to(_product_dtype(weight.dtype)).permute(0, 2, 3, 1).contiguous()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product in-place to a matrix of the same dtype or a wider one.

    Autocast does not change in-place operations, nor operands that have its dtype already.
    """
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _product_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which numbers of a dtype are multiplied."""
    return torch.float32 if dtype == torch.bfloat16 and not multiplies_bfloat16() else dtype


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which products are summed, so that the sum is rounded only once."""
    return torch.float32 if dtype == torch.bfloat16 else dtype
