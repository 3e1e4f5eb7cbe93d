"""Linear equivariance of a trained model's layers, and the group law of the fitted maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench import measures
from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import choose_layers
from capsbench.measures._affine_equivariance import IMAGES_PER_COMPONENT
from capsbench.measures._affine_fit import Shares
from capsbench.measures._affine_maps import Division, divide, divide_objects
from capsbench.measures._composed_views import Composed, composed_views
from capsbench.measures._group_law import group_law_of
from capsbench.measures._image_subset import ImageSubset, image_subset, subset_batches
from capsbench.measures._nonfinite import defined
from capsbench.measures._paired_activations import activations, identity_view
from capsbench.measures._per_class_fit import ClassMaps, maps_of_class, of_all_classes
from capsbench.measures._result import Measured
from capsbench.statistics.influence import share_explained
from capsbench.viewpoint.grid import GridView

NO_OTHER_OBJECT = "not measured: a class has no other object, or image, to be held out"
SEVERAL_OBJECTS = "not measured: images hold several objects, and each class has maps of its own"


@torch.inference_mode()
def measure(
    entry: measures.LinearEquivariance,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure layers of any kind, each as one vector for each image.

    For each view that changes anything, such as ``rotation=90/``, and for all of them together,
    there is ``equivariance/linear/<share>@<layer>`` for each of the
    `capsbench.measures._affine_fit.Shares`: ``explained``, ``shuffled``, ``beyond_controls``,
    ``distance``, ``kept``. Both controls are in ``beyond_controls``; that of the identity explains
    0 by definition.

    Of each factor whose views compose, ``<factor>/equivariance/group/`` has ``deviation@<layer>``,
    ``floor@`` and ``distance@``: means over the pairs of views of `group_law`. Where the views of
    the grid are a whole group, such as quarter turns, its maps are fitted to images that are seen
    from each view of the group before they are moved, and ``explained@`` and ``beyond_controls@``
    say how well one map serves wherever it starts; other factors are fitted to images as they are
    stored.

    The work goes class by class. Memory is that of one class: images x (views + 1) x features of
    all layers. Samples hold the held-out images, class by class: ``residual@<layer>`` and
    ``change@<layer>``, (N, V) squared distances in the components, the identity left out of the
    views; and what each adds to ``equivariance/linear/beyond_controls@<layer>``, under that key.

    Of changes of how an object stood, such as ``azimuth+20/``, a third of each class's objects is
    held out, else a third of the images.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called as often as there are views in the grid, for a progress bar.
    """
    views = [view for view in entry.grid.views() if not view.is_identity]
    chosen = image_subset(data, views, entry.images)
    images = data.split(chosen.split)[chosen.rows]
    targets, division = images.targets, divide(images.index, 0)
    if chosen.partners:
        division = divide_objects(targets, images.factors["instance"], images.index)
    if problem := _problem(data, chosen, targets, division, entry.width):
        return Measured({}, [], 0, {}, (problem,))
    composed = {factor: composed_views(views, factor) for factor in entry.grid.factors()}
    layers = choose_layers(model, entry.layers)
    found: dict[str, list[ClassMaps]] = {name: [] for name in layers}
    narrow: dict[str, int] = {}
    broken: set[str] = set()
    known, steps = targets.unique().tolist(), len(entry.grid)
    for count, label in enumerate(known):
        of_class = (targets == label).nonzero()[:, 0]
        features = _features(model, layers, data, device, chosen.select(of_class), views)
        for name, each in features.items():
            if each.shape[-1] < entry.width:
                narrow[name] = each.shape[-1]
            elif not each.isfinite().all():
                broken.add(name)
            else:
                part = division.of(of_class)
                found[name].append(maps_of_class(each, label, part, entry.width, composed))
        # As many of the steps as this class is of all classes: how many there are, no entry knows.
        for _ in range((count + 1) * steps // len(known) - count * steps // len(known)):
            advance()
    values: dict[str, Tensor] = {}
    samples: dict[str, NDArray[Any]] = {}
    for name in (name for name in layers if name not in narrow and name not in broken):
        values |= _values(name, found[name], views, composed)
        samples[f"residual@{name}"] = np.concatenate([each.residual for each in found[name]])
        samples[f"change@{name}"] = np.concatenate([each.change for each in found[name]])
        key = f"equivariance/linear/beyond_controls@{name}"
        if values[key].isfinite():
            samples[key] = _beyond_controls(found[name])
    held_out, index = division.held_out, images.index
    samples["index"] = torch.cat([index[held_out & (targets == label)] for label in known]).numpy()
    finite, undefined = defined(values)
    left_out = [
        f"{name} is left out: it has {size} numbers, below the common width of {entry.width}"
        for name, size in narrow.items()
    ]
    left_out += [
        f"{name} is left out: not all of its numbers are finite" for name in sorted(broken)
    ]
    fitted_at_rest = [
        f"the group law of {factor} is that of maps fitted to images as they are stored: its views "
        "are no whole group"
        for factor, each in composed.items()
        if len(each.triples) and each.table is None
    ]
    notes = (*left_out, *fitted_at_rest, *undefined)
    return Measured(finite, [], int(held_out.sum()), samples, notes)


def _problem(
    data: ImageDataModule, chosen: ImageSubset, targets: Tensor, division: Division, width: int
) -> str | None:
    """Why these images do not allow the measure."""
    one = chosen.select(torch.tensor([0]))
    if next(subset_batches(data, "cpu", one, identity_view())).targets.dim() == 2:
        return SEVERAL_OBJECTS
    counts = [
        targets[part].bincount(minlength=int(targets.max()) + 1)[targets.unique()].min()
        for part in (~division.held_out, division.held_out)
    ]
    if not counts[1]:
        return NO_OTHER_OBJECT
    fewest = int(counts[0])
    if fewest >= IMAGES_PER_COMPONENT * width:
        return None
    return (
        f"not measured: a width of {width} needs {IMAGES_PER_COMPONENT * width} images of each "
        f"class to fit to, and there are {fewest}: give more images, or ask for a smaller width"
    )


def _features(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    data: ImageDataModule,
    device: str,
    chosen: ImageSubset,
    views: Sequence[GridView],
) -> dict[str, Tensor]:
    """By layer (n, V + 1, D): of n images as they are stored, and from V views."""
    by_view: dict[str, list[Tensor]] = {name: [] for name in layers}
    asked: list[ViewSelection] = [identity_view(), *views]
    for at in asked:
        batches: dict[str, list[Tensor]] = {name: [] for name in layers}
        for _, seen in activations(model, layers, data, device, chosen, at):
            for name, parts in batches.items():
                parts.append(seen[name].flatten(1))
        for name, parts in batches.items():
            by_view[name].append(torch.cat(parts))
    return {name: torch.stack(parts, dim=1) for name, parts in by_view.items()}


def _values(
    name: str,
    found: Sequence[ClassMaps],
    views: Sequence[GridView],
    composed: Mapping[str, Composed],
) -> dict[str, Tensor]:
    """All values of one layer by key, also those that are undefined."""
    fit = of_all_classes([each.fit for each in found])
    values = _shares("equivariance/linear", fit.overall(), name)
    by_view = fit.by_view()
    for row, view in enumerate(views):
        at_view = Shares(*(share[row] for share in by_view))
        values |= _shares(f"{view.change_key}/equivariance/linear", at_view, name)
    for factor, each in composed.items():
        prefix = f"{factor}/equivariance/group"
        fitted, triples = fit, each.own[each.triples]
        if each.table is not None:
            fitted, triples = (
                of_all_classes([one.group_fits[factor] for one in found]),
                each.triples,
            )
            shares = fitted.overall()
            values[f"{prefix}/explained@{name}"] = shares.explained
            values[f"{prefix}/beyond_controls@{name}"] = shares.beyond_controls
        if len(triples):
            law = group_law_of(fitted, triples.to(fit.maps.device))
            values |= {f"{prefix}/{term}@{name}": of.mean() for term, of in law._asdict().items()}
    return values


def _beyond_controls(found: Sequence[ClassMaps]) -> NDArray[Any]:
    """(N,) what each held-out image adds to the share, over all views."""
    residual, control = (
        torch.from_numpy(np.concatenate(parts)).double().sum(dim=1)
        for parts in zip(*((each.residual, each.control) for each in found), strict=True)
    )
    part: NDArray[Any] = share_explained(residual, control).numpy()
    return part


def _shares(prefix: str, shares: Shares, name: str) -> dict[str, Tensor]:
    return {f"{prefix}/{share}@{name}": value for share, value in shares._asdict().items()}
