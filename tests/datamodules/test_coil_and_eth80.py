"""COIL and ETH-80: NPZ files that a user provides, and the real ones if they are local."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

from capsbench.datamodules import coil, eth80
from capsbench.datamodules._npz_files import NpzSet
from capsbench.datamodules._pictures import shrink, to_tensor
from capsbench.datamodules.coil import COIL
from capsbench.datamodules.eth80 import ETH80
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots
from tests.datamodules.properties import objects
from tests.formats import made


def coil100(root, **changed):
    numbers, azimuths = np.meshgrid(np.arange(1, 101), np.arange(0, 360, 60), indexing="ij")
    images = np.zeros((600, 32, 32, 3), np.uint8)
    images[..., 0] = numbers.reshape(-1, 1, 1)
    arrays = {
        "images": images,
        "object_id": numbers.ravel().astype("i2"),
        "azimuth_deg": azimuths.ravel().astype("i2"),
    }
    content = made.npz(**(arrays | changed))
    roots.write(root / "COIL100" / "coil100_32.npz", content)
    return content


@pytest.mark.parametrize("colour", [True, False])
def test_coil_100_has_the_same_layout(tmp_path, colour):
    content = coil100(tmp_path)
    data = COIL(data_root=tmp_path, objects=100, colour=colour, views=ViewRange(azimuth=[0, 240]))
    assert data.identity.checksum == f"sha256:{roots.sha256(content)}"
    assert (data.num_classes, data.image_shape) == (100, (3 if colour else 1, 32, 32))
    assert len(data.split("novel")) == 100
    novel = data.split("novel")
    red = 1 + novel.targets if colour else (2 + novel.targets) // 3
    assert torch.equal(novel.images[:, 0, 5, 5].long(), red)


def test_incomplete_files_are_refused(tmp_path):
    coil100(tmp_path, object_id=np.arange(600).astype("i2"))
    with pytest.raises(UserError, match="expected 1 to 100, each"):
        COIL(data_root=tmp_path, objects=100).split("train")
    coil100(tmp_path, azimuth_deg=np.zeros(3, "i2"))
    with pytest.raises(UserError, match=r"each image.*every array"):
        COIL(data_root=tmp_path, objects=100).split("train")
    coil100(tmp_path, azimuth_deg=np.zeros(600))
    with pytest.raises(UserError, match="'azimuth_deg' with 1 axes"):
        COIL(data_root=tmp_path, objects=100).split("train")


def test_a_known_file_must_be_the_known_one(tmp_path, monkeypatch):
    roots.coil20(tmp_path, monkeypatch)
    path = tmp_path / "COIL20" / "coil20_64.npz"
    assert COIL.availability(tmp_path).startswith(f"COIL-20 found {path}; COIL-100 not found")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"coil20_64\.npz is damaged"):
        COIL(data_root=tmp_path).split("train")


@pytest.mark.parametrize(
    ("cls", "name"), [(COIL, "coil20_128.npz"), (ETH80, "eth80_64_inst1-5.npz")]
)
def test_without_the_file_the_error_names_its_folder(tmp_path, cls, name):
    data = cls(data_root=tmp_path)  # arguments can be checked without it
    with pytest.raises(UserError, match=f"put {name} .*data-root"):
        data.split("train")
    assert f"put {name}" in cls.availability(tmp_path)


def test_sizes_and_colours_that_the_file_does_not_have(tmp_path, monkeypatch):
    roots.coil20(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"coil20.*grey"):
        COIL(data_root=tmp_path, colour=True).split("train")
    with pytest.raises(UserError, match=r"size of coil20.*64 pixels.*65"):
        COIL(data_root=tmp_path, size=65).split("train")


def test_pictures_become_smaller_by_means_of_boxes():
    stored = np.arange(2 * 12 * 12 * 3, dtype=np.uint8).reshape(2, 12, 12, 3)
    grey = to_tensor(stored, colour=False, name="x")
    assert torch.equal(grey[0, 0, 1, 1].double(), torch.tensor(stored[0, 1, 1].mean()).round())
    assert torch.equal(
        to_tensor(stored, colour=True, name="x")[1, 2], torch.tensor(stored[1, :, :, 2])
    )
    small = shrink(grey, 4, "x")
    boxes = grey.double().unflatten(2, (4, 3)).unflatten(4, (4, 3)).mean(dim=(3, 5))
    assert torch.equal(small, boxes.round().to(torch.uint8))
    assert shrink(grey, 5, "x").shape == (2, 1, 5, 5)


def test_objects_of_eth80_move_before_their_background(tmp_path, monkeypatch):
    roots.eth80_set(tmp_path, monkeypatch)
    views = ViewRange(part="object", shift={"values": [8]})
    data = ETH80(data_root=tmp_path, views=views, test_instances=(5,))
    assert objects(data.split("train")).isdisjoint(objects(data.split("test")))
    split = data.split("test")
    assert split.masks is not None
    # Polar 0 is seen from above.
    assert split.factors["elevation"][:16].unique().tolist() == [0, 24, 45, 90]
    assert split.factors["elevation"][0] == 90
    assert torch.equal(split.masks.float().mean(dim=(1, 2, 3)), torch.full((len(split),), 0.25))
    (batch, *_) = data.evaluation.batches("test", "cpu")
    masked = ETH80(data_root=tmp_path, masked=True, colour=False)
    assert masked.padding == "zeros" and data.padding == "border"
    images = masked.split("test").images
    assert not images[..., :8, :].any() and images[..., 8:24, 8:24].all()
    assert batch.images.shape[1:] == (3, 32, 32)


IMAGES = np.zeros((600, 32, 32), "u1")
WRONG_COIL = {
    "16 bits": ({"images": IMAGES.astype("u2")}, "'images' as uint8.*uint16"),
    "32 bits": ({"images": IMAGES.astype("u4")}, "'images' as uint8.*uint32"),
    "4 channels": ({"images": IMAGES[..., None].repeat(4, 3)}, "1 or 3 channels"),
    "no channel": ({"images": np.zeros((600, 32, 32, 0), "u1")}, "1 or 3 channels"),
    "no image": (
        {
            "images": IMAGES[:0],
            "object_id": np.zeros(0, "i2"),
            "azimuth_deg": np.zeros(0, "i2"),
        },
        "images.*none",
    ),
    "no pixel": ({"images": np.zeros((600, 0, 32), "u1")}, "size of coil100.* 0 pixels"),
}


@pytest.mark.parametrize("wrong", WRONG_COIL)
def test_wrong_arrays_of_coil_are_refused(tmp_path, wrong):
    changed, message = WRONG_COIL[wrong]
    coil100(tmp_path, **changed)
    with pytest.raises(UserError, match=message):
        COIL(data_root=tmp_path, objects=100).split("train")


@pytest.mark.parametrize("kind", ["u2", "u8", "i4"])
def test_one_channel_is_grey_and_numbers_have_any_integer_type(tmp_path, kind):
    grey = np.arange(600).reshape(600, 1, 1) % 200 + np.zeros((1, 32, 32), int)
    numbers = np.repeat(np.arange(1, 101), 6).astype(kind)
    azimuths = np.tile(np.arange(0, 360, 60), 100).astype(kind)
    images = grey.astype("u1")[..., None]
    coil100(tmp_path, images=images, object_id=numbers, azimuth_deg=azimuths)
    data = COIL(data_root=tmp_path, objects=100)
    everything = data.read().images
    assert torch.equal(everything.images, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert everything.targets[[0, 5, 6]].tolist() == [0, 0, 1]
    with pytest.raises(UserError, match="are grey"):
        COIL(data_root=tmp_path, objects=100, colour=True).split("train")


WRONG_ETH80: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "masks of 2": ({"masks": np.full((4, 32, 32), 2, "u1")}, "are 0 and 1; found 2"),
    "masks of 16 bits": ({"masks": np.zeros((4, 32, 32), "u2")}, "expected 'masks' as uint8"),
    "small masks": ({"masks": np.zeros((4, 16, 32), "u1")}, "'masks' as large as the images"),
    "categories": ({"category_id": np.full(4, 8, "i2")}, "categories of eth80's file are 0 to 7"),
    "4 channels": ({"images": np.zeros((4, 32, 32, 4), "u1")}, "images with 3 channels, found"),
    "grey": ({"images": np.zeros((4, 32, 32, 1), "u1")}, "images with 3 channels, found"),
}


@pytest.mark.parametrize("wrong", [*WRONG_ETH80, "none"])
def test_wrong_arrays_of_eth80_are_refused(tmp_path, wrong):
    columns = ("category_id", "instance", "polar_deg", "azimuth_deg")
    arrays = {name: np.zeros(4, "i2") for name in columns}
    arrays |= {"images": np.zeros((4, 32, 32, 3), "u1"), "masks": np.zeros((4, 32, 32), "u1")}
    nothing = {name: array[:0] for name, array in arrays.items()}
    changed, message = (WRONG_ETH80 | {"none": (nothing, "found none")})[wrong]
    roots.write(tmp_path / "ETH80" / "eth80_mine.npz", made.npz(**(arrays | changed)))
    with pytest.raises(UserError, match=message):
        ETH80(data_root=tmp_path).split("train")


def divided(path, masks, change=lambda arrays, part: arrays):
    """Replace an NPZ file by parts of its rows: the path with a, b, ... before its suffix."""
    with np.load(path) as archive:
        arrays = dict(archive)
    path.unlink()
    paths = [path.with_name(f"{path.stem}_{letter}.npz") for letter in "ab"[: len(masks)]]
    for part, (each, mask) in enumerate(zip(paths, masks, strict=True)):
        rows = {
            name: array[mask] if len(array) == len(mask) else array
            for name, array in arrays.items()
        }
        each.write_bytes(made.npz(**change(rows, part)))
    return paths


def halves(path, column, last):
    with np.load(path) as archive:
        first = archive[column] <= last
    return [first, ~first]


PARTS = {
    "objects of eth80": (ETH80, roots.eth80_set, "ETH80/eth80_32.npz", "instance", 2),
    "views of eth80": (ETH80, roots.eth80_set, "ETH80/eth80_32.npz", "polar_deg", 45),
    "objects of coil": (COIL, roots.coil20, "COIL20/coil20_64.npz", "object_id", 7),
    "views of coil": (COIL, roots.coil20, "COIL20/coil20_64.npz", "azimuth_deg", 100),
}


@pytest.mark.parametrize("parts", PARTS)
def test_parts_of_a_set_are_read_together(tmp_path, monkeypatch, parts):
    cls, make, name, column, last = PARTS[parts]
    make(tmp_path, monkeypatch)
    path = tmp_path / name
    whole = cls(data_root=tmp_path).read().images
    paths = divided(path, halves(path, column, last))
    data = cls(data_root=tmp_path)
    require_equal(data.read().images, whole)
    sums = "".join(roots.sha256(each.read_bytes()) for each in paths)
    assert data.identity.checksum == f"sha256:{roots.sha256(sums.encode())}"
    assert all(str(each) in cls.availability(tmp_path) for each in paths)
    assert len(data.split("train")) and len(data.split("test"))


DIVISIONS: dict[str, dict[str, Any]] = {
    "familiar azimuths": {"views": ViewRange(azimuth={"values": [0, 180]})},
    "familiar elevations": {"views": ViewRange(elevation=[0, 45])},
    "test instances": {"test_instances": (2, 5)},
    "validation instances": {"views": ViewRange(azimuth=[0, 90]), "validation_instances": (1,)},
    "few of each class": {"views": ViewRange(azimuth=[0, 90]), "per_class": 4},
}


def require_equal(one, other):
    assert one.factors.keys() == other.factors.keys()
    for factor, values in other.factors.items():
        assert torch.equal(one.factors[factor], values)
    for name in ("images", "targets", "index"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert (one.masks is None) == (other.masks is None)
    assert one.masks is None or torch.equal(one.masks, other.masks)


def require_equal_splits(root, parts_root, path, column, last, divisions=tuple(DIVISIONS)):
    """Compare the splits of a file of ETH-80 and of its parts."""
    copy = parts_root / "ETH80" / path.name
    roots.write(copy, path.read_bytes())
    divided(copy, halves(copy, column, last))
    for division in divisions:
        whole, parts = (ETH80(data_root=each, **DIVISIONS[division]) for each in (root, parts_root))
        for name in ("train", "validation", "test"):
            require_equal(parts.split(name), whole.split(name))


@pytest.mark.parametrize(("column", "last"), [("instance", 2), ("polar_deg", 45)])
def test_parts_have_the_splits_of_the_whole_set(tmp_path, monkeypatch, column, last):
    roots.eth80_set(tmp_path, monkeypatch)
    path = tmp_path / "ETH80" / "eth80_32.npz"
    with np.load(path) as archive:  # every image another one
        noise = np.random.default_rng(0).integers(0, 256, archive["images"].shape, "u1")
        content = made.npz(**(dict(archive) | {"images": noise}))
    path.write_bytes(content)
    monkeypatch.setitem(eth80.NPZ.known, path.name, roots.sha256(content))
    require_equal_splits(tmp_path, tmp_path / "parts", path, column, last)


def test_one_file_keeps_its_order(tmp_path):
    backwards = {"object_id": np.repeat(np.arange(100, 0, -1), 6).astype("i2")}
    coil100(tmp_path, **backwards)
    data = COIL(data_root=tmp_path, objects=100)
    assert data.read().images.targets[::6].tolist() == [*range(99, -1, -1)]


def half_size(rows, part):
    return (
        rows | {"images": rows["images"][:, ::2, ::2], "masks": rows["masks"][:, ::2, ::2]}
        if part
        else rows
    )


MISFITS = {
    "again": (lambda rows, part: rows | {"instance": rows["instance"] % 2}, "both have the image"),
    "smaller": (half_size, "images of 32 x 32 x 3, .*b.npz of 16 x 16 x 3"),
    "other categories": (
        lambda rows, part: rows | {"category_names": np.array([*eth80.NAMES[::-1]])},
        "'category_names' apple, car,.* found others",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_files_that_are_no_parts_of_one_set_are_refused(tmp_path, monkeypatch, misfit):
    roots.eth80_set(tmp_path, monkeypatch)
    change, message = MISFITS[misfit]
    path = tmp_path / "ETH80" / "eth80_32.npz"
    one, other = divided(path, halves(path, "instance", 2), change)
    with pytest.raises(UserError, match=message) as raised:
        ETH80(data_root=tmp_path).split("train")
    assert str(one) in str(raised.value)
    assert (str(other) in str(raised.value)) == (misfit != "other categories")


def test_names_of_categories_take_no_more_memory_than_the_file(tmp_path):
    columns = ("category_id", "instance", "polar_deg", "azimuth_deg")
    arrays = {name: np.zeros(1, "i2") for name in columns}
    arrays |= {"images": np.zeros((1, 8, 8, 3), "u1"), "masks": np.zeros((1, 8, 8), "u1")}
    arrays["category_names"] = np.zeros(1 << 18, "U1")
    roots.write(tmp_path / "ETH80" / "eth80_mine.npz", made.npz(**arrays))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="'category_names'"):
            ETH80(data_root=tmp_path).split("train")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_part_of_coil_alone_is_refused(tmp_path, monkeypatch):
    roots.coil20(tmp_path, monkeypatch)
    path = tmp_path / "COIL20" / "coil20_64.npz"
    divided(path, halves(path, "object_id", 7)[:1])
    with pytest.raises(UserError, match=r"objects 1 to 7.*expected 1 to 20, each"):
        COIL(data_root=tmp_path).split("train")


def test_a_file_that_changes_after_it_was_identified_is_refused(tmp_path):
    coil100(tmp_path)
    data = COIL(data_root=tmp_path, objects=100)
    coil100(tmp_path, azimuth_deg=np.tile(np.arange(1, 361, 60), 100).astype("i2"))
    with pytest.raises(UserError, match="have changed since"):
        data.split("train")
    assert len(COIL(data_root=tmp_path, objects=100).split("train"))


def test_a_file_in_upper_case_is_mentioned(tmp_path, monkeypatch):
    roots.coil20(tmp_path, monkeypatch)
    path = tmp_path / "COIL20" / "coil20_64.npz"
    path.rename(path.with_name("COIL20_64.NPZ"))
    with pytest.raises(UserError, match=r"put coil20_64\.npz .*there is COIL20_64\.NPZ"):
        COIL(data_root=tmp_path).split("train")


def real(npz: NpzSet) -> pytest.MarkDecorator:
    missing = not npz.paths(roots.REAL)
    return pytest.mark.skipif(missing, reason=f"no {npz.pattern} under {roots.REAL}")


def nearest(train, test, part=slice(None)):
    """Return the share of test images whose nearest training image is of their class."""
    one, other = (split.images.double().flatten(1) for split in (train, test))
    distance = torch.cdist(other, one, compute_mode="donot_use_mm_for_euclid_dist")
    return float((train.targets[distance.argmin(dim=1)] == test.targets).double().mean())


@real(coil.SETS[20])
def test_real_coil20():
    every_40 = ViewRange.model_validate({"azimuth": {"start": 0, "stop": 320, "step": 40}})
    data = COIL(data_root=roots.REAL, views=every_40, familiar_test_share=0)
    everything = data.read().images
    assert len(everything) == 1440
    train, novel = data.split("train"), data.split("novel")
    assert (len(train) + len(data.split("validation")), len(novel)) == (180, 1260)
    # The README's 0.953 learns from all familiar views.
    familiar = torch.isin(everything.factors["azimuth"], torch.arange(0, 360, 40))
    assert nearest(everything[familiar], everything[~familiar]) == pytest.approx(0.953, abs=0.0005)


@real(eth80.NPZ)
def test_real_eth80():
    data = ETH80(data_root=roots.REAL, colour=False, masked=True)
    everything = data.read().images
    assert len(everything) == 1640
    elevation = everything.factors["elevation"]
    share = nearest(everything[elevation <= 24], everything[elevation >= 45])
    assert share == pytest.approx(0.687, abs=0.0005)


@real(eth80.NPZ)
def test_parts_of_the_real_eth80_have_its_splits(tmp_path):
    (path,) = eth80.NPZ.paths(roots.REAL)
    require_equal_splits(roots.REAL, tmp_path, path, "instance", 2, ["familiar azimuths"])
