"""The loop of measures that compare what layers put out for an image and for a view of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Batch, LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._image_subset import image_subset
from capsbench.measures._invariance import Invariance, InvarianceError, over_views
from capsbench.measures._nonfinite import defined
from capsbench.measures._paired_activations import Activations, paired_activations
from capsbench.measures._result import Measured
from capsbench.statistics.influence import linearised
from capsbench.viewpoint.grid import GridView

Pair = tuple[Tensor, Tensor]
# From a view, a layer's name, and its activations for images and for the same images from the view:
# what is compared, (N, ...) each, by the name that keys begin with.
Compared = Callable[[GridView, str, Tensor, Tensor], dict[str, Pair]]
What = tuple[str, str]  # the name of a comparison, and the layer's


class Beside(Protocol):
    """What else is made of the same activations, view after view."""

    def update(self, view: GridView, batch: Batch, f_x: Activations, f_gx: Activations) -> None:
        """Take in a batch of images, as they are stored and from the view."""

    def close(self, view: GridView) -> None:
        """All images have been seen from the view."""


SEVERAL_OBJECTS = "no class error: images hold several objects, of several classes"


def measure_errors(
    compared: Compared,
    layers: Mapping[str, LayerOfInterest],
    views: Sequence[GridView],
    images: int,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
    beside: Beside | None = None,
) -> Measured:
    """Errors as `capsbench.measures._invariance.Invariance` defines them, by view and layer.

    For each view, such as ``rotation=90/``, for all views of a factor that change anything, such as
    ``rotation/``, and for all such views together, there are ``<name>/error@<layer>``; ``change@``
    and ``spread@``, the root mean square distances of which it is the ratio; ``class error@`` and
    ``class spread@``, with another image of the same class. Over views mean squares are averaged,
    all views counting alike. Samples hold each image's distance from itself, (V, N), as
    ``<name>/distance@<layer>``, and its part in ``<name>/error@<layer>`` under that key; see
    `capsbench.statistics.influence`.

    The model looks at each image and at its view, view by view. Memory is that of a batch, and of
    (classes x features) of each layer twice in float64, whatever the number of views.

    Args:
        compared: What is compared of a layer.
        layers: The layers.
        views: The views.
        images: How many test images.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each view, for a progress bar.
        beside: What else looks at the activations.
    """
    chosen = image_subset(data, views, images)
    found: dict[What, list[Invariance]] = {}
    distances: dict[What, list[NDArray[np.float32]]] = {}
    terms: dict[What, Tensor] = {}  # (3, N) sums over views
    several = False
    metrics: dict[What, InvarianceError] = {}  # of one view after another
    for view in views:
        squares: dict[What, list[Tensor]] = {}
        for batch, f_x, f_gx in paired_activations(model, layers, data, device, chosen, view):
            several = batch.targets.dim() == 2
            classes = None if several else batch.targets
            for layer in layers:
                for name, (x, gx) in compared(view, layer, f_x[layer], f_gx[layer]).items():
                    what = name, layer
                    if what not in metrics:
                        metrics[what] = _metric(x, None if several else data.num_classes)
                    metrics[what].update(x, gx, classes)
                    squares.setdefault(what, []).append(_squares(x, gx))
            if beside is not None:
                beside.update(view, batch, f_x, f_gx)
        for what, parts in squares.items():
            one, of_images = metrics[what].compute(), torch.cat(parts, dim=1)
            metrics[what].reset()
            found.setdefault(what, []).append(one)
            distances.setdefault(what, []).append(of_images[0].sqrt().float().cpu().numpy())
            if not view.is_identity:
                terms[what] = terms.get(what, 0) + _of_mean(of_images, one)
        if beside is not None:
            beside.close(view)
        advance()
    values, notes = defined(_values(views, found, several))
    samples: dict[str, NDArray[Any]] = {
        f"{name}/distance@{layer}": np.stack(each) for (name, layer), each in distances.items()
    }
    for (name, layer), each in terms.items():
        of_error = linearised(each.unbind(), [0.5, -0.25, -0.25])
        if f"{name}/error@{layer}" in values and of_error.isfinite().all():
            samples[f"{name}/error@{layer}"] = of_error.cpu().numpy()
    samples["index"] = data.split(chosen.split).index[chosen.rows].numpy()
    told = (*notes, *([SEVERAL_OBJECTS] if several else []))
    return Measured(values, [], len(chosen.rows), samples, told)


def _squares(x: Tensor, gx: Tensor) -> Tensor:
    """(3, B) of each image |f(T_g x) - f(x)|², and its part in both spreads.

    The latter is the square distance from the mean of the batch, which stands for that of all
    images, known when it is too late: what each image adds needs to be known roughly alone.
    """
    x, gx = x.flatten(1).double(), gx.flatten(1).double()
    apart = (gx - x, x - x.mean(dim=0), gx - gx.mean(dim=0))
    return torch.stack([each.square().sum(dim=1) for each in apart])


def _of_mean(squares: Tensor, found: Invariance) -> Tensor:
    """(3, N) of `_squares`, scaled so that their means are the mean squares that were found."""
    means = torch.stack(found[:3]).square()[:, None]
    return squares * (means / squares.mean(dim=1, keepdim=True)).nan_to_num(0)


def _metric(x: Tensor, num_classes: int | None) -> InvarianceError:
    # Every process sees the same images: there is nothing to sum up over them.
    return InvarianceError(x[0].numel(), num_classes, sync_on_compute=False).to(x.device)


def _values(
    views: Sequence[GridView], found: Mapping[What, Sequence[Invariance]], several: bool
) -> dict[str, Tensor]:
    """All values by key, also those that are undefined; without classes, none within a class."""
    moving = [row for row, view in enumerate(views) if not view.is_identity]
    groups = {f"{view.change_key}/": [row] for row, view in enumerate(views)}
    for row in moving:
        groups.setdefault(f"{views[row].factor}/", []).append(row)
    if moving:
        groups[""] = moving
    values: dict[str, Tensor] = {}
    for (name, layer), errors in found.items():
        for group, members in groups.items():
            one = over_views([errors[row] for row in members])
            terms = {"error": one.error, "change": one.change, "spread": one.spread}
            if not several:
                terms |= {"class error": one.class_error, "class spread": one.class_spread}
            values |= {f"{group}{name}/{term}@{layer}": value for term, value in terms.items()}
    return values
