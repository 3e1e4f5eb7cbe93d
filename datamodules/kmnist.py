"""KMNIST: 70,000 cursive Japanese letters in IDX files, downloaded or local."""

from __future__ import annotations

from typing import ClassVar

from capsbench.data.images import Identity
from capsbench.datamodules._idx_sets import IdxFile, IdxSet, checksum

FILES = {
    "train-images-idx3-ubyte": IdxFile(
        18165135,
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "92be26ec9822e900ac425d0a0aa84ced",
    ),
    "train-labels-idx1-ubyte": IdxFile(
        29497,
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "2a16eeae62da984b8bd24fa32e31d47291f01dac3fe84d5594f304f71e7d374b",
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        3041136,
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "bf305b8cd328700fbc17f5acbc2856d2",
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        5120,
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        "9f55f451c0988b028eccdf7d5cc265ab",
    ),
}


class KMNIST(IdxSet):
    """Kuzushiji-MNIST, 28 x 28: 55,000 images to train on, 5,000 for validation, 10,000 to test.

    The four IDX files lie under ``<data root>/KMNIST/raw``, packed (``.gz``) or not; if they are
    not there, they are downloaded. Of three unpacked files only an MD5 has been published.

    Source: T. Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718
    (2018).
    """

    identity = Identity("kmnist", "1", checksum(file.packed for file in FILES.values()))
    image_shape = (1, 28, 28)
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    source: ClassVar[str] = "Clanuwat et al. 2018; four IDX files under <data root>/KMNIST/raw"
    folder_name = "KMNIST"
    files = FILES
    mirrors = (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/KMNIST",
    )
