"""MNIST: 70,000 handwritten digits in IDX files, downloaded or local."""

from __future__ import annotations

from typing import ClassVar

from capsbench.data.images import Identity
from capsbench.datamodules._idx_sets import IdxFile, IdxSet, checksum

FILES = {
    "train-images-idx3-ubyte": IdxFile(
        9912422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": IdxFile(
        28881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        1648877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        4542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


class MNIST(IdxSet):
    """MNIST, 28 x 28: 55,000 images to train on, 5,000 for validation, the official 10,000 to test.

    The four IDX files lie under ``<data root>/MNIST/raw``, packed (``.gz``) or not; if they are not
    there, they are downloaded.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten Digits (1998).
    """

    identity = Identity("mnist", "1", checksum(file.plain for file in FILES.values()))
    image_shape = (1, 28, 28)
    class_names = tuple("0123456789")
    turned_alike: ClassVar[tuple[tuple[int, ...], ...]] = ((6, 9),)
    source: ClassVar[str] = "LeCun, Cortes, Burges 1998; four IDX files under <data root>/MNIST/raw"
    folder_name = "MNIST"
    files = FILES
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "http://yann.lecun.com/exdb/mnist",
    )
