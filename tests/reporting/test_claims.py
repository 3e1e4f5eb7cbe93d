"""Verdicts on claims: of differences that are known, of all tests together, and on the page."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import TypeAdapter

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.measures import MeasureEntry
from capsbench.names import find
from capsbench.records import read_json, write_json
from capsbench.reporting.claims import judge, overall, table_of_tests, verdict_table
from capsbench.reporting.claims_export import check_claims, export_claims, read_claims
from capsbench.reporting.claims_report import build, load_record
from capsbench.reporting.results import load
from capsbench.schema.claims import Claims

ROOT = Path(__file__).parents[2]
MODELS = (("CNN", "cnn-small"), ("Caps", "capsnet-dr"), ("Same", "capsnet-em"))
SPLITS = {"measure": "accuracy-by-split"}
READOUT = {"measure": "calibration"}
ACCURACY = {"part": "one", "against": "CNN", "measure": "accuracy-by-split"}


@pytest.fixture
def parts(tmp_path, write_benchmark, add_measure):
    """The accuracy of Caps is above that of CNN by 0.3 for sure; Same is like CNN."""
    folder = write_benchmark(tmp_path, models=MODELS, seeds=(0, 1, 2))
    random = np.random.default_rng(0)
    for label, share in (("CNN", 0.5), ("Caps", 0.8), ("Same", 0.5)):
        for seed in range(3):
            right = random.random(2000) < share
            add_measure(
                folder,
                label,
                seed,
                SPLITS,
                {"familiar/accuracy": float(right.mean())},
                samples={"familiar/accuracy": right, "index": np.arange(2000)},
            )
            error = {"CNN": 0.2, "Caps": 0.1, "Same": 0.2}[label] + 0.004 * random.random()
            add_measure(folder, label, seed, READOUT, {f"error@{label}": error})
    return {"one": load(folder)}


def claims(*tests, name="claims"):
    return Claims.model_validate(
        {
            "name": name,
            "version": 1,
            "title": "Do they?",
            "question": "Who knows?",
            "source": "a test",
            "expected": "at once",
            "parts": {"one": {"benchmark": "quick"}},
            "claims": [
                {"claim": "Capsules are <better>", "source": "a test", "tests": list(tests)}
            ],
        }
    )


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ({"model": "Caps", "key": "familiar/accuracy"}, "holds"),
        ({"model": "Caps", "key": "familiar/accuracy", "least": 0.2}, "holds"),
        ({"model": "Caps", "key": "familiar/accuracy", "least": 0.4}, "does not hold"),
        ({"model": "Caps", "key": "familiar/accuracy", "lower": True}, "does not hold"),
        ({"model": "Same", "key": "familiar/accuracy"}, "not decided"),
        ({"model": "Same", "key": "familiar/accuracy", "least": -0.2}, "holds"),
        ({"model": "Caps", "key": "novel/accuracy"}, "not decided"),  # not measured
    ],
)
def test_a_test_is_of_the_difference_beyond_the_least(parts, test, verdict):
    (judged,) = judge(claims(ACCURACY | test), parts)
    assert judged.verdict == verdict
    (tested,) = judged.tests
    assert tested.verdict == verdict
    if tested.found is not None:
        assert tested.found.n_images == 2000


def test_values_that_no_image_has_are_compared_over_seeds_and_may_have_two_keys(parts):
    test = {
        "part": "one",
        "model": "Caps",
        "against": "CNN",
        "measure": "calibration",
        "key": "error@Caps",
        "against_key": "error@CNN",
        "lower": True,
    }
    (judged,) = judge(claims(test), parts)
    assert judged.verdict == "holds"
    (tested,) = judged.tests
    assert tested.found is not None
    assert (tested.found.n_seeds, tested.found.n_images) == ((3, 3), 0)
    assert tested.found.mean == pytest.approx(0.1, abs=0.01)


def test_layers_with_outcomes_of_images_are_compared_over_images_too(
    tmp_path, write_benchmark, add_measure
):
    """By the real measure: an untrained network's layer beside another's, of the same images."""
    data = find("datamodules", "digits").load()(limit=60)
    entry = TypeAdapter(MeasureEntry).validate_python(
        {"measure": "invariance-error", "grid": {"rotation": {"start": 90, "stop": 90, "step": 1}}}
    )
    take = importlib.import_module(entry.module).measure
    build = find("models", "cnn-small").load()
    folder = write_benchmark(tmp_path, models=MODELS[:2], seeds=(0, 1, 2))
    for label, width in (("CNN", 2), ("Caps", 4)):
        for seed in range(3):
            torch.manual_seed(seed)
            model = build(image_shape=(1, 32, 32), num_classes=10, width=width).eval()
            found = take(entry, model, data, "cpu", lambda: None)
            arguments = entry.model_dump(mode="json")
            add_measure(folder, label, seed, arguments, found.values, samples=found.samples)
    keys = {"key": "invariance/error@hidden", "against_key": "invariance/error@block 1"}
    test = ACCURACY | {"model": "Caps", "measure": "invariance-error"} | keys
    (judged,) = judge(claims(test), {"one": load(folder)})
    (tested,) = judged.tests
    assert tested.found is not None
    assert tested.found.n_images == 60
    mine, other = tested.values
    assert mine is not None
    assert other is not None
    assert tested.found.mean == pytest.approx(mine - other)


def test_one_test_that_fails_is_enough_and_all_are_corrected_together(parts):
    better = ACCURACY | {"model": "Caps", "key": "familiar/accuracy"}
    worse = better | {"lower": True}
    (alone,) = judge(claims(better), parts)
    (judged,) = judge(claims(better, worse, ACCURACY | {"model": "Same", "key": "x"}), parts)
    assert judged.verdict == "does not hold"
    assert [each.verdict for each in judged.tests] == ["holds", "does not hold", "not decided"]
    first, single = judged.tests[0].found, alone.tests[0].found
    assert first is not None
    assert single is not None
    assert (single.comparisons, first.comparisons) == (1, 2)
    assert first.p_corrected == pytest.approx(2 * single.p)
    assert overall(["holds", "not decided"]) == "not decided"


def test_a_scale_is_told_beside_every_verdict(parts):
    judged = judge(claims(ACCURACY | {"model": "Caps", "key": "familiar/accuracy"}), parts)
    assert verdict_table(judged, "small").rows[0][1] == "holds, at this scale (small)"
    assert verdict_table(judged, None).rows[0][1] == "holds"


def test_each_network_has_a_verdict_of_its_own(parts):
    better = ACCURACY | {"model": "Caps", "key": "familiar/accuracy"}
    other = ACCURACY | {"model": "Same", "key": "familiar/accuracy", "least": 0.2}
    judged = judge(claims(better, better | {"least": 0.3}, other), parts)
    table = verdict_table(judged, None)
    assert table.columns == ("Claim", "Verdict", "Caps", "Same")
    assert table.rows[0][1:] == (
        "does not hold",
        "not decided (1 of 2, 1 holds)",
        "does not hold (1 of 1)",
    )


def test_a_table_of_tests_tells_the_scale(parts):
    judged = judge(claims(ACCURACY | {"model": "Caps", "key": "familiar/accuracy"}), parts)
    assert table_of_tests(judged[0], 1, "small").columns[-1] == "Verdict, at this scale (small)"


FILE = {
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
                    "measure": "accuracy-by-split",
                    "key": "familiar/accuracy",
                }
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder in which claims of a user's own were run, at a scale."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "tried.yaml").write_text(yaml.safe_dump(FILE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = "run tried.yaml --scale tiny --device cpu --wandb off"
        assert main(line.split()) == 0
    return folder


def test_claims_are_run_shown_and_exported(ran, monkeypatch, capsys):
    monkeypatch.chdir(ran)
    page = (ran / "runs/tried-tiny/report/index.html").read_text()
    text = (ran / "runs/tried-tiny/report/report.md").read_text()
    for shown in (page, text):
        assert "at this scale (tiny)" in shown
        assert "It &lt;is&gt;" in shown
        assert "<is>" not in shown
    assert "../../tried-tiny-one/report/index.html" in page
    assert (ran / "runs/tried-tiny-one/report/index.html").is_file()
    assert main(["report", "runs", "--export", "results"]) == 0
    printed = capsys.readouterr().out
    (file,) = (ran / "results/tried").glob("tiny-*.json")
    assert f"results/tried/{file.name}" in printed
    assert not (ran / "results/tried-tiny-one").exists()
    kept = read_claims(file)
    found = load_record(ran / "runs/tried-tiny")
    assert verdict_table(kept.judged, "tiny") == verdict_table(found.judged(), "tiny")
    tables = [table_of_tests(each, 1, "tiny") for each in (kept.judged[0], found.judged()[0])]
    assert tables[0] == tables[1]
    assert build(ran / "runs/tried-tiny").read_text() == page


def test_a_verdict_that_does_not_follow_is_refused(ran, tmp_path):
    file = export_claims(ran / "runs/tried-tiny", tmp_path)
    content = json.loads(file.read_text())
    content["judged"][0]["verdict"] = "holds"
    content["judged"][0]["tests"][0]["verdict"] = "not decided"
    content["record"]["claims"]["name"] = str(ran / "tried.yaml")
    write_json(file, content)
    with pytest.raises(UserError, match="has other name here"):
        check_claims(read_claims(file))
    content["extra"] = 1
    write_json(file, content)
    with pytest.raises(UserError, match="no exported record"):
        read_claims(file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda judged: judged[0].update(verdict="holds"), "does not follow from its tests"),
        (lambda judged: judged[0]["tests"][0].update(verdict="holds"), "does not follow"),
        (lambda judged: judged[0]["claim"].update(claim="Other"), "judges other claims"),
        (lambda judged: judged[0]["tests"].pop(), "does not follow from its tests"),
        (lambda judged: judged[0]["tests"][0].update(found={"mean": 1}), "no exported record"),
    ],
    ids=["claim", "test", "other claim", "fewer tests", "no numbers"],
)
def test_nothing_of_a_verdict_is_believed(damage, message, tmp_path):
    (shipped,) = (ROOT / "results/claims").glob("*.json")
    content = json.loads(shipped.read_text())
    damage(content["judged"])
    file = tmp_path / "claims.json"
    write_json(file, content)
    with pytest.raises(UserError, match=message):
        check_claims(read_claims(file))


def test_what_claims_do_not_take_is_told(ran, monkeypatch, capsys):
    monkeypatch.chdir(ran)
    assert main(["run", "tried.yaml", "--seeds", "0"]) == 2
    assert "claims are run as they stand" in capsys.readouterr().err
    assert main(["run", "tried.yaml", "--scale", "tinny"]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    assert main(["run", "tried.yaml", "--scale", "tiny", "--dry-run", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert {cell["state"] for cell in cells} == {"done"}
    assert read_json(ran / "runs/tried-tiny/claims.json")["scale"] == "tiny"


def test_a_part_that_is_not_there_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tests = FILE["claims"][0]["tests"][0] | {"part": "two"}  # type: ignore[index]
    content = FILE | {"claims": [{"claim": "c", "source": "s", "tests": [tests]}]}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(content))
    assert main(["run", "bad.yaml"]) == 2
    assert "unknown part 'two'; known: 'one'" in capsys.readouterr().err
