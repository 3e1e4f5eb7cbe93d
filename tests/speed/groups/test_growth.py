"""Cost of many recorded cells: calls and files grow with their number, and no faster."""

import sys
from collections import Counter

import pytest

from capsbench.records import CellFolder, load_results
from capsbench.records.cell_files import load_training
from capsbench.records.digests import result_digests
from capsbench.records.status import read_status
from capsbench.reporting import page as page_module
from capsbench.reporting import report
from capsbench.reporting.comparisons import aggregate
from capsbench.reporting.stamp import STAMP
from capsbench.running import cell_state as cell_state_module
from capsbench.running.jobs import plan_jobs
from capsbench.speed import recorded_runs
from capsbench.speed.bench import measure_comparison
from capsbench.speed.groups import growth
from capsbench.speed.recorded_runs import record_cells

SEEDS = (1, 2, 4)


@pytest.fixture(scope="module", autouse=True)
def three_models():
    """Record three models in place of twenty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded_runs, "MODELS", 3)
        patch.setattr(growth, "MODELS", 3)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of several sizes, of which all cells are recorded."""
    folder = tmp_path_factory.mktemp("growth")
    return [record_cells(folder / str(seeds), seeds) for seeds in SEEDS]


def calls(work):
    """Count the calls of functions of this package, and of the system's file functions."""
    counts = Counter[str]()

    def count(frame, event, argument):
        if event == "call" and "/capsbench/" in frame.f_code.co_filename:
            counts["calls"] += 1

    def opened(event, arguments):
        if counting and event in ("open", "os.listdir", "os.scandir"):
            counts["files"] += 1

    counting = True
    sys.addaudithook(opened)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        counting = False
    return counts


def assert_linear(works, kind):
    """Check that twice the further cells cost twice the further calls, within a tenth."""
    first, second, third = (calls(work)[kind] for work in works)
    assert first < second
    assert third - second <= 2.2 * (second - first)


def test_recorded_cells_are_complete(runs):
    run = runs[-1]
    assert plan_jobs(run.cells, run.benchmark.name, run.session) == []
    results = load_results(run.folder.path)
    assert len(results.cells) == 12
    assert not any(cell.problem for cell in results.cells)
    assert read_status(run.session.output).counts["done"] == 12
    assert len(set(result_digests(run.session.output).values())) > 12


@pytest.mark.parametrize("kind", ["calls", "files"])
@pytest.mark.parametrize("part", ["_plan_jobs", "_status", "_load"])
def test_cost_is_linear(runs, part, kind):
    works = [getattr(growth, part)(run) for run in runs]
    for work in works:
        work()  # imports, caches
    assert_linear(works, kind)


def test_the_scheduler_is_linear(runs, tmp_path):
    assert_linear([growth._schedule(run) for run in runs], "calls")


def test_planning_reads_each_record_once(runs, monkeypatch):
    read = Counter[CellFolder]()
    load = load_training
    monkeypatch.setattr(
        cell_state_module, "load_training", lambda folder: (read.update([folder]), load(folder))[1]
    )
    run = runs[1]
    plan_jobs(run.cells, run.benchmark.name, run.session)
    assert set(read.values()) == {1}
    assert len(read) == len(run.cells)


@pytest.mark.slow
def test_pages_show_some_seeds_of_many(runs, monkeypatch):
    for module in (aggregate, page_module):
        monkeypatch.setattr(module, "SHOWN_SEEDS", 3)
    run = runs[-1]
    (run.folder.report / STAMP).unlink(missing_ok=True)
    text = report.build(run.folder.path).read_text("utf-8")
    shown = [f"<h3>Seed {seed}</h3>" in text for seed in range(4)]
    assert shown == [True, True, True, False]
    assert "and 1 more" in text and "1 more seed" in text
    rows = (run.folder.report / "results.csv").read_text("utf-8").splitlines()
    assert sum(f",{run.cells[3].seed},{run.cells[3].config.fingerprint}," in row for row in rows)


@pytest.mark.slow
def test_rows_of_the_group(runs, monkeypatch):
    by_seeds = dict(zip(SEEDS, runs, strict=True))
    monkeypatch.setattr(growth, "_recorded", by_seeds.__getitem__)
    sizes = growth.GrowthSizes(seeds=(1, 2))
    for comparison in growth.comparisons(sizes):
        results = measure_comparison("growth", comparison, device="cpu", limits=None)
        assert [result.row for result in results] == ["3 cells", "6 cells"]
        assert all(result.rounds == 1 and result.median_ms for result in results)
