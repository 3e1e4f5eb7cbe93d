"""A user's own set names the folder of its trainings, wherever the command line looks for it."""

from pathlib import Path

import pytest
from PIL import Image

from capsbench.running.cell import data_folder
from capsbench.running.plan import plan
from capsbench.schema import load_benchmark
from tests.datamodules import roots

OPTIONS = (
    *("--models", "smaller", "--seeds", "0", "--set", "data.name=folder"),
    *("--set", "data.arguments.size=28", "--device", "cpu", "--wandb", "off"),
)


def make_set(root, shade=0):
    """A set of two classes in ``<root>/mine``."""
    table = [(f"{label}{i}.png", label) for label in "ab" for i in range(10)]
    place = roots.folder(Path(root), [("file", "class"), *table])
    Image.new("RGB", (9, 9), (shade, shade, shade)).save(place / "a0.png")
    return place


def planned(path, data_root):
    """Folders of the trainings on a set."""
    changes = {"data.name": "folder", "data.arguments": {"path": path}, "seeds": [0]}
    cells = plan(load_benchmark("tiny.yaml", changes), models=["small"], data_root=data_root)
    return [cell.path.as_posix() for cell in cells]


def test_a_set_with_the_name_of_the_benchmark_is_run_measured_and_reported(cli, tiny):
    make_set("data").rename("data/tiny")
    line = ["run", tiny, *OPTIONS, "--set", "data.arguments.path=tiny"]
    code, _, err = cli(*line)
    assert code == 0, err
    (cell,) = Path("runs/tiny/cnn-small").glob("0-*")
    assert {each.name for each in Path("runs").iterdir()} == {"index.html", "tiny"}
    code, again, _ = cli(*line)
    assert "already done" in again
    assert "No test image equals" in Path("runs/tiny/report/report.md").read_text("utf-8")
    code, records, _ = cli("measure", str(cell), "--measures", "{measure: cost}", "--json")
    assert (code, records[0]["measure"]) == (0, "cost")
    code, pages, _ = cli("report", "tiny", "--json")
    assert [page["benchmark"] for page in pages] == ["tiny"]
    code, facts, _ = cli("data", "folder", "--set", "path=tiny", "--json")
    sheet = Path(facts["splits"]["train"]["contact_sheet"])
    checksum = facts["checksum"].removeprefix("sha256:")
    assert sheet == Path("runs/tiny/contact-sheets", checksum[:12], "train.png")


def test_sets_of_one_name_have_different_trainings(tiny):
    make_set("one"), make_set("two", shade=200)
    (first,), (second,) = planned("mine", Path("one")), planned("mine", Path("two"))
    assert Path(first).parent == Path(second).parent == Path("mine/cnn-small")
    assert first != second


def test_sets_of_one_name_have_different_contact_sheets(cli, tiny):
    make_set("one"), make_set("two", shade=200)
    sheets = []
    for root in ("one", "two"):
        code, facts, err = cli(
            "data", "folder", "--set", "path=mine", "--data-root", root, "--json"
        )
        assert code == 0, err
        sheets.append(facts["splits"]["train"]["contact_sheet"])
    assert len({*sheets}) == 2 and all(Path(sheet).is_file() for sheet in sheets)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("photos/my set", "my-set"),
        ("a.b", "a-b"),
        ("..x..", "x"),
        ("写真 1", "写真-1"),
        ("$(rm)", "rm"),
        ("...", "folder"),
    ],
)
def test_the_name_is_made_safe(tiny, name, folder):
    make_set("data")
    place = Path("data", name)
    place.parent.mkdir(exist_ok=True)
    Path("data/mine").rename(place)
    (path,) = planned(name, Path("data"))
    assert path.startswith(f"{folder}/cnn-small/0-")


def test_registered_sets_keep_their_names():
    from capsbench.datamodules.coil import COIL
    from capsbench.names import find

    data = COIL(data_root="nowhere")
    assert data.identity.name == "coil20"
    assert data_folder(find("datamodules", "coil"), data) == "coil"
