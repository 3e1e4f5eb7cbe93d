"""A benchmark's report and view on Weights & Biases: written as JSON, and saved if logged in."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from capsbench.errors import UserError
from capsbench.files.atomic import is_present, read_json, write_bytes, write_json
from capsbench.records import BenchmarkFolder, load_results
from capsbench.reporting.wandb.login import TIMEOUT, Login, end_in_time
from capsbench.reporting.wandb.run import PROJECT

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

REPORT, WORKSPACE = "wandb-report.json", "wandb-workspace.json"  # beside the page


class Published(NamedTuple):
    """Outcome of `publish`.

    Attributes:
        specification: File of the report.
        address: Address of the saved report; None if it is not saved.
        view: Address of the saved view of the project; None if it is not saved.
        problem: Reason why they are not saved; None if they are.
    """

    specification: Path
    address: str | None = None
    view: str | None = None
    problem: str | None = None

    @property
    def lines(self) -> list[str]:
        """Lines for the terminal."""
        if self.problem is not None:
            return [f"report: {self.specification}; not saved: {self.problem}"]
        return [f"report: {self.address}", f"view: {self.view}"]


def require_workspaces() -> None:
    """Check that the package for reports is installed.

    Raises:
        UserError: It is not.
    """
    if find_spec("wandb_workspaces") is None:
        raise UserError(
            "reports on Weights & Biases need the package wandb-workspaces: pip install "
            "'capsbench[wandb-report]'"
        )


def publish(path: Path, login: Login) -> Published | None:
    """Write the report and the view of a benchmark beside its page; save them if logged in.

    Both are built whole and keep their addresses: one that is loaded to be changed would lose its
    width and the layout of some panels.

    Args:
        path: Folder of the benchmark, whose page is built.
        login: The login.

    Returns:
        The outcome; None for claims, whose parts have reports.

    Raises:
        UserError: A record is damaged.
    """
    if not is_present(BenchmarkFolder(path).record):
        return None
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", f"{TIMEOUT:.0f}")  # else 19 s
    from capsbench.reporting.wandb.report import build_report
    from capsbench.reporting.wandb.workspace import build_workspace

    folder, results = BenchmarkFolder(path), load_results(path)
    project, entity = _place(folder, login)
    report = build_report(results, project, entity)
    workspace = build_workspace(results, project, entity)
    specification = folder.report / REPORT
    write_bytes(specification, _json(report))
    write_bytes(folder.report / WORKSPACE, _json(workspace))
    if login.problem is not None:
        return Published(specification, problem=login.problem)
    try:
        _save(report, workspace, folder)
    except Exception as error:  # noqa: BLE001 - wandb has no common error; its reason is printed
        end_in_time()
        return Published(specification, problem=f"{error}; to make new ones, remove {folder.views}")
    return Published(specification, report.url, workspace.url)


def _place(folder: BenchmarkFolder, login: Login) -> tuple[str, str]:
    """Return project and entity of the runs: those of the last mirror, or of the environment."""
    mirrored = read_json(folder.mirrored) if is_present(folder.mirrored) else {}
    project = mirrored.get("project") or os.environ.get("WANDB_PROJECT") or PROJECT
    return project, mirrored.get("entity") or os.environ.get("WANDB_ENTITY") or login.entity


def _json(built: Report | Workspace) -> bytes:
    """Return the specification as wandb-workspaces sends it, by its private method."""
    model = built._to_model()  # noqa: SLF001 - the only way without a server
    return (model.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n").encode()


def _save(report: Report, workspace: Workspace, folder: BenchmarkFolder) -> None:
    """Save both under the ids that they have in this project, if they have any."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    place = {"project": report.project, "entity": report.entity}
    # A saved view keeps its address by its id and name, for which there is no public way.
    before: dict[str, Any] = read_json(folder.views) if is_present(folder.views) else {}
    if before.items() >= place.items():
        report.id = before["report"]
        workspace._internal_id = before["workspace"]  # noqa: SLF001
        workspace._internal_name = before["name"]  # noqa: SLF001
    report.save()
    workspace.save()
    ids = {
        "report": report.id,
        "workspace": workspace._internal_id,  # noqa: SLF001
        "name": workspace._internal_name,  # noqa: SLF001
    }
    write_json(folder.views, place | ids)
