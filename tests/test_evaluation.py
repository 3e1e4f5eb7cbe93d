"""`capsbench.evaluate`: a model in memory, or a checkpoint, measured as a benchmark measures."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from rich.progress import Progress
from torch import nn

import capsbench
import capsbench.evaluation
from capsbench.errors import UserError
from capsbench.models.cnn_small import CNNSmall
from capsbench.schema import Benchmark
from capsbench.statistics.intervals import bootstrap_over_images


@pytest.fixture
def benchmark(tiny_protocol):
    measures = [
        {
            "measure": "accuracy-by-view",
            "grid": {"rotation": {"start": -90, "stop": 90, "step": 90}},
        },
        {"measure": "consistency", "grid": {"shift_x": {"start": 0, "stop": 1, "step": 1}}},
    ]
    return Benchmark.model_validate({**tiny_protocol, "measures": measures})


def make_model():
    torch.manual_seed(0)
    return CNNSmall(image_shape=(1, 32, 32), num_classes=10, width=2, hidden=4)


def test_a_model_in_memory(benchmark):
    model = make_model().train()
    found = capsbench.evaluate(model, benchmark, limit=60)
    assert model.training
    assert list(found.measured) == ["accuracy-by-view", "consistency"]
    assert found.values["consistency: shift_x=0/consistency"] == 1
    assert 0 <= found.values["accuracy-by-view: rotation=90/accuracy"] <= 1
    assert found.measured["accuracy-by-view"].n == 60
    assert "rotation=90/accuracy" in found.table() and "(n = 60)" in found.table()
    content = json.loads(found.to_json())
    assert content["measures"]["consistency"]["values"]["shift_x=0/consistency"] == 1
    assert content["benchmark"]["name"] == "tiny"
    assert isinstance(found.plot(), Figure)
    assert found.samples["accuracy-by-view"]["correct"].shape == (3, 60)


def test_a_module_that_returns_logits_is_measured_like_the_model_inside(benchmark):
    model = make_model()

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, images):
            return self.inner(images).scores

    plain = capsbench.evaluate(Plain(), benchmark, limit=60)
    assert plain.values == capsbench.evaluate(model, benchmark, limit=60).values


def test_what_cannot_be_measured_is_told(benchmark, tmp_path):
    other = CNNSmall(image_shape=(1, 28, 28), num_classes=10, width=2, hidden=4)
    with pytest.raises(UserError, match=r"for images \(1, 28, 28\) of 10 classes, but digits has"):
        capsbench.evaluate(other, benchmark)
    with pytest.raises(UserError, match="expected logits of shape"):
        capsbench.evaluate(nn.Flatten(), benchmark, limit=20)
    with pytest.raises(UserError, match="is no checkpoint of a run"):
        capsbench.evaluate(tmp_path, benchmark)
    novel = benchmark.model_copy(update={"measures": ()})
    assert capsbench.evaluate(make_model(), novel).table() == ""
    with pytest.raises(UserError, match="nothing to plot"):
        capsbench.evaluate(make_model(), novel).plot()
    with pytest.raises(UserError, match="no figure 'attacks'; there is accuracy-by-view"):
        capsbench.evaluate(make_model(), benchmark, limit=20).plot("attacks")


def test_figures_and_intervals_are_those_of_a_report(tiny_protocol):
    grid = {"rotation": {"start": 0, "stop": 90, "step": 90}}
    measures = [
        {"measure": "accuracy-by-view", "grid": grid},
        {"measure": "invariance-error", "grid": grid},
        {"measure": "attacks", "epsilons": [0.1], "images": 30},
    ]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})
    found = capsbench.evaluate(make_model(), benchmark, limit=120)
    figures = found.figures()
    assert {"accuracy-by-view", "invariance", "attacks"} <= figures.keys()
    assert figures["accuracy-by-view"].axes[0].lines
    assert figures["attacks"].legends[0].get_texts()[0].get_text() == "CNNSmall"
    assert found.plot("attacks").axes[0].get_title() == "FGSM"
    correct = found.samples["accuracy-by-view"]["novel/accuracy"]
    limits = found.intervals["accuracy-by-view"]["novel/accuracy"]
    assert limits == bootstrap_over_images(np.atleast_2d(correct).mean(axis=0)).interval
    assert "invariance/error@hidden" in found.intervals["invariance-error"]
    assert f"[{limits[0]:.4g}, {limits[1]:.4g}]" in found.table()
    content = json.loads(found.to_json())["measures"]["accuracy-by-view"]
    assert content["intervals over images"]["novel/accuracy"] == list(limits)


class Watched(Progress):
    """A bar that keeps what it was told."""

    def __init__(self, console):
        super().__init__(console=console, disable=True)
        self.done = []

    def advance(self, task_id, advance=1):
        self.done.append(self.tasks[0].description)


def test_a_bar_shows_how_far_each_measure_is(benchmark, monkeypatch):
    bars = []

    def bar(console):
        bars.append(Watched(console))
        return bars[-1]

    monkeypatch.setattr(capsbench.evaluation, "progress_bar", bar)
    capsbench.evaluate(make_model(), benchmark, limit=20)
    counts = {entry.measure: entry.steps for entry in benchmark.measures}
    assert Counter(bars[0].done) == counts


def test_there_is_nothing_else_in_the_package():
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = capsbench.evalute


def test_measures_say_what_they_cannot_tell(tiny_protocol):
    measures = [
        {"measure": "attacks", "images": 20},
        {"measure": "lie-derivative", "images": 10, "directions": ["rotation"]},
        {"measure": "cost", "repeats": 1},
    ]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})

    class Attention(nn.Module):
        """What has no forward derivative."""

        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 1, batch_first=True)
            self.classes = nn.Linear(32, 10)

        def forward(self, images):
            rows = images[:, 0]
            return self.classes(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))

    found = capsbench.evaluate(Attention(), benchmark, limit=60).measured
    assert "no forward derivative" in found["lie-derivative"].notes[0]
    assert found["cost"].values["training/images per second"] > 0

    class Constant(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 10)

    found = capsbench.evaluate(Constant(), benchmark, limit=60).measured
    assert found["attacks"].values["fgsm/eps=0.1/blind"] == 1
    assert "no parameters to train" in found["cost"].notes[-1]


def test_a_layer_that_puts_out_no_tensor_is_told(tiny_protocol):
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    measures = [{"measure": "invariance-error", "grid": grid, "layers": ["0"], "images": 20}]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})

    class Pair(nn.Module):
        def forward(self, images):
            return images, images

    class Sum(nn.Module):
        def forward(self, pair):
            return sum(pair).flatten(1)[:, :10]

    found = capsbench.evaluate(nn.Sequential(Pair(), Sum()), benchmark, limit=60)
    (note,) = found.measured["invariance-error"].notes
    assert note.startswith("not measured: layer '0' puts out a tuple: expected a vector")


def test_a_measure_that_fails_loses_no_other(benchmark):
    wrong = {"measure": "filters", "layer": "nowhere"}
    asked = benchmark.model_dump(mode="json")
    asked["measures"] = [wrong, *asked["measures"]]
    found = capsbench.evaluate(make_model(), Benchmark.model_validate(asked), limit=60)
    assert found.measured["filters"].notes[0].startswith("not measured: ")
    assert "accuracy-by-view: rotation=90/accuracy" in found.values


class Opaque(torch.autograd.Function):
    """A function of the user's own that torch.func cannot look into."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
        return 2 * gradients[0]


class WithOpaque(nn.Module):
    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(32 * 32, 10)
        self.fails = fails

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.fails and images.requires_grad:
            raise RuntimeError("no gradient of this")
        return self.linear(Opaque.apply(images.flatten(1)))


@pytest.mark.parametrize(
    ("measure", "fails", "told"),
    [
        ({"measure": "lie-derivative", "images": 20}, False, "nothing is derived"),
        ({"measure": "attacks", "images": 20}, True, "not measured: RuntimeError: no gradient"),
    ],
)
def test_what_torch_cannot_do_with_a_model_loses_no_other_measure(benchmark, measure, fails, told):
    asked = benchmark.model_dump(mode="json")
    asked["measures"] = [*asked["measures"], measure]
    found = capsbench.evaluate(WithOpaque(fails), Benchmark.model_validate(asked), limit=60)
    assert told in found.measured[measure["measure"]].notes[0]
    assert "accuracy-by-view: rotation=90/accuracy" in found.values


def test_layers_of_a_plain_module_have_its_own_paths(tiny_protocol):
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    measures = [{"measure": "invariance-error", "grid": grid, "layers": ["1.0"], "images": 20}]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(1024, 7), nn.Linear(7, 10)))
    found = capsbench.evaluate(plain, benchmark, limit=60)
    assert found.values["invariance-error: rotation=90/invariance/error@1.0"] > 0


def test_attacks_from_another_model(tiny_protocol):
    labels = [model["label"] for model in tiny_protocol["models"]]
    asked = {"measure": "attacks", "methods": ["fgsm"], "epsilons": [0.2], "sources": labels[:1]}
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": [asked]})
    key = f"attacks: from {labels[0]}/fgsm/eps=0.2/accuracy"
    model = make_model()
    alone = capsbench.evaluate(model, benchmark, limit=60)
    assert alone.measured["attacks"].notes == (
        f"no attacks from {labels[0]}: it has no trained network at hand",
    )
    assert key not in alone.values
    beside = capsbench.evaluate(model, benchmark, sources={labels[0]: model}, limit=60)
    assert beside.values[key] == beside.values["attacks: fgsm/eps=0.2/accuracy"]


def test_a_model_in_another_precision_is_told(benchmark):
    with pytest.raises(UserError, match=r"parameters in float64: measure model.float\(\)"):
        capsbench.evaluate(make_model().double(), benchmark, limit=60)
