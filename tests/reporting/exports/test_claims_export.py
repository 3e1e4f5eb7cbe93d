"""Claims that are run, shown, exported, checked, and refused."""

import json
from typing import Any

import pytest

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.files.yaml import write_yaml
from capsbench.records import ClaimsRecord
from capsbench.reporting.claims_report import build, load_claims_results
from capsbench.reporting.exports import claims_checks
from capsbench.reporting.exports.claims_checks import check_claims
from capsbench.reporting.exports.claims_export import export_claims, load_claims_export
from capsbench.reporting.tables.claims_tables import claim_tables
from capsbench.schema.claims import load_claims

FILE: dict[str, Any] = {
    "name": "tried",
    "version": 1,
    "title": "Tried",
    "question": "Is it?",
    "source": "a test",
    "expected": "seconds",
    "parts": {
        "one": {
            "benchmark": "quick",
            "changes": {
                "seeds": [0, 1, 2],
                "models": [
                    {"name": "cnn-small", "label": "CNN", "arguments": {"width": 2}},
                    {"name": "linear-stem", "label": "CapsNet (dynamic routing)"},
                ],
                "recipe.limit": 60,
                "recipe.steps": 8,
                "recipe.evaluate_every": 4,
                "measures": [{"measure": "accuracy-by-split"}],
            },
            "scales": {"tiny": {"recipe.steps": 2, "recipe.evaluate_every": 2}},
        }
    },
    "claims": [
        {
            "claim": "It <is>",
            "source": "a test",
            "tests": [
                {
                    "part": "one",
                    "model": "CapsNet (dynamic routing)",
                    "against": "CNN",
                    "primary": True,
                    "measure": "accuracy-by-split",
                    "quantity": {"metric": "accuracy", "split": "familiar"},
                }
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder in which a user's own claims were run, at a scale."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "tried.yaml").write_text(write_yaml(FILE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = "run tried.yaml --scale tiny --device cpu --workers 0 --wandb off"
        assert main(line.split()) == 0
    return folder


def test_claims_are_run_shown_and_exported(ran, monkeypatch, capsys):
    monkeypatch.chdir(ran)
    page = (ran / "runs/tried-tiny/report/index.html").read_text()
    text = (ran / "runs/tried-tiny/report/report.md").read_text()
    for form in (page, text):
        assert "at this scale (tiny)" in form
        assert "3 of at least 5 seeds" in form
        assert "It &lt;is&gt;" in form
        assert "<is>" not in form
    assert "../../tried-tiny-one/report/index.html" in page
    assert (ran / "runs/tried-tiny-one/report/index.html").is_file()
    assert main(["report", "--export", "results"]) == 0
    printed = capsys.readouterr().out
    (file,) = (ran / "results/tried").glob("tiny-*.json")
    assert f"results/tried/{file.name}" in printed
    assert not (ran / "results/tried-tiny-one").exists()
    exported = load_claims_export(file)
    results = load_claims_results(ran / "runs/tried-tiny")
    assert claim_tables(exported.judged, "tiny") == claim_tables(results.judged(), "tiny")
    assert build(ran / "runs/tried-tiny").read_text() == page


def test_a_verdict_that_does_not_follow_is_refused(ran, tmp_path):
    file = export_claims(ran / "runs/tried-tiny", tmp_path)
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["judged"][0]["verdict"] = "holds"
    content["judged"][0]["tests"][0]["verdict"] = "not decided"
    content["record"]["claims"]["name"] = str(ran / "tried.yaml")
    write_json(file, content)
    with pytest.raises(UserError, match="other name"):
        check_claims(load_claims_export(file))
    content["extra"] = 1
    write_json(file, content)
    with pytest.raises(UserError, match="extra"):
        load_claims_export(file)


def test_an_export_that_follows_is_accepted(exported, ran, tmp_path, monkeypatch):
    file = tmp_path / "claims.json"
    write_json(file, exported)
    use_as_shipped(ran, monkeypatch)
    check_claims(load_claims_export(file))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda judged: judged[0].update(verdict="holds"), "does not follow"),
        (lambda judged: judged[0]["tests"][0].update(verdict="holds"), "does not follow"),
        (lambda judged: judged[0]["tests"][0].update(reason=""), "does not follow"),
        (lambda judged: judged[0]["claim"].update(claim="Other"), "other claims"),
        (lambda judged: judged[0]["tests"].pop(), "does not follow"),
        (lambda judged: judged[0]["tests"][0].update(values=[[0.5], [0.1]]), "does not follow"),
        (lambda judged: judged[0]["tests"][0].update(at_chance=[[], []]), "does not follow"),
        (lambda judged: judged[0]["tests"][0]["numbers"].update(p=1e-9), "does not follow"),
        (lambda judged: judged[0]["tests"][0]["numbers"].update(interval=[0, 1]), "not follow"),
        (lambda judged: judged[0]["tests"][0]["numbers"].update(interval=None), "not follow"),
        (lambda judged: judged[0]["tests"][0]["numbers"].update(n_seeds=[3, 4]), "not follow"),
        (lambda judged: judged[0]["tests"][0]["numbers"].update(standard_error=0), "damaged"),
        (lambda judged: judged[0]["tests"][0].update(numbers={"mean": 1}), "damaged"),
    ],
    ids=[
        *("claim", "test", "reason", "other claim", "fewer tests", "other means", "chance"),
        *("other p", "other interval", "no interval", "more seeds", "no error", "no numbers"),
    ],
)
def test_verdicts_are_checked(damage, message, exported, ran, tmp_path, monkeypatch):
    damage(exported["judged"])
    file = tmp_path / "claims.json"
    write_json(file, exported)
    use_as_shipped(ran, monkeypatch)
    with pytest.raises(UserError, match=message):
        check_claims(load_claims_export(file))


@pytest.fixture
def exported(ran, tmp_path):
    """Contents of an exported file, without its checksum."""
    content = json.loads(export_claims(ran / "runs/tried-tiny", tmp_path).read_text())
    content.pop("checksum")
    return content


def use_as_shipped(ran, monkeypatch):
    """Let the file of a user's own claims count as the shipped one."""
    monkeypatch.setattr(
        claims_checks, "load_claims", lambda _, scale: load_claims(str(ran / "tried.yaml"), scale)
    )


def test_claims_refuse_options_of_benchmarks(ran, monkeypatch, capsys):
    monkeypatch.chdir(ran)
    assert main(["run", "tried.yaml", "--seeds", "0"]) == 2
    assert "claims run" in capsys.readouterr().err
    assert main(["run", "tried.yaml", "--scale", "tinny"]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    assert main(["run", "tried.yaml", "--scale", "tiny", "--dry-run", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert {cell["state"] for cell in cells} == {"done"}
    assert ClaimsRecord.load(ran / "runs/tried-tiny/claims.json").scale == "tiny"


def test_an_unknown_part_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tests = FILE["claims"][0]["tests"][0] | {"part": "two"}
    content = FILE | {"claims": [{"claim": "c", "source": "s", "tests": [tests]}]}
    (tmp_path / "bad.yaml").write_text(write_yaml(content))
    assert main(["run", "bad.yaml"]) == 2
    assert "unknown part 'two'" in capsys.readouterr().err
