"""Detection of torch's tracers, which can only follow plain torch operations."""

from __future__ import annotations

import torch


def under_transform() -> bool:
    """Return whether torch.compile or torch.func traces the current computation."""
    if torch.compiler.is_compiling():
        return True
    active: bool = torch._C._are_functorch_transforms_active()  # noqa: SLF001 - no public function
    return active
