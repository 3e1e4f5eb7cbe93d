"""Panels: everything that one shows is a number, a table or a setting that runs have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from capsbench.records import Results, load_results
from capsbench.reporting import report
from capsbench.reporting.wandb import config as config_module
from capsbench.reporting.wandb.aggregate import fill_aggregate
from capsbench.reporting.wandb.config import evaluation_config
from capsbench.reporting.wandb.evaluation import fill_evaluation
from capsbench.reporting.wandb.panels import line_panels
from capsbench.reporting.wandb.report import build_report
from capsbench.reporting.wandb.run import Destination, begin
from capsbench.reporting.wandb.workspace import build_workspace
from capsbench.values import Quantity
from tests.reporting.wandb.reading import ReadRun, read_runs

GRID = {"rotation": {"start": -90, "stop": 90, "step": 90}}
FGSM = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
LAYER = Quantity(metric="invariance_error", factor="rotation", layer="hidden")
UNTRAINED = LAYER.model_copy(update={"condition": {"network": "untrained"}})
RENDERING = Quantity(metric="rendering_error", split="shift")
PICTURES = {
    "index": np.array([7]),
    "rendering_error[split=shift]": np.array([0.5]),
    "renderings[split=shift]": np.zeros((1, 3, 1, 4, 4), np.uint8),
    "rendered[split=shift]": np.array([0]),
}


@pytest.fixture
def results(tmp_path, write_benchmark, add_measure) -> Results:
    folder = write_benchmark(tmp_path / "runs", seeds=(0,))
    attacks = [FGSM.with_value(0.25, 400), Quantity(metric="accuracy").with_value(0.9, 400)]
    add_measure(folder, "CNN", 0, {"measure": "attacks"}, attacks)
    layers = [LAYER.with_value(0.5, 400), UNTRAINED.with_value(0.75, 400)]
    config = {"measure": "invariance-error", "grid": GRID, "layers": ["hidden"]}
    add_measure(folder, "CNN", 0, config, layers)
    views = {"measure": "rendering-error", "views": {"shift": {"shift": [-2, 2]}}}
    errors = [RENDERING.with_value(0.5, 1)]
    add_measure(folder, "CNN", 0, views, errors, per_image=PICTURES)
    report.build(folder)
    return load_results(folder)


@pytest.fixture
def runs(results, tmp_path, monkeypatch) -> dict[str, list[ReadRun]]:
    """The runs of the benchmark by their type, read back."""
    monkeypatch.setattr(config_module, "_architecture", lambda *_: {})  # of no real models
    destination = Destination(tmp_path, "offline")

    def write(name, job_type, config, fill):
        run = begin(
            destination, run_id=name, name=name, group="quick", job_type=job_type, config=config
        )
        assert run is not None
        fill(run)
        run.finish()

    for number, cell in enumerate(results.cells):
        config = evaluation_config(cell, results.record)
        write(
            f"cell{number}", "evaluate", config, lambda run, cell=cell: fill_evaluation(run, cell)
        )
    page = tmp_path / "runs/quick/report"
    write("all", "aggregate", {}, lambda run: fill_aggregate(run, results, page))
    read = read_runs(tmp_path)
    return {
        kind: [each for each in read if each.run["job_type"] == kind]
        for kind in ("evaluate", "aggregate")
    }


def grids(built: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the type of the runs and the panels of each grid of a report."""
    spec = json.loads(built._to_model().model_dump_json(by_alias=True, exclude_none=True))["spec"]
    for block in (json.loads(spec) if isinstance(spec, str) else spec)["blocks"]:
        if block["type"] == "panel-grid":
            (runset,) = block["metadata"]["runSets"]
            values = {each["key"]["name"]: each["value"] for each in runset["filters"]["filters"]}
            yield values["jobType"], block["metadata"]["panelBankSectionConfig"]["panels"]


def names(panel: dict[str, Any]) -> set[str]:
    """Return the names of the numbers, tables and settings that a panel shows."""
    config = panel["config"]
    match panel["viewType"]:
        case "Run History Line Plot":
            return {config["xAxis"], *config["metrics"], config["groupBy"]}
        case "Bar Chart":
            return {*config["metrics"], config["groupBy"]}
        case "Scatter Plot":
            return {config["xAxis"], config["yAxis"]}
        case "Weave":
            return {config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]}
    assert panel["viewType"] == "Run Comparer"
    return set()


def known_names(runs: list[ReadRun]) -> set[str]:
    """Return the names that panels can have for what runs log."""
    logged = {name for run in runs for row in run.history for name in row}
    summary = {name for run in runs for name in run.summary}
    settings = {f"{name}.value" for run in runs for name in run.config}
    prefixed = {f"{begin}{name}" for name in summary for begin in ("summary:", "summary_metrics.")}
    return logged | summary | prefixed | settings | {f"config:{name}" for name in settings}


def test_all_panels_of_the_report_show_what_runs_have(results, runs):
    shown: set[str] = set()
    for job_type, panels in grids(build_report(results, "p", "")):
        assert panels
        for panel in panels:
            assert names(panel) <= known_names(runs[job_type])
            shown |= names(panel)
    assert {
        "attacks_accuracy_method_fgsm_by_epsilon",
        "summary_metrics.attacks_accuracy",
        "config:parameters.value",
        "leaderboard",
        "example_images",
        "reconstructions",
    } <= shown


def test_all_panels_of_the_view_show_what_runs_have(results, runs):
    built = build_workspace(results, "p", "")._to_model()
    spec = json.loads(built.model_dump_json(by_alias=True, exclude_none=True))["spec"]
    sections = (json.loads(spec) if isinstance(spec, str) else spec)["section"]["panelBankConfig"]
    panels = [panel for section in sections["sections"] for panel in section["panels"]]
    assert len(panels) > 6
    for panel in panels:
        assert names(panel) <= known_names(runs["evaluate"])


def test_untrained_controls_have_no_panels(results):
    (panel,) = line_panels(results, "invariance-error")
    assert panel.y == ["invariance_error_invariance_error_rotation_by_layer"]
    assert panel.title == "Invariance error, rotation, by layer"
