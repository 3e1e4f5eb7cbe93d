"""Values of linear probes of several layers, over all classes and within classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.data.batches import Split
from capsbench.measures._linear_probe import (
    NUM_FOLDS,
    ProbeResult,
    common_width,
    held_out_rows,
    linear_probe,
)
from capsbench.statistics.influence import explained_share_influence
from capsbench.values import Quantity

MIN_IMAGES = 2 * NUM_FOLDS  # about half of them are held out
REQUIRED = f"{MIN_IMAGES} images or more, {NUM_FOLDS} of them of objects that are not held out,"
ONE_OBJECT = "There is a single object: other images of it are held out, not other objects."
PER_CLASS = {"fit": "per class"}

Number = tuple[Quantity, float, int]  # with the number of images that it is computed from


class ProbedLayers(NamedTuple):
    """Numbers of linear probes of several layers.

    Attributes:
        numbers: The numbers, also undefined ones.
        held_out: (N,) bool.
        per_image: By the name of a quantity of R², (n',) its influence values, see
            `capsbench.statistics.influence`.
        notes: Sentences on what was not measured, and why.
    """

    numbers: list[Number]
    held_out: Tensor
    per_image: dict[str, Tensor]
    notes: list[str]


def probe_layers(
    features: Mapping[str, Tensor], targets: Mapping[str, Tensor], images: Split, width: int
) -> ProbedLayers:
    """Fit one probe per layer to the images of all classes.

    Args:
        features: (N, D) by layer.
        targets: (N, 1), or (N, 2) of an angle, by factor.
        images: The N images.
        width: Largest number of principal components.
    """
    held_out, groups, notes = _hold_out(images)
    if _too_few(held_out):
        notes.append(f"Nothing is measured: {REQUIRED} are needed; got {len(images)}.")
        return ProbedLayers([], held_out, {}, notes)
    num_training, n = int((~held_out).sum()), int(held_out.sum())
    width = common_width(width, num_training)
    numbers: list[Number] = [(Quantity(metric="width"), float(width), num_training)]
    per_image: dict[str, Tensor] = {}
    columns = torch.cat(list(targets.values()), dim=1)
    spread = (columns[held_out] - columns[held_out].mean(dim=0)).square()
    for layer, rows in features.items():
        result = linear_probe(rows, columns, held_out, groups, width=width)
        explained = Quantity(metric="explained_variance", layer=layer)
        numbers.append((explained, result.explained_variance, num_training))
        if result.width < width:
            notes.append(f"Layer '{layer}' is used by {result.width} components: it has no more.")
        numbers += [(each, r2, n) for each, r2 in scores(layer, result, targets, spread)]
        per_image |= dict(_influence(layer, result, targets, spread))
    return ProbedLayers(numbers, held_out, per_image, notes)


def probe_layers_per_class(
    features: Mapping[str, Tensor], targets: Mapping[str, Tensor], images: Split, width: int
) -> tuple[list[Number], list[str]]:
    """Fit one probe per layer and class, of equal width, and average over the classes.

    Arguments are those of `probe_layers`.

    Returns:
        Numbers with the condition `PER_CLASS`, from the images of all classes, and notes.
    """
    classes = [(images.targets == label).nonzero()[:, 0] for label in images.targets.unique()]
    held_out = [_hold_out(images[rows])[0] for rows in classes]
    if any(_too_few(rows) for rows in held_out):
        smallest = min(len(rows) for rows in classes)
        note = (
            f"Nothing is measured within classes: {REQUIRED} are needed of each; the smallest "
            f"class has {smallest}."
        )
        return [], [note]
    width = common_width(width, min(int((~rows).sum()) for rows in held_out))
    by_quantity: dict[Quantity, list[tuple[float, int]]] = {}
    notes: list[str] = []
    for rows in classes:
        class_result = probe_layers(
            {name: numbers[rows] for name, numbers in features.items()},
            {name: columns[rows] for name, columns in targets.items()},
            images[rows],
            width,
        )
        notes += class_result.notes
        for quantity, number, n in class_result.numbers:
            condition = quantity.condition | PER_CLASS
            per_class = quantity.model_copy(update={"condition": condition})
            by_quantity.setdefault(per_class, []).append((number, n))
    means = [
        (quantity, sum(number for number, _ in each) / len(each), sum(n for _, n in each))
        for quantity, each in by_quantity.items()
    ]
    return means, notes


def scores(
    layer: str, result: ProbeResult, targets: Mapping[str, Tensor], spread: Tensor
) -> Iterator[tuple[Quantity, float]]:
    """Yield R² by factor; of an angle, of cosine and sine and of both together.

    Args:
        layer: Name of the layer.
        result: The probe's result for T columns.
        targets: Columns of each factor, T together.
        spread: (n', T) squared distances of the held-out rows from their mean.
    """
    for factor, columns in _columns_by_factor(targets):
        for metric, r2 in (
            ("r2", result.r2[columns]),
            ("shuffled_r2", result.shuffled_r2[columns]),
        ):
            for component, number in zip(("cosine", "sine"), r2.tolist(), strict=False):
                if len(r2) == 2:
                    condition = {"component": component}
                    quantity = Quantity(
                        metric=metric, factor=factor, layer=layer, condition=condition
                    )
                    yield quantity, number
            # 1 - R² is the error over the spread; a constant column has neither.
            varies = r2.isfinite()
            weights = spread.sum(dim=0)[columns][varies]
            quantity = Quantity(metric=metric, factor=factor, layer=layer)
            yield quantity, float(r2[varies] @ weights / weights.sum())


def _influence(
    layer: str, result: ProbeResult, targets: Mapping[str, Tensor], spread: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield the influence values, (n',), of R² by the quantity's name; see `scores`."""
    for factor, columns in _columns_by_factor(targets):
        varies = result.r2[columns].isfinite()
        if varies.any():
            errors, total = (
                each[:, columns][:, varies].sum(dim=1) for each in (result.squared_errors, spread)
            )
            name = Quantity(metric="r2", factor=factor, layer=layer).name
            yield name, explained_share_influence(errors, total)


def _columns_by_factor(targets: Mapping[str, Tensor]) -> Iterator[tuple[str, slice]]:
    """Yield each factor with its columns among those of all factors."""
    start = 0
    for factor, columns in targets.items():
        yield factor, slice(start, start + columns.shape[1])
        start += columns.shape[1]


def _hold_out(images: Split) -> tuple[Tensor, Tensor, list[str]]:
    """Return held-out rows, (N,) bool, the group of each row for the folds, (N,), and notes.

    Objects are held out with all their images, because what is learned from other images of an
    object need not hold for another object. Objects are also kept together in the folds, except if
    there are too few of them for training.
    """
    objects, notes = images.index, list[str]()
    if "instance" in images.factors:
        pairs = torch.stack([images.targets, images.factors["instance"].long()], dim=1)
        objects = pairs.unique(dim=0, return_inverse=True)[1]
        if not objects.any():
            objects = images.index
            notes.append(ONE_OBJECT)
    held_out = held_out_rows(objects)
    enough = len(objects[~held_out].unique()) >= NUM_FOLDS
    return held_out, objects if enough else images.index, notes


def _too_few(held_out: Tensor) -> bool:
    return len(held_out) < MIN_IMAGES or int((~held_out).sum()) < NUM_FOLDS
