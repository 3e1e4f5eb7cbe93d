"""The search for recipes: the same trials for every model, chosen on validation images."""

import json
from dataclasses import replace

import pytest

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.records import ProtocolChanges, load_results
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.export import export_benchmark, load_export
from capsbench.running import train_job
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.running.search import has_failed_trial, search
from capsbench.schema import Benchmark, ModelEntry, load_benchmark


@pytest.fixture
def protocol(tiny_protocol, tiny_file):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": label, "arguments": {"rate": rate}}
        for label, rate in (("Tiny", 0.1), ("Other", 0.5))
    ]
    grid = {"learning_rate": [1e-7, 0.03], "weight_decay": [0, 0.1]}
    return Benchmark.model_validate({**tiny_protocol, "models": models, "search": grid})


def test_every_model_gets_the_same_trials_and_its_own_best(protocol, session, tmp_path, capsys):
    tuned, record = search(protocol, session, models=None)
    by_label = {
        label: [trial for trial in record.trials if trial.label == label]
        for label in ("Tiny", "Other")
    }
    own = {"learning_rate": protocol.recipe.learning_rate, "weight_decay": 0.0}
    grid = [own] + [
        {"learning_rate": rate, "weight_decay": decay}
        for rate in (1e-7, 0.03)
        for decay in (0, 0.1)
    ]
    for label, trials in by_label.items():
        assert [trial.recipe for trial in trials] == grid
        (best,) = [trial for trial in trials if trial.chosen]
        assert best.accuracy == max(trial.accuracy for trial in trials if trial.accuracy)
        assert best.recipe["learning_rate"] == 0.03
        model = next(entry for entry in tuned.models if entry.label == label)
        assert model.recipe == best.recipe
        # The chosen trial is the cell of its seed: it is not trained again.
        cell = next(c for c in plan(tuned) if (c.label, c.seed) == (label, 0))
        assert cell.path.as_posix() == best.path
    assert len(list(tmp_path.rglob("training.json"))) == 10
    assert not list(tmp_path.rglob("measures"))
    assert tuned.matched == protocol.matched
    printed = capsys.readouterr().out.count("validation accuracy")
    again, _ = search(protocol, session, models=None)  # nothing is trained again
    assert again == tuned
    assert printed == capsys.readouterr().out.count("validation accuracy") == 10


def test_models_that_are_not_requested_have_no_trial(protocol, session, tmp_path):
    tuned, record = search(protocol, session, models=["Other"])
    assert {trial.label for trial in record.trials} == {"Other"}
    assert not tuned.models[0].recipe


def test_a_trial_that_diverges_is_never_chosen(tiny_protocol, tiny_file, session):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": label, "arguments": {"explode": explode}}
        for label, explode in (("Bad", True), ("Good", False))
    ]
    benchmark = Benchmark.model_validate({**tiny_protocol, "models": models})
    with pytest.raises(UserError, match="all 7 trials of Bad"):
        search(benchmark, session, models=None)
    records = list(session.output.rglob("training.json"))
    assert len(records) == 14  # the trials of all models are carried out together


def test_a_trial_that_failed_is_a_failure_of_the_run(protocol, session, monkeypatch, capsys):
    train = train_job.train_cell

    def train_cell(cell, *arguments):
        if cell.recipe.learning_rate == 1e-7:
            raise ValueError("this rate is broken")
        train(cell, *arguments)

    monkeypatch.setattr(train_job, "train_cell", train_cell)
    _, record = search(protocol, session, models=["Tiny"])
    assert [trial.accuracy is None for trial in record.trials].count(True) == 2
    assert has_failed_trial(record, session)
    assert "this rate is broken" in capsys.readouterr().out
    again = search(protocol, session, models=["Tiny"])[1]  # it is not tried again
    assert again == record
    assert capsys.readouterr().out.count("failed: user code") == 2
    monkeypatch.undo()
    record = search(protocol, replace(session, retry_failed=True), models=["Tiny"])[1]
    assert not has_failed_trial(record, session)


def test_a_varied_benchmark_is_refused(protocol, session, tmp_path):
    vary = {"name": "x", "place": "recipe.batch_size", "values": [8, 16]}
    with pytest.raises(UserError, match=r"varies recipe\.batch_size"):
        search(
            Benchmark.model_validate(protocol.model_dump() | {"vary": vary}), session, models=None
        )


def test_a_dry_run_lists_the_trials_before_the_other_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "--models",
        "CNN",
        "--seeds",
        "3,4",
        "--limit",
        "40",
        "--search",
        "--dry-run",
        "--json",
    ]
    assert main(["run", "quick", *words]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [cell["seed"] for cell in cells] == [3] * 6 + [4]
    assert len({cell["folder"] for cell in cells}) == 7
    assert main(["run", "sample-efficiency", "--search", "--dry-run"]) == 2
    assert "varies data.per_class" in capsys.readouterr().err


def test_the_page_and_the_export_show_the_search(session, tmp_path):
    changes = {
        "recipe.steps": 2,
        "recipe.limit": 40,
        "seeds": [0],
        "search": {"learning_rate": [0.001, 0.01], "weight_decay": [0]},
    }
    added = (ModelEntry(name="cnn-small", label="Narrow", arguments={"width": 2}),)
    benchmark = load_benchmark("quick", changes, added=added)
    tuned, record = search(benchmark, session, models=["Narrow"])
    page, _ = run_benchmark(
        tuned,
        plan(tuned, models=["Narrow"]),
        session,
        changes=ProtocolChanges(settings=changes, added=added, search=True),
        command="a test",
        search=record,
    )
    assert page is not None
    assert "search" in page.read_text()
    assert "the best of 3 trials" in page.read_text()
    assert load_results(tmp_path / "quick").record.search == record
    exported = load_export(export_benchmark(tmp_path / "quick", tmp_path / "results"))
    assert exported.results.record.search == record
    check_export(exported)
