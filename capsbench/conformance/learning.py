"""Checks of the loss, its gradients, and learning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from capsbench.conformance.prediction import ROUNDING
from capsbench.conformance.subject import NotApplicable, Subject, Violation, require
from capsbench.contracts import Model, one_hot

BATCHES = 4  # of different images, since a unit may be inactive for some of them
SINGLE_IMAGE_ADVICE = "do not use batch statistics for a single image, or normalise within images"
STEPS = 20
# A small network learns at the first; one with weak gradients, or a large one, at another.
LEARNING_RATES = (5e-3, 5e-2, 5e-4)


def loss(subject: Subject) -> str:
    """The loss is a finite scalar from the start to the end of a training."""
    model, batch = subject.build(), subject.draw()
    losses = []
    for progress in (0.0, 0.5, 1.0):
        model.advance(progress)
        value: Any = model.loss(model(batch.images), batch, progress)
        require(
            isinstance(value, Tensor) and value.shape == (),
            "the loss is not a scalar tensor; take its mean over the batch",
        )
        require(bool(value.isfinite()), f"at progress {progress} the loss is {value.item()}")
        losses.append(value.item())
    return "at progress 0, 0.5, 1: " + ", ".join(f"{value:.4g}" for value in losses)


def targets(subject: Subject) -> str:
    """Multi-hot targets (B, K) are equivalent to class indices (B,), and may have several ones."""
    model, batch = subject.build().eval(), subject.draw()
    prediction = model(batch.images)
    by_index = model.loss(prediction, batch, 0.5)
    batch.targets = one_hot(batch.targets, subject.num_classes)
    multi_hot = model.loss(prediction, batch, 0.5)
    require(
        torch.allclose(multi_hot, by_index, rtol=ROUNDING),
        f"the loss is {by_index.item():.4g} for class indices and {multi_hot.item():.4g} for the "
        "same targets as multi-hot; convert targets by contracts.one_hot",
    )
    batch.targets[:, -1] = 1
    both = model.loss(prediction, batch, 0.5)
    require(bool(both.isfinite()), f"with two objects in an image the loss is {both.item()}")
    require(
        not torch.equal(both, multi_hot),
        "a second object in an image does not change the loss; use every target",
    )
    return f"one object {by_index.item():.4g}, two {both.item():.4g}"


def batch_average(subject: Subject) -> str:
    """The loss is a mean over the batch: repeating every image does not change it."""
    model, batch = subject.build().eval(), subject.draw()
    once = model.loss(model(batch.images), batch, 0.5)
    batch = subject.draw()
    batch.images, batch.targets = batch.images.repeat(2, 1, 1, 1), batch.targets.repeat(2)
    batch.index = batch.index.repeat(2)
    twice = model.loss(model(batch.images), batch, 0.5)
    require(
        torch.allclose(twice, once, rtol=ROUNDING),
        f"repeating every image changes the loss from {once.item():.4g} to {twice.item():.4g}; "
        "divide it by the number of images",
    )
    return "same loss"


def gradients(subject: Subject) -> str:
    """Every parameter receives a finite, nonzero gradient from the loss, before or after a step."""
    model = subject.build()
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    require(bool(weights), "the model has no trainable parameters")
    received = _sums_of_gradients(model, subject)
    idle = [name for name, sums in received.items() if not sums.any()]
    if idle:  # residual branches that begin at zero receive gradients after a step
        torch.optim.Adam(weights.values()).step()
        later = _sums_of_gradients(model, subject)
        received = {name: sums + later[name] for name, sums in received.items()}
        idle = [name for name, sums in received.items() if not sums.any()]
    require(
        not idle,
        f"no gradient reaches {', '.join(idle)}; use these parameters in the loss, or remove them",
    )
    nonfinite = [name for name, sums in received.items() if not sums.isfinite().all()]
    require(not nonfinite, f"the gradient is not finite for {', '.join(nonfinite)}")
    count = sum(p.numel() for p in weights.values())
    # Not a failure: a unit that is inactive for these images may be active for others.
    idle_count = sum(int((sums == 0).sum()) for sums in received.values())
    return (
        f"{len(weights)} parameters, {count:,} weights; no gradient in {BATCHES} batches for "
        f"{idle_count:,} of them ({idle_count / count:.1%})"
    )


def _sums_of_gradients(model: Model, subject: Subject) -> dict[str, Tensor]:
    """Return the sum of the absolute gradients of some batches by parameter."""
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    received = {name: torch.zeros_like(p) for name, p in weights.items()}
    for seed in range(BATCHES):
        batch = subject.draw(8, seed=seed)
        model.zero_grad()
        model.loss(model(batch.images), batch, 0.5).backward()
        for name, p in weights.items():
            if p.grad is not None:
                received[name] += p.grad.abs()
    return received


def one_image(subject: Subject) -> str:
    """The model trains on a batch of one image."""
    model, batch = subject.build(), subject.draw(1)
    try:
        value = model.loss(model(batch.images), batch, 0.5)
    except Exception as error:
        if subject.wrapped:
            raise NotApplicable(
                f"the wrapped network needs batches of two or more images in training "
                f"({type(error).__name__})"
            ) from error
        raise Violation(
            f"in training mode a single image raises a {type(error).__name__}; "
            f"{SINGLE_IMAGE_ADVICE}"
        ) from error
    value.backward()
    finite = all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    require(
        bool(value.isfinite()) and finite,
        f"in training mode the loss of a single image, {value.item():.4g}, or its gradient is not "
        f"finite; {SINGLE_IMAGE_ADVICE}",
    )
    return f"loss {value.item():.4g}"


def learning(subject: Subject) -> str:
    """A few training steps lower the loss by a tenth and make the true classes more probable."""
    for rate in LEARNING_RATES:
        losses, logs = list[float](), list[float]()
        for loss, log in _steps(subject.build(), subject, rate):
            losses.append(loss)
            logs.append(log)
            if loss < losses[0] - 0.1 * abs(losses[0]) and log > logs[0]:
                return f"{losses[0]:.4g} to {loss:.4g} in {len(losses)} steps"
    raise Violation(
        f"{STEPS} steps of Adam change the loss from {losses[0]:.4g} to {losses[-1]:.4g} and the "
        f"log-probability of the true classes from {logs[0]:.4g} to {logs[-1]:.4g}; check the sign "
        "of the loss and that it depends on the targets"
    )


def _steps(model: Model, subject: Subject, rate: float) -> Iterator[tuple[float, float]]:
    """Yield the loss and the mean log-probability of the true classes at each step."""
    batch = subject.draw()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(STEPS):
        prediction = model(batch.images)
        value = model.loss(prediction, batch, 0.5)
        logs = model.log_probabilities(prediction).gather(1, batch.targets[:, None])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.item(), logs.mean().item()
