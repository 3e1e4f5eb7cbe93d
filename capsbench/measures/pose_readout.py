"""How well a model's layers tell the view of an image, beside its raw pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.batches import Split
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import generator, views_by_index
from capsbench.data.splits import balanced_order
from capsbench.measures import PoseReadout
from capsbench.measures._activations import capture_activations, choose_layers
from capsbench.measures._linear_probe import (
    FOLDS,
    ReadOut,
    angle,
    common_width,
    held_out_rows,
    read_out,
)
from capsbench.measures._nonfinite import defined
from capsbench.measures._poolings import max_poolings, watching_poolings
from capsbench.measures._random_views import batches_from
from capsbench.measures._result import Measured
from capsbench.statistics.influence import share_explained
from capsbench.viewpoint.factors import FACTORS, RECORDED
from capsbench.viewpoint.views import Views

TRUE_CLASS = "true class pose"
NO_POOLINGS = "Nothing is read about max-poolings: the model has none that is a module."
MOST_NUMBERS = 16_384  # of a layer: 2,000 images take 131 MB, and some copies of that in float64
FEWEST_IMAGES = 2 * FOLDS  # about half of them are held out
NEEDED = f"{FEWEST_IMAGES} images or more, {FOLDS} of them of objects that are not held out,"
ONE_OBJECT = "There is one object to read from: other images of it are held out."


@torch.inference_mode()
def measure(
    entry: PoseReadout,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on test images, each from a view of its own.

    The held-out half are other objects where the set tells instances apart, else other images.
    Around max-poolings there are the layers ``before <path>`` and ``after <path>``.
    Every layer is read by as many principal components, a tenth of the training rows at the most;
    ``width`` is their number.

    Keys are ``readout/<factor>/r2@<layer>`` for R2 on the held-out half, ``.../shuffled@<layer>``
    for the control with shuffled targets, and ``readout/explained@<layer>`` for the share of the
    layer's variance in the components. An angle is read as cosine and sine, each with a value of
    its own, ``readout/<factor>/cosine/r2@<layer>``; R2 of the angle takes both errors together.
    Fits to each class apart have ``readout/within class/...``, means over classes. The layer ``true
    class pose`` is the pose of the true class's capsule. Samples hold each image's factors, and
    what each held-out image adds to R2, under its key.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after the images have been looked at, and after the fits.

    Raises:
        UserError: The set does not record a factor, or the model has no such layer.
    """
    for asked in entry.asked:
        data.require_views(asked)
    test, at = data.split("test"), data.evaluation.view_rows("test", entry.views)
    order = balanced_order(test.targets[at], "images to measure")
    images = test[at[order[: entry.images]].sort().values]
    views = views_by_index(entry.views, images.index, "views to read out")
    targets = _targets(entry, images, views)
    notes: list[str] = []
    features = _features(entry, model, data, images, views, device, notes)
    advance()
    values, held_out, parts = _read(entry, features, targets, images, notes)
    if entry.within_class:
        values |= _read_within_class(entry, features, targets, images, notes)
    advance()
    samples: dict[str, NDArray[Any]] = {
        "index": images.index.numpy(),
        "held out": held_out.numpy(),
        "readout/index": images.index[held_out].numpy(),
        **{key: part.numpy() for key, part in parts.items()},
        **{name: columns.numpy() for name, columns in targets.items()},
    }
    finite, undefined = defined(values)
    return Measured(finite, [], len(images), samples, (*dict.fromkeys(notes), *undefined))


def _targets(entry: PoseReadout, images: Split, views: Views) -> dict[str, Tensor]:
    """(N, 1) each factor, or (N, 2) cosine and sine of an angle."""
    found: dict[str, Tensor] = {}
    for name in entry.factors:
        if name in RECORDED:
            numbers = images.factors[name]
        elif name.startswith("shift"):
            numbers = views.shift[:, "xy".index(name[-1])]
        else:
            numbers = getattr(views, name)
        if name == "scale":
            numbers = numbers[:, 0]
        turns = FACTORS[name].period is not None
        found[name] = angle(numbers) if turns else numbers.double()[:, None]
    return found


def _features(
    entry: PoseReadout,
    model: Model,
    data: ImageDataModule,
    images: Split,
    views: Views,
    device: str,
    notes: list[str],
) -> dict[str, Tensor]:
    """(N, D) fp32 on the CPU by layer: of a large one, ``MOST_NUMBERS`` drawn among its numbers."""
    layers = choose_layers(model, entry.layers)
    parts: dict[str, list[Tensor]] = {}
    poolings = watching_poolings(model) if entry.poolings else nullcontext(dict[str, Tensor]())
    with capture_activations(model, layers) as seen, poolings as pooled:
        for batch in batches_from(data, images, views, entry.views.part, device):
            poses = model(batch.images).poses
            found = {name: seen[name].flatten(start_dim=1) for name in layers}
            of_class = poses is not None and poses.shape[1] == model.num_classes
            if entry.layers is None and of_class and batch.targets.dim() == 1:
                assert poses is not None
                every = torch.arange(len(poses), device=poses.device)
                found[TRUE_CLASS] = poses[every, batch.targets].flatten(start_dim=1)
            found |= {name: maps.flatten(start_dim=1) for name, maps in pooled.items()}
            for name, values in found.items():
                parts.setdefault(name, []).append(_some(values).float().cpu())
                if values.shape[1] > MOST_NUMBERS:
                    notes.append(
                        f"Of the {values.shape[1]:,} numbers of layer '{name}', {MOST_NUMBERS:,} "
                        "drawn at random are read."
                    )
    if entry.poolings and not max_poolings(model):
        notes.append(NO_POOLINGS)
    joined = {name: torch.cat(values) for name, values in parts.items()}
    for name in [name for name, values in joined.items() if not values.isfinite().all()]:
        del joined[name]
        notes.append(f"Layer '{name}' is left out: not all of its numbers are finite.")
    return joined


def _some(values: Tensor) -> Tensor:
    """At most ``MOST_NUMBERS`` columns of (B, D), the same in every batch."""
    if values.shape[1] <= MOST_NUMBERS:
        return values
    order = torch.randperm(values.shape[1], generator=generator("numbers to read", values.shape[1]))
    return values[:, order[:MOST_NUMBERS].sort().values.to(values.device)]


def _divide(images: Split, notes: list[str]) -> tuple[Tensor, Tensor]:
    """(N,) which rows are held out, and (N,) which stay together in the folds of the others.

    Whole objects are held out: what is read from other images of a toy need not be read from
    another toy. The folds are of objects too, but where too few are left.
    """
    objects = images.index
    if "instance" in images.factors:
        kinds = torch.stack([images.targets, images.factors["instance"].long()], dim=1)
        objects = kinds.unique(dim=0, return_inverse=True)[1]
        if not objects.any():
            objects = images.index
            notes.append(ONE_OBJECT)
    held_out = held_out_rows(objects)
    enough = len(objects[~held_out].unique()) >= FOLDS
    return held_out, objects if enough else images.index


def _too_few(held_out: Tensor) -> bool:
    return len(held_out) < FEWEST_IMAGES or int((~held_out).sum()) < FOLDS


class _Read(NamedTuple):
    """What fits to all rows found.

    Attributes:
        values: By key.
        held_out: (N,) bool.
        parts: By key of R2, (n',) what each held-out row adds to it.
    """

    values: dict[str, float]
    held_out: Tensor
    parts: dict[str, Tensor]


def _read(
    entry: PoseReadout,
    features: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    images: Split,
    notes: list[str],
) -> _Read:
    """One fit to all rows for each layer."""
    held_out, groups = _divide(images, notes)
    if _too_few(held_out):
        notes.append(f"Nothing is read out: {NEEDED} are needed; got {len(images)}.")
        return _Read({}, held_out, {})
    width = common_width([entry.width], int((~held_out).sum()))
    values, parts = {"readout/width": float(width)}, {}
    columns = torch.cat(list(targets.values()), dim=1)
    off = columns[held_out] - columns[held_out].mean(dim=0)
    for layer, rows in features.items():
        found = read_out(rows, columns, held_out, groups, width=width)
        values[f"readout/explained@{layer}"] = found.explained
        if found.width < width:
            notes.append(f"Layer '{layer}' is read by {found.width} components: it has no more.")
        for key, value in _by_factor(found, targets, off.square()):
            values[f"readout/{key}@{layer}"] = value
        for factor, part in _parts(found, targets, off.square()):
            parts[f"readout/{factor}/r2@{layer}"] = part
    return _Read(values, held_out, parts)


def _own_columns(targets: Mapping[str, Tensor]) -> Iterator[tuple[str, slice]]:
    """Which of all columns are a factor's."""
    ends = torch.tensor([part.shape[1] for part in targets.values()]).cumsum(0).tolist()
    for factor, end in zip(targets, ends, strict=True):
        yield factor, slice(end - targets[factor].shape[1], end)


def _by_factor(
    found: ReadOut, targets: Mapping[str, Tensor], spread: Tensor
) -> Iterator[tuple[str, float]]:
    """What was found of each factor: of an angle, of cosine and sine and of both together.

    Args:
        found: What was read of T columns.
        targets: Each factor's columns.
        spread: (n', T) the held-out rows' squared distances from their mean.
    """
    for factor, own in _own_columns(targets):
        for kind, scores in (("r2", found.r2[own]), ("shuffled", found.shuffled[own])):
            parts = ("cosine", "sine") if len(scores) == 2 else ()
            for part, score in zip(parts, scores.tolist(), strict=False):
                yield f"{factor}/{part}/{kind}", score
            # 1 - R² is the error over the spread; a column that does not vary has neither.
            varies = scores.isfinite()
            weights = spread.sum(dim=0)[own][varies]
            yield f"{factor}/{kind}", float(scores[varies] @ weights / weights.sum())


def _parts(
    found: ReadOut, targets: Mapping[str, Tensor], spread: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """(n',) what each held-out row adds to R2 of each factor; arguments as above."""
    for factor, own in _own_columns(targets):
        varies = found.r2[own].isfinite()
        if varies.any():
            errors, whole = (each[:, own][:, varies].sum(dim=1) for each in (found.errors, spread))
            yield factor, share_explained(errors, whole)


def _read_within_class(
    entry: PoseReadout,
    features: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    images: Split,
    notes: list[str],
) -> dict[str, float]:
    """Means over classes of what fits to each class apart read."""
    classes = [(images.targets == label).nonzero()[:, 0] for label in images.targets.unique()]
    held_out = [_divide(images[rows], notes)[0] for rows in classes]
    if any(_too_few(part) for part in held_out):
        smallest = min(len(rows) for rows in classes)
        notes.append(
            f"Nothing is read within classes: {NEEDED} are needed of each; the smallest class has "
            f"{smallest}."
        )
        return {}
    # The same for all classes, and for all layers.
    width = common_width([entry.width], min(int((~part).sum()) for part in held_out))
    scores: dict[str, list[float]] = {}
    for rows in classes:
        part = entry.model_copy(update={"width": width})
        inside = {name: values[rows] for name, values in features.items()}
        wanted = {name: values[rows] for name, values in targets.items()}
        for key, value in _read(part, inside, wanted, images[rows], notes).values.items():
            scores.setdefault(key.replace("readout/", "readout/within class/", 1), []).append(value)
    return {key: sum(found) / len(found) for key, found in scores.items()}
