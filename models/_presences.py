"""Class probabilities from the presences of class capsules."""

from __future__ import annotations

import torch
from torch import Tensor


def log_normalized(presences: Tensor) -> Tensor:
    """Divide presences (B, K) by their sum and return the logarithms (B, K)."""
    presences = presences.float().clamp_min(torch.finfo(torch.float32).tiny)
    return presences.log() - presences.sum(dim=-1, keepdim=True).log()
