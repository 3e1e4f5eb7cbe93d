"""Places that do not look at the border of the image."""

import pytest
import torch
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.measures._receptive_field import as_map, places_inside


class Maps(Model):
    """One module after the other; the last has the name ``last``."""

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
    (found,) = places_inside(model, {"last": LayerOfInterest("last", "map")}, IMAGES).values()
    rows, columns = found.any(dim=1), found.any(dim=0)
    assert torch.equal(found, rows[:, None] & columns)
    assert torch.equal(rows, columns)
    return rows.nonzero()[:, 0].tolist()


def conv(width, **arguments):
    torch.manual_seed(width)
    return nn.Conv2d(1, 1, width, **arguments)


@pytest.mark.parametrize("standardised", [False, True], ids=["as it is", "standardised"])
def test_the_border_and_one_place_beside_it_are_left_out(standardised):
    def places(*modules):
        return inside(Maps(*modules, standardised=standardised))

    assert places(nn.Identity()) == list(range(2, 10))
    # A place sees one more pixel on each side, whether zeros are there or the map ends.
    assert places(conv(3, padding=1)) == list(range(3, 9))
    assert places(conv(3)) == list(range(2, 8))
    # Of six places, at every second pixel, the first and the last see the border.
    assert places(conv(3, stride=2, padding=1)) == [2, 3]
    # Twice by 3 is once by 5.
    assert places(conv(3, padding=1), nn.ReLU(), conv(3, padding=1)) == list(range(4, 8))


def test_where_everything_sees_everything_no_place_is_left():
    class Centred(nn.Module):
        def forward(self, maps):
            return maps - maps[..., :1, :1]

    assert inside(Maps(Centred())) == []


def test_dropout_is_off_and_the_mode_stays():
    model = Maps(nn.Dropout(0.5)).train()
    assert inside(model) == list(range(2, 10))
    assert model.training


def test_maps_are_scalar_fields():
    def layer(kind):
        return LayerOfInterest("x", kind)

    maps, presences, poses = (
        torch.rand(2, 3, 5, 4),
        torch.rand(2, 5, 4, 3),
        torch.rand(2, 5, 4, 3, 8),
    )
    assert as_map(layer("map"), maps) is maps
    found = as_map(layer("presence"), presences)
    assert found is not None
    assert torch.equal(found[:, 2], presences[..., 2])
    assert as_map(layer("presence"), torch.rand(2, 3)) is None
    assert as_map(layer("pose"), poses) is None
    assert as_map(layer("vector"), torch.rand(2, 3)) is None
