"""Device of a module."""

from __future__ import annotations

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device | str:
    """Return the device of a module's first parameter or buffer; the CPU without any."""
    tensors = (*module.parameters(), *module.buffers())
    return tensors[0].device if tensors else "cpu"
