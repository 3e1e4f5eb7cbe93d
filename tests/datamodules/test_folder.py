"""A folder of your own images: tables right and wrong, images of every kind."""

import numpy as np
import pytest
import torch
from PIL import Image

from capsbench import arguments
from capsbench.datamodules.folder import Folder
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots
from tests.datamodules.properties import objects, require_disjoint, splits


def rows(count, *classes, more=()):
    return [(f"{label}{i}.png", label, *more) for label in classes for i in range(count)]


def test_without_recorded_views_a_share_of_each_class_is_held_out(tmp_path):
    table = [("file", "class"), *rows(20, "cup"), *rows(10, "hat"), *rows(3, "key")]
    roots.folder(tmp_path, table)
    data = Folder(data_root=tmp_path, path="mine", views=ViewRange(rotation=[-20, 20]))
    assert data.class_names == ("cup", "hat", "key")
    assert data.factors == ()
    parts = splits(data)
    require_disjoint(parts, one_source=True)
    counts = [torch.bincount(part.targets).tolist() for part in parts]
    assert counts == [[14, 7, 1], [2, 1, 1], [4, 2, 1]]
    assert len(data.split("familiar")) == 7
    with pytest.raises(UserError, match="no novel"):
        data.split("novel")


def test_recorded_views_and_whole_instances(tmp_path):
    table = [
        (f"{label}{i}at{a}.png", label, i, a, 12.5)
        for label, first, last in (("cup", 1, 4), ("hat", 7, 9))
        for i in range(first, last)
        for a in (0, 90, 180)
    ]
    roots.folder(tmp_path, [("file", "class", "instance", "azimuth", "elevation"), *table])
    views = ViewRange(azimuth=[0, 90])
    data = Folder(data_root=tmp_path, path="mine", views=views, familiar_test_share=0)
    assert data.factors == ("azimuth", "elevation", "instance")
    # The last of each class; the numbers of the classes are independent.
    assert objects(data.split("validation")) == {(0, 3), (1, 8)}
    assert objects(data.split("train")) == {(0, 1), (0, 2), (1, 7)}
    assert set(data.split("novel").factors["azimuth"].tolist()) == {180}
    assert data.split("novel").factors["elevation"].unique().tolist() == [12.5]


def test_a_table_can_name_the_split(tmp_path):
    table = [(f"{c}{i}.png", c, "test" if i < 3 else "train") for c in "ab" for i in range(8)]
    roots.folder(tmp_path, [("file", "class", "split"), *table])
    data = Folder(data_root=tmp_path, path="mine")
    assert data.split("test").index.tolist() == [0, 1, 2, 8, 9, 10]
    assert [len(data.split(name)) for name in ("train", "validation")] == [8, 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_kind_are_resized(tmp_path, channels):
    place = roots.folder(tmp_path, [("file", "class"), *rows(4, "a", "b")])
    (place / "sub").mkdir()
    upright = np.zeros((30, 10), np.uint8)
    upright[:15] = 255  # white above
    Image.fromarray(upright).save(place / "sub" / "grey.bmp")
    lying = Image.fromarray(np.rot90(upright))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 270 degrees to see it upright
    lying.save(place / "a1.png", exif=exif)
    text = (place / "labels.csv").read_text().replace("a0.png", "sub/grey.bmp")
    (place / "labels.csv").write_text(text)
    data = Folder(data_root=tmp_path, path="mine", size=12, channels=channels)
    images = data.read().images.images
    assert images.shape == (8, channels, 12, 12)
    for row in (0, 1):
        assert (images[row, :, :5] == 255).all() and not images[row, :, 7:].any()


def test_the_identity_depends_on_the_table_and_the_images(tmp_path):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])

    def identity():
        return Folder(data_root=tmp_path, path="mine").identity

    first = identity()
    assert first == identity() and first.name == "mine"
    Image.new("RGB", (9, 9)).save(place / "b2.png")
    second = identity()
    table = place / "labels.csv"
    table.write_text(
        table.read_text().replace("a1.png,a", "a1.png,b").replace("b1.png,b", "b1.png,a")
    )
    assert len({first, second, identity()}) == 3


def two_splits(tmp_path):
    """A folder with three training and three test images of each class."""
    table = [(f"{c}{i}.png", c, "test" if i < 3 else "train") for c in "ab" for i in range(6)]
    return roots.folder(tmp_path, [("file", "class", "split"), *table])


def copy(place, name, other, *, again):
    """Put a file in place of another one, or the same pixels in another file."""
    if again:
        Image.open(place / name).save(place / other, "BMP")
    else:
        (place / other).write_bytes((place / name).read_bytes())


@pytest.mark.parametrize("again", [False, True], ids=["bytes", "pixels"])
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a0", "b1", (r"a0\.png \(class 'a'\)", r"b1\.png \(class 'b'\)")),
        ("a0", "b5", (r"a0\.png \(class 'a'\)", r"b5\.png \(class 'b'\)")),
        ("a0", "a5", (r"a0\.png \(test\)", r"a5\.png \((train|validation)\)")),
    ],
)
def test_equal_images_of_two_classes_or_splits_are_refused(tmp_path, first, second, words, again):
    copy(two_splits(tmp_path), f"{first}.png", f"{second}.png", again=again)

    def load(**arguments):
        Folder(data_root=tmp_path, path="mine", **arguments).split("train")

    with pytest.raises(UserError, match=f"{words[0]} and .*{words[1]}"):
        load()
    if "class" in words[0]:
        with pytest.raises(UserError, match="class"):
            load(equal_images="allow")
    else:
        load(equal_images="allow")


def test_equal_files_are_refused_before_an_image_is_read(tmp_path):
    copy(two_splits(tmp_path), "a0.png", "a5.png", again=False)
    with pytest.raises(UserError, match="the same file"):
        Folder(data_root=tmp_path, path="mine")


def test_equal_images_in_training_and_validation_are_refused(tmp_path):
    place = roots.folder(tmp_path, [("file", "class"), *rows(12, "a", "b")])
    data = Folder(data_root=tmp_path, path="mine")
    train, validation = (data.split(name).index[0] for name in ("train", "validation"))
    names = [data.table.files[row].name for row in (train, validation)]
    copy(place, *names, again=False)
    with pytest.raises(UserError, match="the same image at 32 x 32") as raised:
        Folder(data_root=tmp_path, path="mine").split("train")
    assert all(
        f"{name} ({part})" in str(raised.value)
        for name, part in zip(names, ("train", "validation"), strict=True)
    )


def test_equal_images_of_a_split_are_noted(tmp_path):
    copy(two_splits(tmp_path), "a0.png", "a1.png", again=True)
    data = Folder(data_root=tmp_path, path="mine")
    assert data.split("test") and "pixel by pixel: 1" in data.notes[0]
    (tmp_path / "other").mkdir()
    two_splits(tmp_path / "other")
    data = Folder(data_root=tmp_path / "other", path="mine")
    assert data.split("test") and data.notes == []


def test_transparent_pixels_show_the_background(tmp_path):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])
    Image.new("RGBA", (9, 9), (70, 80, 90, 0)).save(place / "a0.png")

    def color(**given):
        data = Folder(data_root=tmp_path, path="mine", **given)
        return data.read().images.images[0, :, 0, 0].tolist()

    assert color() == [0, 0, 0]
    assert color(background=255) == [255, 255, 255]
    assert color(background=(1, 2, 3)) == [1, 2, 3]
    for wrong in (256, -1, [1, 2], "white"):
        with pytest.raises(UserError, match="background"):
            arguments.resolve(Folder, {"path": "mine", "background": wrong}, what="folder")


WRONG: dict[str, tuple[list[tuple[object, ...]], str]] = {
    "no class": ([("file", "azimuth"), ("a0.png", 3)], "no column 'class', only file, azimuth"),
    "unknown column": (
        [("file", "class", "azimut")],
        "unknown column of .*'azimut'; did you mean 'azimuth'",
    ),
    "no row": ([("file", "class")], "has no row"),
    "column twice": ([("file", "class", "class")], "has a column twice"),
    "empty": ([("",)], "no column 'file'"),
    "missing file": ([("file", "class"), ("zz.png", "a")], "line 2: there is no file .*zz.png"),
    "too few values": ([("file", "class"), ("a0.png",)], "line 2: 2 values expected, 1 found"),
    "file twice": (
        [("file", "class"), ("a0.png", "a"), ("a0.png", "b")],
        "names a0.png 2 times; give each file one row",
    ),
    "one class": ([("file", "class"), *rows(3, "a")], "names one class, 'a'"),
    "missing class": (
        [("file", "class"), *rows(3, "a"), ("b0.png", "")],
        "line 5: the class '' has no visible character",
    ),
    "names that look the same": (
        [("file", "class"), *rows(3, "a"), ("b0.png", "a\u200b")],
        r"classes 'a' \(line 2\) and 'a\\u200b' \(line 5\)",
    ),
    "class without test images": (
        [
            ("file", "class", "split"),
            *rows(3, "a", more=("train",)),
            *rows(3, "b", more=("test",)),
        ],
        "class 'a' has too few test images, 0; it needs 1",
    ),
    "few images": (
        [("file", "class"), *rows(3, "a"), *rows(2, "b")],
        "class 'b' has too few images, 2; it needs 3",
    ),
    "no number": (
        [("file", "class", "azimuth"), *rows(3, "a", "b", more=("left",))],
        "line 2: azimuth is a number, not 'left'",
    ),
    "no whole number": (
        [("file", "class", "instance"), *rows(3, "a", "b", more=("1.5",))],
        "line 2: instance is a whole number, not '1.5'",
    ),
    "split": (
        [("file", "class", "split"), *rows(3, "a", "b", more=("val",))],
        "line 2: split is train or test, not 'val'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_tables_are_refused(tmp_path, wrong):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])
    lines, message = WRONG[wrong]
    text = "\n".join(",".join(map(str, line)) for line in lines)
    (place / "labels.csv").write_text(text, encoding="utf-8-sig")
    with pytest.raises(UserError, match=message) as raised:
        Folder(data_root=tmp_path, path="mine")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("other", ["./a0.png", "../mine/a0.png", "link.png", "absolute"])
def test_a_file_under_two_names_is_one_file(tmp_path, other):
    """Otherwise it could be in both training and test."""
    table = [("file", "class", "split"), *rows(4, "a", "b", more=("train",))]
    place = roots.folder(tmp_path, table)
    (place / "link.png").symlink_to("a0.png")
    other = str(place / "a0.png") if other == "absolute" else other
    with (place / "labels.csv").open("a") as stream:
        stream.write(f"{other},a,test\n")
    with pytest.raises(UserError, match=r"a0\.png 2 times"):
        Folder(data_root=tmp_path, path="mine")


@pytest.mark.parametrize("name", ["../elsewhere.png", "link.png"])
def test_files_outside_of_the_folder_are_refused(tmp_path, name):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])
    Image.new("RGB", (9, 9)).save(tmp_path / "elsewhere.png")
    (place / "link.png").symlink_to("../elsewhere.png")
    with (place / "labels.csv").open("a") as stream:
        stream.write(f"{name},a\n")
    with pytest.raises(UserError, match=r"line 8: .*elsewhere\.png is outside"):
        Folder(data_root=tmp_path, path="mine")


@pytest.mark.parametrize("end", ["\n", "\n\n", "  \n", ",\n,\n"])
def test_empty_lines_at_the_end_are_ignored(tmp_path, end):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])
    with (place / "labels.csv").open("a") as stream:
        stream.write(end)
    assert len(Folder(data_root=tmp_path, path="mine").table.files) == 6


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tif", "ppm", "webp"])
def test_damaged_images_are_user_errors(tmp_path, kind):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])
    data = Folder(data_root=tmp_path, path="mine", size=8)
    numbers = np.random.default_rng(0)
    path = place / f"a.{kind}"
    Image.fromarray(numbers.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    errors = 0
    for number in range(60):
        changed = bytearray(content)
        if number % 2:
            del changed[numbers.integers(len(changed)) :]
        else:
            for at in numbers.integers(min(len(changed), 150), size=3):
                changed[at] = numbers.integers(256)
        path.write_bytes(changed)
        try:
            data._image(path)
        except UserError as error:
            errors += "\n" not in str(error)
    assert errors


def test_files_of_other_formats_are_refused(tmp_path):
    place = roots.folder(tmp_path, [("file", "class"), *rows(3, "a", "b")])
    (place / "a1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a1\.png.*image"):
        Folder(data_root=tmp_path, path="mine").split("train")
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(place / "a1.png")
    with pytest.raises(UserError, match=r"a1\.png.*8 bits"):
        Folder(data_root=tmp_path, path="mine").split("train")
    (place / "labels.csv").write_bytes(b"\xff\xfe\x00 no text")
    with pytest.raises(UserError, match=r"labels\.csv.*comma-separated"):
        Folder(data_root=tmp_path, path="mine")
    with pytest.raises(UserError, match=r"no .*elsewhere/labels\.csv"):
        Folder(data_root=tmp_path, path="elsewhere")
    assert "argument path" in Folder.availability(tmp_path)


def test_arguments_are_checked_before_anything_is_read():
    given = arguments.resolve(Folder, {"path": "mine", "channels": 1}, what="folder")
    assert given["size"] == 32 and given["familiar_test_share"] == 0.2
    with pytest.raises(UserError, match="path"):
        arguments.resolve(Folder, {}, what="folder")
    with pytest.raises(UserError, match="channels"):
        arguments.resolve(Folder, {"path": "mine", "channels": 2}, what="folder")
