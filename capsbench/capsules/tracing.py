"""Whether torch looks through what is computed, and so has to find operations that it knows."""

from __future__ import annotations

import torch


def is_seen_through() -> bool:
    """Whether torch.compile captures, or torch.func transforms, what is computed now."""
    if torch.compiler.is_compiling():
        return True
    transformed: bool = torch._C._are_functorch_transforms_active()  # noqa: SLF001 - nothing public
    return transformed
