"""`capsbench evaluate`: weights in every kind of file, and the page that they join."""

import csv
import json
import pickle
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import capsbench
from capsbench.contracts import EXPONENT
from capsbench.models.cnn_small import CNNSmall
from capsbench.records import CellFolder, TrainingConfig, TrainingRecord, WeightsRecord
from capsbench.records.training import ModelConfig
from capsbench.reporting.exports.export import BenchmarkExport
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task

ARGUMENTS = ("--model", "cnn-small", "--set", "width=2", "--set", "hidden=4")
ON_TINY = ("--benchmark", "tiny.yaml", "--device", "cpu")
PLAIN = '''
from torch import nn


class Net(nn.Sequential):
    """A plain network."""

    def __init__(self, num_classes: int = 10):
        super().__init__(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(16, num_classes))
'''


@pytest.fixture
def checkpoint(cells):
    """The selected weights of a finished training."""
    return cells["small"] / "checkpoints" / "validation"


@pytest.fixture
def network(checkpoint):
    return CNNSmall.from_pretrained(checkpoint)


def numbers(evaluation):
    return [row["value"] for row in evaluation["values"]]


def own_numbers(cell):
    (path,) = (cell / "measures").glob("accuracy-by-view-*.json")
    return [row["value"] for row in json.loads(path.read_text("utf-8"))["values"]]


def with_prefix(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def lightning(network):
    return {
        "epoch": 1,
        "global_step": 4,
        "state_dict": Task(network, Recipe()).state_dict() | {"teacher.weight": torch.ones(2)},
    }


STATES = {
    "plain.safetensors": lambda net: net.state_dict(),
    "plain.pt": lambda net: net.state_dict(),
    "parallel.pth": lambda net: with_prefix(net.state_dict(), "module."),
    "compiled.pt": lambda net: with_prefix(net.state_dict(), "module._orig_mod."),
    "loop.pt": lambda net: {"epoch": 3, "model_state_dict": net.state_dict()},
    "nested.pt": lambda net: {"model": net.state_dict(), "step": 3},
    "lightning.ckpt": lightning,
}


def write(name, network):
    content = STATES[name](network)
    if name.endswith(".safetensors"):
        save_file(content, name)
    else:
        torch.save(content, name)


@pytest.mark.parametrize("name", STATES)
def test_a_file_of_weights_gives_the_numbers_of_the_training(cli, cells, network, name):
    write(name, network)
    code, evaluation, _ = cli("evaluate", name, *ARGUMENTS, *ON_TINY, "--json")
    assert code == 0
    assert numbers(evaluation) == own_numbers(cells["small"])
    assert evaluation["model"] == "cnn-small"


def test_a_checkpoint_of_a_run_needs_no_model(cli, cells, checkpoint):
    code, evaluation, _ = cli("evaluate", str(checkpoint), *ON_TINY, "--json")
    assert code == 0
    assert numbers(evaluation) == own_numbers(cells["small"])
    folder = Path("published")
    shutil.copytree(checkpoint, folder)
    code, _, err = cli("evaluate", "published", *ON_TINY)
    assert code == 2
    assert "--model" in err
    code, named, _ = cli("evaluate", "published", "--model", "cnn-small", *ON_TINY, "--json")
    assert code == 0
    assert named["values"] == evaluation["values"]


def test_a_model_that_a_record_alone_states_is_not_called(refusal, cells, checkpoint):
    stated = {"name": "os:system", "arguments": {"command": "touch called"}}
    config = TrainingConfig.load(cells["small"] / "config.json")
    config = config.model_copy(update={"model": ModelConfig.model_validate(stated)})
    stranger = CellFolder(Path("stranger", config.folder_name))
    shutil.copytree(cells["small"], stranger.path, ignore=shutil.ignore_patterns(".lock"))
    config.save(stranger.config)
    training = TrainingRecord.load(cells["small"] / "training.json")
    training.model_copy(update={"cell": None, "files": {}}).save(stranger.training)
    (arguments,) = stranger.path.glob("checkpoints/validation/config.json")
    arguments.write_text('{"command": "touch called"}', "utf-8")
    for line in (
        ("evaluate", str(arguments.parent), *ON_TINY),
        ("measure", str(stranger.path), "--measures", "{measure: calibration}"),
    ):
        assert "os:system" in refusal(*line)
    assert not Path("called").exists()


def test_weights_of_which_nothing_is_measured(cli, tiny, cells, network):
    for weight in network.parameters():
        nn.init.constant_(weight, torch.nan)
    save_file(network.state_dict(), "diverged.safetensors")
    folders = {path for path in Path("runs").rglob("*") if path.is_dir()}
    page = Path("runs/tiny/report/index.html").read_text("utf-8")
    line = ["evaluate", "diverged.safetensors", *ARGUMENTS, *ON_TINY]
    for into in ([], ["--into", "runs", "--label", "diverged"]):
        code, text, _ = cli(*line, *into)
        assert code == 1
        assert "not measured: the output is not finite for" in text
    assert Path("runs/tiny/report/index.html").read_text("utf-8") == page
    new = {path for path in Path("runs").rglob("*") if path.is_dir()} - folders
    assert not [path for folder in new for path in folder.glob("*.json")]


def plain_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(16, 10))


def test_a_network_of_torchscript_or_export_needs_no_model(cli, refusal, tiny):
    net, example = plain_network(), torch.zeros(2, 1, 32, 32)
    expected = [row["value"] for row in capsbench.evaluate(net, tiny).rows()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against TorchScript
        torch.jit.script(net).save("scripted.pt")
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=dynamic), "net.pt2")
    for name in ("scripted.pt", "net.pt2"):
        code, evaluation, _ = cli("evaluate", name, *ON_TINY, "--json")
        assert code == 0
        assert numbers(evaluation) == expected
        assert evaluation["model"] == name
    assert "its own network" in refusal("evaluate", "scripted.pt", *ARGUMENTS, *ON_TINY)


def test_a_plain_network_of_a_users_own_file(cli, tiny):
    Path("net.py").write_text(PLAIN, encoding="utf-8")
    net = plain_network()
    torch.save(with_prefix(net.state_dict(), "net."), "net.pt")
    code, evaluation, _ = cli("evaluate", "net.pt", "--model", "net.py:Net", *ON_TINY, "--json")
    assert code == 0
    assert numbers(evaluation) == [row["value"] for row in capsbench.evaluate(net, tiny).rows()]


class Exploit:
    """An object whose unpickling writes a file."""

    def __reduce__(self):
        return Path.write_text, (Path("exploited"), "")


def test_pickled_objects_are_refused_and_not_unpickled(refusal, cells, network):
    torch.save(network, "whole.pt")
    torch.save({"state_dict": network.state_dict(), "callback": Exploit()}, "exploit.ckpt")
    Path("exploit.pth").write_bytes(pickle.dumps(Exploit()))
    for name in ("whole.pt", "exploit.ckpt", "exploit.pth"):
        message = refusal("evaluate", name, *ARGUMENTS, *ON_TINY)
        assert "pickled" in message
        assert "torch.save(model.state_dict()" in message
    assert not Path("exploited").exists()


def test_damaged_files_are_refused(refusal, cells, network):
    write("plain.pt", network)
    write("plain.safetensors", network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(plain_network()).save("scripted.pt")
    for name in ("plain.pt", "plain.safetensors", "scripted.pt"):
        content = Path(name).read_bytes()
        Path(name).write_bytes(content[: len(content) // 2])
        assert "damaged" in refusal("evaluate", name, *ARGUMENTS, *ON_TINY)
    Path("empty.pt").write_bytes(b"")
    assert "damaged" in refusal("evaluate", "empty.pt", *ARGUMENTS, *ON_TINY)
    torch.save([1, 2], "list.pt")
    assert "no state dict" in refusal("evaluate", "list.pt", *ARGUMENTS, *ON_TINY)
    assert "cannot read" in refusal("evaluate", "missing.pt", *ARGUMENTS, *ON_TINY)
    assert "too long" in refusal("evaluate", "x" * 300, *ARGUMENTS, *ON_TINY)
    assert "too long" in refusal("report", "x" * 300)
    assert "too long" in refusal("measure", "x" * 300, "--measures", "{measure: calibration}")


def test_state_dicts_of_other_contents_are_refused(refusal, tiny):
    net = CNNSmall(image_shape=(1, 32, 32), num_classes=10, width=2, hidden=4)
    state = net.state_dict()
    name = list(state)[-1]
    cases = {
        "by their names": {7: torch.ones(1)},
        "sparse": state | {name: state[name].to_sparse()},
        "complex": state | {name: state[name].to(torch.complex64)},
    }
    for message, content in cases.items():
        torch.save(content, "weights.pt")
        assert message in refusal("evaluate", "weights.pt", *ARGUMENTS, *ON_TINY)


def test_weights_that_do_not_fit_are_refused_with_their_names(refusal, cells, network):
    state = network.state_dict()
    first = next(name for name in state if name != EXPONENT)  # which may be missing
    cases = {
        "missing": {name: value for name, value in state.items() if name != first},
        "unexpected": state | {"extra.weight": torch.ones(1)},
        "another shape": state | {first: torch.ones(7)},
    }
    for kind, content in cases.items():
        torch.save(content, "weights.pt")
        message = refusal("evaluate", "weights.pt", *ARGUMENTS, *ON_TINY)
        assert kind in message
        assert ("extra.weight" if kind == "unexpected" else first) in message
    torch.save(with_prefix(state, "student.") | with_prefix(state, "teacher."), "weights.pt")
    message = refusal("evaluate", "weights.pt", *ARGUMENTS, *ON_TINY)
    assert "student." in message
    assert "teacher." in message
    assert "--model" in refusal("evaluate", "weights.pt", *ON_TINY)
    assert "widht" in refusal(
        "evaluate", "weights.pt", "--model", "cnn-small", "--set", "widht=2", *ON_TINY
    )
    assert "--into" in refusal("evaluate", "weights.pt", *ARGUMENTS, *ON_TINY, "--label", "mine")


def page():
    return Path("runs/tiny/report/index.html").read_text("utf-8")


def seeds_of(label):
    with Path("runs/tiny/report/results.csv").open(encoding="utf-8", newline="") as stream:
        return {row["seed"] for row in csv.DictReader(stream) if row["label"] == label}


def test_a_model_joins_the_page_and_stays_there(cli, refusal, cells, network):
    write("plain.pt", network)
    before = set(Path("runs/tiny/report/differences.csv").read_text("utf-8").splitlines())
    into = ("evaluate", "plain.pt", *ARGUMENTS, *ON_TINY, "--into", "runs", "--label")
    assert "protocol" in refusal(*into, "small")
    assert "one line" in refusal(*into, "")
    code, text, _ = cli(*into, "mine")
    assert code == 0
    assert "index.html" in text
    (folder,) = map(CellFolder, Path("runs/digits/cnn-small").glob("elsewhere-*"))
    measures = ("--measures", "{measure: calibration}")
    assert "capsbench evaluate" in refusal("measure", str(folder.path), *measures)
    code, evaluation, _ = cli(*into, "mine", "--json")
    assert code == 0
    assert Path(evaluation["page"]) == Path("runs/tiny/report/index.html")
    weights = WeightsRecord.load(folder.weights)
    assert (weights.label, weights.file) == ("mine", "plain.pt")
    assert weights.command.startswith("capsbench evaluate plain.pt")
    assert weights.model.arguments["width"] == 2
    assert own_numbers(folder.path) == own_numbers(cells["small"])
    # What is known of the trained models stays as it was.
    after = Path("runs/tiny/report/differences.csv").read_text("utf-8").splitlines()
    assert before <= set(after)
    assert any(line.startswith("mine (trained elsewhere)") for line in after)
    assert seeds() == {("small", "0"), ("smaller", "0"), ("mine", "")}
    # It is no part of the protocol.
    code, text, _ = cli("report", "--export", "results")
    assert code == 0
    assert "not exported: mine (trained elsewhere)" in text
    (exported,) = Path("results/tiny").glob("*.json")
    labels = {each.reference.label for each in BenchmarkExport.load(exported).cells}
    assert labels == {"small", "smaller"}
    # A run keeps it.
    run = ("run", "tiny.yaml", "--seeds", "0", "--device", "cpu", "--wandb", "off")
    code, text, _ = cli(*run, "--models", "smaller")
    assert code == 0
    assert "trained elsewhere" in " ".join(text.split())
    assert seeds() == {("smaller", "0"), ("mine", "")}
    page = Path("runs/tiny/report/index.html").read_text("utf-8")
    for text in (page, Path("runs/tiny/report/report.md").read_text("utf-8")):
        assert "mine (trained elsewhere)" in text
        assert "comparison with other models is not controlled" in text
    assert weights.sha256 in page
    assert "one seed or one model that was trained elsewhere" in page


def seeds():
    with Path("runs/tiny/report/results.csv").open(encoding="utf-8", newline="") as stream:
        return {(row["label"], row["seed"]) for row in csv.DictReader(stream)}
