"""NPZ, CIFAR-10 and parquet: arrays are read back, no file is unpickled."""

import builtins
import pickle

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.content import Content, read
from capsbench.formats import parquet
from capsbench.formats.cifar import read_cifar10, read_cifar_batch
from capsbench.formats.npz import read_npz
from capsbench.formats.parquet import read_parquet_images
from tests.formats import made

NUMBERS = np.random.default_rng(0)
IMAGES = NUMBERS.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(12) % 10


class Bomb:
    """Object whose unpickling ends the test."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def content(data):
    return Content("file", bytearray(data))


BOMBS = np.array([Bomb()], dtype=object)
REQUIRED = {"images": (3, "u"), "azimuth": (1, "iu")}
GREY = IMAGES[:, 0]


def test_required_arrays_of_an_npz_file():
    data = made.npz(images=GREY, azimuth=LABELS, more=BOMBS)  # others are not opened
    result = read_npz(content(data), REQUIRED, {"missing": (1, "u")})
    assert list(result) == ["images", "azimuth"]
    np.testing.assert_array_equal(result["images"], GREY)


WRONG_NPZ = {
    "missing": (made.npz(images=GREY), "an array 'azimuth', found images"),
    "other axes": (made.npz(images=GREY[0], azimuth=LABELS), r"with 3 axes .* uint8 \(32, 32\)"),
    "floats": (made.npz(images=GREY, azimuth=LABELS / 2), "kind i or u.*float64"),
    "objects": (made.npz(images=GREY, azimuth=BOMBS), "plain arrays.*another"),
    "another member": (made.zipped({"images": b"x", "azimuth": b"y"}), "only arrays.*member"),
    "a pickle": (pickle.dumps(Bomb()), "NPZ file.* b'"),
    "an npy file": (b"\x93NUMPY\x01\0", "NPZ file"),
    "a web page": (b"<html>", "NPZ file.*web page"),
    "truncated": (made.npz(images=GREY, azimuth=LABELS)[:-40], "NPZ file"),
    "empty": (b"", "an empty file"),
}


@pytest.mark.parametrize("name", WRONG_NPZ)
def test_an_invalid_npz_file_is_refused(name):
    data, message = WRONG_NPZ[name]
    with pytest.raises(UserError, match=f"^file is damaged.*{message}"):
        read_npz(content(data), REQUIRED)


def test_cifar10(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(made.cifar10(IMAGES, LABELS))
    result = read_cifar10(path, read(path).sha256)
    np.testing.assert_array_equal(result["train"][0], IMAGES[:10])
    np.testing.assert_array_equal(result["train"][1], LABELS[:10])
    np.testing.assert_array_equal(result["test"][0], IMAGES[10:])
    np.testing.assert_array_equal(result["test"][1], LABELS[10:])
    assert result["train"][0].flags.c_contiguous


def test_a_row_of_cifar10_is_a_label_and_three_colours():
    row = bytes([7]) + b"r" * 1024 + b"g" * 1024 + b"b" * 1024
    images, labels = read_cifar_batch(content(row))
    assert labels.tolist() == [7]
    assert [set(plane.ravel().tolist()) for plane in images[0]] == [{114}, {103}, {98}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(made.cifar_batch(IMAGES, LABELS)[:-1], "3073 bytes", id="truncated"),
        pytest.param(made.cifar_batch(IMAGES, LABELS + 1), "labels 0..9.* 10", id="labels"),
        pytest.param(b"", "3073 bytes.* 0", id="empty"),
    ],
)
def test_an_invalid_batch_is_refused(data, message):
    with pytest.raises(UserError, match=message):
        read_cifar_batch(content(data))


def test_the_python_version_of_cifar10_is_refused(tmp_path):
    data = made.tar({"cifar-10-batches-py/data_batch_1": pickle.dumps(Bomb())})
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"pickles.*binary version"):
        read_cifar10(path, read(path).sha256)
    path = path.rename(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match="cifar-10-batches-py/data_batch_1"):
        read_cifar10(path, read(path).sha256)


PAIRS = NUMBERS.integers(0, 256, (6, 2, 8, 10), dtype=np.uint8)
FACTORS = {
    name: np.arange(6) % (axis + 2)
    for axis, name in enumerate(("category", "instance", "elevation", "azimuth", "lighting"))
}


def test_smallnorb_in_parquet():
    pytest.importorskip("pyarrow")
    result = read_parquet_images(content(made.smallnorb_parquet(PAIRS, **FACTORS)), (8, 10))
    np.testing.assert_array_equal(result.pop("images"), PAIRS)
    assert list(result) == list(FACTORS)
    for name, values in FACTORS.items():
        np.testing.assert_array_equal(result[name], values)
        assert result[name].dtype == np.int64


def wrong_parquet():
    good = made.smallnorb_parquet(PAIRS, **FACTORS)
    fewer = {name: values for name, values in FACTORS.items() if name != "azimuth"}
    return {
        "truncated": (good[:-10], "a complete parquet file"),
        "a web page": (b"<html>", "a parquet file, found a web page"),
        "empty": (b"", "an empty file"),
        "missing": (made.smallnorb_parquet(PAIRS, **fewer), "a column 'azimuth', found image_lt"),
        "colour": (
            made.smallnorb_parquet(NUMBERS.integers(0, 256, (6, 2, 8, 8, 3), np.uint8), **FACTORS),
            "a greyscale image of 10 x 8 pixels in row 0 of the column 'image_lt', found 8 x 8 of",
        ),
        "another size": (
            made.smallnorb_parquet(PAIRS[..., :9], **FACTORS),
            "a greyscale image of 10 x 8 pixels .*found 9 x 8",
        ),
        "many rows": (
            made.smallnorb_parquet(
                PAIRS[:1].repeat(3000, 0), **dict.fromkeys(FACTORS, np.zeros(3000))
            ),
            "at most 400000 bytes of pixels, found 480000",
        ),
        "long files": (
            made.smallnorb_parquet(
                NUMBERS.integers(0, 256, (2, 2, 400, 400), np.uint8),
                **dict.fromkeys(FACTORS, np.zeros(2)),
            ),
            "at most 400000 bytes unpacked",
        ),
        "no PNG": (good.replace(b"\x89PNG", b"\x89PNX"), "a PNG file in row"),
    }


PARQUET_FAULTS = ["truncated", "a web page", "empty", "missing", "colour", "another size"]


@pytest.mark.parametrize("name", [*PARQUET_FAULTS, "many rows", "long files", "no PNG"])
def test_an_invalid_parquet_file_is_refused(monkeypatch, name):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(parquet, "MAX_BYTES", 400_000)
    data, message = wrong_parquet()[name]
    with pytest.raises(UserError, match=f"^file is damaged.*{message}"):
        read_parquet_images(content(data), (8, 10))


def test_without_pyarrow_the_message_names_the_extra(monkeypatch):
    genuine = builtins.__import__

    def without(name, *args):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name)
        return genuine(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pyarrow.*capsbench\[parquet\]"):
        read_parquet_images(content(b"PAR1"), (8, 10))
