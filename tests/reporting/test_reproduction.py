"""The command of a line of a page trains that line again: a run with it finds the training done."""

import json
import shlex

from capsbench.cli import main
from capsbench.records import load_results
from capsbench.reporting.reproduction import reproduce

ADDED = '+{"name": "cnn-small", "label": "It\'s own", "arguments": {"width": 1, "hidden": 2}}'
RUN = [
    *("run", "quick", "--set", "recipe.steps=2", "--set", "recipe.evaluate_every=2"),
    *("--set", "recipe.limit=60", "--set", "measures=[{measure: accuracy-by-split}]"),
    *("--models", "CNN", "--models", ADDED, "--seeds", "3", "--wandb", "off", "--workers", "0"),
]


def test_the_command_of_a_seed_of_a_model_finds_its_training(tmp_path, capsys):
    places = ["--output", str(tmp_path), "--device", "cpu"]
    assert main([*RUN, *places]) == 0
    results = load_results(tmp_path / "quick")
    assert [cell.label for cell in results.cells] == ["CNN", "It's own"]
    capsys.readouterr()
    for cell in results.cells:
        words = shlex.split(reproduce(results.record, cell.label, cell.seed))
        assert words[0] == "capsbench"
        assert main([*words[1:], *places, "--dry-run", "--json"]) == 0
        planned = json.loads(capsys.readouterr().out)
        assert {each["label"] for each in planned} <= {"CNN", cell.label}
        own = [each for each in planned if each["label"] == cell.label]
        assert [(each["seed"], each["state"]) for each in own] == [(3, "done")]
