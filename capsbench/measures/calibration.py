"""Whether a model's probabilities and presences mean what they say, on splits of test images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Model, one_hot
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.measures import Calibration
from capsbench.measures._nonfinite import defined
from capsbench.measures._reliability import reliability, top_label
from capsbench.measures._result import Measured
from capsbench.measures._routing_agreement import presence_against_spread
from capsbench.measures._vote_spreads import LastSpreads, watching_votes

Found = dict[str, Tensor]
TOP = "top label"
PRESENCES = "presences"


@torch.inference_mode()
def measure(
    entry: Calibration,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on whole splits.

    Each key begins with the name of the split. ``top label/error`` is the expected calibration
    error of the likeliest class, ``top label/confidence`` and ``top label/accuracy`` the means;
    ``presences/error`` that of the presence of each class capsule, whether its class is there. The
    tables behind are among the samples, as ``<split>/<what>/bins/counts`` and so on.

    ``agreement/absolute`` and ``agreement/relative`` say how the presence of the last capsules goes
    with the spread of the votes for them, in the units of the poses and beside the length of the
    votes (`capsbench.measures._routing_agreement`): the rank correlation, near -1 where presence means
    agreement, over images and capsules together (``pooled``) and of each capsule over images, as
    the mean over capsules (``by capsule``).

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each split, for a progress bar.
    """
    values: dict[str, float] = {}
    samples: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    counts = []
    for split in entry.splits:
        found = _look(model, data, split, device)
        numbers = _calibration(found, entry.bins, samples, split, notes)
        numbers |= _agreement(found, notes)
        finite, undefined = defined({f"{split}/{key}": value for key, value in numbers.items()})
        values |= finite
        notes += undefined
        samples |= {f"{split}/{name}": part.numpy() for name, part in found.items()}
        counts.append(len(found["index"]))
        advance()
    return Measured(values, [], max(counts), samples, tuple(dict.fromkeys(notes)))


def _look(model: Model, data: ImageDataModule, split: SplitName, device: str) -> Found:
    """What is found of each image of a split, by name, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    with watching_votes(model) as spreads:
        for batch in data.evaluation.batches(split, device):
            prediction = model(batch.images)
            found = {"index": batch.index, "targets": batch.targets}
            if batch.targets.dim() == 1:
                said = top_label(model.log_probabilities(prediction), batch.targets)
                found |= dict(zip(("confidence", "correct"), said, strict=True))
            presences = prediction.presences
            if presences is not None and presences.shape == prediction.scores.shape:
                found[PRESENCES] = presences.float()
            for name, part in found.items():
                parts.setdefault(name, []).append(part.cpu())
    joined = {name: torch.cat(part) for name, part in parts.items()}
    if spreads:
        last = LastSpreads(*(torch.cat(part).cpu() for part in zip(*spreads, strict=True)))
        joined |= {f"last {name}": part for name, part in last._asdict().items()}
    return joined


def _calibration(
    found: Found, bins: int, samples: dict[str, NDArray[Any]], split: str, notes: list[str]
) -> dict[str, float]:
    """Calibration errors of a split; the tables go to the samples."""
    values: dict[str, float] = {}
    said: dict[str, tuple[Tensor, Tensor]] = {}
    if "confidence" in found:
        said[TOP] = found["confidence"], found["correct"]
        values[f"{TOP}/confidence"] = float(found["confidence"].double().mean())
        values[f"{TOP}/accuracy"] = float(found["correct"].double().mean())
    else:
        notes.append("The likeliest class is not asked of images with several objects.")
    if PRESENCES in found:
        presences = found[PRESENCES]
        said[PRESENCES] = presences, one_hot(found["targets"], presences.shape[1])
    else:
        notes.append("The model has no class capsules: no presence is compared with a class.")
    for what, (confidences, true) in said.items():
        table = reliability(confidences, true, bins=bins)
        values[f"{what}/error"] = float(table.error)
        for name in ("counts", "confidence", "accuracy"):
            samples[f"{split}/{what}/bins/{name}"] = getattr(table, name).numpy()
    return values


def _agreement(found: Found, notes: list[str]) -> dict[str, float]:
    """How presence goes with the spread of votes, where these are known."""
    if "last presences" not in found:
        notes.append("No votes are known: presence is not compared with their agreement.")
        return {}
    values = {}
    for kind in ("absolute", "relative"):
        agreement = presence_against_spread(found["last presences"], found[f"last {kind}"])
        values[f"agreement/{kind}/pooled"] = float(agreement.pooled_spearman)
        values[f"agreement/{kind}/by capsule"] = float(agreement.spearman.nanmean())
    return values
