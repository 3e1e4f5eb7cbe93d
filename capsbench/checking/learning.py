"""Checks of the loss, and of what it teaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from capsbench.checking.prediction import ROUNDING
from capsbench.checking.subject import Subject, Violation, require
from capsbench.contracts import Model, one_hot

STEPS = 20
# A small network learns at the first; one whose gradients are weak, or that is big, at another.
RATES = (5e-3, 5e-2, 5e-4)


def loss(subject: Subject) -> str:
    """The loss is a finite scalar from the beginning to the end of a training."""
    model, batch = subject.build(), subject.draw()
    found = []
    for progress in (0.0, 0.5, 1.0):
        model.advance(progress)
        value: Any = model.loss(model(batch.images), batch, progress)
        require(
            isinstance(value, Tensor) and value.shape == (),
            "the loss is no scalar tensor; take its mean over the batch",
        )
        require(bool(value.isfinite()), f"at progress {progress} the loss is {value.item()}")
        found.append(value.item())
    return "at progress 0, 0.5, 1: " + ", ".join(f"{value:.4g}" for value in found)


def targets(subject: Subject) -> str:
    """Multi-hot targets (B, K) count like class indices (B,), and several objects count."""
    model, batch = subject.build().eval(), subject.draw()
    prediction = model(batch.images)
    by_index = model.loss(prediction, batch, 0.5)
    batch.targets = one_hot(batch.targets, subject.num_classes)
    multi_hot = model.loss(prediction, batch, 0.5)
    require(
        torch.allclose(multi_hot, by_index, rtol=ROUNDING),
        f"the loss is {by_index.item():.4g} for class indices and {multi_hot.item():.4g} for the "
        "same targets as multi-hot; begin with contracts.one_hot",
    )
    batch.targets[:, -1] = 1
    both = model.loss(prediction, batch, 0.5)
    require(bool(both.isfinite()), f"with two objects in an image the loss is {both.item()}")
    require(
        not torch.equal(both, multi_hot),
        "a second object in an image does not change the loss; every target counts",
    )
    return f"one object {by_index.item():.4g}, two {both.item():.4g}"


def batch_average(subject: Subject) -> str:
    """The loss is averaged over the batch: each image twice, and it is the same."""
    model, batch = subject.build().eval(), subject.draw()
    once = model.loss(model(batch.images), batch, 0.5)
    batch = subject.draw()
    batch.images, batch.targets = batch.images.repeat(2, 1, 1, 1), batch.targets.repeat(2)
    batch.index = batch.index.repeat(2)
    twice = model.loss(model(batch.images), batch, 0.5)
    require(
        torch.allclose(twice, once, rtol=ROUNDING),
        f"with each image twice the loss goes from {once.item():.4g} to {twice.item():.4g}; "
        "divide it by the number of images",
    )
    return "same loss"


def gradients(subject: Subject) -> str:
    """Every parameter receives a finite gradient from the loss, not all of it zero."""
    model, batch = subject.build(), subject.draw(8)
    model.loss(model(batch.images), batch, 0.5).backward()
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    require(bool(weights), "it has no parameters to train")
    idle = [name for name, p in weights.items() if p.grad is None or not p.grad.any()]
    require(
        not idle,
        f"no gradient reaches {', '.join(idle)}; use these parameters in the loss, or remove them",
    )
    broken = [name for name, p in weights.items() if not _gradient(p).isfinite().all()]
    require(not broken, f"the gradient is not finite for {', '.join(broken)}")
    return f"{len(weights)} parameters, {sum(p.numel() for p in weights.values()):,} weights"


def learning(subject: Subject) -> str:
    """A few steps on a few images lower the loss by a tenth."""
    for rate in RATES:
        losses = []
        for value in _losses(subject.build(), subject, rate):
            losses.append(value)
            if value < losses[0] - 0.1 * abs(losses[0]):
                return f"{losses[0]:.4g} to {value:.4g} in {len(losses)} steps"
    raise Violation(
        f"{STEPS} steps of Adam take the loss from {losses[0]:.4g} to {losses[-1]:.4g}; is its "
        "sign right, and does it depend on the targets?"
    )


def _losses(model: Model, subject: Subject, rate: float) -> Iterator[float]:
    """The loss at each step."""
    batch = subject.draw()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(STEPS):
        value = model.loss(model(batch.images), batch, 0.5)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.item()


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
