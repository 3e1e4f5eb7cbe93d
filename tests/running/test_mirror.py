"""Runs on Weights & Biases: of a training, of a cell under a benchmark, of a benchmark."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import wandb

from capsbench.records import BenchmarkFolder, load_results
from capsbench.reporting.wandb import keys, login
from capsbench.reporting.wandb import run as run_module
from capsbench.running.mirror import mirror_benchmark, mirror_failure, training_mirror
from capsbench.running.plan import plan
from capsbench.schema import Benchmark
from tests.reporting.wandb.conftest import *  # noqa: F403 - fixtures
from tests.reporting.wandb.reading import ReadRun, read_runs


@pytest.fixture
def mirrored(session):
    """Return the session with other settings of the mirror, offline by default."""

    def mirrored(**settings):
        execution = session.execution.model_copy(update={"wandb": "offline", **settings})
        return replace(session, execution=execution)

    return mirrored


def by_type(runs):
    groups: dict[str, list[ReadRun]] = {"train": [], "evaluate": [], "aggregate": []}
    for each in runs:
        groups[each.run["job_type"]].append(each)
    return groups


def test_what_is_mirrored_is_what_is_recorded(run, tiny_protocol, session):
    run(tiny_protocol, wandb="offline", wandb_tags=("mine",))
    results = load_results(session.output / "tiny")
    runs = by_type(read_runs(session.output))
    assert [len(each) for each in runs.values()] == [2, 2, 1]
    for cell, training in zip(results.cells, runs["train"], strict=True):
        assert training.run["run_group"] == "digits"
        assert training.run["tags"] == ["mine"]
        assert training.config["folder"] == cell.reference.path
        assert "benchmark" not in training.config
        assert set(training.axes.values()) == {"step"} or training.axes == {}
        recorded = [(row["step"], row["validation_accuracy"]) for row in cell.trajectory]
        assert training.line("step", "validation_accuracy") == recorded
        assert [step for step, _ in training.line("step", "train_loss")] == list(range(1, 13))
        assert [step for step, _ in training.line("step", "learning_rate")] == list(range(1, 13))
    for cell, measured in zip(results.cells, runs["evaluate"], strict=True):
        record = cell.measures["accuracy-by-view"]
        assert (measured.run["run_group"], measured.config["benchmark"]) == ("tiny", "tiny")
        assert measured.config["training_run"] == cell.reference.fingerprint
        assert (measured.config["label"], measured.config["seed"]) == ("Tiny", cell.seed)
        assert measured.config["familiar_rotation_high"] == 15
        at_views = [v for v in record.values if v.view is not None and v.metric == "accuracy"]
        name = "accuracy_by_view_accuracy_rotation_by_view"
        assert measured.line("view_rotation", name) == [(v.view, v.value) for v in at_views]
        assert measured.axes[name] == "view_rotation"
        novel = next(v.value for v in record.values if v.name == "accuracy[split=novel]")
        assert measured.summary["accuracy_by_view_accuracy_novel"] == novel
        columns, rows = measured.table("values")
        assert [row[columns.index("value")] for row in rows] == [v.value for v in record.values]
    (aggregate,) = runs["aggregate"]
    columns, rows = aggregate.table("leaderboard")
    assert [row[columns.index("label")] for row in rows] == ["Tiny"]
    assert rows[0][columns.index("accuracy_by_view_accuracy_novel_seeds")] == 2
    assert results.examples is not None
    assert len(aggregate.table("example_images")[1]) == len(results.examples)
    assert aggregate.config["question"] == "Does it run?"
    assert_names_are_listed(runs["train"][0], runs["evaluate"][0], aggregate)


def assert_names_are_listed(training, measured, aggregate):
    """Every name is one of those that the documentation lists, and can be filtered."""
    config = {*keys.TRAINING_CONFIG, *keys.RECIPE_CONFIG}
    shared = {*keys.BENCHMARK_CONFIG}
    assert_listed(training.config, config)
    assert_listed(measured.config, config | shared | {*keys.EVALUATION_CONFIG})
    assert_listed(aggregate.config, shared | {*keys.AGGREGATE_CONFIG})
    curves = {*keys.TRAINING_CURVES, *keys.VALIDATION_CURVES, keys.STEP}
    assert_listed(training.summary, curves)
    own = {*keys.EVALUATION_SUMMARY, *keys.EVALUATION_TABLES, "seconds"}
    assert_listed(measured.summary, curves | own, "view_", "accuracy_by_view_")
    assert_listed(aggregate.summary, {*keys.AGGREGATE_TABLES}, "Tiny_", "figure_")


def assert_listed(names, listed, *prefixes):
    begin = (keys.ARGUMENT, keys.FAMILIAR, *prefixes)
    own = [name for name in names if name not in ("_runtime", "_step", "_timestamp", "_wandb")]
    own = [name for name in own if not name.startswith("_wandb")]
    assert all(re.fullmatch(r"[_a-zA-Z][_a-zA-Z0-9]*", name) for name in own)
    assert {name for name in own if not name.startswith(begin)} <= listed


def test_online_runs_arrive(run, tiny_protocol, session, stand_in, capsys):
    settings = {"wandb_project": "views", "wandb_tags": ("mine",)}
    run({**tiny_protocol, "seeds": [0]}, wandb="online", **settings)
    assert "Weights & Biases" not in capsys.readouterr().out
    sent = {each["jobType"]: each for each in stand_in.runs.values()}
    groups = {name: each["groupName"] for name, each in sent.items()}
    assert groups == {"train": "digits", "evaluate": "tiny", "aggregate": "tiny"}
    assert {each["project"] for each in sent.values()} == {"views"}
    assert [each["tags"] for each in sent.values()] == [["mine"]] * 3
    (cell,) = load_results(session.output / "tiny").cells
    rows = stand_in.history(cell.reference.fingerprint)
    losses = [row["step"] for row in rows if "train_loss" in row]
    assert losses == list(range(1, 13))


def test_a_shared_training_has_one_run_and_each_benchmark_its_own(run, tiny_protocol, session):
    """The first benchmark sends weights and records as well."""
    protocol = {**tiny_protocol, "seeds": [0]}
    run(protocol, wandb="offline", wandb_artifacts=True)
    run({**protocol, "name": "other"}, wandb="offline")  # finds it done
    runs = by_type(read_runs(session.output))
    assert [each.run["run_group"] for each in runs["train"]] == ["digits"] * 2  # and its weights
    assert [each.run["run_group"] for each in runs["evaluate"]] == ["tiny", "other"]
    assert [each.run["run_group"] for each in runs["aggregate"]] == ["tiny", "other"]
    assert len({each.run["run_id"] for group in runs.values() for each in group}) == 5
    (_, training), (measured, _), (aggregate, other) = runs.values()
    name = f"model-0-{training.run['run_id']}"
    assert sorted(training.artifacts) == [(name, ("last",)), (name, ("validation",))]
    assert measured.used == [(name, ("validation",))]
    assert ("records-tiny", ("full",)) in aggregate.artifacts
    assert not [name for name, _ in other.artifacts if name.startswith("records")]


def test_artifacts_arrive_with_the_runs_that_make_and_use_them(
    run, tiny_protocol, session, stand_in
):
    """Also those of a training that was finished before they were asked for."""
    protocol = {**tiny_protocol, "seeds": [0]}
    run(protocol, wandb="off")
    run(protocol, wandb="online", wandb_artifacts=True)
    runs = {each["jobType"]: identity for identity, each in stand_in.runs.items()}
    (cell,) = load_results(session.output / "tiny").cells
    assert runs["train"] == cell.reference.fingerprint
    assert json.loads(stand_in.runs[runs["train"]]["config"])["seed"]["value"] == 0
    models = {alias: each for each in stand_in.artifacts.of_type("model") for alias in each.aliases}
    assert set(models) == {"validation", "last"}
    for each in models.values():
        assert each.name == f"model-0-{cell.reference.fingerprint}"
        assert each.made_by == runs["train"]
        assert each.is_complete
        assert "model.safetensors" in each.files
    assert models["validation"].used_by == {runs["evaluate"]}
    assert models["last"].used_by == set()
    (records,) = stand_in.artifacts.of_type("records")
    assert (records.name, records.aliases) == ("records-tiny", {"full"})
    assert records.made_by == runs["aggregate"]
    assert {"tiny/report/results.csv", f"{cell.reference.path}/training.json"} <= set(records.files)


def test_what_has_not_changed_is_not_sent_again(run, tiny_protocol, session, mirrored):
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    folders = set((session.output / "wandb").iterdir())
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert set((session.output / "wandb").iterdir()) == folders
    run(tiny_protocol, wandb="offline")  # one cell more: its runs, and the benchmark
    more = set((session.output / "wandb").iterdir())
    assert len(more - folders) == 3
    assert len(more) == len(folders) + 2
    folder = BenchmarkFolder(session.output / "tiny")
    mirror_benchmark(folder, mirrored(wandb_project="other"))
    moved = {each.run["project"] for each in read_runs(session.output)[-3:]}
    assert moved == {"other"}
    assert len(list((session.output / "wandb").iterdir())) == len(more)


@pytest.mark.parametrize("method", ["wandb.init", "wandb.sdk.wandb_run.Run.log"])
def test_a_failure_ends_no_run_and_is_told_once(
    run, tiny_protocol, session, mirrored, monkeypatch, capsys, method
):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(method, fail)
    run(tiny_protocol, wandb="offline")
    assert capsys.readouterr().out.count("disk full") == 1
    assert "disk full" in mirror_failure(mirrored())
    mirrored().ready()
    assert mirror_failure(mirrored()) == ""


def test_a_server_that_hangs_costs_time_once(
    run, tiny_protocol, session, stand_in, monkeypatch, capsys
):
    """Five runs are begun while it hangs, and are offline."""
    waits: list[float] = []

    def check(timeout):
        waits.append(timeout)
        return login.check_login(timeout)

    monkeypatch.setattr(run_module, "TIMEOUT", 0.5)
    monkeypatch.setattr(run_module, "check_login", check)
    stand_in.fault = "hang"
    run(tiny_protocol, wandb="online")
    assert len(waits) == 1
    out = capsys.readouterr().out
    assert out.count("does not answer") == 1
    assert f"wandb sync --include-online {session.output / 'wandb'}" in out
    assert len(list((session.output / "wandb").glob("offline-run-*"))) == 5


def test_a_training_that_fails_ends_its_run(tiny_protocol, mirrored):
    cell, *_ = plan(Benchmark.model_validate(tiny_protocol))

    def fail():
        with training_mirror(cell, mirrored()) as curves:
            assert len(curves) == 1
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    (read,) = read_runs(mirrored().output)
    assert read.run["run_id"] == cell.config.fingerprint
    assert wandb.run is None
