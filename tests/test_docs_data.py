"""docs/data.md is executed: its protocol is parsed, its data set is built, its commands are run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capsbench.cli import main
from capsbench.files.arrays import save_arrays
from capsbench.files.yaml import parse_yaml
from capsbench.measures import parse_config
from capsbench.measures.accuracy_by_split import AccuracyBySplitConfig
from capsbench.measures.accuracy_by_view import AccuracyByViewConfig
from capsbench.names import table
from capsbench.viewpoint.factors import FACTORS, range_field
from capsbench.viewpoint.ranges import ViewRange

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^(capsbench (?:data|run) [^#\n]+)", PAGE, flags=re.MULTILINE)


def command(start):
    (line,) = [line for line in COMMANDS if line.startswith(start)]
    return shlex.split(line)[1:]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_protocol_is_valid():
    (block,) = [block for language, block in BLOCKS if language == "yaml"]
    content = parse_yaml(block)
    views = ViewRange.model_validate(content["views"])
    assert len(views.rotation.values) == 12
    by_view, by_split = map(parse_config, content["measures"])
    assert isinstance(by_view, AccuracyByViewConfig)
    assert isinstance(by_split, AccuracyBySplitConfig)
    places = {view.value: views.region(view) for view in by_view.grid.views()}
    assert places[15] == "between" and places[30] == "familiar"
    between = by_split.ranges["between"].rotation.values
    assert {views.rotation.region(value, 360) for value in between} == {"between"}


def test_every_set_and_every_factor_is_documented():
    for name in table("datamodules"):
        assert re.search(rf"^\|[^|]*`{name}`", PAGE, flags=re.MULTILINE), name
    for name in FACTORS:
        assert f"`{range_field(name)}`" in PAGE


def test_a_set_of_your_own():
    (block,) = [block for language, block in BLOCKS if language == "python"]
    Path("turntable.py").write_text(block, encoding="utf-8")
    grid = torch.cartesian_prod(
        torch.arange(2), torch.arange(1, 4), torch.arange(0, 360, 30), torch.tensor([7])
    )
    arrays = {
        "images": np.full((len(grid), 1, 48, 48), 9, np.uint8),
        "targets": grid[:, 0].numpy(),
        "instance": grid[:, 1].numpy(),
        "azimuth": grid[:, 2].numpy(),
    }
    save_arrays(Path("data/turntable.npz"), arrays)
    assert main(command("capsbench data turntable.py")) == 0
    assert Path("runs/Turntable/contact-sheets/novel.png").is_file()
    assert main([*command("capsbench run quick --set data.name"), "--dry-run"]) == 0


def test_a_folder_of_your_own(capsys):
    place = Path("data/myset")
    place.mkdir(parents=True)
    rows = ["file,class,instance,azimuth,elevation,split"]
    for label in ("cup", "cow"):
        for instance in range(3):
            for azimuth in range(0, 360, 60):
                name = f"{label}{instance}_{azimuth:03}.png"
                Image.new("L", (20, 20), len(rows)).save(place / name)
                part = "test" if instance == 2 else "train"
                rows.append(f"{name},{label},{instance},{azimuth},30,{part}")
    (place / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    assert main(command("capsbench data folder")) == 0
    out = capsys.readouterr().out
    assert "novel: 6 images" in out
    assert "None of the 2 test objects was seen in training" in " ".join(out.split())
