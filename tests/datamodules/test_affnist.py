"""affNIST and affNIST-like: places, ranges, official files, transforms by digit."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from capsbench.datamodules import _affine_digits as affine
from capsbench.datamodules import _affnist_files
from capsbench.datamodules.affnist import AffNIST
from capsbench.datamodules.affnist_like import AffNISTLike, transforms
from capsbench.datamodules.mnist import MNIST
from capsbench.errors import UserError
from capsbench.files.remote import RemoteFile
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.warp import warp
from tests.datamodules import roots
from tests.formats import made


def stored_transforms(count, scale=1.2):
    numbers = np.random.default_rng(0)
    low, high = zip(
        (-20, 20), (-0.2, 0.2), (0.8, scale), (0.8, scale), (-9, 9), (-9, 9), strict=True
    )
    return numbers.uniform(low, high, (count, 6)).T


def official(digits, copies, *, order="by copy", **fields):
    """Return a file of affNIST whose images' first pixels are their digit and copy."""
    digit, copy = np.tile(np.arange(digits), copies), np.repeat(np.arange(copies), digits)
    if order == "by digit":
        digit, copy = np.repeat(np.arange(digits), copies), np.tile(np.arange(copies), digits)
    if order == "shuffled":
        rows = np.random.default_rng(1).permutation(digits * copies)
        digit, copy = digit[rows], copy[rows]
    _, labels = roots.labelled(digits, 10, (28, 28))
    images = np.zeros((digits * copies, 40, 40), np.uint8)
    images[:, 20, 20] = roots.shade(labels[digit])
    images[:, 0, 0], images[:, 0, 1] = digit, copy
    if order == "shuffled" and "original" not in fields:
        fields["original"] = digit[None] + 1.0  # MATLAB counts from 1
    fields = {"human_readable_transform": stored_transforms(digits * copies)} | fields
    return made.affnist(images, labels[digit], **fields)


@pytest.fixture
def root(tmp_path, monkeypatch):
    roots.idx_set(tmp_path, monkeypatch, MNIST)
    return tmp_path


def bounding_boxes(images):
    """Return the smallest rectangles around all pixels that are not black, (N, 4) int64."""
    ink = images[:, 0] > 0
    ends = []
    for line in (ink.any(dim=1), ink.any(dim=2)):
        length = line.shape[1]
        ends += [line.int().argmax(1), length - 1 - line.flip(1).int().argmax(1)]
    return torch.stack(ends, dim=1)


def test_all_ink_is_on_the_canvas_and_reaches_its_edges():
    # A bar from edge to edge of the 20 x 20 box of MNIST's digits.
    images = torch.zeros(600, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 4:24, 12:16] = 255
    drawn = transforms(600)
    moved = affine.transform(images, drawn)
    ink = images.double().sum(dim=(1, 2, 3)) * drawn.scale.prod(dim=1)
    torch.testing.assert_close(moved.double().sum(dim=(1, 2, 3)), ink, rtol=0.05, atol=0)
    boxes = bounding_boxes(moved)
    assert boxes.amin() <= 1 and boxes.amax() >= 38
    # The same canvas with room around it: no ink was cut off.
    roomy = affine.views(images, drawn).matrices(28, 28)
    outside = warp(images.double(), roomy, (60, 60)).round()
    outside[..., 10:50, 10:50] = 0
    assert not outside.any()


def test_parameters_are_uniform_in_their_ranges():
    drawn = transforms(4000, copy=3)
    columns = [drawn.rotation, drawn.shear, *drawn.scale.unbind(1), *drawn.position.unbind(1)]
    ranges = [*affine.RANGES.values(), (0, 1), (0, 1)]
    for column, (low, high) in zip(columns, ranges, strict=True):
        assert kstest(column.numpy(), "uniform", args=(low, high - low)).pvalue > 1e-3
    pairs = torch.corrcoef(torch.stack(columns))
    assert (pairs - torch.eye(6)).abs().max() < 0.06


def test_a_digit_that_is_too_large_is_in_the_middle():
    images = torch.full((50, 1, 56, 56), 255, dtype=torch.uint8)  # 45 pixels at the least
    assert affine.views(images, transforms(50)).shift.abs().max() < 1e-9


def test_the_transform_of_a_digit_is_a_function_of_its_number(root):
    one, more = AffNISTLike(data_root=root), AffNISTLike(data_root=root, copies=3, seed=4)
    first, all_copies = one.split("novel"), more.split("novel")
    assert (len(first), len(all_copies)) == (40, 120)
    assert torch.equal(all_copies.images[:40], first.images)
    assert not torch.equal(all_copies.images[40:80], first.images)
    assert torch.equal(all_copies.targets, one.split("test").targets.repeat(3))
    assert all_copies.index.tolist() == list(range(120))
    few = transforms(7)
    assert torch.equal(few.rotation, transforms(40).rotation[:7])


def test_test_images_are_moved_and_novel_images_are_not(root):
    views = ViewRange.model_validate({"shift": {"start": -6, "stop": 6, "step": 1}})
    data = AffNISTLike(data_root=root, views=views)
    novel = torch.cat([batch.images for batch in data.evaluation.batches("novel", "cpu")])
    assert torch.equal(novel, data.split("novel").images.float() / 255)
    for batch in data.evaluation.batches("familiar", "cpu"):
        shifts = batch.views.shift
        assert torch.equal(shifts, shifts.round()) and shifts.abs().max() == 6
        stored = data.split("test").images[batch.index].float() / 255
        for image, (x, y), digit in zip(batch.images, shifts.int().tolist(), stored, strict=True):
            canvas = torch.zeros(1, 40, 40)
            canvas[:, 6 + y : 34 + y, 6 + x : 34 + x] = digit
            assert torch.equal(image, canvas)


@pytest.mark.parametrize("order", ["by copy", "by digit", "shuffled"])
@pytest.mark.parametrize("form", ["test.mat", "test.mat.zip", "test_batches", "test_batches.zip"])
def test_official_images(root, order, form):
    content, place = official(40, 4, order=order), root / "affNIST"
    if form == "test_batches":
        roots.write(place / form / "1.mat", content)
    else:
        zipped = form.endswith(".zip")
        roots.write(place / form, made.zipped({"1.mat": content}) if zipped else content)
    data = AffNIST(data_root=root, copies=3)
    novel = data.split("novel")
    assert novel.images[:, 0, 0, 0].tolist() == list(range(40)) * 3
    if order != "shuffled":
        assert novel.images[:, 0, 0, 1].tolist() == [0] * 40 + [1] * 40 + [2] * 40
    assert torch.equal(novel.images[:, 0, 20, 20], 10 + 20 * novel.targets.to(torch.uint8))
    assert len(AffNIST(data_root=root).split("novel")) == 160
    assert data.ranges is not None and data.ranges.agrees
    assert str(place / form) in AffNIST.availability(root)


def test_batches_are_joined_in_the_order_of_their_numbers(root):
    for number in (10, 9, 1):
        images = official(40, 1)
        roots.write(root / "affNIST" / "test_batches" / f"{number}.mat", images)
    assert len(AffNIST(data_root=root).split("novel")) == 120


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"more": np.zeros((2, 40))}, r"found .*more \(2\)"),
        ({"human_readable_transform": np.zeros((5, 40))}, r"found human_readable_transform \(5\)"),
    ],
    ids=["another field", "other rows"],
)
def test_batches_with_different_fields_are_named(root, fields, message):
    place = root / "affNIST" / "test_batches"
    for number in (1, 2, 3):
        roots.write(place / f"{number}.mat", official(40, 1, **(fields if number == 2 else {})))
    expected = rf"2\.mat is damaged .* human_readable_transform \(6\), .* as in .*1\.mat, {message}"
    with pytest.raises(UserError, match=expected):
        AffNIST(data_root=root).split("novel")


def test_transforms_that_are_not_finite_are_counted(root):
    stored = stored_transforms(80)
    stored[:, 7] = np.nan
    content = official(40, 2, human_readable_transform=stored, original=np.full((1, 80), np.nan))
    roots.write(root / "affNIST" / "test.mat", content)
    data = AffNIST(data_root=root)
    assert len(data.split("novel")) == 80
    assert "1 of 80" in data.notes[1] and "not finite" in data.notes[1]


@pytest.mark.parametrize("form", ["test.mat", "test_batches"])
def test_notes_name_the_file_and_its_checksum(root, form):
    content, place = official(40, 2), root / "affNIST" / form
    roots.write(place / "1.mat" if form == "test_batches" else place, content)
    data = AffNIST(data_root=root)
    assert data.notes == []
    data.split("novel")
    assert str(place) in data.notes[0] and roots.sha256(content) in data.notes[0]
    assert data.notes[0] in AffNIST.availability(root)


def test_images_of_unknown_digits(root):
    content = official(40, 2, order="shuffled", original=np.zeros((1, 80)))
    roots.write(root / "affNIST" / "test.mat", content)
    with pytest.raises(UserError, match="leave copies out"):
        AffNIST(data_root=root, copies=1).split("novel")


@pytest.mark.parametrize("digits", [33, 48])
def test_other_digits_are_refused(root, digits):
    """Another number of them, or (240 images of 48 digits) classes that are not so frequent."""
    roots.write(root / "affNIST" / "test.mat", official(digits, 5))
    with pytest.raises(UserError, match=r"test\.mat is damaged.*equally often"):
        AffNIST(data_root=root).split("novel")


def test_without_the_official_file_the_error_names_its_folder(root, monkeypatch):
    remote = RemoteFile("test.mat.zip", None, None, roots.NOWHERE, "zip")
    monkeypatch.setattr(AffNIST, "remote_test", remote)
    with pytest.raises(UserError, match=r"test\.mat\.zip .*affNIST"):
        AffNIST(data_root=root).split("novel")
    assert "put test.mat.zip" in AffNIST.availability(root)


def test_stored_transforms_are_compared_with_the_ranges():
    fits = affine.check_ranges(stored_transforms(5000).T)
    assert fits.agrees
    assert "rotation -20 to 20 (number 1)" in fits.message
    assert "vertical scale 0.8" in fits.message and "(number 4)" in fits.message
    wider = affine.check_ranges(stored_transforms(5000, scale=1.5).T)
    assert not wider.agrees
    assert "none is horizontal scale 0.8 to 1.2" in wider.message
    assert "vertical scale 0.8 to 1.2" in wider.message
    assert "number 3: 0.8" in wider.message


@pytest.mark.skipif(
    bool(MNIST.missing_files(roots.REAL)), reason=f"no MNIST files under {roots.REAL}"
)
def test_real_digits():
    data = AffNISTLike(data_root=roots.REAL)
    digits, novel = data.split("test"), data.split("novel")
    shift = affine.views(digits.images, transforms(10_000)).shift
    boxes = bounding_boxes(novel.images)
    assert boxes.min() == 0 and boxes.max() == 39
    assert shift.abs().amax() < 20
    # All of MNIST's test digits fit: no ink is lost.
    expected = digits.images.double().sum((1, 2, 3)) * transforms(10_000).scale.prod(dim=1)
    ratio = novel.images.double().sum((1, 2, 3)) / expected
    assert ratio.min() > 0.9 and ratio.max() < 1.1
    assert ratio.mean() == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("form", ["test.mat", "test.mat.zip", "test_batches", "test_batches.zip"])
def test_official_images_take_no_more_memory_than_the_published_ones(root, monkeypatch, form):
    content, place = official(40, 4), root / "affNIST"
    batches = {f"{number}.mat": content for number in (1, 2)}
    if form == "test_batches":
        for name in batches:
            roots.write(place / form / name, content)
    else:
        members = batches if "batches" in form else {"1.mat": content}
        roots.write(place / form, made.zipped(members) if form.endswith(".zip") else content)
    monkeypatch.setattr(_affnist_files, "MAX_BYTES", 400_000 if "batches" in form else 100_000)
    with pytest.raises(UserError, match=r"at most \d+ bytes|numbers of at most \d+ bytes"):
        AffNIST(data_root=root).split("novel")


def test_the_first_of_several_forms_is_read(root):
    place = root / "affNIST"
    roots.write(place / "test_batches" / "1.mat", official(40, 4))
    roots.write(place / "test.mat", b"damaged")
    assert str(place / "test.mat") in AffNIST.availability(root)
    with pytest.raises(UserError, match=r"test\.mat is damaged"):
        AffNIST(data_root=root).split("novel")
