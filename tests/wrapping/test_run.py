"""A plain network in a benchmark, from the command line: training, measures and page."""

import json

import pytest

from capsbench.cli import main
from capsbench.files.yaml import write_yaml
from capsbench.records import MeasureRecord, load_results
from capsbench.reporting.tables.missing_table import missing_table

NETS = '''
from torch import nn


class Plain(nn.Module):
    """A network with two outputs."""

    def __init__(self, num_classes, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 5, stride=4)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        pooled = self.conv(images).relu().mean(dim=(2, 3))
        return {"pooled": pooled, "logits": self.head(pooled)}
'''
GRID = {"rotation": {"start": 90, "stop": 90, "step": 90}}
OWN, OTHER = "nets.py:Plain", "cnn-small"
BENCHMARK = {
    "name": "wrapped",
    "version": 1,
    "title": "T",
    "question": "Q",
    "source": "S",
    "data": {"name": "digits"},
    "views": {"rotation": [-15, 15]},
    "models": [
        {"name": OWN, "arguments": {"output_key": "logits"}},
        {"name": OTHER, "arguments": {"width": 2, "hidden": 4}},
    ],
    "recipe": {"steps": 4, "batch_size": 16, "evaluate_every": 4},
    "seeds": [0],
    "measures": [
        {"measure": "invariance-error", "layers": ["hidden"], "grid": GRID, "images": 20},
        {"measure": "calibration"},
        {"measure": "pose-readout", "factors": ["rotation"], "views": {"rotation": [-30, 30]}},
    ],
}
RUN = ["--limit", "80", "--device", "cpu", "--wandb", "off"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    (tmp_path / "wrapped.yaml").write_text(write_yaml(BENCHMARK), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_plain_network_in_a_benchmark(folder, capsys):
    assert main(["run", "wrapped.yaml", *RUN]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no layer hidden" in printed
    assert "no class capsules" not in printed  # calibration has other values
    report = folder / "runs" / "wrapped" / "report"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "Not measured" in page
    assert "no layer hidden" in page
    assert "no layer hidden" in (report / "report.md").read_text(encoding="utf-8")
    results = load_results(report.parent)
    plain, other = results.cells
    assert plain.measures["invariance-error"].values == ()
    assert {value.layer for value in plain.measures["pose-readout"].values} >= {"features"}
    assert {value.layer for value in other.measures["invariance-error"].values} == {"hidden"}
    missing, whole = (missing_table(results, whole_measures=whole) for whole in (False, True))
    assert missing is not None
    assert whole is not None
    rows = {tuple(str(cell) for cell in row.cells[:2]) for row in missing.rows}
    assert {("Plain", "invariance-error"), ("all models", "calibration")} <= rows
    assert [row.cells[:2] for row in whole.rows] == [("Plain", "invariance-error")]

    # Further measures of the trained network, whose layers are known before anything is measured.
    cell = str(next((folder / "runs" / "digits" / "Plain").glob("0-*")))
    measure = {"measure": "invariance-error", "grid": GRID, "images": 20}
    options = ["--model", OWN, "--device", "cpu"]
    typed = write_yaml(measure | {"layers": ["featurs"]})
    assert main(["measure", cell, "--measures", typed, *options]) == 2
    assert "did you mean 'features'" in capsys.readouterr().err
    right = write_yaml(measure | {"layers": ["features", "conv"]})
    assert main(["measure", cell, "--measures", right, *options, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    values = MeasureRecord.model_validate(record).values
    assert {value.layer for value in values} == {"features", "conv"}


def test_a_network_that_does_not_fit_is_refused_before_any_training(folder, capsys):
    content = BENCHMARK | {"models": [{"name": OWN}]}
    (folder / "wrapped.yaml").write_text(write_yaml(content), encoding="utf-8")
    assert main(["run", "wrapped.yaml", *RUN]) == 2
    assert "output_key" in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_show_and_check_explain_the_wrapper(folder, capsys):
    arguments = [OWN, "--set", "output_key=logits", "--json"]
    assert main(["check", *arguments]) == 0
    content = json.loads(capsys.readouterr().out)
    wrapper = content["wrapper"]
    assert content["passed"]
    assert wrapper["fitted"] == "num_classes=10"
    assert "1 repeated in turn to the 3" in wrapper["channels"]
    assert "'logits'" in wrapper["logits"]
    assert "features (the input of head)" in wrapper["measured_layers"]
    assert main(["show", *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert wrapper.items() <= shown.items()
    assert shown["summary"] == "A network with two outputs."
    assert [argument["name"] for argument in shown["arguments"]][2] == "width"
