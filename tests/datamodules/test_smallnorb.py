"""smallNORB: the novel views of Hinton et al. (2018), the files, the crops."""

import dataclasses

import pytest
import torch

from capsbench.data.batches import SplitName
from capsbench.datamodules import _smallnorb_files as norb
from capsbench.datamodules.smallnorb import SmallNORB
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from tests.datamodules import roots
from tests.datamodules.properties import objects
from tests.formats import made

AZIMUTHS = {"azimuth": {"values": [300, 320, 340, 0, 20, 40]}}
ELEVATIONS = {"elevation": {"values": [30, 35, 40]}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return all views of all toys, with images of a few pixels."""
    root = tmp_path_factory.mktemp("smallnorb")
    with pytest.MonkeyPatch.context() as patch:
        roots.smallnorb(root, patch, whole=True)
        yield root


def replace(root, patch, which, array):
    """Replace a matrix by another one."""
    content = made.packed(made.norb(array))
    file = roots.remote(norb.OFFICIAL[which].name, content)
    roots.write(root / "smallnorb" / file.name, content)
    patch.setitem(norb.OFFICIAL, which, file)


def counts(data):
    names: tuple[SplitName, ...] = ("train", "validation", "familiar", "novel", "test")
    return [len(data.split(name)) for name in names]


@pytest.mark.parametrize("views", [AZIMUTHS, ELEVATIONS], ids=["azimuth", "elevation"])
def test_the_novel_views_of_hinton_2018(whole, views):
    data = SmallNORB(data_root=whole, views=ViewRange.model_validate(views))
    # 8,100 training pairs, of which the last toy of each category is held out.
    assert counts(data) == [6480, 1620, 8100, 16200, 24300]
    train, validation, test = (data.split(name) for name in ("train", "validation", "test"))
    assert {toy for _, toy in objects(train)} == {4, 6, 7, 8}
    assert {toy for _, toy in objects(validation)} == {9}
    assert {toy for _, toy in objects(test)} == {0, 1, 2, 3, 5}
    ((factor, spread),) = views.items()
    for name in ("train", "validation", "familiar"):
        assert set(data.split(name).factors[factor].tolist()) == set(spread["values"])
    novel = set(data.split("novel").factors[factor].tolist())
    every = {"azimuth": set(range(0, 360, 20)), "elevation": set(range(30, 71, 5))}[factor]
    assert novel == every - set(spread["values"])
    for part in (train, validation, data.split("familiar"), data.split("novel")):
        assert torch.bincount(part.targets).unique().numel() == 1


def test_one_eye_sees_twice_as_many_images(whole):
    data = SmallNORB(
        data_root=whole, views=ViewRange.model_validate(AZIMUTHS), stereo=False, crop=None
    )
    assert counts(data) == [12960, 3240, 16200, 32400, 48600]
    assert data.image_shape == (1, 48, 48)
    left, right = data.split("train").images[0::2], data.split("train").images[1::2]
    assert torch.equal(left + 5, right)


def test_the_whole_set(whole):
    data = SmallNORB(data_root=whole)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [
        19440,
        4860,
        24300,
    ]
    assert data.split("test").index.tolist() == list(range(24300, 48600))


@pytest.mark.parametrize("packed", [True, False])
def test_files_are_checked(tmp_path, monkeypatch, packed):
    roots.smallnorb(tmp_path, monkeypatch, packed=packed)
    assert SmallNORB.availability(tmp_path) == f"found in {tmp_path / 'smallnorb'}"
    assert len(SmallNORB(data_root=tmp_path).split("test")) == 120
    name = norb.OFFICIAL["testing", "info"].name
    path = tmp_path / "smallnorb" / (name if packed else name.removesuffix(".gz"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    kind = "SHA-256" if packed else "MD5"
    with pytest.raises(UserError, match=rf"{path.name} is damaged.*{kind}"):
        SmallNORB(data_root=tmp_path).split("test")
    path.unlink()
    with pytest.raises(UserError, match=rf"download.* put {name}"):
        SmallNORB(data_root=tmp_path).split("test")


def test_the_port_has_the_same_images(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    roots.smallnorb(tmp_path / "official", monkeypatch)
    roots.smallnorb(tmp_path / "port", monkeypatch, port=True)
    assert "files: port" in SmallNORB.availability(tmp_path / "port")
    official = SmallNORB(data_root=tmp_path / "official")
    port = SmallNORB(data_root=tmp_path / "port", files="port")
    assert official.identity != port.identity
    for name in ("train", "validation", "test"):
        one, other = official.split(name), port.split(name)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
        for factor in official.factors:
            assert torch.equal(one.factors[factor], other.factors[factor])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (1, 9, "elevation 0..8"),
        (2, 3, "even azimuth"),
        (0, 8, "toys 4, 6 .*toys 4, 6, 8 in 120"),
        (0, 6, "toys 4, 6 in 120.*119.*different"),
    ],
    ids=["elevation", "azimuth", "toy", "twice"],
)
def test_labels_must_be_those_of_smallnorb(tmp_path, monkeypatch, column, value, message):
    roots.smallnorb(tmp_path, monkeypatch)
    info = roots.norb_grid((4, 6), norb.LEVELS)[1]
    info[0, column] = value
    replace(tmp_path, monkeypatch, ("training", "info"), info)
    with pytest.raises(UserError, match=message):
        SmallNORB(data_root=tmp_path).split("train")


@pytest.mark.parametrize("files", ["official", "port"])
def test_test_toys_under_the_training_files_names_are_refused(tmp_path, monkeypatch, files):
    if files == "port":
        pytest.importorskip("pyarrow")
    roots.smallnorb(tmp_path, monkeypatch, port=files == "port")
    if files == "port":
        train, test = norb.PORT
        content = (tmp_path / "smallnorb" / test.name).read_bytes()
        roots.write(tmp_path / "smallnorb" / train.name, content)
        # The training file's sum is not known.
        train = dataclasses.replace(train, sha256=None, form="parquet")
        monkeypatch.setattr(norb, "PORT", (train, test))
    else:
        info = roots.norb_grid((0, 1), norb.LEVELS)[1]
        replace(tmp_path, monkeypatch, ("training", "info"), info)
    with pytest.raises(UserError, match=r"toys 4, 6 .*toys 0, 1"):
        SmallNORB(data_root=tmp_path, files=files).split("train")


def test_every_second_pixel_and_the_crops(tmp_path, monkeypatch):
    roots.smallnorb(tmp_path, monkeypatch)
    labels = torch.arange(96 * 96).remainder(251).to(torch.uint8).view(96, 96)
    pairs = labels.expand(120, 2, 96, 96).contiguous().numpy()
    replace(tmp_path, monkeypatch, ("testing", "dat"), pairs)
    data = SmallNORB(data_root=tmp_path)
    half = labels[::2, ::2].float() / 255
    assert torch.equal(data.split("test").images[0, 0].float() / 255, half)
    (centre, *_) = data.evaluation.batches("test", "cpu")
    assert torch.equal(centre.images[0, 1], half[8:40, 8:40])
    # A shift of the image to the right is a crop further to the left.
    moved = Views.identity(1).with_shift((8, -3))
    (crop, *_) = data.evaluation.batches("test", "cpu", moved)
    assert torch.equal(crop.images[0, 0], half[11:43, 0:32])
    large = SmallNORB(data_root=tmp_path, size=96, crop=None)
    (every, *_) = large.evaluation.batches("test", "cpu")
    assert torch.equal(every.images[0, 0], labels.float() / 255)
