"""Copies of tensors, which later operations in place do not change."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

TensorsT = TypeVar("TensorsT")


def copy_tensors(values: TensorsT) -> TensorsT:
    """Return a tensor, or tuples, lists and dicts of tensors, with every tensor copied.

    Gradients and forward-mode derivatives flow through the copies.
    """
    copied: TensorsT = tree_map_only(Tensor, Tensor.clone, values)
    return copied


def copy_activations(values: TensorsT) -> TensorsT:
    """Return copies like `copy_tensors`, of dense real numbers.

    Quantised and sparse tensors become dense; the real and imaginary parts of complex numbers
    become channels, axis 1.
    """
    copied: TensorsT = tree_map_only(Tensor, _dense_copy, values)
    return copied


def _dense_copy(values: Tensor) -> Tensor:
    if values.is_quantized:
        return values.dequantize()
    if values.layout != torch.strided:
        values = values.to_dense()
    if values.is_complex():
        return torch.cat([values.real, values.imag], dim=1)
    return values.clone()
