"""Figures of trained capsules: effect of each element of a pose, and the assignment of parts."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from capsbench.reporting.figures.plotting import new_figure
from capsbench.reporting.figures.style import INK, series

Floats = NDArray[np.floating[Any]]

TILE = 0.3  # inches, of one image of a sweep
PANEL = 1.2  # inches, of one map
GAP = 2  # pixels between the images of a sweep
MORE, LESS = series(0).color, series(1).color


def pose_sweep(images: Floats, offsets: Sequence[float]) -> Figure:
    """Draw reconstructions while one element of a pose changes: one row per element.

    Args:
        images: (D, S, C, H, W) in [0, 1], from `capsbench.capsules.inspection.sweep_pose`;
            unless there are three channels, the first is shown in gray.
        offsets: S numbers, added to the element of the pose; one column each.
    """
    rows, columns, _, height, width = images.shape
    tiles = np.pad(_rgba(images), ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)))
    mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * (height + GAP), -1, 4)
    size = (TILE * columns * width / height + 0.7, TILE * rows + 0.6)
    with new_figure(size) as figure:
        axes = figure.subplots()
        axes.imshow(mosaic, interpolation="none")
        labelled = sorted({0, columns // 2, columns - 1})
        axes.set_xticks([n * (width + GAP) + width / 2 for n in labelled])
        axes.set_xticklabels([f"{offsets[n]:+g}" if offsets[n] else "0" for n in labelled])
        axes.set_yticks([n * (height + GAP) + height / 2 for n in range(rows)])
        axes.set_yticklabels([str(n + 1) for n in range(rows)])
        axes.set_xlabel("added")
        axes.set_ylabel("element of the pose")
        _hide_frame(axes)
    return figure


def assignment_maps(
    image: Floats, maps: Floats, names: Sequence[str], *, stride: float, offset: float
) -> Figure:
    """Draw the positions in an image whose children are assigned to each parent type.

    Each type has a panel with the outline of the image; the title gives the sum of its map. Since
    assignments may be nearly even, colors show the difference from an even share of the children at
    a position; the strongest color is the largest difference of all panels.

    Args:
        image: (C, H, W) in [0, 1]; unless there are three channels, the first is shown in gray.
        maps: (H', W', P), from `capsbench.capsules.inspection.RoutingInspection.maps`.
        names: P names.
        stride: Pixels from one position of the map to the next.
        offset: Pixel of the center of the first position; both are given by the model's
            `capsbench.contracts.Model.layers_of_interest`.
    """
    height, width, types = maps.shape
    columns = min(6, types + 1)
    rows = ceil((types + 1) / columns)
    rgba = _rgba(image)
    difference = maps - maps.mean(axis=-1, keepdims=True)
    strength = np.abs(difference) / (np.abs(difference).max() or 1)
    rectangles = [
        Rectangle((offset + stride * (x - 0.5), offset + stride * (y - 0.5)), stride, stride)
        for y in range(height)
        for x in range(width)
    ]
    with new_figure((PANEL * columns, (PANEL + 0.2) * rows + 0.3)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_xticks([])
            axes.set_yticks([])
            _hide_frame(axes)
        first, *others = panels
        first.imshow(rgba, interpolation="none")
        first.set_title("image", fontsize=8.5)
        for index, (axes, name) in enumerate(zip(others, names, strict=False)):
            colors = np.where(difference[..., index] >= 0, MORE, LESS).ravel()
            # Colors differ in opacity only, and so follow the light or dark setting of a page.
            alpha = strength[..., index].ravel()
            axes.add_collection(
                PatchCollection(rectangles, facecolor=colors.tolist(), alpha=alpha, linewidth=0)
            )
            _draw_outline(axes, rgba)
            axes.set_title(f"{name}: {maps[..., index].sum():.1f}", fontsize=8.5)
            axes.set_xlim(first.get_xlim())
            axes.set_ylim(first.get_ylim())
            axes.set_aspect("equal")
        for axes in others[types:]:
            axes.set_visible(False)
        handles = [Patch(color=MORE), Patch(color=LESS)]
        words = ["more than an even share", "less"]
        figure.legend(handles, words, loc="outside lower left", ncols=2, handlelength=1)
    return figure


def _draw_outline(axes: Axes, image: Floats) -> None:
    """Draw the contour at the middle of the range of brightness."""
    gray = image[..., :3].mean(axis=-1)
    low, high = gray.min(), gray.max()
    if low < high:
        axes.contour(gray, levels=[(low + high) / 2], colors=[INK], linewidths=0.6)


def _rgba(images: Floats) -> Floats:
    """Return images (..., C, H, W) in [0, 1] as opaque colors (..., H, W, 4)."""
    colors = images if images.shape[-3] == 3 else images[..., :1, :, :].repeat(3, axis=-3)
    opaque = np.concatenate([colors, np.ones_like(colors[..., :1, :, :])], axis=-3)
    return np.moveaxis(opaque.clip(0, 1), -3, -1)


def _hide_frame(axes: Axes) -> None:
    """Hide frame, grid and ticks, and keep the labels of ticks."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
