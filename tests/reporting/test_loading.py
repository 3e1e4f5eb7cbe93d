"""`capsbench.load_results`: the same tidy table from a runs folder and from an exported file."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from capsbench import records
from capsbench.errors import UserError
from capsbench.records import BenchmarkFolder, ClaimsRecord, Provenance
from capsbench.reporting import claims_report
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.exports.export import export_benchmark
from capsbench.reporting.loading import BenchmarkResults, ClaimsResults, load_results
from capsbench.schema import Claims, is_claims

RESULTS = Path(__file__).parents[2] / "results"
TITLE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def runs(write_benchmark, tmp_path_factory):
    """A runs folder with the records of a benchmark, its table and an empty page."""
    runs = tmp_path_factory.mktemp("runs")
    models = (("<b>CNN</b>", "cnn-small"), ("EM", "capsnet-em"))
    folder = write_benchmark(
        runs, models=models, unfinished=(("EM", 1),), settings={"title": TITLE}
    )
    files = BenchmarkFolder(folder)
    files.report.mkdir()
    (files.report / "index.html").touch()
    csv = results_csv(records.load_results(folder))
    (files.report / "results.csv").write_text(csv, encoding="utf-8")
    return runs


@pytest.fixture
def results(runs):
    """The results of the benchmark."""
    return load_results(runs / "quick")


def write_claims(runs):
    """Write the record of one claim on the benchmark; return its folder."""
    test = {
        "part": "digits",
        "model": "EM",
        "against": "<b>CNN</b>",
        "primary": True,
        "measure": "accuracy-by-view",
        "quantity": {"metric": "accuracy", "split": "novel"},
        "margin": 0.1,
    }
    claims = Claims(
        name="ours",
        version=1,
        title="A claim",
        question="Does it hold?",
        source="a test",
        expected="no time",
        parts={"digits": {"benchmark": "quick"}},
        claims=[{"claim": "EM routing is better", "source": "a test", "tests": [test]}],
    )
    record = ClaimsRecord(
        claims=claims, parts={"digits": "quick"}, command="", provenance=Provenance.now()
    )
    folder = runs / "ours"
    record.save(BenchmarkFolder(folder).claims)
    claims_report.build(folder)
    return folder


def test_rows_and_frame_are_those_of_the_csv_file(results, runs):
    csv = pd.read_csv(runs / "quick/report/results.csv")
    frame = results.frame()
    assert list(frame) == list(csv) == list(results.rows()[0])
    assert len(frame) == len(csv) == len(results.rows()) > 100
    for column in ("label", "seed", "measure", "split", "view", "value"):
        pd.testing.assert_series_equal(
            frame[column], csv[column], check_dtype=False, check_names=False
        )


def test_a_runs_folder_with_a_name_and_an_exported_file(results, runs, tmp_path):
    assert results.page == runs / "quick/report/index.html"
    assert load_results(str(runs), "quick").rows() == results.rows()
    exported = load_results(export_benchmark(runs / "quick", tmp_path))
    assert exported.page is None
    assert exported.rows() == results.rows()


def test_notebooks_show_the_summary_with_escaped_names(results):
    html = results._repr_html_()
    assert "&lt;b&gt;CNN&lt;/b&gt;" in html
    assert "<b>CNN" not in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "Novel" in html
    assert "seed 1 not finished yet" in html
    assert "quick/report/index.html" in html
    assert html.count("<details") == html.count("<table")


def test_text_and_repr(results):
    assert "<b>CNN</b>" in results.table()
    assert "Novel" in results.table()
    assert repr(results).startswith("<results of 'quick': 3 of 4 cells; ")


def test_verdicts_on_claims(runs):
    claims = load_results(write_claims(runs))
    assert isinstance(claims, ClaimsResults)
    assert claims.page == runs / "ours/report/index.html"
    (row,) = claims.rows()
    (judged,) = claims.judged
    (test,) = judged.tests
    assert row["claim"] == "EM routing is better"
    assert (row["metric"], row["split"], row["verdict"]) == ("accuracy", "novel", test.verdict)
    assert row["difference"] == pytest.approx(row["value"] - row["value_against"], abs=0.02)
    assert test.difference is not None
    assert row["difference"] == test.difference.mean + 0.1
    assert list(claims.frame()["verdict"]) == [row["verdict"]]
    assert "&lt;b&gt;CNN" in claims._repr_html_()
    assert "EM routing is better" in claims.table()
    assert str(test.verdict) in repr(claims)


@pytest.mark.parametrize(
    "path",
    sorted(path for path in RESULTS.glob("*/*.json") if path.parent.name != "searches"),
    ids=lambda path: path.stem,
)
def test_every_shipped_file_is_loaded(path):
    results = load_results(path)
    assert isinstance(results, ClaimsResults if is_claims(path.parent.name) else BenchmarkResults)
    assert len(results.frame()) > 10


def test_the_only_benchmark_of_a_runs_folder_needs_no_name(runs, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    for each in runs.iterdir():
        if each.name != "ours":
            (tmp_path / "runs" / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    assert load_results().rows() == load_results(runs, "quick").rows()


def test_what_holds_no_results_is_refused(runs, tmp_path):
    (tmp_path / "text.txt").write_text("a")
    write_claims(runs)
    for arguments, words in (
        ((runs, "quik"), "did you mean 'quick'"),
        ((runs,), rf"choose one, as in load_results\('{runs}', '\w+'\)"),
        ((tmp_path,), "holds no results"),
        ((tmp_path / "nowhere",), "is not a folder"),
        ((tmp_path / "text.txt",), "is not a folder"),
        ((tmp_path / "nowhere.json",), "no file .*--export"),
    ):
        with pytest.raises(UserError, match=words):
            load_results(*arguments)


def test_a_frame_without_pandas_is_refused_and_rows_are_not(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        results.frame()
    assert results.rows()
