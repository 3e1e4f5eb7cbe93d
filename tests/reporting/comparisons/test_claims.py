"""Verdicts on claims: of known differences, of all tests together, and on the page."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.files.yaml import write_yaml
from capsbench.measures import MeasureContext, index_name, load_measure
from capsbench.names import find
from capsbench.records import ClaimsRecord, load_results
from capsbench.reporting.claims_report import build, load_claims_results
from capsbench.reporting.comparisons.claims import judge, overall
from capsbench.reporting.exports.claims_checks import check_claims
from capsbench.reporting.exports.claims_export import export_claims, load_claims_export
from capsbench.reporting.tables.claims_tables import claim_table, claim_tables, verdict_table
from capsbench.schema.claims import Claims
from capsbench.values import Quantity

ROOT = Path(__file__).parents[3]
MODELS = (("CNN", "cnn-small"), ("Caps", "capsnet-dr"), ("Same", "capsnet-em"))
SPLITS = {"measure": "accuracy-by-split"}
FAMILIAR = Quantity(metric="accuracy", split="familiar")
ERROR = "expected_calibration_error"
FAMILIAR_ACCURACY = {"quantity": {"metric": "accuracy", "split": "familiar"}}
NOVEL_ACCURACY = {"quantity": {"metric": "accuracy", "split": "novel"}}
ACCURACY = {"part": "one", "against": "CNN", "measure": "accuracy-by-split", **FAMILIAR_ACCURACY}


@pytest.fixture
def parts(tmp_path, write_benchmark, add_measure):
    """Caps is more accurate than CNN by 0.3, far beyond chance; Same is like CNN."""
    folder = write_benchmark(tmp_path, models=MODELS, seeds=(0, 1, 2))
    random = np.random.default_rng(0)
    for label, share in (("CNN", 0.5), ("Caps", 0.8), ("Same", 0.5)):
        for seed in range(3):
            correct = random.random(2000) < share
            values = [FAMILIAR.with_value(float(correct.mean()), 2000)]
            per_image = {FAMILIAR.name: correct, index_name(): np.arange(2000)}
            add_measure(folder, label, seed, SPLITS, values, per_image=per_image)
            error = {"CNN": 0.2, "Caps": 0.1, "Same": 0.2}[label] + 0.004 * random.random()
            values = [Quantity(metric=ERROR, layer=label).with_value(error, 2000)]
            add_measure(folder, label, seed, {"measure": "calibration"}, values)
    return {"one": load_results(folder)}


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
        ({"model": "Caps"}, "holds"),
        ({"model": "Caps", "margin": 0.2}, "holds"),
        ({"model": "Caps", "margin": 0.4}, "does not hold"),
        ({"model": "Caps", "lower_is_better": True}, "does not hold"),
        ({"model": "Same"}, "not decided"),
        ({"model": "Same", "margin": -0.2}, "holds"),
        ({"model": "Caps", **NOVEL_ACCURACY}, "not decided"),  # not measured
    ],
)
def test_a_test_is_of_the_difference_beyond_the_margin(parts, test, verdict):
    (judged,) = judge(claims(ACCURACY | test), parts)
    assert judged.verdict == verdict
    (tested,) = judged.tests
    assert tested.verdict == verdict
    if tested.difference is not None:
        assert tested.difference.n_images == 2000


def test_values_without_outcomes_are_compared_over_seeds_and_may_differ_in_quantity(parts):
    test = {
        "part": "one",
        "model": "Caps",
        "against": "CNN",
        "measure": "calibration",
        "quantity": {"metric": ERROR, "layer": "Caps"},
        "against_quantity": {"metric": ERROR, "layer": "CNN"},
        "lower_is_better": True,
    }
    (judged,) = judge(claims(test), parts)
    assert judged.verdict == "holds"
    (tested,) = judged.tests
    assert tested.difference is not None
    assert (tested.difference.n_seeds, tested.difference.n_images) == ((3, 3), 0)
    assert tested.difference.mean == pytest.approx(0.1, abs=0.01)


def test_layers_with_outcomes_of_images_are_compared_over_images_too(
    tmp_path, write_benchmark, add_measure
):
    """Computed by the real measure: layers of two untrained networks, on the same images."""
    data = find("datamodules", "digits").load()(limit=60)
    measure = load_measure("invariance-error")
    arguments = {
        "measure": "invariance-error",
        "grid": {"rotation": {"start": 90, "stop": 90, "step": 1}},
    }
    config = measure.config.model_validate(arguments)
    build_model = find("models", "cnn-small").load()
    folder = write_benchmark(tmp_path, models=MODELS[:2], seeds=(0, 1, 2))
    for label, width in (("CNN", 2), ("Caps", 4)):
        for seed in range(3):
            torch.manual_seed(seed)
            model = build_model(image_shape=(1, 32, 32), num_classes=10, width=width).eval()
            result = measure.compute(config, model, data, MeasureContext(device="cpu"))
            add_measure(folder, label, seed, arguments, result.values, per_image=result.per_image)
    quantities = {
        "quantity": {"metric": "invariance_error", "layer": "hidden"},
        "against_quantity": {"metric": "invariance_error", "layer": "block 1"},
    }
    test = ACCURACY | {"model": "Caps", "measure": "invariance-error"} | quantities
    (judged,) = judge(claims(test), {"one": load_results(folder)})
    (tested,) = judged.tests
    assert tested.difference is not None
    assert tested.difference.n_images == 60
    first, second = tested.means
    assert first is not None
    assert second is not None
    assert tested.difference.mean == pytest.approx(first - second)


def test_one_failed_test_is_enough_and_all_are_corrected_together(parts):
    better = ACCURACY | {"model": "Caps"}
    worse = better | {"lower_is_better": True}
    (alone,) = judge(claims(better), parts)
    missing = ACCURACY | {"model": "Same", "quantity": {"metric": "missing"}}
    (judged,) = judge(claims(better, worse, missing), parts)
    assert judged.verdict == "does not hold"
    assert [each.verdict for each in judged.tests] == ["holds", "does not hold", "not decided"]
    first, single = judged.tests[0].difference, alone.tests[0].difference
    assert first is not None
    assert single is not None
    assert (single.comparisons, first.comparisons) == (1, 2)
    assert first.p_corrected == pytest.approx(2 * single.p)
    assert overall(["holds", "not decided"]) == "not decided"


def test_every_verdict_names_the_scale(parts):
    judged = judge(claims(ACCURACY | {"model": "Caps"}), parts)
    assert verdict_table(judged, "small").rows[0].cells[1] == "holds, at this scale (small)"
    assert verdict_table(judged, None).rows[0].cells[1] == "holds"
    assert "(small)" in claim_table(judged[0], 1, "small").columns[-1].title


def test_each_network_has_a_verdict_of_its_own(parts):
    better = ACCURACY | {"model": "Caps"}
    other = ACCURACY | {"model": "Same", "margin": 0.2}
    judged = judge(claims(better, better | {"margin": 0.3}, other), parts)
    table = verdict_table(judged, None)
    assert [column.title for column in table.columns] == ["Claim", "Verdict", "Caps", "Same"]
    assert table.rows[0].cells[1:] == (
        "does not hold",
        "not decided (1 of 2, 1 holds)",
        "does not hold (1 of 1)",
    )


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
                    **FAMILIAR_ACCURACY,
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
        line = "run tried.yaml --scale tiny --device cpu --wandb off"
        assert main(line.split()) == 0
    return folder


def test_claims_are_run_shown_and_exported(ran, monkeypatch, capsys):
    monkeypatch.chdir(ran)
    page = (ran / "runs/tried-tiny/report/index.html").read_text()
    text = (ran / "runs/tried-tiny/report/report.md").read_text()
    for form in (page, text):
        assert "at this scale (tiny)" in form
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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda judged: judged[0].update(verdict="holds"), "does not follow"),
        (lambda judged: judged[0]["tests"][0].update(verdict="holds"), "does not follow"),
        (lambda judged: judged[0]["claim"].update(claim="Other"), "other claims"),
        (lambda judged: judged[0]["tests"].pop(), "does not follow"),
        (lambda judged: judged[0]["tests"][0]["means"].reverse(), "does not follow"),
        (lambda judged: judged[0]["tests"][0].update(numbers={"mean": 1}), "damaged"),
    ],
    ids=["claim", "test", "other claim", "fewer tests", "other means", "no numbers"],
)
def test_verdicts_are_checked(damage, message, tmp_path):
    (shipped,) = (ROOT / "results/claims").glob("*.json")
    content = json.loads(shipped.read_text())
    content.pop("checksum", None)
    damage(content["judged"])
    file = tmp_path / "claims.json"
    write_json(file, content)
    with pytest.raises(UserError, match=message):
        check_claims(load_claims_export(file))


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
    tests = FILE["claims"][0]["tests"][0] | {"part": "two"}  # type: ignore[index]
    content = FILE | {"claims": [{"claim": "c", "source": "s", "tests": [tests]}]}
    (tmp_path / "bad.yaml").write_text(write_yaml(content))
    assert main(["run", "bad.yaml"]) == 2
    assert "unknown part 'two'" in capsys.readouterr().err
