"""Whole networks: training steps and inference, in several variants of computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch.optim import Adam, Optimizer

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import unavailable_reason, use_backend
from capsbench.capsules.convolution import convolution_form
from capsbench.contracts import Batch, ImageShape, Model
from capsbench.names import find
from capsbench.speed.counts import count_flops
from capsbench.speed.machine import missing_precision
from capsbench.speed.rows import Precision, Work
from capsbench.training.task import Task
from capsbench.viewpoint.views import Views
from capsbench.wrapping import model_class

PROGRESS = 0.5  # of the training, for schedules inside a model


@dataclass(frozen=True)
class Net:
    """A network and its batch size.

    Attributes:
        model: Name of the model.
        image_shape: (C, H, W).
        num_classes: K.
        batch_size: Images in a batch.
    """

    model: str
    image_shape: ImageShape
    num_classes: int
    batch_size: int

    def build(self, variant: Variant, device: str) -> Model:
        """Build the model with new weights."""
        torch.manual_seed(0)
        cls = model_class(find("models", self.model))
        model = cls(image_shape=self.image_shape, num_classes=self.num_classes)
        use_backend(model, variant.backend)
        return model.to(device)

    def make_batch(self, device: str) -> Batch:
        """Make a batch of noise that cycles through all classes."""
        rows = torch.arange(self.batch_size, device=device)
        images = torch.rand(self.batch_size, *self.image_shape, device=device)
        return Batch(images, rows % self.num_classes, Views.identity(self.batch_size), rows)


@dataclass(frozen=True)
class Variant:
    """Variant of the computation of a network.

    Attributes:
        backend: Routing implementation.
        plain: Use torch's own convolutions and its default optimizer.
        precision: Precision of convolutions and matrix products; routing statistics stay in fp32.
    """

    backend: Backend
    plain: bool = False
    precision: Precision = "fp32"

    @property
    def name(self) -> str:
        """Backend and precision."""
        return f"{self.backend} {self.precision}"

    @contextmanager
    def forward(self, device: str) -> Iterator[None]:
        """Enter the context of a forward pass; bf16 is Lightning's ``bf16-mixed``."""
        autocast = torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16")
        with convolution_form("plain" if self.plain else None), autocast:
            yield

    def not_measured(self, device: str) -> str | None:
        """Return the reason why a device cannot compute this variant; None if it can."""
        if reason := missing_precision(self.precision, device):
            return reason
        if self.backend == "auto":
            return None
        return unavailable_reason(self.backend, torch.device(device))


TEXTBOOK = Variant("textbook", plain=True)
FAST = Variant("auto")
FAST_BF16 = Variant("auto", precision="bf16")


def make_optimizer(model: Model, variant: Variant) -> Optimizer:
    """Return torch's default Adam for a plain variant, else the optimizer of a task."""
    if variant.plain:
        return Adam(model.parameters())
    return Task(model).build_optimizer()


def training_step(net: Net, variant: Variant, device: str) -> Work:
    """Prepare a training step: forward, loss, backward, optimizer; it leaves no gradients."""
    model, batch = net.build(variant, device), net.make_batch(device)
    optimizer = make_optimizer(model, variant)

    def work() -> None:
        with variant.forward(device):
            loss = model.loss(model(batch.images), batch, PROGRESS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return work


def inference(net: Net, variant: Variant, device: str) -> Work:
    """Prepare a forward pass in evaluation mode, without gradients."""
    model, images = net.build(variant, device).eval(), net.make_batch(device).images

    @torch.inference_mode()
    def work() -> None:
        with variant.forward(device):
            model(images)

    return work


def flops_of(work: Callable[[Net, Variant, str], Work], net: Net) -> int:
    """Return the FLOPs of a network's work in the textbook variant.

    They are counted on one image, since they are proportional to the batch size.
    """
    one = replace(net, batch_size=1)
    return net.batch_size * count_flops(work(one, TEXTBOOK, "cpu"))
