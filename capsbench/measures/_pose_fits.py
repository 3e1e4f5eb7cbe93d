"""Fits of the change of poses on maps, by view and over the views of a factor."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from capsbench.contracts import Batch, LayerOfInterest
from capsbench.data.folds import folds_by_image
from capsbench.measures._paired_activations import Activations
from capsbench.measures._warped_maps import MapWarp
from capsbench.metrics.pose_equivariance import PoseEquivariance, PoseFit, combine_fits
from capsbench.values import Quantity
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.warp import Size


class PoseFits:
    """Affine maps of the poses at the positions of layers, fitted view after view.

    An `ActivationListener`.

    Args:
        layers: Layers with poses at positions, by name.
        warp_of: Function from a view, a layer's name and the size of its map to the warp.
    """

    def __init__(
        self,
        layers: Mapping[str, LayerOfInterest],
        warp_of: Callable[[GridView, str, Size], MapWarp],
    ) -> None:
        self.layers = layers
        self.warp_of = warp_of
        self.metrics: dict[str, PoseEquivariance] = {}  # of one view after another
        self.by_factor: dict[tuple[str, str], list[PoseFit]] = {}
        self.by_view: list[tuple[Quantity, Tensor]] = []

    def update(self, view: GridView, batch: Batch, f_x: Activations, f_gx: Activations) -> None:
        """Add a batch of images, with their activations as stored and from the view."""
        for name, layer in self.layers.items():
            maps = [as_map(layer, outputs[name]) for outputs in (f_x, f_gx)]
            warp = self.warp_of(view, name, (maps[0].shape[-2], maps[0].shape[-1]))
            positions = warp.positions.to(maps[0].device)
            types = f_x[name].shape[3]
            warped, transformed = (
                each[..., positions].unflatten(1, (types, -1)) for each in warp.pair(*maps)
            )
            if name not in self.metrics:
                # Every process sees the same images: there is nothing to sum over processes.
                self.metrics[name] = PoseEquivariance(warped.shape[1:], sync_on_compute=False)
                self.metrics[name].to(warped.device)
            self.metrics[name].update(warped, transformed, folds_by_image(batch.index))

    def finish_view(self, view: GridView) -> None:
        """Fit the maps of a view; the next view has other positions."""
        for name, metric in self.metrics.items():
            fit = metric.compute()
            self.by_view += [
                (Quantity(metric=key, factor=view.factor, view=view.value, layer=name), value)
                for key, value in fit.values.items()
            ]
            if not view.is_identity:
                self.by_factor.setdefault((view.factor, name), []).append(fit)
        self.metrics.clear()

    def values(self) -> list[tuple[Quantity, Tensor]]:
        """Return all quantities with their values, also undefined ones."""
        return self.by_view + [
            (Quantity(metric=key, factor=factor, layer=name), value)
            for (factor, name), fits in self.by_factor.items()
            for key, value in combine_fits(fits).values.items()
        ]


def as_map(layer: LayerOfInterest, output: Tensor) -> Tensor:
    """Return the output of a layer with positions as a map (N, C, H, W).

    Args:
        layer: The layer.
        output: Its output: a map, presences (N, H, W, C), or poses (N, H, W, C, D or 4, 4).
    """
    if layer.kind == "pose":
        return output.flatten(4).permute(0, 3, 4, 1, 2).flatten(1, 2)
    return output.permute(0, 3, 1, 2) if layer.kind == "presence" else output
