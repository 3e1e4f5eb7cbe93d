"""Functions whose gradient is written by hand, and is all that they have of derivatives."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from capsbench.errors import UserError


class FirstOrder(torch.autograd.Function):
    """A function for `backward` alone; it says what to do where more is asked."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        """Refuse a forward derivative."""
        raise _only_backward("a forward derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *_: Any) -> NoReturn:
        """Refuse torch.func.vmap."""
        raise _only_backward("torch.func.vmap")


def _only_backward(wanted: str) -> UserError:
    return UserError(
        f"the fast forms of routing have a gradient, but not {wanted}; take the routing backend "
        f"'textbook' (capsbench.capsules.backends.routing_backend)"
    )
