"""ToyNORB as a data module: rendered once, cached, divided as smallNORB, with exact poses."""

import numpy as np
import pytest
import torch

from capsbench.capsules.kernels.code_cache import cache_folder
from capsbench.datamodules import toynorb
from capsbench.datamodules._toynorb_grid import render_grid
from capsbench.datamodules._toys import all_toys
from capsbench.datamodules.toynorb import ToyNORB, checksum
from capsbench.errors import UserError
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.joint import JointGrid, JointView
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules.properties import objects, require_disjoint, require_same_views, splits

HINTON = {"azimuth": {"values": [300, 320, 340, 0, 20, 40]}}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder for this file's small images."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "capsbench" / "toynorb"


def small(**arguments):
    return ToyNORB(**{"size": 8, **arguments})


def test_the_division_is_smallnorbs():
    data = small(views=ViewRange(**HINTON))
    assert [len(split) for split in splits(data)] == [6480, 1620, 24_300]
    assert len(data.split("familiar")) == 8100
    assert len(data.split("novel")) == 16_200
    instances = [set(split.factors["instance"].tolist()) for split in splits(data)]
    assert instances == [{4, 6, 7, 8}, {9}, {0, 1, 2, 3, 5}]
    assert set(data.split("train").factors["azimuth"].tolist()) == {300, 320, 340, 0, 20, 40}
    assert torch.bincount(data.split("novel").targets).tolist() == [3240] * 5


def test_the_properties_of_every_set(monkeypatch):
    parts = splits(small())
    require_disjoint(parts, one_source=True)
    assert objects(parts[0]).isdisjoint(objects(parts[1]) | objects(parts[2]))
    views = ViewRange(rotation=(-9, 9))
    require_same_views(lambda **more: small(**{"views": views, "limit": 60, **more}), monkeypatch)


def test_it_is_rendered_once(monkeypatch, cache):
    first = small().split("test").images
    monkeypatch.setattr(toynorb, "render_grid", lambda *_, **__: pytest.fail("rendered again"))
    assert torch.equal(small().split("test").images, first)
    files = sorted(cache.glob("*.npz"))
    damaged = bytearray(files[0].read_bytes())
    damaged[-100] ^= 1
    original = files[0].read_bytes()
    files[0].write_bytes(damaged)
    with pytest.raises(UserError, match="is damaged: expected SHA-256"):
        small().split("test")
    files[0].write_bytes(original)


def test_images_are_those_of_the_grid_with_their_factors():
    grid = render_grid(8)
    data = small()
    for name in ("train", "test"):
        split = data.split(name)
        rows = split.index
        assert torch.equal(split.images, grid.images[rows])
        assert torch.equal(split.targets, grid.category[rows])
        for factor in ("azimuth", "elevation", "lighting", "instance"):
            assert torch.equal(split.factors[factor], getattr(grid, factor)[rows])


def test_poses_turn_with_the_azimuth():
    """Between two images of a toy, the object turns about its own vertical axis, by the azimuth."""
    split = small().split("test")
    assert split.poses is not None
    f = split.factors
    same = (f["elevation"] == 40) & (f["lighting"] == 2) & (f["instance"] == 3)
    still = split[same & (f["azimuth"] == 0)]
    turned = split[same & (f["azimuth"] == 60)]
    assert still.poses is not None and turned.poses is not None
    angle = np.deg2rad(60)
    expected = torch.eye(4)
    expected[:2, :2] = torch.tensor(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    between = still.poses[:, 0].inverse() @ turned.poses[:, 0]
    torch.testing.assert_close(
        between[:, :3, :3], expected[:3, :3].expand(5, 3, 3), atol=1e-4, rtol=0
    )
    # Parts stay in their places on the object.
    places = [poses[:, :1].inverse() @ poses[:, 1:] for poses in (still.poses, turned.poses)]
    torch.testing.assert_close(*places, atol=1e-4, rtol=0)


def test_distance_is_a_factor():
    data = small(distances=(1.0, 1.7), views=ViewRange(distance=1.0))
    assert len(data.split("test")) == 48_600
    far = data.split("novel")
    assert set(far.factors["distance"].tolist()) == {1.7}
    near = data.split("familiar")
    assert far.masks is not None and near.masks is not None
    assert far.masks.sum() < 0.5 * near.masks.sum()
    assert len(data.evaluation.view_rows("test", GridView("distance", 1.7))) == 24_300


def test_every_azimuth_is_recorded_at_every_elevation():
    data = small(views=ViewRange(**HINTON, elevation={"values": [30, 35, 40]}))
    grid = JointGrid.model_validate(
        {
            "azimuth": {"start": 0, "stop": 340, "step": 20},
            "elevation": {"start": 30, "stop": 70, "step": 5},
        }
    )
    rows = [data.evaluation.view_rows("test", view) for view in grid.views()]
    assert {len(each) for each in rows} == {150}
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(24_300))
    images = data.split("test")[rows[grid.views().index(_from(40, 30))]]
    assert set(images.factors["azimuth"].tolist()) == {40}
    assert set(images.factors["elevation"].tolist()) == {30}
    with pytest.raises(UserError, match="azimuth 40; elevation 32"):
        data.evaluation.view_rows("test", _from(40, 32))


def _from(azimuth, elevation):
    return JointView((GridView("azimuth", azimuth), GridView("elevation", elevation)))


def test_rearranged_toys_correspond_to_whole_toys():
    data = small(limit=1000)
    whole, picasso = data.split("test"), data.split("rearranged")
    assert torch.equal(whole.index, picasso.index)
    assert torch.equal(whole.targets, picasso.targets)
    for name in whole.factors:
        assert torch.equal(whole.factors[name], picasso.factors[name])
    assert (whole.images != picasso.images).float().mean() > 0.05
    assert whole.poses is not None and picasso.poses is not None
    assert not torch.allclose(whole.poses, picasso.poses)
    # The training images stay whole: one training is tested on both.
    assert "rearranged" not in data.identity.checksum


def test_stereo_and_crop():
    stereo = small(stereo=True, crop=6)
    assert stereo.image_shape == (2, 6, 6)
    batch = stereo.evaluation.get_batch("test", torch.arange(4))
    assert batch.images.shape == (4, 2, 6, 6)
    assert not torch.equal(batch.images[:, 0], batch.images[:, 1])
    assert batch.poses is not None and batch.poses.shape == (4, 13, 4, 4)


def test_the_object_moves_before_its_background():
    still = small().evaluation.get_batch("test", torch.tensor([0]), GridView("shift_x", 0.0))
    moved = small().evaluation.get_batch(
        "test", torch.tensor([0]), GridView("shift_x", 2.0, "object")
    )
    masks = small().split("test").masks
    assert masks is not None
    mask = masks[0, 0].bool()
    inside = mask.clone()
    inside[:, -2:] = False
    shifted = inside.roll(2, 1)
    assert torch.equal(moved.images[0, 0][shifted], still.images[0, 0][inside])


def test_other_toys_are_another_version():
    """If this fails, the toys have changed: raise the version, and change the checksum."""
    assert ToyNORB.identity.checksum == checksum(all_toys())
    assert checksum(all_toys()) != checksum(all_toys(1))


def test_availability_names_the_cache_folder(cache, tmp_path):
    assert str(cache_folder()) in ToyNORB.availability(tmp_path)
    with pytest.raises(UserError, match="crop of toynorb"):
        small(crop=9)
