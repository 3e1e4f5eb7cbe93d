from __future__ import annotations

from pathlib import Path

import pytest

from capsbench.names import find
from capsbench.records import BenchmarkFolder, BenchmarkRecord, CellFolder, Provenance
from capsbench.reporting import report, report_files
from capsbench.reporting.stamp import benchmark_inputs, code_version, is_current, read_stamp


@pytest.fixture
def folder(tmp_path: Path, write_benchmark) -> Path:
    made: Path = write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))
    return made


@pytest.fixture
def files_made(monkeypatch) -> list[str]:
    """Stand-in for the files of a report, which counts how often they are made."""
    made: list[str] = []

    def report_files_of(results):
        made.append(results.benchmark.name)
        return {"index.html": results.record.command.encode(), "report.md": b"text"}

    monkeypatch.setattr(report_files, "report_files", report_files_of)
    return made


def inputs(folder: Path) -> str:
    return benchmark_inputs(folder, BenchmarkRecord.load(BenchmarkFolder(folder).record))


def test_an_unchanged_report_is_left_as_it_is(folder: Path, files_made):
    page = report.build(folder)
    before = page.stat().st_mtime_ns
    assert report.build(folder) == page
    assert page.stat().st_mtime_ns == before
    assert files_made == ["quick"]
    stamp = read_stamp(page.parent)
    assert stamp is not None and set(stamp.files) == {"index.html", "report.md"}
    assert is_current(page.parent, inputs(folder))


@pytest.mark.parametrize("name", ["index.html", "report.md", "made_from.json"])
@pytest.mark.parametrize("change", ["removed", "edited"])
def test_a_changed_file_of_the_report_is_made_again(folder: Path, files_made, name, change):
    path = report.build(folder).parent / name
    before = path.read_bytes()
    path.unlink() if change == "removed" else path.write_bytes(b"edited")
    report.build(folder)
    assert len(files_made) == 2
    assert path.read_bytes() == before


def test_a_report_is_made_again_for_changed_records(folder: Path, files_made):
    report.build(folder)
    files = BenchmarkFolder(folder)
    record = BenchmarkRecord.load(files.record)
    record.model_copy(update={"command": "capsbench run quick --seeds 0"}).save(files.record)
    page = report.build(folder)
    assert len(files_made) == 2
    assert page.read_text() == "capsbench run quick --seeds 0"
    for name in ("trajectory.csv", "training.json", "config.json"):
        before = inputs(folder)
        (path,) = folder.parent.rglob(name)
        path.write_bytes(path.read_bytes() + b"\n")
        assert inputs(folder) != before
    for measure in folder.parent.rglob("measures/*.*"):
        before = inputs(folder)
        measure.write_bytes(measure.read_bytes() + b"\n")
        assert inputs(folder) != before


def test_a_report_is_made_again_for_other_code(folder: Path, files_made, monkeypatch):
    report.build(folder)
    monkeypatch.setattr("capsbench.reporting.stamp.LIBRARIES", ("numpy",))
    code_version.cache_clear()
    report.build(folder)
    code_version.cache_clear()
    assert len(files_made) == 2


def test_a_report_is_made_again_for_another_module_of_a_measure(
    folder: Path, tmp_path: Path, monkeypatch
):
    module = tmp_path / "module.py"
    module.write_text("one")
    target = find("measures", "accuracy-by-view")
    monkeypatch.setattr(type(target), "source", lambda _: module)
    before = inputs(folder)
    module.write_text("two")
    assert inputs(folder) != before


def test_a_failure_that_appears_or_disappears_changes_a_report(folder: Path):
    (training,) = folder.parent.rglob("training.json")
    failure, before = CellFolder(training.parent).failure, inputs(folder)
    failure.write_text("{}")
    assert inputs(folder) != before
    failure.unlink()
    assert inputs(folder) == before


@pytest.mark.parametrize("name", ["page.py", "templates/style.css", "templates/table.html.jinja"])
def test_a_report_is_made_again_for_edited_code(tmp_path: Path, monkeypatch, name):
    package = tmp_path / "capsbench"
    for each in ("__init__.py", name):
        (package / each).parent.mkdir(parents=True, exist_ok=True)
        (package / each).write_text("one")
    monkeypatch.setattr("capsbench.__file__", str(package / "__init__.py"))
    before = code_version.__wrapped__()
    assert code_version.__wrapped__() == before
    (package / name).write_text("two")
    assert code_version.__wrapped__() != before


def test_the_date_alone_does_not_change_a_record(folder: Path):
    path = BenchmarkFolder(folder).record
    record, before = BenchmarkRecord.load(path), path.read_bytes()
    later = Provenance.now().model_copy(update={"versions": record.provenance.versions})
    later = later.model_copy(update={"commit": record.provenance.commit})
    record.model_copy(update={"provenance": later}).save_if_changed(path)
    assert path.read_bytes() == before
    record.model_copy(update={"command": "capsbench run quick --limit 9"}).save_if_changed(path)
    assert BenchmarkRecord.load(path).command == "capsbench run quick --limit 9"
