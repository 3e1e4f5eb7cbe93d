"""Probabilities of classes from the presences of class capsules."""

from __future__ import annotations

import torch
from torch import Tensor


def log_normalized(presences: Tensor) -> Tensor:
    """Logarithms (B, K) of presences (B, K) that are divided by their sum."""
    presences = presences.float().clamp_min(torch.finfo(torch.float32).tiny)
    return presences.log() - presences.sum(dim=-1, keepdim=True).log()
