"""Claims whose models are tuned by a search of each part."""

import json

import pytest

from capsbench.cli import main
from capsbench.files.yaml import write_yaml
from capsbench.records import ClaimsRecord, load_results
from capsbench.reporting.exports.search_checks import check_tuned, load_search

TEST = {
    "part": "plain",
    "model": "Small",
    "against": "Smaller",
    "primary": True,
    "measure": "accuracy-by-split",
    "quantity": {"metric": "accuracy", "split": "familiar"},
}


@pytest.fixture
def claims(tiny_protocol, tmp_path, monkeypatch):
    """A file of claims on one benchmark, at a scale of it."""
    monkeypatch.chdir(tmp_path)
    models = [
        {"name": "cnn-small", "label": label, "arguments": {"width": width, "hidden": 4}}
        for label, width in (("Small", 2), ("Smaller", 1))
    ]
    measures = [{"measure": "accuracy-by-split", "splits": ["familiar"], "ranges": {}}]
    protocol = {**tiny_protocol, "models": models, "measures": measures, "search": {"trials": 2}}
    (tmp_path / "tiny.yaml").write_text(write_yaml(protocol))
    content = {
        "name": "tried",
        "version": 1,
        "title": "Tried",
        "question": "Is it so?",
        "source": "a test",
        "expected": "",
        "parts": {"plain": {"benchmark": "tiny.yaml", "scales": {"few": {"recipe.steps": 4}}}},
        "claims": [{"claim": "It is so", "source": "a test", "tests": [TEST]}],
    }
    (tmp_path / "tried.yaml").write_text(write_yaml(content))
    line = "run tried.yaml --scale few --search --device cpu --workers 0 --wandb off"
    return line.split()


@pytest.mark.slow
def test_each_part_is_tuned(claims, tmp_path, capsys):
    assert main([*claims, "--dry-run", "--json"]) == 0
    seeds = [cell["seed"] for cell in json.loads(capsys.readouterr().out)]
    assert seeds == [1000] * 4 + [0, 1] * 2
    assert main(claims) == 0
    (path,) = (tmp_path / "runs" / "searches").iterdir()
    record = load_search(path).record
    assert (record.protocol.benchmark, record.size) == ("tried-few-plain", "few")
    run = ClaimsRecord.load(tmp_path / "runs" / "tried-few" / "claims.json")
    tuned = run.claims.benchmark("plain", "few")
    assert {entry.tuned for entry in tuned.models} == {path.stem}
    check_tuned(tuned, "few", {record.name: record})
    results = load_results(tmp_path / "runs" / "tried-few-plain")
    assert results.record.search == record
    assert {cell.training.status for cell in results.cells if cell.training} == {"trained"}
    for cell in results.cells:
        chosen = record.chosen(cell.label)
        assert chosen is not None
        assert cell.config is not None
        assert cell.config.recipe.learning_rate == chosen.recipe["learning_rate"]
