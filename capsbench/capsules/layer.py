"""What every layer of routed capsules answers, whatever its routing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from capsbench.capsules.backend_names import Backend


class RoutingLayer(nn.Module, ABC):
    """A layer whose capsules are routed from the votes of the layer below.

    All methods take the same arguments as `forward`.

    Attributes:
        backend: In which form the routing is computed, see `capsbench.capsules.backends`.
    """

    backend: Backend = "auto"

    @abstractmethod
    def route(self, *args: Any) -> Any:
        """All that the routing finds: the parents, and how the children were assigned to them."""

    @abstractmethod
    def vote_shape(self, *args: Any) -> tuple[int, ...]:
        """Shape of the tensor of all votes, which a fast routing never stores: (B, ...)."""

    @abstractmethod
    def check_couplings(self, *args: Any) -> float:
        """Does what each child gives sum to one over the parents that see it? A deviation."""
