"""Reports and views: built from records without a network, saved whole at a stable address."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import wandb_workspaces.reports.v2 as wr

from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.records import load_results
from capsbench.reporting.comparisons.answers import answers
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.wandb import publish as publishing
from capsbench.reporting.wandb.login import Login, check_login
from capsbench.reporting.wandb.publish import Published, publish, require_workspaces
from capsbench.reporting.wandb.report import commands
from capsbench.values import Quantity

PUBLISHED = {
    "model": "CNN",
    "measure": "accuracy-by-view",
    "quantity": {"metric": "accuracy", "split": "novel"},
    "value": 0.5,
    "printed": "50 %",
    "source": "a paper",
    "selected_on": "nothing",
    "known_by": "read",
}


@pytest.fixture
def folder(tmp_path, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path / "runs", seeds=(0, 1, 2), published=(PUBLISHED,))
    error = Quantity(metric="expected_calibration_error", split="familiar")
    add_measure(folder, "CNN", 0, {"measure": "calibration"}, [error.with_value(0.05, 400)])
    return folder


def published(folder: Path) -> Published:
    outcome = publish(folder, check_login(1))
    assert outcome is not None
    return outcome


def blocks(text: str):
    return json.loads(text)["spec"]["blocks"]


def headings(found) -> list[str]:
    return [each["children"][0]["text"] for each in found if each["type"] == "heading"]


def panels(found):
    for block in found:
        yield from block.get("metadata", {}).get("panelBankSectionConfig", {}).get("panels", [])


def test_without_a_login_the_report_is_a_file(folder):
    outcome = published(folder)
    assert (outcome.address, outcome.view) == (None, None)
    assert "not logged in" in str(outcome.problem)
    assert outcome.lines == [f"report: {outcome.specification}; not saved: {outcome.problem}"]
    found = blocks(outcome.specification.read_text())
    assert headings(found) == [
        "Question and answer",
        "Leaderboard",
        "Accuracy by view",
        "Calibration",
        "Accuracy against cost",
        "Images",
        "Published numbers",
        "Run comparer",
        "Protocol",
        "Provenance",
        "Reproduce",
    ]
    assert (folder / "report/wandb-workspace.json").is_file()


def test_the_question_is_answered_first_with_intervals(folder):
    outcome = published(folder)
    _, _, question, answered, *_ = blocks(outcome.specification.read_text())
    assert question["children"][0]["text"] == load_results(folder).benchmark.question
    results = load_results(folder)
    sentences = answers(results, model_differences(results))
    assert answered["content"].splitlines() == [f"- {plain(each)}" for each in sentences]
    assert re.search(r"95 % interval .*; 3 seeds", sentences[0])


def test_panels_are_native_lines_by_model_with_bands(folder):
    found = list(panels(blocks(published(folder).specification.read_text())))
    lines = [each["config"] for each in found if each["viewType"] == "Run History Line Plot"]
    drawn = {(line["xAxis"], *line["metrics"]) for line in lines}
    factors = ("rotation", "shift_x", "shift_y", "scale")
    assert drawn == {
        (f"view_{name}", f"accuracy_by_view_accuracy_{name}_by_view") for name in factors
    }
    for line in lines:
        assert (line["groupBy"], line["groupAgg"]) == ("label.value", "mean")
        assert line["groupArea"] == "stddev"
    kinds = {each["viewType"] for each in found}
    assert {"Run Comparer", "Scatter Plot", "Bar Chart", "Weave"} <= kinds


def test_run_sets_are_those_of_the_benchmark(folder):
    found = blocks(published(folder).specification.read_text())
    grids = [each["metadata"]["runSets"] for each in found if each["type"] == "panel-grid"]
    for (runset,) in grids:
        values = {each["key"]["name"]: each["value"] for each in runset["filters"]["filters"]}
        assert values["group"] == "quick"
        assert values["jobType"] in ("evaluate", "aggregate")
        assert "project" not in runset


def test_it_is_saved_and_keeps_its_address(folder, stand_in):
    first = published(folder)
    assert first.problem is None, first.problem
    assert first.lines == [f"report: {first.address}", f"view: {first.view}"]
    assert stand_in.address in str(first.address)
    again = published(folder)
    assert (again.address, again.view) == (first.address, first.view)
    assert len(stand_in.reports) == 2
    names = {each["type"] for each in stand_in.reports.values()}
    assert names == {"runs", "project-view"}
    (saved,) = (each for each in stand_in.reports.values() if each["type"] == "runs")
    spec = json.loads(saved["spec"])
    assert spec["width"] == "fluid"
    assert headings(spec["blocks"]) == headings(blocks(again.specification.read_text()))
    assert (saved["entityName"], saved["projectName"]) == ("lab", "capsbench")


def test_it_is_read_back(folder, stand_in):
    read = wr.Report.from_url(published(folder).address)
    assert read.title == load_results(folder).benchmark.title
    assert read.blocks[0].text == "Question and answer"


def test_the_project_is_that_of_the_runs(folder, stand_in):
    write_json(folder / "mirrored.json", {"project": "views", "entity": "team", "runs": {}})
    assert "/team/views/reports/" in str(published(folder).address)


@pytest.mark.parametrize("fault", ["401", "500"])
def test_a_failing_server_leaves_the_file(folder, stand_in, fault):
    stand_in.fault = fault
    outcome = published(folder)
    assert outcome.address is None
    assert "127.0.0.1" in str(outcome.problem)
    assert outcome.specification.is_file()


def test_a_server_that_fails_after_the_login_leaves_the_file(folder, stand_in):
    login = check_login(1)
    stand_in.fault = "401"
    outcome = publish(folder, login)
    assert outcome is not None
    assert outcome.problem
    assert outcome.specification.is_file()


def test_a_failure_while_saving_says_what_to_do(folder, stand_in, monkeypatch):
    def fail(*_):
        raise ValueError("no such view")

    monkeypatch.setattr(publishing, "_save", fail)
    problem = published(folder).problem
    assert "no such view" in str(problem)
    assert f"remove {folder / 'wandb-views.json'}" in str(problem)


def test_claims_have_no_report(tmp_path: Path):
    assert publish(tmp_path, Login()) is None


def test_every_line_has_its_command(folder):
    base, *models = commands(load_results(folder))
    assert base == "capsbench run quick"
    assert models[1] == "capsbench run quick --models 'Dynamic routing'"
    assert len(models) == 3


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(publishing, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'capsbench\[wandb-report\]'"):
        require_workspaces()
