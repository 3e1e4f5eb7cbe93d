"""Copies of tensors, which later operations in place do not change."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor
from torch.utils._pytree import tree_map_only

TensorsT = TypeVar("TensorsT")


def copy_tensors(values: TensorsT) -> TensorsT:
    """Return a tensor, or tuples, lists and dicts of tensors, with every tensor copied.

    Gradients and forward-mode derivatives flow through the copies.
    """
    copied: TensorsT = tree_map_only(Tensor, Tensor.clone, values)
    return copied
