"""Makers of small files in the formats of published data sets, as bytes."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping

import numpy as np
from scipy.io import savemat


def packed(content: bytes) -> bytes:
    """Make a gzip file; equal contents give identical bytes."""
    return gzip.compress(content, mtime=0)


def idx(array: np.ndarray) -> bytes:
    """Make an IDX file."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def norb(array: np.ndarray) -> bytes:
    """Make a binary matrix of smallNORB; unused ones of its three lengths are 1."""
    code = {"f4": 0x51, "f8": 0x53, "i4": 0x54, "u1": 0x55, "i2": 0x56}[array.dtype.str[1:]]
    lengths = [*array.shape, 1, 1][: max(3, array.ndim)]
    header = struct.pack(f"<II{len(lengths)}i", 0x1E3D4C00 + code, array.ndim, *lengths)
    return header + array.astype(array.dtype.newbyteorder("<")).tobytes()


def matlab(**variables) -> bytes:
    """Make a compressed MATLAB file of version 5; a mapping becomes a structure."""
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=True)  # type: ignore[arg-type]  # takes files, too
    return stream.getvalue()


def affnist(images: np.ndarray, labels: np.ndarray, **fields) -> bytes:
    """Make a file of affNIST from (N, 40, 40) images and (N,) labels."""
    structure = {
        "image": images.reshape(len(images), 1600).T,
        "label_int": labels[None].astype(np.float64),
        "label_one_of_n": np.eye(10)[:, labels],
        "human_readable_transform": np.arange(6.0 * len(images)).reshape(6, -1),
    }
    return matlab(affNISTdata=structure | fields)


def svhn(images: np.ndarray, digits: np.ndarray) -> bytes:
    """Make a file of SVHN from (N, 3, 32, 32) images and (N,) digits."""
    return matlab(
        X=images.transpose(2, 3, 1, 0), y=np.where(digits == 0, 10, digits)[:, None].astype("u1")
    )


def cifar_batch(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Make a batch of CIFAR-10's binary version."""
    rows = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
    return rows.astype(np.uint8).tobytes()


def tar(members: Mapping[str, bytes]) -> bytes:
    """Make a gzip-compressed tar file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def cifar10(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Make ``cifar-10-binary.tar.gz``: five batches and a test batch of equal size."""
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    parts = zip(np.array_split(images, 6), np.array_split(labels, 6), strict=True)
    batches = {
        f"cifar-10-batches-bin/{name}.bin": cifar_batch(*part)
        for name, part in zip(names, parts, strict=True)
    }
    # The batches of the real archive are unordered, with other files among them.
    members = dict(reversed(batches.items())) | {"cifar-10-batches-bin/readme.html": b"<html>"}
    return tar(members)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Make a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    """Make an NPZ file; arrays of objects are pickled."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def png(image: np.ndarray) -> bytes:
    """Make a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def smallnorb_parquet(pairs: np.ndarray, **labels: np.ndarray) -> bytes:
    """Make a parquet file like the hub's port of smallNORB from (N, 2, H, W) images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        name: pa.array([{"bytes": png(image), "path": None} for image in pairs[:, side]], kind)
        for side, name in enumerate(("image_lt", "image_rt"))
    }
    columns |= {name: pa.array(values.astype("i4")) for name, values in labels.items()}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()
