"""The read-out of views from layers that tell them wholly, or not at all."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.data.batches import Split
from capsbench.data.recorded import Recording
from capsbench.errors import UserError
from capsbench.measures import MeasureEntry, pose_readout
from capsbench.measures._linear_probe import ReadOut
from capsbench.measures.pose_readout import measure
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, Turntable

ENTRY = TypeAdapter[MeasureEntry](MeasureEntry)
SHIFT = {"shift": [-4, 4]}


def entry(**content):
    return ENTRY.validate_python({"measure": "pose-readout", **content})


class Dots(Flat):
    """A wide blob in the middle of 300 images of two classes, 24 x 24."""

    image_shape = (1, 24, 24)
    num_classes = 2

    def load(self):
        rows, place = torch.arange(300), torch.arange(24.0) - 11.5
        blob = torch.exp(-(place[:, None] ** 2 + place**2) / 18)
        images = (255 * blob).round().to(torch.uint8).expand(300, 1, 24, 24).clone()
        whole = Split(images, rows % 2, rows)
        return {"train": whole[:20], "validation": whole[20:40], "test": whole[40:]}


class Centroid(nn.Module):
    """Mean places of the light, x and y (B, 2); always the same number beside."""

    def forward(self, images):
        light = images.sum(dim=1)
        place = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
        total = light.sum(dim=(1, 2))
        return torch.stack(
            [light.sum(1) @ place / total, light.sum(2) @ place / total, torch.ones(len(light))], 1
        )


class Watcher(Model):
    """Names layers of which what they tell is known, and has a pose for each of two classes."""

    def __init__(self, with_poses=True, num_classes=2):
        super().__init__(image_shape=(1, 24, 24), num_classes=num_classes)
        self.centroid = Centroid()
        self.across = nn.Identity()
        self.wide = nn.Conv2d(1, 40, 1)
        self.broken = nn.Identity()
        self.with_poses = with_poses

    def forward(self, images, views=None):
        found = self.centroid(images)
        self.across(found[:, :1])
        self.wide(images)
        self.broken(found / 0)
        scores = torch.zeros(len(images), self.num_classes)
        signs = torch.tensor([1.0, -1.0])[:, None]
        return Prediction(scores, poses=found[:, None] * signs if self.with_poses else None)

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")

    def layers_of_interest(self):
        return {"centroid": LayerOfInterest("centroid", "vector")}


def measured(asked, model, data):
    steps = []
    found = measure(asked, model, data, "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps
    assert all(np.isfinite(list(found.values.values())))
    return found


def test_what_tells_the_shift_and_what_does_not():
    asked = entry(factors=["shift_x", "shift_y"], views=SHIFT, within_class=True)
    found = measured(asked, Watcher(), Dots())
    for factor in ("shift_x", "shift_y"):
        key = f"readout/{factor}"
        assert found.values[f"{key}/r2@centroid"] > 0.98
        assert found.values[f"{key}/r2@pixels"] > 0.9
        assert found.values[f"{key}/r2@probabilities"] == pytest.approx(0, abs=0.1)
        assert found.values[f"{key}/shuffled@centroid"] == pytest.approx(0, abs=0.15)
        # The classes' own axes point to opposite sides.
        assert found.values[f"{key}/r2@true class pose"] == pytest.approx(0, abs=0.15)
        assert found.values[f"readout/within class/{factor}/r2@true class pose"] > 0.98
    assert found.values["readout/width"] == 13  # of 130 training rows
    assert found.values["readout/within class/width"] == 6
    assert any("'centroid'" in note and "2 components" in note for note in found.notes)
    assert found.n == 260
    data = Dots()
    assert found.samples["index"].tolist() == data.split("test").index.tolist()
    assert found.samples["held out"].sum() == 130
    assert found.samples["shift_x"].shape == (260, 1)


def test_factors_are_told_apart():
    asked = entry(factors=["shift_x", "shift_y"], views=SHIFT, layers=["across"])
    found = measured(asked, Watcher(), Dots())
    assert found.values["readout/shift_x/r2@across"] > 0.98
    assert found.values["readout/shift_y/r2@across"] < 0.1


def test_the_view_is_that_of_the_image():
    asked = entry(factors=["shift_x"], views=SHIFT, layers=["centroid"], images=100)
    found = measured(asked, Watcher(), Dots())
    assert found.n == 100
    again = measured(
        entry(factors=["shift_x"], views=SHIFT, layers=["pixels"], images=200), Watcher(), Dots()
    )
    where = np.searchsorted(again.samples["index"], found.samples["index"])
    np.testing.assert_array_equal(found.samples["shift_x"], again.samples["shift_x"][where])
    assert {key.partition("@")[2] for key in found.values} == {"", "centroid"}


def test_a_model_of_scores_alone_and_layers_by_path():
    model = Watcher(with_poses=False)
    asked = entry(factors=["shift_x"], views=SHIFT, layers=["wide", "broken", "pixels"])
    found = measured(asked, model, Dots())
    assert {key.partition("@")[2] for key in found.values} == {"", "wide", "pixels"}
    assert any("'broken'" in note for note in found.notes)
    assert any("23,040" in note and "'wide'" in note for note in found.notes)
    assert found.values["readout/shift_x/r2@wide"] > 0.9  # of some of its numbers
    whole = measured(entry(factors=["shift_x"], views=SHIFT), model, Dots())
    assert not any("true class" in key for key in whole.values)


class Dial(Turntable):
    """Twelve azimuths of six instances; the light of two pixels tells sine and cosine."""

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


def test_recorded_angles_are_read_as_cosine_and_sine():
    data = Dial(test_instances=(1, 2, 3, 4, 5))
    model = Watcher()
    model.image_shape = data.image_shape
    asked = entry(factors=["azimuth", "elevation"], layers=["pixels"])
    found = measured(asked, model, data)
    for key in ("azimuth", "azimuth/cosine", "azimuth/sine"):
        assert found.values[f"readout/{key}/r2@pixels"] > 0.99
        assert found.values[f"readout/{key}/shuffled@pixels"] < 0.2
    assert found.values["readout/elevation/r2@pixels"] < 0.1
    held_out = found.samples["held out"]
    images = data.split("test")
    toys = {
        (int(target), int(instance))
        for target, instance, held in zip(
            images.targets, images.factors["instance"], held_out, strict=True
        )
        if held
    }
    assert len(toys) == 5  # whole toys are held out
    assert held_out.sum() == 5 * 24


class Signed(Dial):
    """Each toy has a sign of its own: what tells the azimuth of one is wrong for the next."""

    def read(self):
        recording = super().read()
        factors = recording.images.factors
        turned = factors["instance"] % 2 == 1
        recording.images.images[turned] = 255 - recording.images.images[turned]
        return recording


def read_within_class(instances):
    """What is read within classes of the azimuth from pixels, where classes have few toys."""
    data = Signed(test_instances=instances, views=ViewRange(elevation=30))
    model = Watcher()
    model.image_shape = data.image_shape
    asked = entry(factors=["azimuth"], layers=["pixels"], within_class=True)
    return measured(asked, model, data)


def test_within_a_class_whole_toys_are_held_out_however_few():
    found = read_within_class((1, 2))
    # Held-out images of the same toy would be read almost without error.
    assert found.values["readout/within class/azimuth/r2@pixels"] < 0
    assert not found.notes


def test_of_a_single_toy_other_images_are_held_out_and_that_is_said():
    found = read_within_class((1,))
    assert found.values["readout/within class/azimuth/r2@pixels"] > 0.1  # by one component
    assert pose_readout.ONE_OBJECT in found.notes


def test_views_choose_among_recorded_images():
    data = Dial(test_instances=(1, 2, 3, 4, 5), views=ViewRange(azimuth=(0, 90)))
    model = Watcher()
    model.image_shape = data.image_shape

    def azimuths(**views):
        asked = entry(factors=["azimuth"], layers=["pixels"], views=views)
        return measured(asked, model, data).n

    assert azimuths() == 10 * 4 * 2  # the familiar ones
    assert azimuths(azimuth=[0, 330]) == 10 * 12 * 2


def test_one_value_has_no_r2():
    data = Dial(test_instances=(1, 2, 3, 4, 5), views=ViewRange(elevation=30))
    model = Watcher()
    model.image_shape = data.image_shape
    found = measured(entry(factors=["azimuth", "elevation"], layers=["pixels"]), model, data)
    assert "readout/azimuth/r2@pixels" in found.values
    assert not any("elevation" in key for key in found.values)
    assert any("elevation" in note for note in found.notes)


def test_too_few_images_are_told():
    data = Dots(limit=8)
    found = measured(entry(factors=["shift_x"], views=SHIFT, within_class=True), Watcher(), data)
    assert found.values == {}
    assert [note for note in found.notes if "got 8" in note]
    assert [note for note in found.notes if "has 4" in note]


def test_what_is_not_recorded_is_refused():
    (asked,) = entry(factors=["azimuth"]).asked
    with pytest.raises(UserError, match="azimuth"):
        Dots().require_views(asked)
    with pytest.raises(UserError, match="azimuth"):
        measured(entry(factors=["azimuth"]), Watcher(), Dots())


def test_the_angle_counts_both_errors():
    """1 - (sum of both errors) / (sum of both spreads), not the mean of both R2."""
    columns = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]]).double()
    r2, none = torch.tensor([0.5, -3.0]).double(), torch.zeros(2).double()
    read = ReadOut(r2, none, none, 1, 1.0, 4, torch.zeros(4, 2))
    found = dict(pose_readout._by_factor(read, {"rotation": columns}, columns.square()))
    assert found["rotation/r2"] == pytest.approx(1 - (0.5 * 4 + 4 * 0.02) / 4.02)
    assert found["rotation/sine/r2"] == -3


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
        "a factor that is still",
        "no views",
        "one azimuth",
        "a layer twice",
        "no width",
        "too few",
    ],
)
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        entry(**content)
