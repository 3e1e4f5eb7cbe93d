"""Logits from the presences of class capsules."""

from __future__ import annotations

import torch
from torch import Tensor


def log_presences(presences: Tensor) -> Tensor:
    """Return the logarithms (B, K), fp32, of presences; 0 counts as the smallest number.

    Their softmax divides the presences by their sum.
    """
    return presences.float().clamp_min(torch.finfo(torch.float32).tiny).log()
