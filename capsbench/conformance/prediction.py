"""Checks of a model's predictions and activations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from capsbench.conformance.subject import NotApplicable, Subject, Violation, require
from capsbench.contracts import LayerOfInterest, Prediction
from capsbench.errors import NotMeasuredError
from capsbench.measures._activations import capture_activations

ROUNDING = 1e-4  # relative: float32 sums in another order


def forward(subject: Subject) -> str:
    """Images (B, C, H, W), with or without views, give a Prediction with scores (B, K)."""
    model, batch = subject.build(), subject.draw()
    for prediction in (model(batch.images), model(batch.images, batch.views)):
        require(
            isinstance(prediction, Prediction),
            f"forward returns a {type(prediction).__name__}; return a contracts.Prediction",
        )
        expected = (len(batch.images), subject.num_classes)
        _require_tensor("scores", prediction.scores)
        require(
            prediction.scores.shape == expected,
            f"scores have the shape {tuple(prediction.scores.shape)} instead of "
            f"(B, K) = {expected}",
        )
    return f"scores {expected}"


def prediction(subject: Subject) -> str:
    """Presences, poses and reconstruction, if present, have the right shapes and ranges."""
    model, batch = subject.build(), subject.draw()
    _, presences, poses, reconstruction = output = model(batch.images, batch.views)
    for name, part in output._asdict().items():
        if part is not None:
            _require_tensor(name, part)
    count = len(batch.images)
    if presences is not None:
        shape = tuple(presences.shape)
        require(
            presences.dim() == 2 and len(presences) == count,
            f"presences have the shape {shape} instead of (B, J)",
        )
        _require_probabilities("presences", presences)
    if poses is not None:
        shape = tuple(poses.shape)
        require(
            len(poses) == count
            and (poses.dim() == 3 or (poses.dim() == 4 and shape[2:] == (4, 4))),
            f"poses have the shape {shape} instead of (B, J, D) or (B, J, 4, 4)",
        )
        require(
            presences is None or presences.shape == poses.shape[:2],
            "the numbers of presences and poses differ; return one of each per capsule",
        )
    if reconstruction is not None:
        expected, shape = tuple(batch.images.shape), tuple(reconstruction.shape)
        require(
            shape == expected, f"the reconstruction has the shape {shape} instead of {expected}"
        )
        _require_probabilities("the reconstruction's pixels", reconstruction)
    return ", ".join(
        f"{name} {tuple(part.shape)}" for name, part in output._asdict().items() if part is not None
    )


def logits(subject: Subject) -> str:
    """Logits (B, K) give probabilities in the order of the scores; the exponent is no part of them.

    Neither they nor the loss depend on `probability_exponent`, which is fitted after the training.
    """
    model, batch = subject.build().eval(), subject.draw(16)
    with torch.no_grad():
        output = model(batch.images)
        logits, loss = model.logits(output), model.loss(output, batch, 0.5)
        _require_tensor("logits", logits)
        require(
            logits.shape == output.scores.shape,
            f"logits have the shape {tuple(logits.shape)} instead of {tuple(output.scores.shape)}",
        )
        by_score = logits.gather(1, output.scores.argsort(dim=1))
        require(
            bool((by_score.diff(dim=1) >= -ROUNDING).all()),
            "logits rank the classes in another order than scores; make them monotonic",
        )
        model.probability_exponent.fill_(2)
        require(
            torch.equal(model.logits(output), logits)
            and torch.equal(model.loss(output, batch, 0.5), loss),
            "logits or loss depend on probability_exponent; compute the loss from scores or logits",
        )
    return f"in the order of the scores, {logits.min():.3g} to {logits.max():.3g}"


def batch_independence(subject: Subject) -> str:
    """In evaluation mode a prediction does not depend on the other images of the batch."""
    error = subject.build().check_batch_independence(subject.draw().images)
    require(
        error < ROUNDING,
        f"with other images in the batch a prediction changes by {error:.1e}; do not use batch "
        "statistics in evaluation mode",
    )
    return f"relative error {error:.1e}"


def image_gradient(subject: Subject) -> str:
    """An image's scores have a gradient with respect to that image, and to no other image."""
    model, images = subject.build().eval(), subject.draw(3).images.requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).scores[1].square().sum(), images)
    require(
        bool(gradient.isfinite().all() and gradient[1].any()),
        "the gradient of the scores with respect to their image is zero or not finite; attacks "
        "and sensitivity measures need it",
    )
    require(
        not gradient[[0, 2]].any(),
        "an image's scores change with another image of the batch; process images independently",
    )
    return "finite"


def determinism(subject: Subject) -> str:
    """In evaluation mode the same images give the same prediction, bit for bit."""
    error = subject.build().check_determinism(subject.draw().images)
    require(
        error == 0,
        f"a second prediction differs by {error:.1e}; draw random numbers only if self.training",
    )
    return "same bits"


def layers_of_interest(subject: Subject) -> str:
    """The layers of interest exist and have outputs of their kind."""
    model, images = subject.build().eval(), subject.draw().images
    layers = model.layers_of_interest()
    if not layers:
        raise NotApplicable("the model names no layers for measures of activations")
    modules = model.addressed_modules()
    for name, layer in layers.items():
        require(
            layer.module in modules,
            f"'{name}': there is no module '{layer.module}'; give the dotted path of a module",
        )
    whole = {name: replace(layer, output=None) for name, layer in layers.items()}
    with torch.no_grad(), capture_activations(model, whole) as outputs:
        try:
            model(images)
        except NotMeasuredError as reason:
            raise Violation(str(reason)) from None
    for name, layer in layers.items():
        _require_kind(name, layer, outputs[name], len(images))
    return ", ".join(layers)


def _require_kind(name: str, layer: LayerOfInterest, output: Any, count: int) -> None:
    """Check one activation against its layer of interest."""
    if layer.output is not None:
        require(
            isinstance(output, tuple) and layer.output < len(output),
            f"'{name}': '{layer.module}' does not return a tuple with an item {layer.output}",
        )
        output = output[layer.output]
    require(
        isinstance(output, Tensor),
        f"'{name}': '{layer.module}' returns a {type(output).__name__}; select an item by output=",
    )
    dims = {"vector": (2, 2), "map": (4, 4), "pose": (3, 99), "presence": (2, 99)}[layer.kind]
    require(
        dims[0] <= output.dim() <= dims[1] and len(output) == count,
        f"'{name}' has the shape {tuple(output.shape)}, which is not that of a {layer.kind}; "
        "see contracts.LayerOfInterest",
    )
    if layer.kind == "presence":
        _require_probabilities(f"'{name}'", output)
    require(layer.stride > 0, f"'{name}': expected a positive stride, got {layer.stride}")


def _require_tensor(name: str, value: Any) -> None:
    require(isinstance(value, Tensor), f"{name} are a {type(value).__name__} instead of a tensor")
    require(value.dtype == torch.float32, f"{name} are {value.dtype} instead of torch.float32")
    require(bool(value.isfinite().all()), f"{name} are not finite for images in [0, 1]")


def _require_probabilities(name: str, values: Tensor) -> None:
    low, high = values.min().item(), values.max().item()
    require(low >= 0 and high <= 1, f"{name} are in [{low:.3g}, {high:.3g}] instead of [0, 1]")
