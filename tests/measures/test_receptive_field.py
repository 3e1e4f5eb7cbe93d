"""Positions that do not see the border of the image."""

import pytest
import torch
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.measures._receptive_field import interior_positions, scalar_field


class Maps(Model):
    """A sequence of modules, the layer ``last``."""

    def __init__(self, *modules, standardised=False):
        super().__init__(image_shape=(1, 12, 12), num_classes=2)
        torch.manual_seed(0)
        self.last = nn.Sequential(*modules)
        self.standardised = standardised

    def forward(self, images, views=None):
        if self.standardised:
            mean, std = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
            images = (images - mean) / std
        return Prediction(self.last(images).mean(dim=(2, 3)))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


IMAGES = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def inside(model):
    (positions,) = interior_positions(
        model, {"last": LayerOfInterest("last", "map")}, IMAGES
    ).values()
    rows, columns = positions.any(dim=1), positions.any(dim=0)
    assert torch.equal(positions, rows[:, None] & columns)
    assert torch.equal(rows, columns)
    return rows.nonzero()[:, 0].tolist()


def conv(width, **arguments):
    torch.manual_seed(width)
    return nn.Conv2d(1, 1, width, **arguments)


@pytest.mark.parametrize("standardised", [False, True], ids=["plain", "standardised"])
def test_places_that_see_the_border_and_their_neighbours_are_left_out(standardised):
    def positions(*modules):
        return inside(Maps(*modules, standardised=standardised))

    assert positions(nn.Identity()) == list(range(2, 10))
    # A position sees one more pixel on each side, with zero padding and without.
    assert positions(conv(3, padding=1)) == list(range(3, 9))
    assert positions(conv(3)) == list(range(2, 8))
    # Of six positions, at every second pixel, the first and the last see the border.
    assert positions(conv(3, stride=2, padding=1)) == [2, 3]
    # Two kernels of 3 see as far as one of 5.
    assert positions(conv(3, padding=1), nn.ReLU(), conv(3, padding=1)) == list(range(4, 8))


def test_no_place_is_left_if_every_place_sees_the_border():
    class Centred(nn.Module):
        def forward(self, maps):
            return maps - maps[..., :1, :1]

    assert inside(Maps(Centred())) == []


def test_dropout_is_off_and_the_mode_is_restored():
    model = Maps(nn.Dropout(0.5)).train()
    assert inside(model) == list(range(2, 10))
    assert model.training


def test_maps_and_presences_are_scalar_fields():
    def layer(kind):
        return LayerOfInterest("x", kind)

    maps, presences, poses = (
        torch.rand(2, 3, 5, 4),
        torch.rand(2, 5, 4, 3),
        torch.rand(2, 5, 4, 3, 8),
    )
    assert scalar_field(layer("map"), maps) is maps
    field = scalar_field(layer("presence"), presences)
    assert field is not None
    assert torch.equal(field[:, 2], presences[..., 2])
    assert scalar_field(layer("presence"), torch.rand(2, 3)) is None
    assert scalar_field(layer("pose"), poses) is None
    assert scalar_field(layer("vector"), torch.rand(2, 3)) is None
