"""Data roots with small sets in the real file formats; pixels encode the class.

Each function fills a data root and puts the checksums of its files in place of the real ones.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from capsbench.datamodules import _smallnorb_files as norb
from capsbench.datamodules import coil, eth80
from capsbench.datamodules._idx_sets import IdxFile
from capsbench.datamodules.cifar10 import CIFAR10
from capsbench.datamodules.svhn import SVHN
from capsbench.files.remote import RemoteFile
from tests.formats import made

# Next to the checkout; not part of it.
REAL = Path(__file__).parents[2].parent / "shared" / "data"
NOWHERE = ("http://127.0.0.1:9/",)  # nothing listens there


def shade(labels):
    """Return the pixel value that encodes a class."""
    return (10 + 20 * np.asarray(labels)).astype(np.uint8)


def labelled(count, classes, shape, margin=0):
    """Return images (N, *shape) uint8 with their class's shade inside a margin, and labels."""
    labels = np.arange(count) * 7 % classes
    images = np.zeros((count, *shape), np.uint8)
    inside = (..., slice(margin, shape[-2] - margin), slice(margin, shape[-1] - margin))
    images[inside] = shade(labels).reshape(-1, *[1] * len(shape))
    # Make the images of a class differ.
    images[..., margin, margin] += (
        np.arange(count).reshape(-1, *[1] * (len(shape) - 2)).astype("u1") % 9
    )
    return images, labels


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def remote(name, content):
    return RemoteFile(name, sha256(content), len(content), NOWHERE)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def idx_set(root, patch, cls, train=120, test=40):
    """Write the four files of a set of the MNIST family, packed."""
    files = {}
    for part, count in (("train", train), ("t10k", test)):
        images, labels = labelled(count, 10, (28, 28), margin=6)
        arrays = {"images-idx3": images, "labels-idx1": labels.astype(np.uint8)}
        for kind, array in arrays.items():
            name = f"{part}-{kind}-ubyte"
            plain = made.idx(array)
            content = made.packed(plain)
            files[name] = IdxFile(len(content), sha256(content), sha256(plain))
            write(cls.folder(root) / f"{name}.gz", content)
    patch.setattr(cls, "files", files)
    patch.setattr(cls, "mirrors", ("http://127.0.0.1:9",))


def cifar10(root, patch):
    images, labels = labelled(360, 10, (3, 32, 32))
    content = made.cifar10(images, labels)
    write(root / "CIFAR10" / "cifar-10-binary.tar.gz", content)
    patch.setattr(CIFAR10, "archive", remote("cifar-10-binary.tar.gz", content))


def svhn(root, patch):
    files = {}
    for part, count in (("train", 230), ("test", 60)):
        images, labels = labelled(count, 10, (3, 32, 32))
        content = made.svhn(images, labels)
        write(root / "SVHN" / f"{part}_32x32.mat", content)
        files[part] = remote(f"{part}_32x32.mat", content)
    patch.setattr(SVHN, "files", files)


def norb_grid(toys, levels):
    """Categories and rows of -info, categories cycling as in the original: (N,), (N, 4)."""
    categories, _, elevations, azimuths, lightings = levels
    axes = np.meshgrid(
        toys, range(elevations), range(azimuths), range(lightings), range(categories), indexing="ij"
    )
    toy, elevation, azimuth, lighting, category = (axis.ravel().astype("i4") for axis in axes)
    return category, np.stack([toy, elevation, 2 * azimuth, lighting], axis=1)


def smallnorb(root, patch, *, whole=False, packed=True, port=False):
    """Write all views with tiny images, or few views with images of the real size."""
    if not whole:
        patch.setattr(norb, "LEVELS", (5, 10, 2, 6, 1))
        patch.setattr(norb, "TOYS", {"training": (4, 6), "testing": (0, 1)})
    side = 2 if whole else 96
    official, plain_sums, ports = {}, {}, []
    for part, toys in norb.TOYS.items():
        category, info = norb_grid(toys, norb.LEVELS)
        images = np.zeros((len(category), 2, side, side), np.uint8)
        images[:] = shade(category)[:, None, None, None]
        images[:, 1] += 5  # the right eye
        if port:
            names = ("instance", "elevation", "azimuth", "lighting")
            columns = dict(zip(names, info.T, strict=True)) | {"category": category}
            content = made.smallnorb_parquet(images, **columns)
            name = f"{part}.parquet"
            ports.append(remote(name, content))
            write(root / "smallnorb" / name, content)
            continue
        for kind, array in (("dat", images), ("cat", category), ("info", info)):
            plain = made.norb(array)
            content = made.packed(plain)
            name = f"{norb.STEMS[part]}-{kind}.mat"
            official[part, kind] = remote(f"{name}.gz", content)
            plain_sums[part, kind] = hashlib.md5(plain, usedforsecurity=False).hexdigest()
            write(
                root / "smallnorb" / (f"{name}.gz" if packed else name),
                content if packed else plain,
            )
    if port:
        patch.setattr(norb, "PORT", tuple(ports))
    else:
        patch.setattr(norb, "OFFICIAL", official)
        patch.setattr(norb, "PLAIN", plain_sums)


def coil20(root, patch):
    grid = np.meshgrid(np.arange(1, 21), np.arange(0, 360, 20), indexing="ij")
    numbers, azimuths = (axis.ravel() for axis in grid)
    images = np.zeros((len(numbers), 64, 64), np.uint8)
    images[:] = (10 + 10 * (numbers - 1))[:, None, None]
    content = made.npz(
        images=images, object_id=numbers.astype("i2"), azimuth_deg=azimuths.astype("i2")
    )
    write(root / "COIL20" / "coil20_64.npz", content)
    known = {"coil20_64.npz": sha256(content)}
    patch.setitem(coil.SETS, 20, replace(coil.SETS[20], known=known))


def eth80_set(root, patch):
    poses = [(polar, azimuth) for polar in (0, 45, 66, 90) for azimuth in (0, 90, 180, 270)]
    axes = np.meshgrid(range(8), range(1, 6), range(len(poses)), indexing="ij")
    category, instance, pose = (axis.ravel() for axis in axes)
    polar, azimuth = np.array(poses)[pose].T
    images = np.zeros((len(category), 32, 32, 3), np.uint8)
    images[:] = shade(category)[:, None, None, None]
    images[..., 2] += 2
    masks = np.zeros((len(category), 32, 32), np.uint8)
    masks[:, 8:24, 8:24] = 1
    content = made.npz(
        images=images,
        masks=masks,
        category_id=category.astype("i2"),
        instance=instance.astype("i2"),
        polar_deg=polar.astype("i2"),
        azimuth_deg=azimuth.astype("i2"),
    )
    write(root / "ETH80" / "eth80_32.npz", content)
    known = {"eth80_32.npz": sha256(content)}
    patch.setattr(eth80, "NPZ", replace(eth80.NPZ, known=known))


def folder(root, lines, name="mine", side=20):
    """Write a folder of PNG files by ``(file, class, ...)``; the first line names the columns.

    The images have the shade of the class, and above that of the number of the row.
    """
    place = root / name
    place.mkdir(parents=True, exist_ok=True)
    columns, *rows = lines
    at = columns.index("class")
    classes = sorted({row[at] for row in rows})
    for number, row in enumerate(rows):
        pixels = np.full((side, side + number % 3, 3), shade(classes.index(row[at])), np.uint8)
        pixels[: side // 4] = 255 - number
        Image.fromarray(pixels).save(place / row[columns.index("file")])
    text = "\n".join(",".join(map(str, line)) for line in lines)
    (place / "labels.csv").write_text(text + "\n", encoding="utf-8")
    return place
