"""Command, commits, devices, versions and file of an exported record, as a line of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capsbench.records import CellResult, Provenance
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.formatting import listed
from capsbench.reporting.tables.render_markdown import code, plain


def origin(command: str, cells: Sequence[CellResult], provenance: Provenance, path: Path) -> str:
    """Return command, commits, devices, date, versions, file and revisions of a record.

    Args:
        command: The command that was run.
        cells: The cells.
        provenance: Provenance of the record.
        path: The exported file.
    """
    trained = [cell.training for cell in cells if cell.training]
    commits = dict.fromkeys((each.provenance.commit or "unknown")[:7] for each in trained)
    devices = dict.fromkeys(each.execution.device_name for each in trained)
    versions = dict(item for each in trained for item in each.provenance.versions.items())
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    earlier = earlier_revisions(cells)
    note = f" Measured with earlier revisions: {plain(listed(earlier))}." if earlier else ""
    return (
        f"*{code(command)}, commit {plain(listed(list(commits)))}, {plain(listed(list(devices)))}, "
        f"{plain(provenance.date[:10])}; {plain(packages)}. "
        f"Record: {code(f'results/{path.parent.name}/{path.name}')}.{note}*"
    )
