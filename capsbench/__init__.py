"""CapsBench: what happens to an image classifier when the viewpoint changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capsbench.evaluation import evaluate as evaluate

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `capsbench.evaluate` at its first use, because it imports torch."""
    if name == "evaluate":
        from capsbench.evaluation import evaluate

        return evaluate
    raise AttributeError(f"module 'capsbench' has no attribute '{name}'")
