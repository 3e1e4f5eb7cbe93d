"""Recognition of the modules of torch.compile, whose class takes seconds to import."""

from torch import nn

COMPILED = "_orig_mod"  # name of the original module


def is_compiled(module: nn.Module) -> bool:
    """Return True for the result of ``torch.compile(module)``."""
    return COMPILED in dict(module.named_children())
