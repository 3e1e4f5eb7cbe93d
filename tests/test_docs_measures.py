"""docs/measures.md names every measure, metric and field of a value, and its examples run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from capsbench.cli import main
from capsbench.cli.measure import parse_measures
from capsbench.files.yaml import parse_yaml, write_yaml
from capsbench.measures import load_measure
from capsbench.models.cnn_small import CNNSmall
from capsbench.names import table
from capsbench.schema import load_benchmark
from capsbench.values import Value

PAGE = (Path(__file__).parents[1] / "docs" / "measures.md").read_text(encoding="utf-8")
MEASURES = sorted(table("measures"))
(EXAMPLES,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = [write_yaml(example) for example in parse_yaml(EXAMPLES)]
COMMANDS = re.findall(r"^capsbench (measure .*)$", PAGE, flags=re.MULTILINE)
EVALUATION, QUERY = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
ROWS = """\
label,seed,measure,metric,factor,view,value
CNN,0,accuracy-by-view,accuracy,rotation,90,0.25
CNN,1,accuracy-by-view,accuracy,rotation,90,0.75
CNN,0,accuracy-by-view,accuracy,rotation,,0.9
CNN,0,accuracy-by-view,area,rotation,90,0.9
CNN,0,accuracy-by-view,accuracy,scale,90,0.9
CNN,0,consistency,accuracy,rotation,90,0.9
"""
SMALL = """\
name: small
version: 1
title: A capsule network on digits
question: Which measures does it have?
source: made for a test
data: {name: digits}
views: {rotation: [-15, 15], shift: [-2, 2]}
models:
  - name: capsnet-dr
    arguments:
      {channels: 4, stride: 2, primary_types: 2, primary_dim: 4, primary_kernel: 5, class_dim: 4,
      decoder: []}
recipe: {steps: 2, batch_size: 16, evaluate_every: 2}
seeds: [0]
measures: [{measure: cost}]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small capsule network, trained on digits in a moment."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert (
            main(["run", "small.yaml", "--device", "cpu", "--wandb", "off", "--workers", "0"]) == 0
        )
    return folder


def measured(line, trained, capsys):
    """Run a command of the page on the only training, and return the records."""
    (cell,) = (trained / "runs/digits/capsnet-dr").glob("0-*")
    words = [str(cell) if "0-..." in word else word for word in shlex.split(line)]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_measure_has_an_example_or_a_reason():
    named = {example["measure"] for example in parse_yaml(EXAMPLES)}
    after = PAGE.partition(EXAMPLES)[2].partition("## Values")[0]
    missing = set(MEASURES) - named
    assert [name for name in missing if f"`{name}` needs" not in after] == []
    assert not named & {name for name in MEASURES if f"`{name}` needs" in after}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line, trained, capsys):
    assert "runs/digits/" in line
    for record in measured(line, trained, capsys):
        assert record["values"]


def test_a_file_of_all_examples_is_read(tmp_path):
    file = tmp_path / "examples.yaml"
    file.write_text(EXAMPLES, encoding="utf-8")
    assert len(parse_measures(str(file))) == len(LINES)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=[] if "linear-equivariance" in line else [pytest.mark.slow])
        for line in LINES
    ],
)
def test_examples_run_on_digits(line, trained, capsys):
    (record,) = measured(f"measure 0-... --measures {shlex.quote(line)}", trained, capsys)
    assert record["values"]
    assert not any(note.startswith("not measured") for note in record["notes"])


def test_every_measure_has_a_definition():
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|.*\|.*\|$", PAGE, flags=re.MULTILINE)) == MEASURES


@pytest.mark.parametrize("measure", MEASURES)
def test_every_metric_is_named(measure):
    (cell,) = re.findall(rf"^\| {measure} \|(.*)\|$", PAGE, flags=re.MULTILINE)
    own = load_measure(measure)
    conditions = re.findall(r"condition `\w+`(?:: `\w+` or `\w+`)?", cell)
    names = set(re.findall(r"`(\w+)`", cell))
    names -= {name for text in conditions for name in re.findall(r"`(\w+)`", text)}
    assert names == set(own.metrics)


def test_every_field_of_a_value_is_named():
    section = PAGE.partition("## Values")[2]
    assert all(f"`{field}`" in section for field in Value.model_fields)


def test_evaluation_of_a_model_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = CNNSmall(image_shape=(1, 32, 32), num_classes=10, width=2, hidden=4)
    names: dict[str, Any] = {"model": model}
    exec(compile(EVALUATION, "measures.md", "exec"), names)
    assert {row["measure"] for row in names["rows"]} == {"accuracy-by-view"}
    assert list(tmp_path.glob("*.png")) == [tmp_path / "accuracy-by-view.png"]


def test_query_of_results(tmp_path, monkeypatch):
    (tmp_path / "runs/quick/report").mkdir(parents=True)
    (tmp_path / "runs/quick/report/results.csv").write_text(ROWS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(QUERY, "measures.md", "exec"), names)
    assert names["curves"].to_dict() == {"CNN": {90.0: 0.5}}


def test_the_protocol_of_the_untrained_control_is_valid_and_controlled():
    protocol = load_benchmark(str(Path(__file__).parents[1] / "docs" / "controls.yaml"))
    assert "capsbench run docs/controls.yaml" in PAGE
    for config in protocol.measures[1:]:
        assert load_measure(config.measure).controlled
        assert f"`{config.measure}`" in PAGE.partition("## The untrained control")[2]
