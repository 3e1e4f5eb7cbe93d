"""Evaluation images by split and view."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from capsbench.data.recorded import Recording
from capsbench.errors import UserError
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.joint import JointView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from tests.data.made_up import Flat, OfficialTurntable, evaluated_images

WILD = ViewRange(rotation=[-180, 180], shift=[-2, 2], brightness=[-0.2, 0.2], contrast=[0.5, 1.5])


def test_an_image_does_not_depend_on_the_others_of_its_batch(monkeypatch):
    whole = evaluated_images(Flat(views=WILD), "test")
    few = evaluated_images(Flat(views=WILD, limit=4, seed=5), "test")
    monkeypatch.setattr("capsbench.data.evaluation.EVALUATION_BATCH", 2)
    in_pairs = evaluated_images(Flat(views=WILD), "test")
    assert len(few) == 4
    for other in (few, in_pairs):
        for number, image in other.items():
            torch.testing.assert_close(image, whole[number], atol=1e-6, rtol=0)


class Copies(TorchDispatchMode):
    """Counts the bytes of pixels that go to another device."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].dtype == torch.uint8:
            self.bytes += args[0].nbytes if args[0].device != out.device else 0
        return out


def test_pixels_go_to_the_device_once_however_many_views_are_seen():
    data = Flat()
    with Copies() as copies:
        for degrees in (0.0, 10.0, 90.0):
            for batch in data.evaluation.batches("test", "meta", GridView("rotation", degrees)):
                assert batch.images.device.type == "meta"
    assert copies.bytes == data.split("test").images.nbytes


def test_ranges_share_their_draws():
    """A range twice as wide turns each image twice as far: tests differ in nothing else."""
    narrow = Views.draw(ViewRange(rotation=[-10, 10]), 15, torch.Generator().manual_seed(0))
    wide = Views.draw(ViewRange(rotation=[-20, 20]), 15, torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide.rotation, 2 * narrow.rotation)
    data = Flat()
    one = evaluated_images(data, "test", ViewRange(rotation=90))
    for number, image in evaluated_images(data, "test", GridView("rotation", 90.0)).items():
        assert torch.equal(one[number], image)


def test_a_novel_split_of_the_set_is_not_moved():
    class WithNovel(Flat):
        with_novel = True

    moved = WithNovel(views=ViewRange(shift={"values": [3]}))
    stored = moved.split("novel").images.float() / 255
    for number, image in evaluated_images(moved, "novel").items():
        assert torch.equal(image, stored[number])
    assert not torch.equal(next(iter(evaluated_images(moved, "test").values())), stored[0])


def test_a_recorded_view_of_a_grid_selects_images():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    numbers = evaluated_images(data, "test", GridView("azimuth", 180.0)).keys()
    assert {number // 2 % 4 for number in numbers} == {2}
    # A warp is tested on images of familiar views.
    numbers = evaluated_images(data, "test", GridView("rotation", 180.0)).keys()
    assert {number // 2 % 4 for number in numbers} == {0, 1}
    with pytest.raises(
        UserError,
        match="azimuth, elevation, instance",
    ):
        data.require_views(GridView("lighting", 1.0))


def test_views_of_a_range_select_images():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    split = data.split("test")
    assert len(data.evaluation.view_rows("test", None)) == 32
    chosen = split[data.evaluation.view_rows("test", ViewRange(azimuth=180))]
    assert set(chosen.factors["azimuth"].tolist()) == {180}
    # Other factors are as in training.
    chosen = split[data.evaluation.view_rows("test", ViewRange(elevation=30))]
    assert set(chosen.factors["azimuth"].tolist()) == {0, 90}
    with pytest.raises(UserError, match=r"turntable.*azimuth"):
        data.evaluation.view_rows("test", ViewRange(azimuth=45))


def test_a_joint_view_selects_images_by_both_recorded_factors():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    view = JointView((GridView("azimuth", 180.0), GridView("elevation", 40.0)))
    images = data.split("test")[data.evaluation.view_rows("test", view)]
    assert set(images.factors["azimuth"].tolist()) == {180}
    assert set(images.factors["elevation"].tolist()) == {40}
    assert len(images) == 4
    lit = JointView((GridView("azimuth", 180.0), GridView("lighting", 1.0)))
    with pytest.raises(UserError, match="lighting"):
        data.evaluation.view_rows("test", lit)


def test_a_joint_view_warps_the_images_that_it_selects():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    turned = JointView((GridView("rotation", 90.0), GridView("azimuth", 180.0)))
    plain = evaluated_images(data, "test", GridView("azimuth", 180.0))
    images = evaluated_images(data, "test", turned)
    assert images.keys() == plain.keys()
    for number, image in images.items():
        assert torch.equal(image, torch.rot90(plain[number], 1, (1, 2)))


def test_a_joint_view_of_the_object_leaves_the_background():
    data = OfficialTurntable()
    components = (GridView("shift_x", 2.0, "object"), GridView("rotation", 90.0, "object"))
    images = evaluated_images(data, "test", JointView(components)).values()
    expected = torch.full((1, 8, 8), 100 / 255)
    expected[:, 1:3, 2:4] = 0  # uncovered
    expected[:, 1:3, 4:6] = 200 / 255
    assert all(torch.allclose(image, expected) for image in images)


def test_a_combination_that_was_not_recorded_is_refused():
    class Incomplete(OfficialTurntable):
        """The cow and the cup are not seen from azimuth 270 at elevation 40."""

        def read(self):
            recording = super().read()
            factors = recording.images.factors
            kept = (factors["azimuth"] != 270) | (factors["elevation"] != 40)
            assert recording.official_test is not None
            return Recording(recording.images[kept], recording.official_test[kept])

    rows = Incomplete().evaluation.view_rows
    azimuth, elevation = GridView("azimuth", 270.0), GridView("elevation", 40.0)
    assert len(rows("test", azimuth)) and len(rows("test", elevation))
    with pytest.raises(UserError, match=r"no test image of turntable.*azimuth 270; elevation 40"):
        rows("test", JointView((azimuth, elevation)))
