"""The search for recipes: equal trials for every model, chosen on validation images."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml, write_yaml
from capsbench.records import CellFolder, ProtocolChanges, SearchRecord, TrainingRecord
from capsbench.records import load_results as load_records
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.export import export_benchmark, load_export
from capsbench.reporting.exports.search_checks import load_search
from capsbench.running import train_job
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.running.search import has_failed_trial, search
from capsbench.running.trials import plan_trials
from capsbench.schema import Benchmark, ModelEntry, load_benchmark
from capsbench.schema.search import TUNING_SEEDS
from capsbench.trusted_code import trust
from tests.conftest import TINY
from tests.running.conftest import ONE_THREAD

COMMAND = "capsbench run tiny --search"
CONSTRUCTOR = "    def __init__(self, *, image_shape"
KNOBS = f'    knobs = {{"rate": (0.0, 0.5)}}\n\n{CONSTRUCTOR}'


@pytest.fixture(scope="module")
def knobs_file(tmp_path_factory):
    """A file of a user's own model with a knob."""
    path = tmp_path_factory.mktemp("own") / "knobs.py"
    path.write_text(TINY.replace(CONSTRUCTOR, KNOBS))
    trust(f"{path}:Tiny")
    return path


@pytest.fixture
def protocol(tiny_protocol, tiny_file, knobs_file):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": "Plain", "arguments": {"rate": 0.1}},
        {"name": f"{knobs_file}:Tiny", "label": "Knobs", "arguments": {"rate": 0.1}},
    ]
    ranges = {"trials": 3, "learning_rate": [1e-7, 0.1]}
    changes = {"models": models, "search": ranges, "follow": ["familiar"]}
    return Benchmark.model_validate(tiny_protocol | changes)


def searched(protocol, session, *models, **changes):
    requested = ProtocolChanges(models=models or None, search=True, **changes)
    return search(protocol, session, changes=requested, command=COMMAND)


def test_every_model_gets_the_same_trials_and_its_own_best(protocol, session, tmp_path, capsys):
    tuned, record = searched(protocol, session)
    plain, knobs = (record.trials_of(label) for label in ("Plain", "Knobs"))
    assert len(plain) == len(knobs) == 3
    assert [trial.recipe for trial in plain] == [trial.recipe for trial in knobs]
    assert all(trial.arguments == {} for trial in plain)
    assert {trial.arguments["rate"] for trial in knobs} == {0.0, 0.5}
    for label, trials in (("Plain", plain), ("Knobs", knobs)):
        (best,) = [trial for trial in trials if trial.chosen]
        again = [trial for trial in trials if len(trial.runs) == 3]
        assert len(again) == 2
        firsts = [trial.runs[0].accuracy for trial in trials if trial not in again]
        assert min(trial.runs[0].accuracy for trial in again) >= max(firsts)
        assert best.accuracy == max(trial.accuracy for trial in again)
        entry = next(each for each in tuned.models if each.label == label)
        assert entry.recipe == best.recipe
        assert entry.arguments == {"rate": 0.1} | best.arguments
        assert entry.tuned == record.name
    for run in (run for trial in record.trials for run in trial.runs):
        folder = CellFolder(tmp_path / run.path)
        config = json.loads(folder.config.read_text())
        assert config["seed"] == run.seed
        assert config["follow"] == []
        training = TrainingRecord.load(folder.training)
        assert run.accuracy == training.selected["validation"].accuracy
    assert not list(tmp_path.rglob("measures"))
    assert {cell.seed for cell in plan(tuned)} == set(protocol.seeds)

    printed = capsys.readouterr().out
    assert printed.count("validation accuracy") == 6 + 8
    lines = [line for line in printed.splitlines() if line.startswith("  - ")]
    pasted = [ModelEntry.model_validate(each) for each in parse_yaml("\n".join(lines))]
    assert tuple(pasted) == tuned.models
    exported = load_search(tmp_path / "searches" / f"{record.name}.json")
    assert exported.record == record

    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert searched(protocol, session) == (tuned, record)  # nothing is trained again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")} == times
    assert searched(tuned, session, "Plain", "Knobs") == (tuned, record)  # nor if tuned before
    assert len(list(tmp_path.rglob("training.json"))) == 6 + 8


def test_the_trials_of_a_model_do_not_depend_on_the_others(protocol):
    def paths(benchmark, models=None):
        planned = plan_trials(benchmark, models, None, "cpu")
        return {each.model.label: [t.cells[0].path for t in each.trials] for each in planned}

    everything = paths(protocol)
    reverse = protocol.model_copy(update={"models": protocol.models[::-1]})
    assert paths(reverse) == everything
    assert paths(protocol, ["Knobs"]) == {"Knobs": everything["Knobs"]}
    fixed = protocol.search.model_copy(update={"fixed": ("rate",)})
    without = paths(protocol.model_copy(update={"search": fixed}))
    assert without["Plain"] == everything["Plain"]
    assert without["Knobs"] != everything["Knobs"]
    assert len({path.name for each in everything.values() for path in each}) == 6


def test_models_that_are_not_requested_have_no_trial(protocol, session):
    tuned, record = searched(protocol, session, "Knobs")
    assert {trial.label for trial in record.trials} == {"Knobs"}
    assert tuned.models[0] == protocol.models[0]


def test_tuned_models_are_searched_again_only_if_they_are_named(protocol):
    plain, knobs = protocol.models
    known = plain.model_copy(update={"tuned": "a-search"})
    benchmark = protocol.model_copy(update={"models": (known, knobs)})

    def labels(benchmark, models=None):
        return [each.model.label for each in plan_trials(benchmark, models, None, "cpu")]

    assert labels(benchmark) == ["Knobs"]
    assert labels(benchmark, ["Plain"]) == ["Plain"]
    assert labels(benchmark, ["Plain", "Knobs"]) == ["Plain", "Knobs"]
    with pytest.raises(UserError, match=r"all models of tiny are tuned.*--models"):
        labels(benchmark.model_copy(update={"models": (known,)}))


def test_a_trial_that_diverges_is_never_chosen(tiny_protocol, tiny_file, session):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": label, "arguments": {"explode": explode}}
        for label, explode in (("Bad", True), ("Good", False))
    ]
    content = {**tiny_protocol, "models": models, "search": {"trials": 2, "finalists": 1}}
    with pytest.raises(UserError, match=r"all 2 trials of Bad.*learning_rate"):
        searched(Benchmark.model_validate(content), session)
    records = list(session.output.rglob("training.json"))
    assert len(records) == 4  # the trials of all models are carried out together


def test_a_trial_that_failed_is_a_failure_of_the_run(protocol, session, monkeypatch, capsys):
    train = train_job.train_cell

    def train_cell(cell, *arguments):
        if cell.recipe.weight_decay == 0:
            raise ValueError("no decay is broken")
        train(cell, *arguments)

    monkeypatch.setattr(train_job, "train_cell", train_cell)
    _, record = searched(protocol, session, "Plain")
    failed = [trial for trial in record.trials if trial.runs[0].outcome == "failed"]
    assert failed
    assert all(trial.accuracy is None and not trial.chosen for trial in failed)
    assert has_failed_trial(record)
    assert "no decay is broken" in capsys.readouterr().out
    assert searched(protocol, session, "Plain")[1] == record  # it is not tried again
    assert capsys.readouterr().out.count("failed: user code") == len(failed)
    monkeypatch.undo()
    record = searched(protocol, replace(session, retry_failed=True), "Plain")[1]
    assert not has_failed_trial(record)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"vary": {"name": "x", "place": "recipe.batch_size", "values": [8, 16]}}, r"search\.at"),
        ({"seeds": [3, TUNING_SEEDS[0]]}, "smaller seeds, got 1000"),
        ({"search": {"fixed": ["rat"]}}, "search.fixed.*'rat'; did you mean 'rate'"),
    ],
)
def test_what_cannot_be_searched_is_refused(protocol, session, change, word):
    with pytest.raises(UserError, match=word):
        searched(Benchmark.model_validate(protocol.model_dump() | change), session)
    assert not list(session.output.iterdir())


def test_a_dry_run_lists_the_trials_before_the_cells(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--models", "CNN", "--seeds", "3,4", "--limit", "40", "--set", "search.trials=3"]
    assert main(["run", "quick", *words, "--search", "--dry-run", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [cell["seed"] for cell in cells] == [TUNING_SEEDS[0]] * 3 + [3, 4]
    assert len({cell["folder"] for cell in cells}) == 5
    assert main(["run", "quick", *words, "--search", "--dry-run"]) == 0
    assert "4 further trainings will repeat the best trials" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_page_and_the_export_show_the_search(session, tmp_path):
    changes = ProtocolChanges(
        settings={
            "recipe.steps": 2,
            "recipe.limit": 40,
            "seeds": [0],
            "search": {"trials": 2, "learning_rate": [0.001, 0.01]},
        },
        added=(ModelEntry(name="cnn-small", label="Narrow", arguments={"width": 2}),),
        models=(),
        search=True,
    )
    benchmark = load_benchmark("quick", changes.settings, added=changes.added)
    tuned, record = search(benchmark, session, changes=changes, command=COMMAND)
    page, _ = run_benchmark(
        tuned,
        plan(tuned, models=["Narrow"]),
        session,
        changes=changes,
        command=COMMAND,
        search=record,
    )
    assert page is not None
    for text in (page.read_text(), (page.parent / "report.md").read_text()):
        assert record.name in text
        assert "Sobol" in text
    assert load_records(tmp_path / "quick").record.search == record
    exported = load_export(export_benchmark(tmp_path / "quick", tmp_path / "results"))
    assert exported.results.record.search == record
    check_export(exported)
    other = record.protocol.recipe.model_copy(update={"limit": 80})
    foreign = record.model_copy(
        update={"protocol": record.protocol.model_copy(update={"recipe": other})}
    )
    whole = exported.results.record.model_copy(update={"search": foreign})
    with pytest.raises(UserError, match="another protocol"):
        check_export(replace(exported, results=replace(exported.results, record=whole)))
    (kept,) = (tmp_path / "results" / "searches").iterdir()
    assert load_search(kept).record == record


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on(protocol, tmp_path):
    """Killed after its first trial, it ends with the trials of one without a stop."""
    file = tmp_path / "tiny.yaml"
    file.write_text(write_yaml(protocol.model_dump(mode="json", exclude_defaults=True)))

    def start(runs):
        words = [str(file), "--search", "--models", "Plain", "--seeds", "0", "--output", str(runs)]
        words += ["--workers", "0", "--device", "cpu", "--wandb", "off", "--trust-code"]
        command = [sys.executable, "-m", "capsbench", "run", *words]
        return subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, text=True)

    with start(tmp_path / "stopped") as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "validation accuracy" in line)
        process.kill()
    assert not (tmp_path / "stopped" / "searches").exists()
    first = next((tmp_path / "stopped").rglob("training.json"))
    before = first.stat().st_mtime_ns
    searches = []
    for runs in ("stopped", "whole"):
        with start(tmp_path / runs) as process:
            process.communicate(timeout=300)
        assert process.returncode == 0
        (path,) = (tmp_path / runs / "searches").iterdir()
        searches.append(SearchRecord.load(path))
    assert first.stat().st_mtime_ns == before
    resumed, whole = (
        [run.model_copy(update={"seconds": 0}) for trial in record.trials for run in trial.runs]
        for record in searches
    )
    assert len(whole) == 3 + 4
    assert resumed == whole
