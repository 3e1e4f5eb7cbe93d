"""Runs of Weights & Biases read back from their files."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wandb.util import get_core_path


@dataclass(frozen=True)
class ReadRun:
    """A run as its file has it.

    Attributes:
        folder: Its folder.
        run: Id, name, group, type of job, tags and notes.
        config: Its configuration.
        history: Its rows, without those of tables and pictures.
        summary: Its summary.
        axes: Name of the x axis by the name of the line.
        artifacts: Name and aliases of each artifact that it makes, without ``latest``.
        used: The same of each that it uses.
        manifests: Records of all artifacts, also those of tables.
    """

    folder: Path
    run: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    axes: dict[str, str]
    artifacts: list[tuple[str, tuple[str, ...]]]
    used: list[tuple[str, tuple[str, ...]]]
    manifests: list[dict[str, Any]]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Return columns and rows of a table."""
        (path,) = (self.folder / "files/media/table").glob(f"{name}_[0-9]*.table.json")
        content = json.loads(path.read_text())
        return content["columns"], content["data"]

    def column_types(self, name: str) -> dict[str, set[str]]:
        """Return the types of the values of each column of a table, without that of none."""
        (artifact,) = (each for each in self.manifests if each["name"].endswith(f"-{name}"))
        (path,) = (
            each["local_path"]
            for each in artifact["manifest"]["contents"]
            if each["path"] == f"{name}.table.json"
        )
        types = json.loads(Path(path).read_text())["column_types"]["params"]["type_map"]
        return {
            column: {each["wb_type"] for each in kind["params"]["allowed_types"]} - {"none"}
            for column, kind in types.items()
        }

    def line(self, axis: str, name: str) -> list[tuple[float, float]]:
        """Return the points of a line."""
        return [(row[axis], row[name]) for row in self.history if name in row]


def read_runs(runs: Path) -> list[ReadRun]:
    """Return the runs of a runs folder, in the order in which they began."""
    found = [read_run(path) for path in (runs / "wandb").glob("*run-*")]
    return sorted(found, key=lambda each: each.run["start_time"])


def read_run(folder: Path) -> ReadRun:
    """Return a run by the inspection tool of wandb, which may still be writing its last records."""
    deadline = time.monotonic() + 10
    while "exit" not in {record["type"] for record in _records(folder)}:
        assert time.monotonic() < deadline, f"{folder} has no end"
        time.sleep(0.05)
    records = _records(folder)
    run = next(record["run"] for record in records if record["type"] == "run")
    summary: dict[str, Any] = {}
    for each in _of(records, "summary"):
        summary |= {name.partition(".")[0]: value for name, value in each["update"].items()}
    config = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
    history = [_plain(each["item"]) for each in _of(records, "history")]
    axes = {
        each["name"]: each["step_metric"]
        for each in _of(records, "metric")
        if "step_metric" in each and "name" in each
    }
    manifests = list(_of(records, "artifact"))
    artifacts, used = (
        [
            (each["name"], tuple(name for name in each["aliases"] if name != "latest"))
            for each in manifests
            if each.get("use_after_commit", False) == is_used
        ]
        for is_used in (False, True)
    )
    history = [each for each in history if each]
    return ReadRun(folder, run, config, history, summary, axes, artifacts, used, manifests)


def _records(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob("*.wandb")
    # What `wandb leet inspect` calls, without the second that its imports take.
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    command += ["--run-file", str(file), str(folder.parent)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def _of(records: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    return (record[kind] for record in records if record["type"] == kind)


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a row without those that wandb adds."""
    return {k: v for k, v in item.items() if not k.startswith("_") and not isinstance(v, dict)}
