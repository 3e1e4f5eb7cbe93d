"""Accuracy on attacked images: white box, or made on one model and judged by another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Batch, Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.measures import AttackMethod, Attacks
from capsbench.measures._adversarial import Attacked, fgsm, pgd, random_starts, wrong_classes
from capsbench.measures._attacked_accuracy import attacked_accuracy
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._result import Measured

NO_SOURCES: Mapping[str, Model] = MappingProxyType({})
Bits = dict[str, Tensor]  # by share, (E, N) bool: for each epsilon, image by image


class _Aimed(NamedTuple):
    """A batch, and for each of its images a wrong class that an attack may aim at."""

    batch: Batch
    aims: Tensor | None


def measure(
    entry: Attacks,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
    sources: Mapping[str, Model] = NO_SOURCES,
) -> Measured:
    """Measure a model on familiar test images that were attacked on it, and on other models.

    Keys are ``<attack>/eps=<epsilon>/<share>`` with the attacks ``fgsm``, ``bim``, ``pgd`` and, if
    targeted, ``fgsm/targeted`` and so on; transferred ones are ``from <label>/fgsm`` and so on.
    ``unchanged/<share>`` is of the images as they are. The shares are ``accuracy``, of all images,
    those that are wholly right; ``blind``, those for which the attacked model had no gradient at
    any step, so that the attack had no direction; of targeted attacks ``reached``, those that are
    taken for the class that was aimed at. ``<attack>/accuracy`` is the mean over epsilons. Aims and
    random starts are drawn by the image's number, the same for all models. Samples hold outcomes
    under ``<attack>/<share>``, (E, N). See `capsbench.measures._adversarial`.

    Args:
        entry: The measure's arguments.
        model: The trained model that is judged, in evaluation mode on ``device``.
        data: The data module.
        device: Where the models are.
        advance: Called after the unchanged images, and after each epsilon of each attack.
        sources: The trained models of the entry's sources, by label, on ``device``; of one that is
            not there, such as one that diverged, a note says so.

    Raises:
        UserError: The models are not made for the same images and classes.
    """
    attacked = {"": model} | {
        f"from {label}/": _alike(model, sources[label])
        for label in entry.sources
        if label in sources
    }
    batches = [
        _Aimed(batch, _aims(batch, data.num_classes) if entry.targeted else None)
        for batch in familiar_batches(data, device, subset_rows(data, entry.images))
    ]
    samples: dict[str, NDArray[Any]] = {"index": _array([each.batch.index for each in batches])}
    if entry.targeted:
        samples["aims"] = _array([each.aims for each in batches if each.aims is not None])
    values: dict[str, float] = {}

    def note(attack: str, keys: Sequence[str], bits: Bits) -> None:
        for share, of_images in bits.items():
            samples[f"{attack}/{share}"] = of_images.numpy()
            for key, row in zip(keys, of_images.double().mean(dim=1).tolist(), strict=True):
                values[f"{key}/{share}"] = row
            if share == "accuracy":
                values[f"{attack}/{share}"] = float(of_images.double().mean())

    unchanged = [_judge(model, each, each.batch.images[None]) for each in batches]
    note("unchanged", ["unchanged"], _joined(unchanged, dim=1))
    advance()
    for prefix, source in attacked.items():
        for method in entry.methods:
            for targeted in (False, True)[: 1 + entry.targeted]:
                tried = batches if targeted else [_Aimed(each.batch, None) for each in batches]
                attack = f"{prefix}{method}/targeted" if targeted else f"{prefix}{method}"
                keys = [f"{attack}/{_key(epsilon)}" for epsilon in entry.epsilons]
                note(attack, keys, _attack(entry, method, source, model, tried, advance))
    notes = tuple(
        f"no attacks from {label}: it has no trained network at hand"
        for label in entry.sources
        if label not in sources
    )
    return Measured(values, [], len(samples["index"]), samples, notes)


def _alike(model: Model, source: Model) -> Model:
    """The source, if it takes the model's images and knows its classes."""
    kinds = [(tuple(each.image_shape), each.num_classes) for each in (source, model)]
    if kinds[0] != kinds[1]:
        raise UserError(
            "attacks transfer between models of the same images and classes; the source takes "
            "{} and has {} classes, the model {} and {}".format(*kinds[0], *kinds[1])
        )
    return source


def _attack(
    entry: Attacks,
    method: AttackMethod,
    source: Model,
    model: Model,
    batches: Sequence[_Aimed],
    advance: Callable[[], None],
) -> Bits:
    """What comes of one attack on all images."""
    found = []
    # One gradient serves all epsilons of a single step; with several each has its own.
    at_once = [entry.epsilons] if method == "fgsm" else [(size,) for size in entry.epsilons]
    for epsilons in at_once:
        outcomes = []
        for each in batches:
            changed = _change(entry, method, source, each, epsilons)
            outcomes.append(
                _judge(model, each, changed.images) | {"blind": changed.blind.cpu()},
            )
        found.append(_joined(outcomes, dim=1))
        for _ in epsilons:
            advance()
    return _joined(found, dim=0)


def _change(
    entry: Attacks,
    method: AttackMethod,
    source: Model,
    aimed: _Aimed,
    epsilons: Sequence[float],
) -> Attacked:
    batch, aims = aimed
    if method == "fgsm":
        return fgsm(source, batch.images, batch.targets, epsilons, aims)
    starts = None
    if method == "pgd":
        starts = random_starts(batch.index, source.image_shape, "starts of attacks")
    return pgd(
        source, batch.images, batch.targets, epsilons, aims, steps=entry.iterations, starts=starts
    )


def _aims(batch: Batch, num_classes: int) -> Tensor:
    return wrong_classes(batch.targets, batch.index, num_classes, "aims of attacks")


def _judge(model: Model, aimed: _Aimed, images: Tensor) -> Bits:
    """What a model says of images (E, B, C, H, W)."""
    outcome = attacked_accuracy(model, images, aimed.batch.targets, aimed.aims)
    bits = {"accuracy": outcome.correct.cpu()}
    return bits if outcome.reached is None else bits | {"reached": outcome.reached.cpu()}


def _joined(parts: Sequence[Bits], dim: int) -> Bits:
    """Bits of several batches (dim 1), or of several epsilons (dim 0)."""
    return {share: torch.cat([part[share] for part in parts], dim) for share in parts[0]}


def _array(parts: Sequence[Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(list(parts)).cpu().numpy()
    return joined


def _key(epsilon: float) -> str:
    """``eps=0.1``, in the form of a view's key."""
    return f"eps={repr(float(epsilon)).removesuffix('.0')}"
