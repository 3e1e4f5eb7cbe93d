"""Part of the image that moves alone, as plain numbers (no torch)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from capsbench.viewpoint.sparse import SparseModel
from capsbench.viewpoint.spread import ZERO, Spread


class Window(SparseModel):
    """Rectangle of the image that moves alone, in pixels.

    Attributes:
        width: Width.
        height: Height.
        x: Offset of its centre from the image's centre, to the right.
        y: Offset of its centre from the image's centre, downwards.
    """

    def __str__(self) -> str:
        """Return the window in words."""
        return f"{self.width:g} x {self.height:g} px about ({self.x}; {self.y})"

    width: float = Field(gt=0, allow_inf_nan=False)
    height: float = Field(gt=0, allow_inf_nan=False)
    x: Spread = ZERO
    y: Spread = ZERO


Part = (
    Annotated[
        Annotated[Literal["object"], Tag("name")] | Annotated[Window, Tag("window")],
        Discriminator(lambda given: "window" if isinstance(given, dict | Window) else "name"),
    ]
    | None
)
