"""`capsbench.evaluate`: a model in memory, or a checkpoint, measured as a benchmark measures."""

import json
from collections import Counter
from typing import Any

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
from capsbench.values import Quantity


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


QUARTER_TURN = {"metric": "accuracy", "split": "outside", "factor": "rotation", "view": 90}


def make_model():
    torch.manual_seed(0)
    return CNNSmall(image_shape=(1, 32, 32), num_classes=10, width=2, hidden=4)


def test_a_model_in_memory(benchmark):
    model = make_model().train()
    evaluation = capsbench.evaluate(model, benchmark, limit=60)
    assert model.training
    assert list(evaluation.results) == ["accuracy-by-view", "consistency"]
    unshifted = {"metric": "consistency", "factor": "shift_x", "view": 0}
    assert evaluation.value("consistency", **unshifted) == 1
    assert 0 <= evaluation.value("accuracy-by-view", **QUARTER_TURN) <= 1
    assert {value.n for value in evaluation.results["accuracy-by-view"].values} == {60}
    assert "rotation 90°" in evaluation.table()
    assert "(n = 60)" in evaluation.table()
    content = json.loads(evaluation.to_json())
    rows = [row for row in content["values"] if unshifted.items() <= row.items()]
    assert [row["value"] for row in rows] == [1]
    assert content["benchmark"]["name"] == "tiny"
    assert isinstance(evaluation.plot(), Figure)
    assert evaluation.results["accuracy-by-view"].per_image["correct"].shape == (3, 60)
    with pytest.raises(UserError, match="no value"):
        evaluation.value("consistency", metric="accuracy", split="novel")
    with pytest.raises(UserError, match="metrc"):
        evaluation.value("consistency", metric="accuracy", metrc="novel")


def test_a_module_that_returns_logits_is_measured_like_the_model_inside(benchmark):
    model = make_model()

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, images):
            return self.inner(images).scores

    plain = capsbench.evaluate(Plain(), benchmark, limit=60)
    assert plain.rows() == capsbench.evaluate(model, benchmark, limit=60).rows()


def test_models_that_do_not_fit_are_refused(benchmark, tmp_path):
    other = CNNSmall(image_shape=(1, 28, 28), num_classes=10, width=2, hidden=4)
    with pytest.raises(UserError, match=r"\(1, 28, 28\) of 10 classes"):
        capsbench.evaluate(other, benchmark)
    with pytest.raises(UserError, match="expected logits"):
        capsbench.evaluate(nn.Flatten(), benchmark, limit=20)
    with pytest.raises(UserError, match="no checkpoint"):
        capsbench.evaluate(tmp_path, benchmark)
    novel = benchmark.model_copy(update={"measures": ()})
    assert capsbench.evaluate(make_model(), novel).table() == ""
    with pytest.raises(UserError, match="nothing to plot"):
        capsbench.evaluate(make_model(), novel).plot()
    with pytest.raises(UserError, match="no figure 'attacks'"):
        capsbench.evaluate(make_model(), benchmark, limit=20).plot("attacks")


def test_figures_and_intervals_are_those_of_a_report(tiny_protocol):
    grid = {"rotation": {"start": 0, "stop": 90, "step": 90}}
    measures = [
        {"measure": "accuracy-by-view", "grid": grid},
        {"measure": "invariance-error", "grid": grid},
        {"measure": "attacks", "methods": ["fgsm", "pgd"], "epsilons": [0.1], "images": 30},
    ]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})
    evaluation = capsbench.evaluate(make_model(), benchmark, limit=120)
    figures = evaluation.figures()
    assert {"accuracy-by-view", "invariance", "attacks"} <= figures.keys()
    assert figures["accuracy-by-view"].axes[0].lines
    assert figures["attacks"].legends[0].get_texts()[0].get_text() == "CNNSmall"
    assert evaluation.plot("attacks").axes[0].get_title() == "FGSM"
    novel = Quantity(metric="accuracy", split="novel")
    correct = evaluation.results["accuracy-by-view"].per_image[novel.name]
    limits = evaluation.intervals["accuracy-by-view"][novel]
    assert limits == bootstrap_over_images(np.atleast_2d(correct).mean(axis=0)).interval
    error = Quantity(metric="invariance_error", layer="hidden")
    assert error in evaluation.intervals["invariance-error"]
    assert f"[{limits[0]:.4g}, {limits[1]:.4g}]" in evaluation.table()
    rows = json.loads(evaluation.to_json())["values"]
    (row,) = [
        row
        for row in rows
        if (row["metric"], row["split"], row["factor"]) == ("accuracy", "novel", None)
    ]
    assert (row["low"], row["high"]) == limits


class Watched(Progress):
    """A bar that records the steps."""

    def __init__(self, console):
        super().__init__(console=console, disable=True)
        self.done = []

    def advance(self, task_id, advance=1):
        self.done.append(self.tasks[0].description)


def test_a_bar_shows_the_progress_of_each_measure(benchmark, monkeypatch):
    bars = []

    def bar(console):
        bars.append(Watched(console))
        return bars[-1]

    monkeypatch.setattr(capsbench.evaluation, "progress_bar", bar)
    capsbench.evaluate(make_model(), benchmark, limit=20)
    counts = {config.measure: config.num_progress_steps for config in benchmark.measures}
    assert Counter(bars[0].done) == counts


def test_the_package_has_no_other_name():
    name = "evalute"
    with pytest.raises(AttributeError, match=name):
        getattr(capsbench, name)


def test_notes_name_what_is_not_measured(tiny_protocol):
    measures = [
        {"measure": "attacks", "methods": ["fgsm", "pgd"], "images": 20},
        {"measure": "lie-derivative", "images": 10, "directions": ["rotation"]},
        {"measure": "cost", "repeats": 1},
    ]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})

    class Attention(nn.Module):
        """A module without forward derivative."""

        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 1, batch_first=True)
            self.classes = nn.Linear(32, 10)

        def forward(self, images):
            rows = images[:, 0]
            return self.classes(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))

    evaluation = capsbench.evaluate(Attention(), benchmark, limit=60)
    assert "no forward derivative" in evaluation.results["lie-derivative"].notes[0]
    training = {"phase": "training"}
    assert evaluation.value("cost", metric="images_per_second", condition=training) > 0

    class Constant(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 10)

    evaluation = capsbench.evaluate(Constant(), benchmark, limit=60)
    (accuracy,) = evaluation.results["attacks"].values
    assert accuracy.condition == {"attack": "none"}
    assert "no gradient" in evaluation.results["attacks"].notes[-1]
    assert "no parameters" in evaluation.results["cost"].notes[-1]


def test_a_layer_that_returns_no_tensor_has_a_note(tiny_protocol):
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    measures = [{"measure": "invariance-error", "grid": grid, "layers": ["0"], "images": 20}]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})

    class Pair(nn.Module):
        def forward(self, images):
            return images, images

    class Sum(nn.Module):
        def forward(self, pair):
            return sum(pair).flatten(1)[:, :10]

    evaluation = capsbench.evaluate(nn.Sequential(Pair(), Sum()), benchmark, limit=60)
    (note,) = evaluation.results["invariance-error"].notes
    assert note.startswith("not measured: layer '0'")
    assert "a tuple" in note


def test_a_measure_that_fails_does_not_affect_the_others(benchmark):
    wrong = {"measure": "filters", "layer": "nowhere"}
    content = benchmark.model_dump(mode="json")
    content["measures"] = [wrong, *content["measures"]]
    evaluation = capsbench.evaluate(make_model(), Benchmark.model_validate(content), limit=60)
    assert evaluation.results["filters"].notes[0].startswith("not measured: ")
    assert evaluation.value("accuracy-by-view", **QUARTER_TURN) >= 0


class Opaque(torch.autograd.Function):
    """A user's own function, without support for torch.func."""

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
    ("measure", "fails", "note"),
    [
        ({"measure": "lie-derivative", "images": 20}, False, "no forward derivative"),
        ({"measure": "attacks", "images": 20}, True, "not measured: RuntimeError: no gradient"),
    ],
)
def test_an_operation_that_torch_refuses_does_not_affect_the_others(
    benchmark, measure, fails, note
):
    content = benchmark.model_dump(mode="json")
    content["measures"] = [*content["measures"], measure]
    evaluation = capsbench.evaluate(WithOpaque(fails), Benchmark.model_validate(content), limit=60)
    assert note in evaluation.results[measure["measure"]].notes[0]
    assert evaluation.value("accuracy-by-view", **QUARTER_TURN) >= 0


def test_layers_of_a_plain_module_have_its_own_paths(tiny_protocol):
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    measures = [{"measure": "invariance-error", "grid": grid, "layers": ["1.0"], "images": 20}]
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": measures})
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(1024, 7), nn.Linear(7, 10)))
    evaluation = capsbench.evaluate(plain, benchmark, limit=60)
    at_view = {"factor": "rotation", "view": 90, "layer": "1.0"}
    assert evaluation.value("invariance-error", metric="invariance_error", **at_view) > 0


def test_attacks_from_another_model(tiny_protocol):
    labels = [model["label"] for model in tiny_protocol["models"]]
    config = {"measure": "attacks", "methods": ["fgsm"], "epsilons": [0.2], "sources": labels[:1]}
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": [config]})
    attack = {"metric": "accuracy", "condition": {"method": "fgsm", "epsilon": 0.2}}
    model = make_model()
    alone = capsbench.evaluate(model, benchmark, limit=60)
    (note,) = alone.results["attacks"].notes
    assert labels[0] in note
    with pytest.raises(UserError, match="no value"):
        alone.value("attacks", **attack, source=labels[0])
    both = capsbench.evaluate(model, benchmark, sources={labels[0]: model}, limit=60)
    transferred = both.value("attacks", **attack, source=labels[0])
    assert transferred == both.value("attacks", **attack)


def test_a_model_in_another_precision_is_refused(benchmark):
    with pytest.raises(UserError, match="float64"):
        capsbench.evaluate(make_model().double(), benchmark, limit=60)


def test_arguments_are_checked(benchmark, tmp_path):
    (tmp_path / "file").write_text("")
    cases: dict[str, dict[str, Any]] = {
        "limit": {"limit": 0},
        "into": {"label": "mine"},
        "unknown source": {"sources": {"CNN": make_model()}},
        "is a file": {"into": tmp_path / "file"},
        "no folder": {"data_root": tmp_path / "nowhere"},
        "not to a module": {"network": "cnn-small"},
    }
    for message, arguments in cases.items():
        with pytest.raises(UserError, match=message):
            capsbench.evaluate(make_model(), benchmark, **arguments)


def test_the_network_of_a_file_of_weights(benchmark, tmp_path):
    model, file = make_model(), tmp_path / "weights.pt"
    torch.save(model.state_dict(), file)
    with pytest.raises(UserError, match="network="):
        capsbench.evaluate(file, benchmark, limit=20)
    arguments = {"width": 2, "hidden": 4}
    loaded = capsbench.evaluate(
        str(file), benchmark, network="cnn-small", arguments=arguments, limit=20
    )
    assert loaded.rows() == capsbench.evaluate(model, benchmark, limit=20).rows()
