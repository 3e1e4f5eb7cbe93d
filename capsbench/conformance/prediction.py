"""Checks of what a model says about images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from capsbench.conformance.subject import NotApplicable, Subject, require
from capsbench.contracts import LayerOfInterest, Prediction

ROUNDING = 1e-4  # relative: sums in another order, in 32 bits


def forward(subject: Subject) -> str:
    """Images (B, C, H, W), with or without views, become a Prediction with scores (B, K)."""
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
            f"scores have the shape {tuple(prediction.scores.shape)}, not (B, K) = {expected}",
        )
    return f"scores {expected}"


def prediction(subject: Subject) -> str:
    """Presences, poses and reconstruction, where there are some, have their shapes and ranges."""
    model, batch = subject.build(), subject.draw()
    _, presences, poses, reconstruction = found = model(batch.images, batch.views)
    for name, part in found._asdict().items():
        if part is not None:
            _require_tensor(name, part)
    count = len(batch.images)
    if presences is not None:
        shape = tuple(presences.shape)
        require(
            presences.dim() == 2 and len(presences) == count,
            f"presences have the shape {shape}, not (B, J)",
        )
        _require_probabilities("presences", presences)
    if poses is not None:
        shape = tuple(poses.shape)
        require(
            len(poses) == count
            and (poses.dim() == 3 or (poses.dim() == 4 and shape[2:] == (4, 4))),
            f"poses have the shape {shape}, neither (B, J, D) nor (B, J, 4, 4)",
        )
        require(
            presences is None or presences.shape == poses.shape[:2],
            "there are not as many presences as poses; both speak of the same capsules",
        )
    if reconstruction is not None:
        expected, shape = tuple(batch.images.shape), tuple(reconstruction.shape)
        require(shape == expected, f"the reconstruction has the shape {shape}, not {expected}")
        _require_probabilities("the reconstruction's pixels", reconstruction)
    return ", ".join(
        f"{name} {tuple(part.shape)}" for name, part in found._asdict().items() if part is not None
    )


def log_probabilities(subject: Subject) -> str:
    """Log-probabilities (B, K) sum to one as probabilities and rank the classes as scores do."""
    model, images = subject.build().eval(), subject.draw(16).images
    with torch.no_grad():
        found = model(images)
        logs = model.log_probabilities(found)
    require(
        logs.shape == found.scores.shape,
        f"log_probabilities have the shape {tuple(logs.shape)}, not {tuple(found.scores.shape)}",
    )
    off = model.check_normalization(images)
    require(off < ROUNDING, f"the probabilities miss the sum of one by {off:.1e}; normalise them")
    by_score = logs.gather(1, found.scores.argsort(dim=1))
    require(
        bool((by_score.diff(dim=1) >= -ROUNDING).all()),
        "log_probabilities rank the classes in another order than scores; make them rise with them",
    )
    return f"sums to one within {off:.1e}"


def batch_independence(subject: Subject) -> str:
    """In evaluation mode a prediction does not depend on the other images of the batch."""
    off = subject.build().check_batch_independence(subject.draw().images)
    require(
        off < ROUNDING,
        f"beside other images a prediction deviates by {off:.1e}; take no statistics over the "
        "batch in evaluation mode",
    )
    return f"deviation {off:.1e}"


def image_gradient(subject: Subject) -> str:
    """An image's scores have a gradient with respect to that image, and to no other."""
    model, images = subject.build().eval(), subject.draw(3).images.requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).scores[1].square().sum(), images)
    require(
        bool(gradient.isfinite().all() and gradient[1].any()),
        "the gradient of the scores with respect to their image is zero or not finite; "
        "attacks and sensitivities need it",
    )
    require(
        not gradient[[0, 2]].any(),
        "an image's scores change with another image of the batch; keep images apart",
    )
    return "finite"


def determinism(subject: Subject) -> str:
    """In evaluation mode the same images give the same prediction, bit for bit."""
    off = subject.build().check_determinism(subject.draw().images)
    require(
        off == 0,
        f"a second look deviates by {off:.1e}; draw random numbers only if self.training",
    )
    return "same bits"


def layers_of_interest(subject: Subject) -> str:
    """The layers that measures look at exist and put out what their kind says."""
    model, images = subject.build().eval(), subject.draw().images
    layers = model.layers_of_interest()
    if not layers:
        raise NotApplicable("it names none; measures of activations have nothing to look at")
    modules, outputs = dict(model.named_modules()), dict[str, Any]()
    for name, layer in layers.items():
        require(
            layer.module in modules,
            f"'{name}': there is no module '{layer.module}'; give the dotted path of one",
        )

        def keep(_module: Any, _inputs: Any, output: Any, *, name: str = name) -> None:
            outputs[name] = output

        modules[layer.module].register_forward_hook(keep)
    with torch.no_grad():
        model(images)
    for name, layer in layers.items():
        require(
            name in outputs, f"'{name}': forward does not call '{layer.module}', so no hook sees it"
        )
        _require_kind(name, layer, outputs[name], len(images))
    return ", ".join(layers)


def _require_kind(name: str, layer: LayerOfInterest, output: Any, count: int) -> None:
    """Check one activation against its layer of interest."""
    if layer.output is not None:
        require(
            isinstance(output, tuple) and layer.output < len(output),
            f"'{name}': '{layer.module}' returns no tuple with an item {layer.output}",
        )
        output = output[layer.output]
    require(
        isinstance(output, Tensor),
        f"'{name}': '{layer.module}' returns a {type(output).__name__}; say with output= which "
        "item is meant",
    )
    dims = {"vector": (2, 2), "map": (4, 4), "pose": (3, 99), "presence": (2, 99)}[layer.kind]
    require(
        dims[0] <= output.dim() <= dims[1] and len(output) == count,
        f"'{name}' has the shape {tuple(output.shape)}, which is no {layer.kind}; "
        "see contracts.LayerOfInterest",
    )
    if layer.kind == "presence":
        _require_probabilities(f"'{name}'", output)
    require(layer.stride > 0, f"'{name}': the stride is {layer.stride}; it is a number of pixels")


def _require_tensor(name: str, value: Any) -> None:
    require(isinstance(value, Tensor), f"{name} are a {type(value).__name__}, not a tensor")
    require(value.dtype == torch.float32, f"{name} are {value.dtype}, not torch.float32")
    require(bool(value.isfinite().all()), f"{name} are not finite for images in [0, 1]")


def _require_probabilities(name: str, values: Tensor) -> None:
    low, high = values.min().item(), values.max().item()
    require(low >= 0 and high <= 1, f"{name} lie in [{low:.3g}, {high:.3g}], not in [0, 1]")
