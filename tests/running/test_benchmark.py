"""Running a benchmark: complete records, nothing done twice, every failure a clear sentence."""

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console
from safetensors.torch import load_file

from capsbench.contracts import EXPONENT
from capsbench.errors import UserError
from capsbench.files.atomic import read_rows
from capsbench.records import (
    BenchmarkRecord,
    MeasureRecord,
    ProtocolChanges,
    TrainingConfig,
    TrainingRecord,
)
from capsbench.records.cell_files import load_arrays
from capsbench.reporting import report
from capsbench.running.benchmark import run_benchmark
from capsbench.running.cell_state import cell_state
from capsbench.running.plan import plan
from capsbench.schema import Benchmark
from capsbench.values import Quantity

SPLITS = ("familiar", "novel")


def record_of(cell, session):
    """The record of the only measure of a cell."""
    (name,) = cell.measures
    return MeasureRecord.load(session.folder(cell).measure(name))


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ({"splits": ["novel"]}, "digits has no novel"),
        ({"splits": ["rearranged"]}, "digits .* parts"),
        ({"ranges": {"aside": {"azimuth": 90}}}, "digits records no view"),
    ],
    ids=["novel", "rearranged", "azimuth"],
)
def test_missing_images_are_refused_before_training(run, tiny_protocol, tmp_path, measure, words):
    measures = [{"measure": "accuracy-by-split", **measure}]
    with pytest.raises(UserError, match=words):
        run({**tiny_protocol, "measures": measures})
    assert not list(tmp_path.rglob("*.json"))


def test_a_run_leaves_complete_records(run, tiny_protocol, session):
    cells, _ = run(tiny_protocol)
    assert [cell.seed for cell in cells] == [0, 1]
    for cell in cells:
        folder = session.folder(cell)
        config = TrainingConfig.load(folder.config)
        assert config == cell.config
        assert folder.path.name == f"{cell.seed}-{config.fingerprint}"
        assert folder.path.parent == session.output / "digits" / "Tiny"
        training = TrainingRecord.load(folder.training)
        assert training.status == "trained"
        assert training.provenance.versions["torch"]
        assert training.execution.backend == "auto"
        assert [row["step"] for row in read_rows(folder.trajectory)] == [4, 8, 12]
        for rule, selected in training.selected.items():
            weights = load_file(folder.checkpoint(rule) / "model.safetensors")
            assert selected.probability_exponent == weights[EXPONENT] != 1
            assert selected.exponent_note is None
        assert not folder.state.exists()
        assert (folder.checkpoint("last") / "model.safetensors").is_file()
        (name,) = cell.measures
        record, arrays = (
            MeasureRecord.load(folder.measure(name)),
            load_arrays(folder.per_image(name), None),
        )
        assert record.image_counts == {100}
        assert (record.rule, record.revision) == ("validation", 3)
        assert arrays["correct"].shape == (3, 100)
        views = [value for value in record.values if value.view is not None]
        assert [value.view for value in views] == [-90, 0, 90]
        assert views[2].value == arrays["correct"][2].mean()
        assert [value.split for value in views] == ["outside", "familiar", "outside"]
    assert not list(session.output.rglob("*.tmp"))


@pytest.fixture
def printed(session):
    """A session whose lines are recorded, and the text so far."""
    console = Console(record=True, width=300, file=io.StringIO())
    return replace(session, console=console), lambda: console.export_text(clear=False)


def test_accuracies_of_several_measures_are_named(tiny_protocol, printed):
    session, text = printed
    by_split = {"measure": "accuracy-by-split", "ranges": {"novel": {"rotation": 90}}}
    only = {**tiny_protocol, "seeds": [0]}
    for protocol in (only, only | {"measures": [*only["measures"], by_split]}):
        benchmark = Benchmark.model_validate(protocol)
        cells = plan(benchmark)
        run_benchmark(benchmark, cells, session, changes=ProtocolChanges(), command="a test")
    first, second = (line for line in text().splitlines() if "trained in" in line)
    number = r"0\.\d\d\d|1\.000"
    both = f"familiar ({number}), novel ({number})"
    assert re.search(rf"s; {both}$", first)
    named = re.search(rf"s; accuracy-by-view: {both}; accuracy-by-split: {both}$", second)
    assert named is not None
    by_measure = {
        record.measure: [record.get(Quantity(metric="accuracy", split=s)) for s in SPLITS]
        for record in (
            MeasureRecord.load(session.folder(cells[0]).measure(name)) for name in cells[0].measures
        )
    }
    numbers = [*by_measure["accuracy-by-view"], *by_measure["accuracy-by-split"]]
    assert [float(text) for text in named.groups()] == pytest.approx(numbers, abs=5e-4)
    assert "Result: accuracy by view" in text()


def transferring(protocol):
    """The protocol with a second model, each a source of attacks."""
    (model, *_) = protocol["models"]
    models = [model | {"label": "a"}, model | {"label": "b", "arguments": {"rate": 0.05}}]
    attacks = {
        "measure": "attacks",
        "methods": ["fgsm"],
        "epsilons": [0.1],
        "images": 20,
        "sources": ["a", "b"],
    }
    return {**protocol, "models": models, "seeds": [0], "measures": [attacks]}


def test_attacks_are_transferred_both_ways(run, tiny_protocol, session):
    protocol = transferring(tiny_protocol)
    with pytest.raises(UserError, match="b need a, seed 0"):
        run(protocol, models=["b"])
    cells, first = run(protocol)
    for cell, other in zip(cells, "ba", strict=True):
        record = record_of(cell, session)
        assert {value.source for value in record.values} == {None, other}
        assert record.select(metric="accuracy", method="fgsm", epsilon=0.1, source=None)
    again, times = run(protocol, models=["b"])  # its source is trained already
    assert times == {cell.path: first[cell.path] for cell in again}


def test_a_second_run_repeats_nothing(run, tiny_protocol, capsys):
    _, first = run(tiny_protocol)
    capsys.readouterr()
    _, second = run(tiny_protocol)
    assert second == first
    assert capsys.readouterr().out.count("already done") == 2


def test_an_emulated_precision_is_reported_once(run, tiny_protocol, capsys, monkeypatch):
    monkeypatch.setattr("capsbench.training.devices.multiplies_bfloat16", lambda: False)
    run(tiny_protocol | {"recipe": tiny_protocol["recipe"] | {"precision": "bf16-mixed"}})
    assert capsys.readouterr().out.count("bfloat16") == 1


def test_an_added_measure_trains_nothing(run, tiny_protocol, session):
    _, before = run(tiny_protocol)
    grid = {"shift_x": {"start": 0, "stop": 8, "step": 4}}
    wider = {**tiny_protocol, "measures": [{"measure": "accuracy-by-view", "grid": grid}]}
    cells, after = run(wider)
    assert after == before
    for cell in cells:
        assert record_of(cell, session).select(factor="shift_x", view=8.0)
        assert len(list((session.folder(cell).path / "measures").glob("*.json"))) == 2


def test_a_diverged_cell_is_a_result_and_the_others_continue(
    run, tiny_protocol, tiny_file, session, capsys
):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": "Bad", "arguments": {"explode": True}},
        {"name": f"{tiny_file}:Tiny", "label": "Good"},
    ]
    cells, _ = run({**tiny_protocol, "models": models, "seeds": [0]})
    bad, good = (TrainingRecord.load(session.folder(cell).training) for cell in cells)
    assert (bad.status, bad.diverged_at) == ("diverged", 7)
    assert good.status == "trained"
    assert "seed 0: diverged at step 7" in capsys.readouterr().out
    assert [cell_state(cell, session) for cell in cells] == ["done", "done"]


def test_a_damaged_record_is_named(run, tiny_protocol, session):
    cells, _ = run(tiny_protocol)
    session.folder(cells[0]).training.write_text('{"schema": 2, "sta')
    with pytest.raises(UserError, match=r"training\.json is damaged"):
        run(tiny_protocol)


def test_a_record_of_another_schema_is_named(run, tiny_protocol, session):
    cells, _ = run(tiny_protocol)
    path = session.folder(cells[0]).training
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 1}))
    with pytest.raises(UserError, match="schema 2, got 1"):
        run(tiny_protocol)


def test_the_record_lists_cells_and_examples(run, tiny_protocol, session):
    cells, _ = run(tiny_protocol)
    record = BenchmarkRecord.load(session.output / "tiny" / "benchmark.json")
    assert record.cells == tuple(cell.reference for cell in cells)
    assert record.benchmark == Benchmark.model_validate(tiny_protocol)
    images = load_arrays(session.output / "tiny" / "examples.npz", None)["images"]
    assert images.shape == (3, 100, 1, 32, 32)  # ten of each class
    assert (images[0] == images[1][..., ::-1, :].swapaxes(-1, -2)).all()  # -90 degrees: clockwise


def test_a_cell_that_was_finished_meanwhile_is_not_trained_again(run, tiny_protocol, monkeypatch):
    """Its state was read before another process, which held the lock, finished it."""
    _, before = run({**tiny_protocol, "seeds": [0]})
    monkeypatch.setattr("capsbench.running.jobs.cell_state", lambda *_: "to do")
    _, after = run({**tiny_protocol, "seeds": [0]})
    assert after == before


def test_a_page_that_fails_is_a_failure_of_the_run(tiny_protocol, session, monkeypatch, capsys):
    def build(folder):
        raise ValueError("no figure")

    monkeypatch.setattr(report, "build", build)
    benchmark = Benchmark.model_validate({**tiny_protocol, "seeds": [0]})
    page, failed = run_benchmark(
        benchmark, plan(benchmark), session, changes=ProtocolChanges(), command="a test"
    )
    assert failed
    assert page is not None
    printed = capsys.readouterr().out
    assert "page of tiny: failed: ValueError: no figure" in printed
    assert "in build" in printed  # the traceback, which no record has
    assert "index.html" not in printed
