"""The loop of measures that compare what layers put out for an image and for a view of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageData
from capsbench.measures.chosen_images import chosen_for
from capsbench.measures.defined import defined
from capsbench.measures.invariance import Invariance, InvarianceError, over_views
from capsbench.measures.measured import Measured
from capsbench.measures.paired_views import paired_activations
from capsbench.viewpoint.grid import GridView

Pair = tuple[Tensor, Tensor]
# From a view, a layer's name, and its activations for images and for the same images from the view:
# what is compared, (N, ...) each, by the name that keys begin with.
Compared = Callable[[GridView, str, Tensor, Tensor], dict[str, Pair]]
What = tuple[str, str]  # the name of a comparison, and the layer's

SEVERAL_OBJECTS = "no class error: images hold several objects, of several classes"


def measure_errors(
    compared: Compared,
    layers: Mapping[str, LayerOfInterest],
    views: Sequence[GridView],
    images: int,
    model: Model,
    data: ImageData,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Errors as `capsbench.measures.invariance.Invariance` defines them, by view and layer.

    For each view, such as ``rotation=90/``, for all views of a factor that change anything, such as
    ``rotation/``, and for all such views together, there are ``<name>/error@<layer>``; ``change@``
    and ``spread@``, the root mean square distances of which it is the ratio; ``class error@`` and
    ``class spread@``, with another image of the same class. Over views mean squares are averaged,
    all views counting alike. Samples hold each image's distance from itself, (V, N), as
    ``<name>/distance@<layer>``.

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
    """
    chosen = chosen_for(data, views, images)
    found: dict[What, list[Invariance]] = {}
    distances: dict[What, list[NDArray[np.float32]]] = {}
    several = False
    metrics: dict[What, InvarianceError] = {}  # of one view after another
    for view in views:
        apart: dict[What, list[Tensor]] = {}
        for batch, f_x, f_gx in paired_activations(model, layers, data, device, chosen, view):
            several = batch.targets.dim() == 2
            classes = None if several else batch.targets
            for layer in layers:
                for name, (x, gx) in compared(view, layer, f_x[layer], f_gx[layer]).items():
                    what = name, layer
                    if what not in metrics:
                        metrics[what] = _metric(x, None if several else data.num_classes)
                    metrics[what].update(x, gx, classes)
                    apart.setdefault(what, []).append((gx - x).flatten(1).norm(dim=1))
        for what, parts in apart.items():
            found.setdefault(what, []).append(metrics[what].compute())
            metrics[what].reset()
            distances.setdefault(what, []).append(torch.cat(parts).float().cpu().numpy())
        advance()
    values, notes = defined(_values(views, found, several))
    samples: dict[str, NDArray[Any]] = {
        f"{name}/distance@{layer}": np.stack(each) for (name, layer), each in distances.items()
    }
    samples["index"] = data.split(chosen.split).index[chosen.rows].numpy()
    told = (*notes, *([SEVERAL_OBJECTS] if several else []))
    return Measured(values, [], len(chosen.rows), samples, told)


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
