"""The exponent of a model's probabilities, fitted on validation images after the training."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

from capsbench.contracts import Model, one_hot
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import derive
from capsbench.profiling.evaluation_mode import evaluation_mode

Array = NDArray[np.float64]

BOUNDS = (1e-4, 1e4)  # of the exponent; logits of no shipped model need one near them
TOLERANCE = 1e-9  # of its logarithm


class ExponentFit(NamedTuple):
    """Result of a fit.

    Attributes:
        exponent: The exponent; 1 if it could not be fitted.
        note: Reason why it could not be fitted; None if it was.
    """

    exponent: float
    note: str | None = None


@torch.inference_mode()
def fit_model(model: Model, data: ImageDataModule, device: str, seed: int) -> ExponentFit:
    """Fit the exponent of a model's probabilities on all validation images; the model keeps its.

    Args:
        model: The model on ``device``, whose weights were selected.
        data: The data module, with the views of the training.
        device: Device of the model.
        seed: Seed of the training, for a model that draws at random in evaluation mode.
    """
    from pytorch_lightning.utilities.seed import isolate_rng

    logits, shares = list[Tensor](), list[Tensor]()
    with isolate_rng(include_cuda=torch.device(device).type == "cuda"), evaluation_mode(model):
        torch.manual_seed(derive(seed, "probability exponent"))
        for batch in data.evaluation.batches("validation", device):
            present = one_hot(batch.targets, model.num_classes)
            logits.append(model.logits(model(batch.images)).cpu().double())
            shares.append((present / present.sum(dim=1, keepdim=True)).cpu().double())
    if not logits:
        return ExponentFit(1, "there are no validation images")
    return fit_exponent(torch.cat(logits).numpy(), torch.cat(shares).numpy())


def fit_exponent(logits: Array, shares: Array) -> ExponentFit:
    """Fit the exponent of probabilities to the classes of images: temperature scaling.

    The exponent, the inverse of a temperature, minimises the mean negative log-likelihood of the
    softmax of exponent times logits (Guo et al. 2017, section 4.2), which is convex in it. An image
    counts by its shares: if it shows M objects, each of their classes has 1 / M, as in the
    cross-entropy that trains. The N images weigh as one more whose class is any of the K, in the
    spirit of Platt (1999, section 2.2): shares become (N shares + 1/K) / (N + 1). The exponent
    therefore stays finite if every image is classified correctly.

    Args:
        logits: (N, K), log-probabilities up to a constant of each image.
        shares: (N, K), shares of the classes in each image, which sum to one.

    Returns:
        The exponent, positive, rounded to fp32. It is 1, with a note, if there are no images, if a
        logit is not finite, if the logits do not distinguish classes, or if the likelihood has no
        maximum within `BOUNDS`.
    """
    n, classes = logits.shape
    if not n:
        return ExponentFit(1, "there are no validation images")
    if nonfinite := int((~np.isfinite(logits).all(axis=1)).sum()):
        return ExponentFit(1, f"the logits of {nonfinite:,} validation images are not finite")
    centred = logits - logits.max(axis=1, keepdims=True)
    if not centred.any():
        return ExponentFit(1, "the logits of each validation image are the same for all classes")
    expected = float((((n * shares + 1 / classes) / (n + 1)) * centred).sum(axis=1).mean())

    def loss(log_exponent: float) -> float:
        exponent = math.exp(log_exponent)
        return float(logsumexp(exponent * centred, axis=1).mean()) - exponent * expected

    low, high = map(math.log, BOUNDS)
    result = minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": TOLERANCE}
    )
    if min(result.x - low, high - result.x) < 1e-3:
        return ExponentFit(
            1, f"no exponent between {BOUNDS[0]:g} and {BOUNDS[1]:g} has the largest likelihood"
        )
    return ExponentFit(float(np.float32(math.exp(result.x))))
