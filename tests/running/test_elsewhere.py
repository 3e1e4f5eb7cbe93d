"""Models that were trained elsewhere, in the record of a benchmark; pages are not built here."""

from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import torch
from torch import nn

import capsbench
from capsbench.errors import UserError
from capsbench.files.lease import lease, try_lease
from capsbench.files.yaml import write_yaml
from capsbench.measures import parse_config, run_measure
from capsbench.models import CapsNetDR
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    CellReference,
    ProtocolChanges,
    Provenance,
    load_results,
)
from capsbench.reporting import report
from capsbench.running.benchmark import run_benchmark
from capsbench.running.elsewhere import Page, kept_cells
from capsbench.running.plan import plan, resolve_data
from capsbench.running.weights import in_memory
from capsbench.schema import Benchmark, ModelEntry, load_benchmark
from capsbench.wrapping import LogitsModel


@pytest.fixture(autouse=True)
def _no_pages(monkeypatch):
    monkeypatch.setattr(report, "build", lambda folder: folder / "report" / "index.html")


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(16, 10))


def record(runs):
    return BenchmarkRecord.load(BenchmarkFolder(runs / "tiny").record)


def with_calibration(benchmark):
    measures = (*benchmark.measures, parse_config({"measure": "calibration"}))
    return benchmark.model_copy(update={"measures": measures})


def test_the_same_weights_are_measured_once(tiny_benchmark, runs, monkeypatch):
    first = capsbench.evaluate(network(), tiny_benchmark, into=runs, label="mine")
    assert first.page == runs / "tiny" / "report" / "index.html"
    assert first.rows() == capsbench.evaluate(network(), tiny_benchmark).rows()
    (cell,) = load_results(runs / "tiny").cells
    assert (cell.title, cell.seed, cell.problem) == ("mine (trained elsewhere)", None, None)
    assert cell.training is None
    assert cell.parameters == 170
    assert cell.weights is not None and cell.weights.file is None

    def fail(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("capsbench.evaluation.run_measure", fail)
    again = capsbench.evaluate(network(), tiny_benchmark, into=runs, label="renamed")
    assert again.rows() == first.rows()
    for measure, result in again.results.items():
        for name, array in first.results[measure].per_image.items():
            assert np.array_equal(result.per_image[name], array)
    assert [each.label for each in record(runs).cells] == ["renamed"]


def test_a_new_measure_is_computed_and_the_others_are_kept(tiny_benchmark, runs, monkeypatch):
    capsbench.evaluate(network(), tiny_benchmark, into=runs)
    computed = []

    def record_measure(config, *rest):
        computed.append(config.measure)
        return run_measure(config, *rest)

    monkeypatch.setattr("capsbench.evaluation.run_measure", record_measure)
    more = with_calibration(tiny_benchmark)
    capsbench.evaluate(network(), more, into=runs)
    assert computed == ["calibration"]
    assert record(runs).benchmark == more


def test_several_models_and_their_labels(tiny_benchmark, runs):
    capsbench.evaluate(network(), tiny_benchmark, into=runs, label="a")
    capsbench.evaluate(network(1), tiny_benchmark, into=runs, label="b")
    cells = {cell.label: cell for cell in record(runs).cells}
    assert list(cells) == ["a", "b"]
    with pytest.raises(UserError, match="other weights"):
        capsbench.evaluate(network(2), tiny_benchmark, into=runs, label="a")
    with pytest.raises(UserError, match="of the protocol"):
        capsbench.evaluate(network(), tiny_benchmark, into=runs, label="Tiny")
    (runs / cells["a"].path / "weights.json").unlink()  # as after removing the folder
    assert "removed" in str(load_results(runs / "tiny").cells[0].problem)
    capsbench.evaluate(network(2), tiny_benchmark, into=runs, label="a")
    assert {cell.label for cell in record(runs).cells} == {"a", "b"}
    assert len(record(runs).cells) == 2


def test_a_new_record_keeps_what_was_measured_on_the_same_data_and_views(tiny_protocol, runs):
    benchmark = Benchmark.model_validate(tiny_protocol)
    capsbench.evaluate(network(), benchmark, into=runs, label="mine")
    (cell,) = record(runs).cells
    data, _ = resolve_data(benchmark, None)
    assert kept_cells(runs, benchmark, data) == ([cell], [])
    (other,), _ = kept_cells(runs, with_calibration(benchmark), data)
    assert other.measures.keys() == {"accuracy-by-view", "calibration"}
    assert other.measures["accuracy-by-view"] == cell.measures["accuracy-by-view"]
    for change in ({"views": {"rotation": [-30, 30]}}, {"recipe": {"limit": 50}}):
        changed = benchmark.model_dump(mode="json")
        for field, values in change.items():
            changed[field] |= values
        assert kept_cells(runs, Benchmark.model_validate(changed), data) == ([], ["mine"])


def test_the_recorded_protocol_is_used(tiny_benchmark, runs):
    evaluation = capsbench.evaluate(network(), tiny_benchmark, into=runs, limit=50)
    assert {value.n for value in evaluation.results["accuracy-by-view"].values} == {50}
    assert record(runs).changes.settings == {"recipe.limit": 50}
    again = capsbench.evaluate(network(), tiny_benchmark, into=runs)
    assert again.rows() == evaluation.rows()
    with pytest.raises(UserError, match="--limit 60"):
        capsbench.evaluate(network(), tiny_benchmark, into=runs, limit=60)
    trained = record(runs).cells[0].model_copy(update={"seed": 0, "label": "Tiny"})
    record(runs).model_copy(update={"cells": (trained,)}).save(runs / "tiny" / "benchmark.json")
    for other in (
        tiny_benchmark.model_copy(update={"version": 2}),
        with_calibration(tiny_benchmark),
    ):
        with pytest.raises(UserError, match="another protocol"):
            Page.open(other, runs, None)


def test_a_varied_benchmark_is_refused(tiny_protocol, runs):
    vary = {"name": "limit", "place": "recipe.limit", "values": [50, 60]}
    benchmark = Benchmark.model_validate({**tiny_protocol, "vary": vary})
    with pytest.raises(UserError, match="varies limit"):
        capsbench.evaluate(network(), benchmark, into=runs)


def test_a_measure_of_a_missing_source_has_a_note_and_is_computed_with_it(tiny_protocol, runs):
    attack = {"measure": "attacks", "methods": ["fgsm"], "sources": ["Tiny"], "images": 20}
    benchmark = Benchmark.model_validate({**tiny_protocol, "measures": [attack]})
    capsbench.evaluate(network(), benchmark, into=runs)
    (cell,) = load_results(runs / "tiny").cells
    without = cell.reference.measures["attacks"]
    assert "Tiny" in " ".join(cell.measures["attacks"].notes)
    capsbench.evaluate(network(), benchmark, into=runs, sources={"Tiny": network(1)})
    (cell,) = load_results(runs / "tiny").cells
    assert cell.reference.measures["attacks"] != without
    assert cell.measures["attacks"].values


def test_a_process_waits_for_another_that_measures_the_same_model(tiny_benchmark, runs, capsys):
    capsbench.evaluate(network(), tiny_benchmark, into=runs)
    folder = CellFolder(Path(runs, record(runs).cells[0].path))
    held = lease(folder.lease, "measure it")
    release = Timer(1.0, held.release)
    release.start()
    capsbench.evaluate(network(), tiny_benchmark, into=runs)
    assert not release.is_alive()
    assert "(measure it)" in capsys.readouterr().err
    assert not folder.lease.exists()


def test_settings_of_a_model_in_memory_are_part_of_its_identity():
    def wrapped(**arguments):
        return LogitsModel(network(), image_shape=(1, 32, 32), num_classes=10, **arguments)

    def capsules(iterations):
        torch.manual_seed(0)
        return CapsNetDR(image_shape=(1, 32, 32), num_classes=10, iterations=iterations)

    class Scaled(nn.Module):
        def __init__(self, factor, table):
            super().__init__()
            self.factor = factor
            self.register_buffer("table", torch.full((1,), table), persistent=False)

    pairs = [
        (wrapped(), wrapped(mean=[0.5])),
        (wrapped(), wrapped(output_key=1)),
        (capsules(1), capsules(3)),
        (Scaled(1, 0.0), Scaled(2, 0.0)),
        (Scaled(1, 0.0), Scaled(1, 1.0)),
    ]
    for first, second in pairs:
        assert in_memory(first).sha256 == in_memory(first.train()).sha256
        assert in_memory(first).sha256 != in_memory(second).sha256
    assert in_memory(capsules(3)).config.arguments["iterations"] == 3
    assert in_memory(wrapped(mean=[0.5])).config.arguments["mean"] == [0.5]


def test_tensors_without_values_are_refused():
    sparse = nn.Module()
    sparse.register_buffer("table", torch.eye(2).to_sparse())
    cases = {"run the model": nn.LazyLinear(2), "meta": nn.Linear(2, 2, device="meta")}
    for message, module in {**cases, "sparse": sparse}.items():
        with pytest.raises(UserError, match=message):
            in_memory(module)


def test_a_failure_is_not_recorded(tiny_benchmark, runs, monkeypatch):
    def fail(config, *rest):
        if config.measure == "calibration":
            return run_measure(config, *rest)
        raise RuntimeError("out of memory")

    both = with_calibration(tiny_benchmark)
    with monkeypatch.context() as patch:
        patch.setattr("capsbench.evaluation.run_measure", fail)
        failed = capsbench.evaluate(network(), both, into=runs)
    assert "out of memory" in failed.results["accuracy-by-view"].notes[0]
    assert load_results(runs / "tiny").cells[0].problem is not None
    assert capsbench.evaluate(network(), both, into=runs).rows()
    assert load_results(runs / "tiny").cells[0].problem is None


def diverged():
    model = network()
    torch.nn.init.constant_(model[2].weight, torch.nan)
    return model


def test_a_model_of_which_nothing_is_measured_does_not_join(tiny_benchmark, runs):
    evaluation = capsbench.evaluate(diverged(), tiny_benchmark, into=runs)
    assert evaluation.is_empty
    assert evaluation.page is None
    assert "not finite" in evaluation.results["accuracy-by-view"].notes[0]
    assert not list(runs.iterdir())


def test_reasons_are_recorded_beside_the_values_of_other_measures(tiny_benchmark, runs):
    cost = parse_config({"measure": "cost", "batch_size": 4, "repeats": 1})
    both = tiny_benchmark.model_copy(update={"measures": (*tiny_benchmark.measures, cost)})
    capsbench.evaluate(diverged(), both, into=runs)
    (cell,) = load_results(runs / "tiny").cells
    assert cell.problem is None
    assert cell.measures["accuracy-by-view"].values == ()
    assert "not finite" in cell.measures["accuracy-by-view"].notes[0]
    assert cell.measures["cost"].values


def test_a_model_is_measured_at_the_named_layers_that_it_has(tiny_protocol, runs):
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    measure = {"measure": "invariance-error", "grid": grid, "images": 20}
    both, own = (
        Benchmark.model_validate({**tiny_protocol, "measures": [{**measure, "layers": layers}]})
        for layers in (["0", "hidden"], ["0"])
    )
    evaluation = capsbench.evaluate(network(), both, into=runs)
    assert evaluation.rows() == capsbench.evaluate(network(), own).rows() != []
    assert capsbench.evaluate(network(), both, into=runs).rows() == evaluation.rows()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "one line"),
        ("a\nb", "one line"),
        ("a" * 101, "one line"),
        ("a, b", "comma"),
        ("a · 3", "separates"),
        ("a (trained elsewhere)", "mark models"),
    ],
)
def test_labels_are_those_of_a_protocol(tiny_benchmark, runs, label, message):
    with pytest.raises(UserError, match=message):
        capsbench.evaluate(network(), tiny_benchmark, into=runs, label=label)
    if label:  # by default that of the name
        with pytest.raises(ValueError, match=message):
            ModelEntry(name="cnn-small", label=label)


def test_a_label_that_another_model_takes_meanwhile_is_refused(tiny_benchmark, runs, monkeypatch):
    def join_first(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr("capsbench.evaluation.run_measure", run_measure)
            capsbench.evaluate(network(1), tiny_benchmark, into=runs, label="mine")
        return run_measure(*arguments)

    monkeypatch.setattr("capsbench.evaluation.run_measure", join_first)
    with pytest.raises(UserError, match="other weights"):
        capsbench.evaluate(network(), tiny_benchmark, into=runs, label="mine")
    assert len(record(runs).cells) == 1


def run_in(runs, benchmark, session):
    """Run a benchmark in a folder that other models have joined."""
    run_benchmark(
        benchmark,
        plan(benchmark),
        replace(session, output=runs),
        changes=ProtocolChanges(),
        command="a test",
    )


def test_a_run_refuses_the_label_of_a_model_trained_elsewhere(tiny_protocol, runs, session):
    benchmark = Benchmark.model_validate(tiny_protocol)
    (model,) = tiny_protocol["models"]
    other = Benchmark.model_validate({**tiny_protocol, "models": [{**model, "label": "other"}]})
    capsbench.evaluate(network(), other, into=runs, label="Tiny")
    with pytest.raises(UserError, match="label 'Tiny'"):
        run_in(runs, benchmark, session)


def test_a_run_holds_the_lock_of_the_record_while_it_replaces_it(
    tiny_protocol, runs, session, monkeypatch
):
    benchmark = Benchmark.model_validate(tiny_protocol)

    def check_lock(*_):
        assert try_lease(BenchmarkFolder(runs / "tiny").lease, "write") is None
        raise UserError("held")

    monkeypatch.setattr("capsbench.running.report_job.kept_cells", check_lock)
    with pytest.raises(UserError, match="held"):
        run_in(runs, benchmark, session)


def test_an_edited_file_is_another_protocol(tiny_protocol, runs, tmp_path):
    def write(**changes):
        file.write_text(write_yaml({**tiny_protocol, **changes}))
        return load_benchmark(str(file), settings)

    file, settings = tmp_path / "tiny.yaml", {"recipe.limit": 50}
    trained = CellReference(label="Tiny", model="Tiny", seed=0, path="digits/t/0-a", measures={})
    BenchmarkRecord(
        benchmark=write(),
        changes=ProtocolChanges(settings=settings),
        command="a test",
        cells=(trained,),
        provenance=Provenance.now(),
    ).save(BenchmarkFolder(runs / "tiny").record)
    assert Page.open(file, runs, None).benchmark.recipe.limit == 50
    (measure,) = tiny_protocol["measures"]
    for changes in (
        {"views": {"rotation": [-30, 30]}},
        {"measures": [measure, {"measure": "calibration"}]},
        {"data": {"name": "digits", "per_class": 5}},
        {"version": 2},
    ):
        write(**changes)
        with pytest.raises(UserError, match="another protocol"):
            Page.open(file, runs, None)
