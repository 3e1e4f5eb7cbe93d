"""Check of the transformations that a model declares by construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from capsbench.capsules.relative_error import max_relative_error
from capsbench.conformance.prediction import ROUNDING
from capsbench.conformance.subject import NotApplicable, Subject, require
from capsbench.contracts import LayerOfInterest, Model
from capsbench.measures._activations import capture_activations
from capsbench.measures._layer_transforms import LayerTransforms
from capsbench.measures._receptive_field import interior_positions
from capsbench.representations import DeclaredFactor, Representation
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

# Distances from the identity where any value is declared. Quarter turns and whole shifts
# interpolate nothing, and values between them do.
ANY_SHIFT = (1.0, -1.0, 0.5)
ANY = {
    "rotation": (90.0, 180.0, 270.0, 30.0),
    "shift_x": ANY_SHIFT,
    "shift_y": ANY_SHIFT,
    "scale": (0.25, -0.25),
}
ANY_ANGLE = (15.0, -15.0)  # degrees of shear or tilt


def declared_transformations(subject: Subject) -> str:
    """Transformations declared by construction hold for any weights: f(T x) = ρ(T) f(x)."""
    model, images = subject.build().eval(), subject.draw().images
    images = torch.cat([images, _centred(images)])  # content leaves some images, and not others
    candidates = model.layers_of_interest()
    declared = {
        name: layer.transformation
        for name, layer in candidates.items()
        if layer.transformation is not None
    }
    layers = {name: candidates[name] for name in declared}
    if not layers:
        raise NotApplicable("the model declares no transformation of a layer")
    height, width = images.shape[-2:]
    interior = interior_positions(model, layers, images)
    transforms = LayerTransforms(layers, declared, (height, width), 0, interior)
    errors, claims = [], 0
    for view in dict.fromkeys(_views(declared)):
        f_x, f_gx = _activations(model, layers, images, view)
        for name, representation in declared.items():
            if (basis := representation.basis(view)) is None:
                continue
            expected, transformed = transforms.fibres(view, name, f_x[name], f_gx[name])
            if basis == "claimed":
                claims += 1
                continue
            if not expected.numel():
                continue  # every position sees the border of so small an image
            errors.append(max_relative_error(transformed, expected))
            require(
                errors[-1] < ROUNDING,
                f"'{name}' is declared by construction at {view.key}, but differs from its "
                f"{type(representation).__name__} by {errors[-1]:.1e}; declare it as claimed, or "
                "for fewer views, or mend the layer",
            )
    largest = f", largest relative error {max(errors):.1e}" if errors else ""
    return f"by construction: {len(errors)} layers and views{largest}; claimed: {claims}"


def _centred(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) that are black outside of their central half."""
    height, width = images.shape[-2:]
    mask = torch.zeros(height, width)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = 1
    return images * mask


def _views(declared: dict[str, Representation]) -> Iterator[GridView]:
    """Yield some of the views at which a transformation is declared."""
    for representation in declared.values():
        for each in representation.exact + representation.claimed:
            yield from _views_of(each)


def _views_of(declared: DeclaredFactor) -> Iterator[GridView]:
    factor = FACTORS[declared.factor]
    if declared.step is None:
        distances = ANY.get(declared.factor, ANY_ANGLE)
    else:  # all quarter turns
        distances = tuple(n * declared.step for n in ((1, 2, 3) if factor.period else (1, -1)))
    for distance in distances:
        yield GridView(declared.factor, (factor.identity or 0.0) + distance)


def _activations(
    model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor, view: GridView
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the outputs of layers for images, and for the images from a view."""
    matrices = Views.of_grid([view]).matrices(*images.shape[-2:])
    outputs = []
    with torch.no_grad(), capture_activations(model, layers) as captured:
        for each in (images, warp(images, matrices)):
            model(each)
            outputs.append(dict(captured))
    return outputs[0], outputs[1]
