"""`capsbench data`: numbers and contact sheets of the splits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capsbench.reporting.figures.contact_sheet import contact_sheet


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_split_has_numbers_and_a_contact_sheet(cli):
    code, facts, _ = cli("data", "digits", "--view", "rotation=[-30, 30]", "--json")
    assert code == 0
    assert facts["name"] == "digits"
    assert facts["checksum"].startswith("sha256:")
    assert list(facts["splits"]) == ["train", "validation", "test"]
    assert [split["images"] for split in facts["splits"].values()] == [1198, 199, 400]
    assert facts["splits"]["test"]["per_class"] == [40, 40]
    assert facts["splits"]["train"]["views"] == {"rotation": "-30 to 30 °"}
    sums = {split["sha256"] for split in facts["splits"].values()}
    assert len(sums) == 3
    for split in facts["splits"].values():
        with Image.open(split["contact_sheet"]) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    _, again, _ = cli("data", "digits", "--json")
    assert {split["sha256"] for split in again["splits"].values()} == sums


def test_text(cli):
    code, text, _ = cli("data", "digits", "--output", "elsewhere")
    assert code == 0
    assert "train: 1,198 images" in text
    assert "elsewhere/digits/contact-sheets/test.png" in text.replace("\n", "")
    assert Path("elsewhere/digits/contact-sheets/test.png").is_file()


def test_a_benchmark_gives_its_data_and_views(cli, tiny):
    code, facts, _ = cli("data", tiny, "--json")
    assert code == 0
    assert facts["views"]["rotation"] == [-15, 15]
    code, facts, _ = cli("data", "quick", "--view", "rotation=90", "--json")
    assert facts["views"]["rotation"] == 90
    assert facts["views"]["shift"] == [-2, 2]


def test_the_sheet_of_training_images_shows_the_augmentation(cli, tiny):
    def pictures(*arguments):
        code, facts, _ = cli("data", *arguments, "--json")
        assert code == 0
        sheets = {n: Path(s["contact_sheet"]).read_bytes() for n, s in facts["splits"].items()}
        return facts["augmentation"], sheets.pop("train"), sheets

    nothing, plain, others = pictures("digits")
    assert nothing == []
    operations, erased, same = pictures("digits", "--augmentation", "[RandomErasing]")
    assert operations == [{"RandomErasing": {}}]
    inverted = pictures("digits", "--augmentation", "[RandomInvert]")[1]
    assert len({plain, erased, inverted}) == 3  # the title of the last two is the same
    assert same == others
    assert pictures("digits", "--augmentation", "[RandomErasing]")[1] == erased  # reproducible

    text = (
        Path(tiny)
        .read_text("utf-8")
        .replace("{steps: 4", "{augmentation: [RandomInvert], steps: 4")
    )
    Path(tiny).write_text(text, encoding="utf-8")
    assert pictures(tiny)[0] == [{"RandomInvert": {}}]
    assert pictures(tiny, "--augmentation", "[RandomErasing]")[0] == [{"RandomErasing": {}}]
    assert pictures(tiny, "--augmentation", "[]")[0] == []


def test_images_per_class(cli):
    _, facts, _ = cli("data", "digits", "--per-class", "5", "--json")
    assert [split["images"] for split in facts["splits"].values()] == [50, 50, 400]


@pytest.mark.parametrize(
    ("arguments", "key_words"),
    [
        (["nothing"], ("'nothing'",)),
        (
            ["digits", "--view", "rotaton=3"],
            ("--view", "'rotaton'", "did you mean 'rotation'"),
        ),
        (["digits", "--view", "rotation=[3, 2, 1]"], ("--view", "rotation", "[low, high]")),
        (["digits", "--view", "azimuth=3"], ("digits", "azimuth")),
        (["digits", "--set", "sise=3"], ("'digits'", "'sise'")),
        (["digits", "--data-root", "nowhere"], ("data root", "'nowhere'")),
        (["digits", "--view", "rotation"], ("--view", "rotation=[-30,30]")),
        (["digits", "--augmentation", "[RandomErasin]"], ("did you mean 'RandomErasing'",)),
        (["digits", "--augmentation", "[RandomHue]"], ("RandomHue", "do not fit")),
        (["digits", "--augmentation", "RandomHue"], ("--augmentation", "list of operations")),
        (["digits", "--augmentation", "["], ("--augmentation", "not a YAML value")),
        (["quick", "--augmentation", "[{RandomErasing: {p: 2}}]"], ("p of RandomErasing",)),
        (["digits", "--per-class", "1.5"], ("--per-class", "whole number")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_one_line(refusal, arguments, key_words):
    message = refusal("data", *arguments)
    assert [word for word in key_words if word not in message] == []


def test_contact_sheet_of_stereo_pairs_and_of_color(tmp_path):
    left_black = np.zeros((3, 2, 16, 16), np.uint8)
    left_black[:, 1] = 255
    color = np.zeros((2, 3, 16, 16), np.uint8)
    color[:, 0] = 255
    stereo = contact_sheet([("$x_", left_black), ("<b>", left_black[:1])], "a $ b")
    (tmp_path / "sheet.png").write_bytes(stereo)
    (tmp_path / "color.png").write_bytes(contact_sheet([("red", color)], "red"))
    with Image.open(tmp_path / "sheet.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    middle = pixels[int(pixels.shape[0] * 0.45)]
    dark = np.flatnonzero(np.diff((middle < 20).astype(int)) == 1)
    assert len(dark) >= 3  # three black images, white ones between them
    with Image.open(tmp_path / "color.png") as picture:
        red = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (red == (255, 0, 0)).all(axis=1).any()
