"""Functions with a hand-written gradient and no other derivatives."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from capsbench.errors import UserError


class FirstOrder(torch.autograd.Function):
    """A function that supports only `backward`; other derivatives raise an error."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        """Raise an error for a forward-mode derivative."""
        raise _only_backward("a forward-mode derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *_: Any) -> NoReturn:
        """Raise an error for torch.func.vmap."""
        raise _only_backward("torch.func.vmap")


def _only_backward(operation: str) -> UserError:
    return UserError(
        f"the fast routing backends support gradients, but not {operation}; use the backend "
        f"'textbook' (capsbench.capsules.backends.routing_backend)"
    )
