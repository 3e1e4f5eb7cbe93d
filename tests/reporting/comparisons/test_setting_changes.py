"""Settings that differ between two sides: protocol, seeds, versions, commit and device."""

from __future__ import annotations

from capsbench.records import BenchmarkFolder, BenchmarkRecord, CellFolder, TrainingRecord
from capsbench.reporting.comparisons.setting_changes import setting_changes
from capsbench.reporting.comparisons.sides import load_sides, pair_models


def changes(a, b, chosen=None):
    sides = load_sides(a, b)
    return setting_changes(pair_models(*sides, chosen or {}))


def test_equal_runs_differ_in_nothing(tmp_path, write_benchmark):
    assert changes(write_benchmark(tmp_path / "a"), write_benchmark(tmp_path / "b")) == []


def test_seeds_commit_version_and_device(tmp_path, write_benchmark):
    a, b = write_benchmark(tmp_path / "a"), write_benchmark(tmp_path / "b", seeds=(0, 1, 2))
    for cell in BenchmarkRecord.load(BenchmarkFolder(b).record).cells:
        path = CellFolder(b.parent / cell.path).training
        record = TrainingRecord.load(path)
        execution = record.execution.model_copy(update={"device_name": "a GPU"})
        versions = {**record.provenance.versions, "torch": "9.9"}
        provenance = record.provenance.model_copy(
            update={"commit": "feed", "versions": versions, "date": "2030-01-01T00:00:00+00:00"}
        )
        record.model_copy(update={"execution": execution, "provenance": provenance}).save(path)
    rows = {row.setting: (row.a, row.b) for row in changes(a, b)}
    assert rows == {
        "device": ("two cores", "a GPU"),
        "commit": ("0123abcd", "feed"),
        "version.torch": ("2.15.0", "9.9"),
        "seeds": ("0, 1", "0, 1, 2"),
    }
    (models,) = {row.models for row in changes(a, b)}
    assert models == ("CNN", "Dynamic routing", "EM routing")


def test_arguments_of_one_model(tmp_path, write_benchmark):
    a = write_benchmark(tmp_path / "a")
    rows = {row.setting: (row.a, row.b) for row in changes(a, a, {"CNN": "EM routing"})}
    assert rows["model.name"] == ("cnn-small", "capsnet-em")
    assert rows["model.arguments.channels"] == ("[16, 32]", "[16, 34]")
