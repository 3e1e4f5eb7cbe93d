"""Fashion-MNIST: 70,000 articles of clothing in IDX files, downloaded or local."""

from __future__ import annotations

from typing import ClassVar

from capsbench.data.images import Identity
from capsbench.datamodules._idx_sets import IdxFile, IdxSet, checksum

FILES = {
    "train-images-idx3-ubyte": IdxFile(
        26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    "train-labels-idx1-ubyte": IdxFile(
        29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
    ),
}


class FashionMNIST(IdxSet):
    """Fashion-MNIST, 28 x 28: 55,000 images to train on, 5,000 for validation, 10,000 to test.

    The four IDX files lie, packed (``.gz``), under ``<data root>/FashionMNIST/raw``; if they are
    not there, they are downloaded. Unpacked files are ignored: no checksum of them is known.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv 1708.07747 (2017).
    """

    identity = Identity("fashion-mnist", "1", checksum(FILES))
    image_shape = (1, 28, 28)
    class_names = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    source: ClassVar[str] = (
        "Xiao, Rasul, Vollgraf 2017; four IDX files under <data root>/FashionMNIST/raw"
    )
    folder_name = "FashionMNIST"
    files = FILES
    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    )
