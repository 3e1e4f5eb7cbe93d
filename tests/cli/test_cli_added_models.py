"""`capsbench run --models +net.py:Net`: models beside those of a benchmark."""

import json
import shutil
from pathlib import Path

import pytest

NET = '''\
"""A network of a user's own."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from capsbench.contracts import Batch, ImageShape, Model, Prediction


class Net(Model):
    """One linear map of the pixels."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int, scale: float = 1.0) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        channels, height, width = image_shape
        self.scale = scale
        self.linear = nn.Linear(channels * height * width, num_classes)

    def forward(self, images: Tensor, views=None) -> Prediction:
        return Prediction(scores=self.scale * self.linear(images.flatten(start_dim=1)))

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        return cross_entropy(prediction.scores, batch.targets)
'''
RUN = ["run", "tiny.yaml", "--seeds", "0", "--device", "cpu", "--wandb", "off"]
OTHER = "+{name: net.py:Net, label: Other, arguments: {scale: 2}}"


@pytest.fixture
def net(tiny):
    """The file of the network, next to that of the benchmark."""
    Path("net.py").write_text(NET, encoding="utf-8")
    return "+net.py:Net"


def dry_run(cli, *options):
    """Labels, seeds and states of the cells."""
    code, cells, err = cli(*RUN, *options, "--dry-run", "--json")
    assert code == 0, err
    return [(cell["label"], cell["seed"], cell["state"]) for cell in cells]


def test_added_models_stand_beside_the_benchmarks_own(cli, net):
    todo = [("small", 0, "to do"), ("smaller", 0, "to do"), ("Net", 0, "to do")]
    assert dry_run(cli, "--models", net) == todo
    assert dry_run(cli, "--models", f"smaller,{net}") == todo[1:]
    assert dry_run(cli, "--models", "cnn-small", "--models", f"{net},{OTHER}") == [
        *todo,
        ("Other", 0, "to do"),
    ]
    searched = dry_run(cli, "--models", f"small,{net}", "--set", "search.trials=2", "--search")
    trials = [(label, 1000, "to do") for label in ("small", "small", "Net", "Net")]
    assert searched == [*trials, ("small", 0, "to do"), ("Net", 0, "to do")]


def test_the_page_names_the_models_and_the_own_ones_are_not_trained_again(cli, net, trained_runs):
    shutil.copytree(trained_runs, "runs")
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("training.json")}
    assert len(before) == 2
    code, text, err = cli(*RUN, "--models", net)
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(Path("runs/digits/Net").rglob("training.json"))) == 1
    words = "Networks: small and smaller; added to the protocol: Net."
    assert words in " ".join(text.split())
    report = Path("runs/tiny/report")
    assert words in (report / "report.md").read_text("utf-8")
    assert words in (report / "index.html").read_text("utf-8")
    record = json.loads(Path("runs/tiny/benchmark.json").read_bytes())
    assert record["changes"]["models"] is None
    assert [entry["name"] for entry in record["changes"]["added"]] == ["net.py:Net"]
    assert [entry["label"] for entry in record["benchmark"]["models"]] == [
        "small",
        "smaller",
        "Net",
    ]

    code, text, err = cli(*RUN, "--models", f"smaller,{OTHER}")
    assert code == 0, err
    assert "added to the protocol: Other; not run: small." in " ".join(text.split())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_model_of_a_file_is_not_exported(cli, net):
    code, _, err = cli(*RUN, "--models", f"smaller,{net}")
    assert code == 0, err
    code, _, message = cli("report", "--export", "exported")
    assert code == 2
    assert "Net" in message
    assert "register a name" in message
    assert not Path("exported").exists()
