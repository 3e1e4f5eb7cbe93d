"""affNIST and SVHN: upright images, digits as labels, refused files."""

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.content import Content
from capsbench.formats.matlab import read_affnist, read_svhn
from tests.formats import made

NUMBERS = np.random.default_rng(0)
DIGITS = np.array([3, 0, 9, 1, 0])
GREY = NUMBERS.integers(0, 256, (5, 40, 40), dtype=np.uint8)
COLOUR = NUMBERS.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


def content(data):
    return Content("file.mat", bytearray(data))


def test_affnist():
    matrices = np.arange(9.0 * 5).reshape(3, 3, 5)
    result = read_affnist(content(made.affnist(GREY, DIGITS, affine_matrix=matrices)))
    np.testing.assert_array_equal(result["image"], GREY)
    assert result["image"].dtype == np.uint8
    assert result["image"].flags.c_contiguous
    np.testing.assert_array_equal(result["label_int"], DIGITS)
    assert result["label_int"].dtype == np.int64
    np.testing.assert_array_equal(result["label_one_of_n"].argmax(1), DIGITS)
    np.testing.assert_array_equal(result["human_readable_transform"][1], np.arange(1, 30, 5))
    np.testing.assert_array_equal(result["affine_matrix"][2], matrices[:, :, 2])


def test_a_column_is_an_image_in_row_major_order():
    image = np.zeros((1, 40, 40), np.uint8)
    image[0, 0, :] = 255  # the top line
    column = np.zeros((1600, 1), np.uint8)
    column[:40] = 255
    data = made.matlab(affNISTdata={"image": column, "label_int": np.zeros((1, 1))})
    np.testing.assert_array_equal(read_affnist(content(data))["image"], image)


def test_svhn():
    images, digits = read_svhn(content(made.svhn(COLOUR, DIGITS)))
    np.testing.assert_array_equal(images, COLOUR)
    np.testing.assert_array_equal(digits, DIGITS)
    assert images.dtype == np.uint8
    assert digits.dtype == np.int64
    assert images.flags.c_contiguous


def cells(*values):
    array = np.empty((1, len(values)), object)
    array[0] = values
    return array


FLAT = GREY.reshape(5, 1600).T
GOOD = made.affnist(GREY, DIGITS)
WRONG_AFFNIST = {
    "another variable": (made.svhn(COLOUR, DIGITS), "affNISTdata.*none"),
    "no structure": (made.matlab(affNISTdata=FLAT), "affNISTdata.*structure.*uint8"),
    "no labels": (made.matlab(affNISTdata={"image": FLAT}), "label_int.*only image"),
    "floats": (made.affnist(GREY.astype("f4"), DIGITS), "uint8 .1600, N..*float32"),
    "other sizes": (
        made.matlab(affNISTdata={"image": FLAT[:784], "label_int": DIGITS[None]}),
        r"uint8 \(1600, N\).*uint8 \(784, 5\)",
    ),
    "fewer labels": (
        made.matlab(affNISTdata={"image": FLAT, "label_int": DIGITS[None, :4]}),
        r"5 columns.*affNISTdata.label_int.*\(1, 4\)",
    ),
    "other labels": (made.affnist(GREY, DIGITS, label_int=DIGITS[None] + 1), "labels 0..9"),
    "fractions": (made.affnist(GREY, DIGITS, label_int=DIGITS[None] / 2), "labels 0..9"),
    "a cell array": (
        made.affnist(GREY, DIGITS, image=cells(*GREY)),
        "numbers in image.*cells",
    ),
    "text": (made.affnist(GREY, DIGITS, label_int="three"), "numbers in label_int.*text"),
    "version 7.3": (
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n",
        r"version 5.*version 7\.3 \(HDF5\)",
    ),
    "HDF5": (b"\x89HDF\r\n\x1a\n".ljust(600), r"version 7\.3 \(HDF5\)"),
    "a web page": (b"<!DOCTYPE html>", "version 5.*web page"),
    "a pickle": (b"\x80\x04\x95", "version 5.* b'"),
    "empty": (b"", "an empty file"),
    "truncated": (GOOD[:-100], "a complete MATLAB file"),
    "only a header": (GOOD[:128], "affNISTdata.*none"),
    "half a header": (GOOD[:100], "a complete MATLAB file"),
    "changed": (GOOD[:4000] + b"\0\0\0\0" + GOOD[4004:], "a complete MATLAB file"),
}


@pytest.mark.parametrize("name", WRONG_AFFNIST)
def test_other_files_are_not_affnist(name):
    data, message = WRONG_AFFNIST[name]
    with pytest.raises(UserError, match=rf"^file\.mat is damaged.*{message}"):
        read_affnist(content(data))


WRONG_SVHN = {
    "another set": (GOOD, "variable X.*none"),
    "no labels": (made.matlab(X=COLOUR.transpose(2, 3, 1, 0)), "variable y.*none"),
    "other axes": (made.matlab(X=COLOUR, y=DIGITS[:, None]), r"\(32, 32, 3, N\)"),
    "digits from zero": (
        made.matlab(X=COLOUR.transpose(2, 3, 1, 0), y=DIGITS[:, None]),
        r"labels 1..10 in y.*0..9",
    ),
    "fewer labels": (
        made.matlab(X=COLOUR.transpose(2, 3, 1, 0), y=np.ones((4, 1))),
        "5 labels in y",
    ),
    "cells": (made.matlab(X=cells(*COLOUR), y=DIGITS[:, None]), "numbers in X, found cells"),
}


@pytest.mark.parametrize("name", WRONG_SVHN)
def test_other_files_are_not_svhn(name):
    data, message = WRONG_SVHN[name]
    with pytest.raises(UserError, match=rf"^file\.mat is damaged.*{message}"):
        read_svhn(content(data))


def test_any_truncation_is_a_user_error():
    for length in NUMBERS.integers(128, len(GOOD) - 1, 100):
        with pytest.raises(UserError, match=r"file\.mat is damaged"):
            read_affnist(content(GOOD[:length]))
