"""Fashion-MNIST: 70,000 articles of clothing in IDX files, downloaded or local."""

from __future__ import annotations

from typing import ClassVar

from capsbench.data.images import Identity
from capsbench.datamodules._idx_sets import IdxFile, IdxSet, checksum

FILES = {
    "train-images-idx3-ubyte": IdxFile(
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte": IdxFile(
        29515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        5148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


class FashionMNIST(IdxSet):
    """Fashion-MNIST, 28 x 28: 55,000 images to train on, 5,000 for validation, 10,000 to test.

    The four IDX files lie under ``<data root>/FashionMNIST/raw``, packed (``.gz``) or not; if they
    are not there, they are downloaded.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv 1708.07747 (2017).
    """

    identity = Identity("fashion-mnist", "1", checksum(file.packed for file in FILES.values()))
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
