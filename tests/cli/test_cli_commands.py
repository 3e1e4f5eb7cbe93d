"""What the commands say and do when the input is good."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from capsbench import __version__
from capsbench.cli.run import STOPPED, parse_seeds
from capsbench.names import table
from capsbench.process import settings_in_force
from capsbench.training.execution import Execution


def test_version(cli):
    assert cli("--version") == (0, f"capsbench {__version__}\n", "")


def test_no_command_is_a_question_for_help(cli):
    assert cli() == cli("--help")


@pytest.mark.parametrize("kind", ["models", "datamodules", "benchmarks"])
def test_list(cli, kind):
    code, rows, _ = cli("list", kind, "--json")
    assert code == 0
    assert [row["name"] for row in rows] == list(table(kind))
    assert all(row["summary"] for row in rows)
    code, text, _ = cli("list", kind)
    assert code == 0
    for row in rows:
        assert row["name"] in text


def test_list_of_every_kind(cli):
    code, rows, _ = cli("list", "--json")
    assert code == 0
    expected = [("model", *table("models")), ("data module", *table("datamodules"))]
    expected += [("benchmark", *table("benchmarks"))]
    found = [(row["kind"], row["name"]) for row in rows]
    assert found == [(kind, name) for kind, *names in expected for name in names]
    _, text, _ = cli("list")
    assert ["data", "module", "digits"] in [line.split()[:3] for line in text.splitlines()]


def test_list_shows_a_broken_plug_in_among_the_others(cli, monkeypatch):
    from capsbench.names import Target

    broken = Target("models", "broken", "nopackage.net", None, "Net")
    monkeypatch.setattr(
        "capsbench.cli.listing.table", lambda kind: table(kind) | {"broken": broken}
    )
    code, rows, _ = cli("list", "models", "--json")
    assert code == 0
    assert rows[-1]["summary"] == "broken: model 'broken': no module 'nopackage.net'"
    assert rows[0]["name"] == next(iter(table("models")))


def test_show_a_model(cli):
    code, facts, _ = cli("show", "cnn-small", "--json")
    assert code == 0
    assert list(facts)[:2] == ["name", "kind"]
    assert facts["kind"] == "model"
    assert facts["source"]
    width = next(argument for argument in facts["arguments"] if argument["name"] == "width")
    assert (width["type"], width["default"], width["required"]) == ("int", 32, False)
    assert width["documentation"].startswith("Channels")
    assert all(argument["documentation"] for argument in facts["arguments"])


def test_show_counts_the_parameters_for_the_images_and_arguments(cli, tmp_path):
    path = tmp_path / "linear.py"
    path.write_text(
        "from torch import nn\n"
        "from capsbench.contracts import Model, Prediction\n\n"
        "class Linear(Model):\n"
        '    """A linear map.\n\n    Of pixels.\n\n    Args:\n'
        "        bias: Whether a constant\n            is added.\n"
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
    # The contract documents what every model takes.
    assert facts["arguments"][0]["documentation"] == "(C, H, W) of the images."
    assert facts["arguments"][-1] == {
        "name": "bias",
        "type": "bool",
        "required": False,
        "default": True,
        "documentation": "Whether a constant is added.",
    }
    options = ("--image-shape", "3x4x5", "--classes", "7", "--set", "bias=false", "--json")
    assert cli("show", name, *options)[1]["parameters"] == 3 * 4 * 5 * 7
    code, text, _ = cli("show", name)
    assert code == 0
    assert "7,850" in text


def test_show_a_data_module(cli, tmp_path):
    code, facts, _ = cli("show", "mnist", "--data-root", str(tmp_path), "--json")
    assert code == 0
    assert (facts["kind"], facts["image_shape"], facts["classes"]) == (
        "data module",
        [1, 28, 28],
        10,
    )
    assert str(tmp_path) in facts["data"]
    assert {"views", "limit", "data_root"} <= {argument["name"] for argument in facts["arguments"]}
    same = cli("show", "capsbench.datamodules.mnist:MNIST", "--json")[1]
    assert (same["kind"], same["summary"]) == ("data module", facts["summary"])


def test_show_a_benchmark(cli, tiny):
    code, facts, _ = cli("show", tiny, "--json")
    assert code == 0
    assert (facts["name"], facts["kind"]) == ("tiny", "benchmark")
    assert facts["summary"] == "A tiny benchmark"
    assert facts["file"] == "tiny.yaml"
    assert facts["recipe"]["optimizer"] == "adam"
    assert [model["label"] for model in facts["models"]] == ["small", "smaller"]
    code, text, _ = cli("show", tiny)
    assert code == 0
    assert "Does it run?" in text


def test_doctor(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    code, facts, _ = cli("doctor", "--json", "--data-root", str(tmp_path))
    assert code == 0
    assert facts["versions"]["capsbench"] == __version__
    assert facts["versions"]["torch"] == version("torch")
    assert "selenium" not in facts["versions"]
    assert "cpu" in facts["devices"]
    assert facts["process"] == settings_in_force()
    assert facts["data"]["digits"] == "comes with scikit-learn"
    assert str(tmp_path) in facts["data"]["mnist"]
    assert facts["wandb"]["login"].startswith("not logged in")
    assert facts["output"] == {"runs": "can be written"}
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").write_text("a file in the way", encoding="utf-8")
    code, text, _ = cli("doctor")
    assert code == 0
    assert "is a file" in text


def test_doctor_finds_the_key_and_does_not_show_it(cli, tmp_path, monkeypatch):
    from capsbench.cli.doctor import wandb_login

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    path = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(path))
    path.write_text("machine api.wandb.ai login user password secret\n", encoding="utf-8")
    path.chmod(0o600)
    assert wandb_login() == f"key in {path}"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert wandb_login().startswith("not logged in")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert wandb_login() == "key in WANDB_API_KEY"
    monkeypatch.delenv("WANDB_API_KEY")
    path.write_text("machine", encoding="utf-8")
    assert "cannot be read" in wandb_login()


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0,1", [0, 1]), ("0-4", [0, 1, 2, 3, 4]), ("7, 2-3", [7, 2, 3])],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


def test_a_dry_run_lists_the_cells_and_writes_nothing(cli, tiny):
    code, cells, _ = cli(
        "run", tiny, "--models", "smaller", "--seeds", "3-4", "--dry-run", "--json"
    )
    assert code == 0
    assert [(cell["label"], cell["model"], cell["seed"]) for cell in cells] == [
        ("smaller", "cnn-small", 3),
        ("smaller", "cnn-small", 4),
    ]
    assert {cell["state"] for cell in cells} == {"to do"}
    assert all(
        cell["folder"].startswith(f"runs/digits/cnn-small/{cell['seed']}-") for cell in cells
    )
    code, text, _ = cli("run", tiny, "--dry-run")
    assert code == 0
    assert text.count("to do") == 5  # four cells, and the sum
    assert "4 trainings to do, about" in text
    assert list(Path().iterdir()) == [Path(tiny)]


def test_what_the_command_line_says_reaches_the_run(cli, tiny, monkeypatch):
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        "capsbench.running.run.run_benchmark",
        lambda benchmark, **rest: given.update(rest, benchmark=benchmark),
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = (
        "run tiny.yaml --models small,smaller --seeds 5 --set recipe.steps=500 "
        "--set recipe.optimizer=sgd --limit 100 --output there --device cpu --devices 2 --nodes 3 "
        "--strategy ddp --checkpoint-every 7 --profile --wandb online --data-root ."
    )
    code, _, err = cli(*line.split())
    assert (code, err) == (0, "")
    benchmark = given["benchmark"]
    assert (benchmark.recipe.steps, benchmark.recipe.limit, benchmark.seeds) == (500, 100, (5,))
    assert given["changes"] == [
        "recipe.steps=500",
        "recipe.optimizer=sgd",
        "seeds=[5]",
        "recipe.limit=100",
        "only=small,smaller",
    ]
    assert given["command"] == f"capsbench {line}"
    assert (given["output"], given["data_root"]) == (Path("there"), Path())
    assert [(cell.label, cell.seed) for cell in given["cells"]] == [("small", 5), ("smaller", 5)]
    assert given["execution"] == Execution(
        device="cpu",
        devices=2,
        nodes=3,
        strategy="ddp",
        checkpoint_every=7,
        profile=True,
        wandb="online",
    )


def test_a_run_is_stopped_goes_on_and_is_reported(cli, tiny):
    line = shlex.split(
        "run tiny.yaml --models small --seeds 0 --limit 100 --set recipe.steps=400 "
        "--set recipe.evaluate_every=200 --checkpoint-every 10 --device cpu --wandb off"
    )
    # One thread: two that wait for each other on busy cores are ten times slower.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "capsbench", *line]
    process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not list(Path().rglob("state.ckpt")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == STOPPED
    assert "Traceback" not in err
    assert [cell["state"] for cell in cli(*line, "--dry-run", "--json")[1]] == ["resumable"]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    page = Path("runs/tiny/report/index.html")
    assert str(page) in done.stdout
    record = json.loads(Path("runs/tiny/benchmark.json").read_bytes())
    assert record["changes"][-1] == "only=small"
    assert record["command"] == shlex.join(["capsbench", *line])
    assert [cell["state"] for cell in cli(*line, "--dry-run", "--json")[1]] == ["done"]
    page.unlink()
    assert cli("report", "runs") == (0, f"{page}\n", "")
    assert page.is_file()


def test_a_profile_is_written_and_one_that_is_not_is_told(cli, tiny):
    line = "run tiny.yaml --models smaller --seeds 0 --limit 50 --device cpu --wandb off --profile"
    code, text, err = cli(*line.split())
    assert (code, err) == (0, "")
    (trace,) = Path("runs").rglob("trace.json.gz")
    folder = trace.parent
    assert f"profile: {folder / 'operations.txt'}; open {trace} in chrome://tracing" in text
    assert (folder / "operations.txt").read_text().startswith("steps 1 to 4 of 4 on cpu")
    training = json.loads((folder.parent / "training.json").read_bytes())
    assert training["execution"]["profile"] is True
    assert training["execution"]["process"] == settings_in_force()
    code, text, _ = cli(*line.split())
    assert code == 0
    assert "nothing to profile: it was trained before" in text


def test_show_writes_types_in_short_and_leaves_out_what_has_none(cli, tmp_path, tiny_file):
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
