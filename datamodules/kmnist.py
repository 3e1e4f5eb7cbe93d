"""KMNIST: 70,000 cursive Japanese letters in IDX files, downloaded or local."""

from __future__ import annotations

from typing import ClassVar

from capsbench.data.images import Identity
from capsbench.datamodules._idx_sets import IdxFile, IdxSet, checksum

FILES = {
    "train-images-idx3-ubyte": IdxFile(
        18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"
    ),
    "train-labels-idx1-ubyte": IdxFile(
        29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"
    ),
}


class KMNIST(IdxSet):
    """Kuzushiji-MNIST, 28 x 28: 55,000 images to train on, 5,000 for validation, 10,000 to test.

    The four IDX files lie, packed (``.gz``), under ``<data root>/KMNIST/raw``; if they are not
    there, they are downloaded. Unpacked files are ignored: no checksum of them is known.

    Source: T. Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718
    (2018).
    """

    identity = Identity("kmnist", "1", checksum(FILES))
    image_shape = (1, 28, 28)
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    source: ClassVar[str] = "Clanuwat et al. 2018; four IDX files under <data root>/KMNIST/raw"
    folder_name = "KMNIST"
    files = FILES
    mirrors = (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/KMNIST",
    )
