"""Subject of the checks: a model's class with its arguments, and batches of random images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from capsbench.contracts import Batch, ImageShape, Model
from capsbench.viewpoint.views import Views
from capsbench.wrapping import LogitsModel


class Violation(Exception):
    """Violation of the contract; the message gives the fault and its remedy."""


class NotApplicable(Exception):
    """Signal that a check does not apply to a model; the message gives the reason."""


@dataclass(frozen=True)
class Subject:
    """Model to check.

    Attributes:
        cls: Class of the model.
        image_shape: (C, H, W) of its images.
        num_classes: K.
        arguments: Other arguments of the constructor.
    """

    cls: type[Model]
    image_shape: ImageShape = (1, 28, 28)
    num_classes: int = 10
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wrapped(self) -> bool:
        """True for a network of another library, which `LogitsModel` wraps."""
        return issubclass(self.cls, LogitsModel)

    def build(self, *, seed: int = 0, image_shape: ImageShape | None = None) -> Model:
        """Build a new model with the initial weights of a seed."""
        torch.manual_seed(seed)
        return self.cls(
            image_shape=image_shape or self.image_shape,
            num_classes=self.num_classes,
            **self.arguments,
        )

    def draw(
        self, count: int = 4, *, image_shape: ImageShape | None = None, seed: int = 1
    ) -> Batch:
        """Draw a batch of random images of all classes, which depends only on the seed."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(count, *(image_shape or self.image_shape), generator=generator)
        targets = torch.arange(count) % self.num_classes
        return Batch(images, targets, Views.identity(count), torch.arange(count))


def require(holds: bool, violation: str) -> None:
    """Raise a `Violation` with this message unless the condition holds."""
    if not holds:
        raise Violation(violation)
