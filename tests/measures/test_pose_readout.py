"""Pose read-out from layers that encode the view completely, or not at all."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.data.batches import Split
from capsbench.data.randomness import views_by_index
from capsbench.data.recorded import Recording
from capsbench.errors import UserError
from capsbench.measures import load_measure
from capsbench.measures._linear_probe import ProbeResult
from capsbench.measures._probe_values import ONE_OBJECT, scores
from capsbench.values import select
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, Turntable
from tests.measures.computing import compute, number

NAME = "pose-readout"
SHIFT = {"shift": [-4, 4]}
PER_CLASS = {"fit": "per class"}


class Dots(Flat):
    """A wide blob in the middle of 300 images of two classes, 24 x 24."""

    image_shape = (1, 24, 24)
    num_classes = 2
    class_names = ("a", "b")

    def load(self):
        rows, place = torch.arange(300), torch.arange(24.0) - 11.5
        blob = torch.exp(-(place[:, None] ** 2 + place**2) / 18)
        images = (255 * blob).round().to(torch.uint8).expand(300, 1, 24, 24).clone()
        whole = Split(images, rows % 2, rows)
        return {"train": whole[:20], "validation": whole[20:40], "test": whole[40:]}


class Centroid(nn.Module):
    """Mean position of the light, x and y, and a constant, (B, 3)."""

    def forward(self, images):
        light = images.sum(dim=1)
        position = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
        total = light.sum(dim=(1, 2))
        return torch.stack(
            [
                light.sum(1) @ position / total,
                light.sum(2) @ position / total,
                torch.ones(len(light)),
            ],
            1,
        )


class CentroidModel(Model):
    """Has layers of known content, and a pose for each of two classes."""

    def __init__(self, with_poses=True, num_classes=2):
        super().__init__(image_shape=(1, 24, 24), num_classes=num_classes)
        self.centroid = Centroid()
        self.across = nn.Identity()
        self.wide = nn.Conv2d(1, 40, 1)
        self.broken = nn.Identity()
        self.with_poses = with_poses

    def forward(self, images, views=None):
        centroid = self.centroid(images)
        self.across(centroid[:, :1])
        self.wide(images)
        self.broken(centroid / 0)
        scores = torch.zeros(len(images), self.num_classes)
        signs = torch.tensor([1.0, -1.0])[:, None]
        return Prediction(scores, poses=centroid[:, None] * signs if self.with_poses else None)

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")

    def layers_of_interest(self):
        return {"centroid": LayerOfInterest("centroid", "vector")}


def measured(model, data, **arguments):
    return compute(NAME, model, data, **arguments)


def layers_of(result):
    return {value.layer for value in result.values}


@pytest.fixture(scope="module")
def shifted():
    """Return the result for two shifts, over all classes and within classes."""
    factors = ["shift_x", "shift_y"]
    return measured(CentroidModel(), Dots(), factors=factors, views=SHIFT, within_class=True)


@pytest.mark.parametrize("factor", ["shift_x", "shift_y"])
def test_the_shift_is_predicted_from_layers_that_encode_it(shifted, factor):
    def r2(layer, metric="r2", **condition):
        return number(shifted, metric=metric, factor=factor, layer=layer, **condition)

    assert r2("centroid") > 0.98
    assert r2("pixels") > 0.9
    assert r2("probabilities") == pytest.approx(0, abs=0.1)
    assert r2("centroid", "shuffled_r2") == pytest.approx(0, abs=0.15)
    # The axes of the two classes point to opposite sides.
    assert r2("true class pose") == pytest.approx(0, abs=0.15)
    assert r2("true class pose", **PER_CLASS) > 0.98


def test_width_images_and_arrays(shifted):
    assert number(shifted, metric="width") == 13  # of 130 training rows
    assert number(shifted, metric="width", **PER_CLASS) == 6
    assert any("'centroid'" in note and "2 components" in note for note in shifted.notes)
    fields = {"factor": "shift_x", "layer": "centroid", "fit": None}
    arrays, (r2,) = shifted.per_image, select(shifted.values, metric="r2", **fields)
    assert arrays["image"].tolist() == Dots().split("test").index.tolist()
    assert arrays["held_out"].sum() == 130 == r2.n
    assert arrays["shift_x"].shape == (260, 1)
    assert arrays["index"].tolist() == arrays["image"][arrays["held_out"]].tolist()
    influence = arrays["r2[factor=shift_x,layer=centroid]"]
    assert influence.shape == (130,)
    assert influence.mean() == pytest.approx(r2.value)


def test_factors_are_predicted_separately():
    factors = ["shift_x", "shift_y"]
    result = measured(CentroidModel(), Dots(), factors=factors, views=SHIFT, layers=["across"])
    assert number(result, metric="r2", factor="shift_x", layer="across") > 0.98
    assert number(result, metric="r2", factor="shift_y", layer="across") < 0.1


def test_tilts_are_predicted_from_pixels_and_not_from_each_other():
    views = {"tilt_x": [-60, 60], "tilt_y": [-60, 60]}
    result = measured(
        CentroidModel(), Dots(), factors=["tilt_x", "tilt_y"], views=views, layers=["pixels"]
    )
    table = views_by_index(
        ViewRange.model_validate(views), Dots().split("test").index, "views to read out"
    )
    assert table.tilt is not None
    for column, factor in enumerate(("tilt_x", "tilt_y")):
        assert number(result, metric="r2", factor=factor, layer="pixels") > 0.9
        np.testing.assert_array_equal(result.per_image[factor][:, 0], table.tilt[:, column])


def test_the_view_is_a_function_of_the_image():
    arguments = {"factors": ["shift_x"], "views": SHIFT}
    some = measured(CentroidModel(), Dots(), layers=["centroid"], images=100, **arguments)
    more = measured(CentroidModel(), Dots(), layers=["pixels"], images=200, **arguments)
    assert len(some.per_image["image"]) == 100
    rows = np.searchsorted(more.per_image["image"], some.per_image["image"])
    np.testing.assert_array_equal(some.per_image["shift_x"], more.per_image["shift_x"][rows])
    assert layers_of(some) == {None, "centroid"}


def test_a_model_without_poses_and_layers_by_path():
    model = CentroidModel(with_poses=False)
    arguments = {"factors": ["shift_x"], "views": SHIFT}
    result = measured(model, Dots(), layers=["wide", "broken", "pixels"], **arguments)
    assert layers_of(result) == {None, "wide", "pixels"}
    assert any("'broken'" in note for note in result.notes)
    assert any("23,040" in note and "'wide'" in note for note in result.notes)
    # The shift is predicted from some of the numbers.
    assert number(result, metric="r2", factor="shift_x", layer="wide") > 0.9
    assert "true class pose" not in layers_of(measured(model, Dots(), **arguments))


class Dial(Turntable):
    """Twelve azimuths of six instances; two pixels encode sine and cosine."""

    def read(self):
        grid = torch.cartesian_prod(
            torch.arange(2), torch.arange(6), torch.arange(0, 360, 30), torch.tensor([30, 40])
        )
        targets, instance, azimuth, elevation = grid.unbind(-1)
        images = torch.full((len(grid), 1, 8, 8), 20, dtype=torch.uint8)
        radians = torch.deg2rad(azimuth.double())
        images[:, 0, 0, 0] = (127 + 120 * radians.sin()).to(torch.uint8)
        images[:, 0, 7, 7] = (127 + 120 * radians.cos()).to(torch.uint8)
        images[:, 0, 3, 3] = (10 * instance).to(torch.uint8)
        factors = {"azimuth": azimuth, "elevation": elevation, "instance": instance}
        return Recording(Split(images, targets, torch.arange(len(grid)), factors))


def measured_pixels(data, factors=("azimuth",), **arguments):
    """Measure the pixels of a recorded set."""
    model = CentroidModel()
    model.image_shape = data.image_shape
    return measured(model, data, factors=list(factors), layers=["pixels"], **arguments)


ALL_INSTANCES = (1, 2, 3, 4, 5)


def test_recorded_angles_are_predicted_as_cosine_and_sine():
    data = Dial(test_instances=ALL_INSTANCES)
    result = measured_pixels(data, ["azimuth", "elevation"])
    for component in ({}, {"component": "cosine"}, {"component": "sine"}):
        fields = {"factor": "azimuth", "layer": "pixels", **component}
        assert number(result, metric="r2", **fields) > 0.99
        assert number(result, metric="shuffled_r2", **fields) < 0.2
    assert number(result, metric="r2", factor="elevation", layer="pixels") < 0.1


def test_objects_are_held_out_with_all_their_images():
    data = Dial(test_instances=ALL_INSTANCES)
    held_out = measured_pixels(data).per_image["held_out"]
    images = data.split("test")
    pairs = zip(images.targets, images.factors["instance"], held_out, strict=True)
    objects = {(int(target), int(instance)) for target, instance, selected in pairs if selected}
    assert len(objects) == 5
    assert held_out.sum() == 5 * 24


class Signed(Dial):
    """Each object has its own sign: a fit to one object is wrong for the next."""

    def read(self):
        recording = super().read()
        factors = recording.images.factors
        inverted = factors["instance"] % 2 == 1
        recording.images.images[inverted] = 255 - recording.images.images[inverted]
        return recording


def measured_within_class(instances):
    """Measure within classes the azimuth from pixels, with few objects per class."""
    data = Signed(test_instances=instances, views=ViewRange(elevation=30))
    return measured_pixels(data, within_class=True)


def test_within_a_class_of_two_objects_one_is_held_out():
    result = measured_within_class((1, 2))
    # Held-out images of the same object would be predicted almost without error.
    assert number(result, metric="r2", factor="azimuth", layer="pixels", **PER_CLASS) < 0
    assert not result.notes


def test_of_a_single_object_images_are_held_out_with_a_note():
    result = measured_within_class((1,))
    # By one component.
    assert number(result, metric="r2", factor="azimuth", layer="pixels", **PER_CLASS) > 0.1
    assert ONE_OBJECT in result.notes


def test_views_select_recorded_images():
    data = Dial(test_instances=ALL_INSTANCES, views=ViewRange(azimuth=(0, 90)))
    familiar = measured_pixels(data, views={})
    assert len(familiar.per_image["image"]) == 10 * 4 * 2
    every = measured_pixels(data, views={"azimuth": [0, 330]})
    assert len(every.per_image["image"]) == 10 * 12 * 2


def test_a_constant_factor_has_no_r2():
    data = Dial(test_instances=ALL_INSTANCES, views=ViewRange(elevation=30))
    result = measured_pixels(data, ["azimuth", "elevation"])
    assert number(result, metric="r2", factor="azimuth", layer="pixels")
    assert not select(result.values, factor="elevation")
    assert any("elevation" in note for note in result.notes)


def test_too_few_images_are_not_measured():
    arguments = {"factors": ["shift_x"], "views": SHIFT, "within_class": True}
    result = measured(CentroidModel(), Dots(limit=8), **arguments)
    assert result.values == []
    assert [note for note in result.notes if "got 8" in note]
    assert [note for note in result.notes if "has 4" in note]


def config(**content):
    return load_measure(NAME).config.model_validate({"measure": NAME, **content})


def test_factors_that_are_not_recorded_are_refused():
    (views,) = config(factors=["azimuth"]).required_views
    with pytest.raises(UserError, match="azimuth"):
        Dots().require_views(views)
    with pytest.raises(UserError, match="azimuth"):
        measured(CentroidModel(), Dots(), factors=["azimuth"])


def test_r2_of_an_angle_counts_the_errors_of_both_components():
    """Compare with 1 - (sum of both errors) / (sum of both spreads), not the mean of both R²."""
    columns = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]]).double()
    r2, none = torch.tensor([0.5, -3.0]).double(), torch.zeros(2).double()
    probed = ProbeResult(r2, none, none, 1, 1.0, 4, torch.zeros(4, 2))
    by_name = {
        quantity.name: value
        for quantity, value in scores("a", probed, {"rotation": columns}, columns.square())
    }
    expected = 1 - (0.5 * 4 + 4 * 0.02) / 4.02
    assert by_name["r2[factor=rotation,layer=a]"] == pytest.approx(expected)
    assert by_name["r2[factor=rotation,layer=a,component=sine]"] == -3


@pytest.mark.parametrize(
    "content",
    [
        {"factors": []},
        {"factors": ["instance"]},
        {"factors": ["shift_x", "shift_x"], "views": SHIFT},
        {"factors": ["rotation"], "views": SHIFT},
        {"factors": ["rotation"]},
        {"factors": ["azimuth"], "views": {"azimuth": 30}},
        {"factors": ["shift_x"], "views": SHIFT, "layers": ["a", "a"]},
        {"factors": ["shift_x"], "views": SHIFT, "width": 0},
        {"factors": ["shift_x"], "views": SHIFT, "images": 3},
    ],
    ids=[
        "no factor",
        "no number",
        "a factor twice",
        "a constant factor",
        "no views",
        "one azimuth",
        "a layer twice",
        "no width",
        "too few images",
    ],
)
def test_bad_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        config(**content)
