"""The interface of all layers of routed capsules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

if TYPE_CHECKING:
    from capsbench.capsules.backend_names import Backend


class RoutingLayer(nn.Module, ABC):
    """A layer whose capsules are routed from the votes of the layer below.

    All methods take the same arguments as `forward`.

    Attributes:
        backend: Implementation of the routing, see `capsbench.capsules.backends`.
        one_form: The textbook's form is the only implementation.
    """

    backend: Backend = "auto"
    one_form: ClassVar[bool] = False

    @abstractmethod
    def route(self, *args: Any) -> Any:
        """Return the parents and the assignment of children to them."""

    @abstractmethod
    def vote_shape(self, *args: Any) -> tuple[int, ...]:
        """Return the shape (B, ...) of all votes, which the fast backends never store."""

    @abstractmethod
    def check_couplings(self, *args: Any) -> float:
        """Check that the shares of each child sum to one over its parents; return the error."""
