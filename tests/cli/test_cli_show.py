"""`capsbench show` of models: arguments, architecture, cost, and refusals."""

import pytest


def test_model_and_its_arguments(cli):
    code, facts, _ = cli("show", "cnn-small", "--json")
    assert code == 0
    assert list(facts)[:2] == ["name", "kind"]
    assert facts["kind"] == "model"
    assert facts["source"]
    width = next(argument for argument in facts["arguments"] if argument["name"] == "width")
    assert (width["type"], width["default"], width["required"]) == ("int", 32, False)
    assert width["documentation"].startswith("Channels")
    assert all(argument["documentation"] for argument in facts["arguments"])


def test_knobs_are_shown(cli):
    _, facts, _ = cli("show", "capsnet-dr", "--json")
    assert facts["knobs"] == {"iterations": [1, 2, 3]}
    assert "{iterations: [1, 2, 3]}" in cli("show", "capsnet-dr")[1]
    assert "knobs" not in cli("show", "cnn-small", "--json")[1]


def test_parameters_follow_images_and_arguments(cli, tmp_path):
    path = tmp_path / "linear.py"
    path.write_text(
        "from torch import nn\n"
        "from capsbench.contracts import Model, Prediction\n\n"
        "class Linear(Model):\n"
        '    """A linear map.\n\n    Of pixels.\n\n    Args:\n'
        "        bias: Add\n            a constant.\n"
        '    """\n\n'
        "    def __init__(self, *, image_shape, num_classes, bias: bool = True):\n"
        "        super().__init__(image_shape=image_shape, num_classes=num_classes)\n"
        "        c, h, w = image_shape\n"
        "        self.map = nn.Linear(c * h * w, num_classes, bias=bias)\n\n"
        "    def forward(self, images, views=None):\n"
        "        return Prediction(self.map(images.flatten(1)))\n\n"
        "    def loss(self, prediction, batch, progress):\n"
        "        return prediction.scores.mean()\n",
        encoding="utf-8",
    )
    name = f"{path}:Linear"
    code, facts, _ = cli("show", name, "--json")
    assert code == 0
    assert (facts["name"], facts["kind"], facts["summary"]) == (name, "model", "A linear map.")
    assert facts["description"] == "Of pixels."
    assert facts["parameters"] == 28 * 28 * 10 + 10
    # The contract documents the arguments of every model.
    assert facts["arguments"][0]["documentation"].startswith("(C, H, W)")
    assert facts["arguments"][-1] == {
        "name": "bias",
        "type": "bool",
        "required": False,
        "default": True,
        "documentation": "Add a constant.",
    }
    options = ("--image-shape", "3x4x5", "--classes", "7", "--set", "bias=false", "--json")
    assert cli("show", name, *options)[1]["parameters"] == 3 * 4 * 5 * 7
    code, text, _ = cli("show", name)
    assert code == 0
    assert "7,850" in text


def test_types_are_short_and_absent_without_annotation(cli, tiny_file):
    _, facts, _ = cli("show", f"{tiny_file}:Tiny", "--json")
    types = {argument["name"]: argument["type"] for argument in facts["arguments"]}
    assert types == {"image_shape": "", "num_classes": "", "rate": "float", "explode": "bool"}
    _, facts, _ = cli("show", "capsnet-em", "--json")
    types = {argument["name"]: argument["type"] for argument in facts["arguments"]}
    assert types["strides"] == "tuple[int, ...]"
    assert types["inverse_temperature"] == "tuple[float, float]"
    _, facts, _ = cli("show", "digits", "--json")
    types = {argument["name"]: argument["type"] for argument in facts["arguments"]}
    assert types["data_root"] == "Path | str | None"


def test_costs_in_json(cli):
    line = "show capsnet-dr --image-shape 1x28x28 --classes 10 --json"
    code, facts, _ = cli(*line.split())
    assert code == 0
    assert facts["parameters"] == 8_215_568
    assert facts["parameters_without_decoder"] == 6_804_224
    convolutions = 20 * 20 * 81 * 256 + 6 * 6 * 81 * 256 * 256
    routing = 1152 * 10 * 16 * (8 + 5)  # votes, then three sums and two agreements
    decoder = 160 * 512 + 512 * 1024 + 1024 * 784
    assert facts["flops"] == 2 * (convolutions + routing + decoder)
    assert facts["batch"] == 128
    assert facts["vote_bytes"] == 4 * 128 * 1152 * 10 * 16
    assert facts["vote_bytes_by_layer"] == {"classes": facts["vote_bytes"]}
    assert facts["source"].startswith("Sabour")
    rows = {layer["name"]: layer for layer in facts["layers"]}
    assert rows[""]["type"] == "CapsNetDR"
    assert rows["conv"]["outputs"] == [[256, 20, 20]]
    assert rows["primary"]["outputs"] == [[6, 6, 32, 8], [6, 6, 32]]
    assert rows["classes"]["parameters"] == 1152 * 10 * 8 * 16


def test_votes_follow_batch_images_and_arguments(cli):
    line = "show capsnet-em --image-shape 2x17x19 --classes 3 --batch 2 --json"
    arguments = ("--set", "types=[4,5]", "--set", "primary_types=6", "--set", "channels=3")
    _, facts, _ = cli(*line.split(), *arguments)
    # Maps of 7 x 8, 3 x 3 and 1 x 1 places; windows of 3 x 3.
    votes = {
        "capsules.0": 3 * 3 * 4 * (9 * 6) * 16,
        "capsules.1": 1 * 1 * 5 * (9 * 4) * 16,
        "classes": 3 * 5 * 16,
    }
    assert facts["vote_bytes_by_layer"] == {name: 4 * 2 * n for name, n in votes.items()}
    assert facts["vote_bytes"] == 4 * 2 * sum(votes.values())
    assert "parameters_without_decoder" not in facts


def test_a_cnn_has_no_votes(cli):
    _, facts, _ = cli("show", "cnn-small", "--json")
    assert (facts["vote_bytes"], facts["vote_bytes_by_layer"]) == (0, {})
    _, text, _ = cli("show", "cnn-small")
    assert ["votes", "none"] in [line.replace(",", " ").split()[:2] for line in text.splitlines()]


@pytest.mark.parametrize("columns", ["80", "200"])
def test_text_is_a_tree_of_layers(cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    code, text, _ = cli("show", "capsnet-dr", "--batch", "64")
    assert code == 0
    words = " ".join(text.split())
    assert "parameters 8,215,568 (6,804,224 without" in words
    assert "flops 406,405,120 for one image" in words
    assert "votes 47.2 MB in float32" in words
    assert "batch of 64" in words
    lines = [line.split() for line in text.splitlines()]
    assert ["conv", "Conv2d", "256x20x20", "20,992", "16,588,800"] in lines
    assert "\n    layers Sequential" in text
    assert "\n      0 Linear" in text
    assert ["1", "ReLU", "512"] in lines
    assert "…" not in text


def test_text_names_the_layer_with_the_most_votes(cli):
    _, text, _ = cli("show", "capsnet-em", "--batch", "1", "--set", "types=[4,5]")
    words = " ".join(text.split())
    assert "(capsules.0 alone 1.8 MB)" in words


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_a_bad_batch_is_refused(refusal, batch):
    assert "'--batch'" in refusal("show", "capsnet-dr", "--batch", batch)


FAULTY = """
from torch import nn

from capsbench.contracts import Model, Prediction


class Faulty(Model):
    source = ""

    def __init__(self, *, image_shape, num_classes, fault: str = "none"):
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.map = nn.Linear(4, num_classes)
        self.fault = fault
        if fault == "constructor":
            raise RuntimeError("no such thing")

    def forward(self, images, views=None):
        if self.fault == "exit":
            raise SystemExit(3)
        if self.fault == "memory":
            images.new_empty(2**60)
        return Prediction(self.map(images.flatten(1)))

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()
"""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty.py").write_text(FAULTY, encoding="utf-8")
    return "show", "faulty.py:Faulty", "--image-shape", "1x2x2"


def test_absent_documentation_takes_no_line(cli, faulty):
    code, text, _ = cli(*faulty)
    assert code == 0
    first, second, *rest = (line.rstrip() for line in text.splitlines())
    assert first == "faulty.py:Faulty (model)"
    assert second.split()[0] == "file"
    assert not any(line in ("description", "source") for line in rest)


@pytest.mark.parametrize(
    ("fault", "key_words"),
    {
        "constructor": ("1x2x2", "RuntimeError: no such thing", "faulty.py:15"),
        "exit": ("1x2x2", "SystemExit: 3", "faulty.py:19"),
        "memory": ("'faulty.py:Faulty'", "1x2x2", "memory"),
    }.items(),
)
def test_an_error_in_a_users_model_is_one_line(refusal, faulty, fault, key_words):
    message = refusal(*faulty, "--set", f"fault={fault}")
    assert [word for word in key_words if word not in message] == []


def test_an_error_in_our_own_model_keeps_its_traceback(cli, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("capsbench.models.cnn_small.CNNSmall.forward", fail)
    with pytest.raises(ZeroDivisionError):
        cli("show", "cnn-small")


def test_show_times_a_batch_if_asked(cli):
    sizes = ("--set", "channels=2", "--set", "primary_types=2", "--batch", "2")
    code, text, _ = cli("show", "capsnet", *sizes, "--time")
    assert code == 0
    assert "time, textbook" in text and "time, auto" in text and "batch of 2" in text
    _, facts, _ = cli("show", "capsnet", *sizes, "--time", "--json")
    assert [each["backend"] for each in facts["seconds"]] == ["textbook", "auto"]
    assert all(each["training"] > 0 for each in facts["seconds"])
    assert "seconds" not in cli("show", "capsnet", *sizes, "--json")[1]


def test_only_models_are_timed(cli):
    code, _, error = cli("show", "quick", "--time")
    assert code == 2
    assert "--time times a model; 'quick' is a benchmark" in error
