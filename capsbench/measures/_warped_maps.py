"""Spatial equivariance error: whether a feature map moves as the image does."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from capsbench.errors import UserError
from capsbench.measures._invariance import Invariance, InvarianceError, invariance_error
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Size, warp


def spatial_equivariance_error(
    maps_x: Tensor,
    maps_gx: Tensor,
    view: Views,
    image_size: Size,
    *,
    stride: float = 1.0,
    offset: float = 0.0,
    margin: float = 0.0,
    classes: Tensor | None = None,
) -> Invariance:
    """How equivariant feature maps are under a view: f(Tx) = T f(x) (article, eq. 3).

    The error is sqrt(E d²(f(T_g x), T_g f(x))) over the geometric mean of sqrt(E d²(T_g f(x),
    T_g f(x'))) and sqrt(E d²(f(T_g x), f(T_g x'))), x' another image: `invariance_error` of maps
    that were moved back onto each other. T_g moves the places of a map as it moves the pixels that
    they look at; all distances are taken over the same places, those that `inside` leaves. A
    constant map, or a view that leaves no place, is NaN, told as 'undefined'.

    Where the view moves places between places, T_g f(x) is interpolated bilinearly, and the error
    holds what that blurs, half of `interpolation_error` or more. Shifts by whole strides blur
    nothing, nor do quarter turns where the map lies in the middle of the image.

    Args:
        maps_x: (N, C, H, W), of images. The presences of capsules are scalar fields, one per type,
            and are treated as maps: (N, H, W, C) has to be permuted.
        maps_gx: (N, C, H, W), of the same images from the view.
        view: One view for all images; it moves the whole image and does nothing else.
        image_size: (height, width) of the images, in pixels: what a view turns about is theirs.
        stride: Pixels from one place to the next; see `capsbench.contracts.LayerOfInterest`.
        offset: Pixel, in x and y, of the centre of the first place.
        margin: Places at the border that are left out, before and after the view: half the width
            of a receptive field in places, where it reaches beyond the image's border.
        classes: (N,) class indices, for the version with another image of the same class.

    Raises:
        UserError: There are several views, or the view moves a part, or changes the light.
    """
    size = (maps_x.shape[-2], maps_x.shape[-1])
    move = MapMove.of(view, size, image_size, stride=stride, offset=offset, margin=margin)
    return invariance_error(*move.pair(maps_x, maps_gx), classes)


def interpolation_error(
    maps_x: Tensor,
    view: Views,
    image_size: Size,
    *,
    stride: float = 1.0,
    offset: float = 0.0,
    margin: float = 0.0,
) -> Invariance:
    """What is lost where maps are moved by a view and back, on the scale of the errors above.

    Even a map that moves as the image does, but is known at its places only, has about half of it
    as its spatial equivariance error, which interpolates once. Arguments and errors are those of
    `spatial_equivariance_error`.
    """
    size = (maps_x.shape[-2], maps_x.shape[-1])
    move = MapMove.of(view, size, image_size, stride=stride, offset=offset, margin=margin)
    return invariance_error(*move.there_and_back(maps_x))


class MapMove(NamedTuple):
    """How a view moves the places of a map, and which places can be compared then.

    Attributes:
        matrix: (1, 3, 3) from `map_matrix`; on the CPU, where it is known without waiting whether
            it is exact.
        places: (H, W) bool, what shows of the map after it was moved.
        back: (1, 3, 3), the way back.
        returned: (H, W) bool, what shows again after the way back.
    """

    matrix: Tensor
    places: Tensor
    back: Tensor
    returned: Tensor

    @classmethod
    def of(
        cls,
        view: Views,
        size: Size,
        image_size: Size,
        *,
        stride: float = 1.0,
        offset: float = 0.0,
        margin: float = 0.0,
    ) -> Self:
        """A view on maps of a size (H, W); see `spatial_equivariance_error`."""
        matrix = map_matrix(view, image_size, stride, offset)
        back = torch.linalg.inv(matrix)
        # What went outside does not come back: only places made of such as were inside both times.
        again = warp(inside(matrix, size)[None, None].double(), back)[0, 0]
        returned = inside(back, size, margin) & (again > 1 - 1e-6)
        return cls(matrix, inside(matrix, size, margin), back, returned)

    def pair(self, maps_x: Tensor, maps_gx: Tensor) -> tuple[Tensor, Tensor]:
        """T_g f(x) and f(T_g x), of maps (N, C, H, W), 0 at the places that cannot be compared."""
        return _at(warp(maps_x, self.matrix), self.places), _at(maps_gx, self.places)

    def there_and_back(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, C, H, W), and what is left of them after both ways, 0 where nothing is known."""
        again = warp(warp(maps, self.matrix), self.back)
        return _at(maps, self.returned), _at(again, self.returned)


def map_matrix(view: Views, image_size: Size, stride: float, offset: float) -> Tensor:
    """A view as a transformation of the places of a map: place q looks at pixel offset + stride q.

    Args:
        view: One view.
        image_size: (height, width) of the images, in pixels.
        stride: Pixels from one place to the next.
        offset: Pixel, in x and y, of the centre of the first place.

    Returns:
        (1, 3, 3) float64, for `capsbench.viewpoint.warp.warp`; whole numbers where the view moves
        places onto places.

    Raises:
        UserError: There are several views, or the view moves a part, or changes the light.
    """
    if len(view) != 1 or view.window is not None or view.has_photometric:
        raise UserError(
            "spatial equivariance needs one view that moves the whole image and changes no light; "
            f"got {len(view)} views, {'of a part' if view.window is not None else 'of it all'}"
            f"{', with brightness or contrast' if view.has_photometric else ''}: measure linear equivariance "
            "of other views"
        )
    matrix = view.matrices(*image_size)
    # One division of what is exact, so that whole places stay whole whatever the stride.
    shift = matrix[:, :2, :2].sum(dim=2) * offset + matrix[:, :2, 2] - offset
    matrix[:, :2, 2] = shift / stride
    return matrix


def inside(matrix: Tensor, size: Size, margin: float = 0.0) -> Tensor:
    """Which places of a moved map show what was inside of it.

    Args:
        matrix: (1, 3, 3) from `map_matrix`.
        size: (H, W) of the map.
        margin: Places at the border that count as outside, both of the map and of its source.

    Returns:
        (H, W) bool, on the device of ``matrix``.
    """
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).to(matrix)
    sources = places @ torch.linalg.inv(matrix[0]).T
    last = places.new_tensor([width - 1, height - 1])
    # Half a millionth of a place: the inverse of a quarter turn is not exact.
    low, high = margin - 5e-7, last - margin + 5e-7
    both = torch.stack([places[..., :2], sources[..., :2]])
    return ((both >= low) & (both <= high)).all(dim=-1).all(dim=0)


class SpatialEquivarianceError(InvarianceError):
    """`spatial_equivariance_error` of one view, summed up over batches and processes.

    Args:
        view: One view for all images.
        map_shape: (C, H, W) of the maps.
        image_size: (height, width) of the images, in pixels.
        stride: Pixels from one place to the next.
        offset: Pixel, in x and y, of the centre of the first place.
        margin: Places at the border that are left out.
        num_classes: K, for the version with another image of the same class.
        **kwargs: Arguments of ``torchmetrics.Metric``.

    Raises:
        UserError: There are several views, or the view moves a part, or changes the light.
    """

    def __init__(
        self,
        view: Views,
        map_shape: tuple[int, int, int],
        image_size: Size,
        *,
        stride: float = 1.0,
        offset: float = 0.0,
        margin: float = 0.0,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        channels, height, width = map_shape
        size = (height, width)
        move = MapMove.of(view, size, image_size, stride=stride, offset=offset, margin=margin)
        super().__init__(channels * height * width, num_classes, **kwargs)
        self.move = move

    def update(self, maps_x: Tensor, maps_gx: Tensor, classes: Tensor | None = None) -> None:
        """Take in maps (N, C, H, W) of some images, and of the same images from the view."""
        super().update(*self.move.pair(maps_x, maps_gx), classes)


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (N, C, H, W) with 0 outside of places (H, W): of one size, whatever the view."""
    return maps.where(places.to(maps.device), 0)
