"""What a check is given: a model's class with its arguments, and batches of random images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from capsbench.contracts import Batch, ImageShape, Model
from capsbench.viewpoint.views import Views


class Violation(Exception):
    """The contract is broken: the message says how, and what to do."""


class NotApplicable(Exception):
    """A check has nothing to look at; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A model to be checked.

    Attributes:
        cls: The model's class.
        image_shape: (C, H, W) of the images for which it is built.
        num_classes: K.
        arguments: Its other arguments.
    """

    cls: type[Model]
    image_shape: ImageShape = (1, 28, 28)
    num_classes: int = 10
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *, seed: int = 0, image_shape: ImageShape | None = None) -> Model:
        """A new model with the initial weights of a seed."""
        torch.manual_seed(seed)
        return self.cls(
            image_shape=image_shape or self.image_shape,
            num_classes=self.num_classes,
            **self.arguments,
        )

    def draw(
        self, count: int = 4, *, image_shape: ImageShape | None = None, seed: int = 1
    ) -> Batch:
        """Random images, the same at each call with a seed, with the classes in turn."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(count, *(image_shape or self.image_shape), generator=generator)
        targets = torch.arange(count) % self.num_classes
        return Batch(images, targets, Views.identity(count), torch.arange(count))


def require(holds: bool, violation: str) -> None:
    """Raise a `Violation` with this sentence unless something holds."""
    if not holds:
        raise Violation(violation)
