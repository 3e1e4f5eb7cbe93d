"""Search for a gradient of a model's outputs with respect to the image."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import generator
from capsbench.errors import in_one_line
from capsbench.measures._activations import PROBABILITIES, capture_activations, choose_layers
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._observations import Output, has_direction, unobserved
from capsbench.profiling.evaluation_mode import evaluation_mode

IMAGES, BATCH_SIZE = 100, 20
ABSENT = "it is detached, or computed without gradients"


def absent_gradients(
    model: Model, outputs: Collection[Output], data: ImageDataModule, device: str
) -> dict[Output, str]:
    """Return the reasons why outputs have no gradient with respect to the image.

    A gradient exists if that of a random projection of the output is finite and not 0 somewhere, in
    one of the images. Of probabilities, that of their logarithms counts: a saturated model has one,
    while its probabilities are constant in floating point. Random draws are isolated.

    Args:
        model: The model, in evaluation mode on ``device``.
        outputs: Its log-probabilities, or layers, see `Output.is_gradient`.
        data: The data module, for familiar test images.
        device: Device of the model.

    Returns:
        The reason for each output without a gradient.
    """
    from pytorch_lightning.utilities.seed import isolate_rng

    names = [each.name for each in outputs if each.is_layer]
    cuda = torch.device(device).type == "cuda"
    missing = dict.fromkeys(outputs, ABSENT)
    rows = subset_rows(data, IMAGES)
    with unobserved(), isolate_rng(include_cuda=cuda), evaluation_mode(model), torch.enable_grad():
        layers = choose_layers(model, names) if names else {}
        for batch in familiar_batches(data, device, rows, batch_size=BATCH_SIZE):
            images = batch.images.detach().clone().requires_grad_()
            with capture_activations(model, layers) as captured:
                prediction = model(images)
            log_probabilities = model.log_probabilities(prediction)
            for output in list(missing):
                scored = not output.is_layer or output.name == PROBABILITIES
                values = log_probabilities if scored else captured[output.name]
                if not values.requires_grad:
                    continue
                try:
                    exists = bool(has_direction(_gradient(values, images)))
                except RuntimeError as error:  # an operation without a backward pass
                    missing[output] = in_one_line(error, type(model).__module__)
                    continue
                if exists:
                    del missing[output]
                else:
                    missing[output] = (
                        f"it is 0 or NaN for all of {len(rows)} images, as that of a constant or "
                        "rounded output"
                    )
            if not missing:
                break
    return {
        output: f"{output} has no gradient with respect to the image ({reason})"
        for output, reason in missing.items()
    }


def _gradient(values: Tensor, images: Tensor) -> Tensor:
    """Return the gradient of a random projection: that of a plain sum may cancel out."""
    noise = torch.randn(values.shape[1:], generator=generator("projection of outputs"))
    projection = (values.float() * noise.to(values.device)).sum()
    (gradient,) = torch.autograd.grad(
        projection, images, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return gradient
