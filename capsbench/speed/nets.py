"""Networks to time as a whole: a step of their training, and a pass of inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.optim import Adam, Optimizer

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import unavailable_reason, use_backend
from capsbench.capsules.convolution import convolution_form
from capsbench.contracts import Batch, ImageShape, Model
from capsbench.names import find
from capsbench.speed.counts import counted_flops
from capsbench.speed.machine import lacks_precision
from capsbench.speed.rows import Precision, Work
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task
from capsbench.viewpoint.views import Views

PROGRESS = 0.5  # of the training, for schedules inside of a model


@dataclass(frozen=True)
class Net:
    """A network and its batch.

    Attributes:
        model: Name of the model.
        image_shape: (C, H, W).
        num_classes: K.
        size: Images in the batch.
    """

    model: str
    image_shape: ImageShape
    num_classes: int
    size: int

    def build(self, way: Way, device: str) -> Model:
        """The model, freshly initialised."""
        torch.manual_seed(0)
        cls = find("models", self.model).load_subclass(Model)
        model: Model = cls(image_shape=self.image_shape, num_classes=self.num_classes)
        use_backend(model, way.backend)
        return model.to(device)

    def batch(self, device: str) -> Batch:
        """Noise, and a class for each image."""
        rows = torch.arange(self.size, device=device)
        images = torch.rand(self.size, *self.image_shape, device=device)
        return Batch(images, rows % self.num_classes, Views.identity(self.size), rows)


@dataclass(frozen=True)
class Way:
    """How a network is computed.

    Attributes:
        backend: Of its routing layers.
        plain: Whether convolutions and optimizer are torch's own as they come.
        precision: Of convolutions and matrix products; routing statistics stay in fp32.
    """

    backend: Backend
    plain: bool = False
    precision: Precision = "fp32"

    @property
    def name(self) -> str:
        """The backend, and the precision."""
        return f"{self.backend} {self.precision}"

    @contextmanager
    def forward(self, device: str) -> Iterator[None]:
        """The context of a pass forward; bf16 is what Lightning calls ``bf16-mixed``."""
        autocast = torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16")
        with convolution_form("plain" if self.plain else None), autocast:
            yield

    def problem(self, device: str) -> str | None:
        """Why a network cannot be computed so on a device; None where it can."""
        if lacking := lacks_precision(self.precision, device):
            return lacking
        return (
            None
            if self.backend == "auto"
            else unavailable_reason(self.backend, torch.device(device))
        )


TEXTBOOK = Way("textbook", plain=True)
FAST = Way("auto")
FAST_BF16 = Way("auto", precision="bf16")


def optimizer_of(model: Model, way: Way) -> Optimizer:
    """Adam as torch has it, or the one with which a task trains."""
    if way.plain:
        return Adam(model.parameters())
    optimizer: Optimizer = Task(model, Recipe(steps=1)).configure_optimizers()["optimizer"]
    return optimizer


def training_step(net: Net, way: Way, device: str) -> Work:
    """Forward, loss, backward and optimizer; gradients are gone before and after."""
    model, batch = net.build(way, device), net.batch(device)
    optimizer = optimizer_of(model, way)

    def work() -> None:
        with way.forward(device):
            loss = model.loss(model(batch.images), batch, PROGRESS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return work


def inference(net: Net, way: Way, device: str) -> Work:
    """A pass forward in evaluation mode, without gradients."""
    model, images = net.build(way, device).eval(), net.batch(device).images

    @torch.inference_mode()
    def work() -> None:
        with way.forward(device):
            model(images)

    return work


def flops_of(work: Callable[[Net, Way, str], Work], net: Net) -> int:
    """FLOPs of a network's work in its textbook form, counted on one image.

    Every convolution and matrix product grows with the batch.
    """
    one = Net(net.model, net.image_shape, net.num_classes, size=1)
    return net.size * counted_flops(work(one, TEXTBOOK, "cpu"))
