"""A saved view of a project: the runs of a benchmark, grouped by model."""

from __future__ import annotations

import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.wandb.panels import (
    cost_panels,
    headline,
    line_panels,
    runs_of,
    training_panels,
)


def build_workspace(results: Results, project: str, entity: str) -> ws.Workspace:
    """Return the view; nothing is sent.

    Args:
        results: The records.
        project: Project of the runs.
        entity: User or team; empty if it is not known.
    """
    sections = {
        "Accuracy by view": line_panels(results, ACCURACY_BY_VIEW),
        "Cost": cost_panels(results),
        "Trainings": training_panels(),
    }
    name = headline(results)
    columns = ["run:displayName", "config:label.value", "config:parameters.value"]
    columns += [] if name is None else [f"summary:{name}"]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"CapsBench {results.benchmark.name}",
        sections=[
            ws.Section(name=name, panels=panels, is_open=True)
            for name, panels in sections.items()
            if panels
        ],
        runset_settings=ws.RunsetSettings(
            filters=runs_of(results, "evaluate"),
            groupby=[expr.Config("label")],
            pinned_columns=columns,
        ),
    )
