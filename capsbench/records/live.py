"""Live processes that work on a cell, as its leases state."""

from __future__ import annotations

from capsbench.files.holder import Holder
from capsbench.files.lease import LEASE, read_lease
from capsbench.records.folders import CellFolder


def live_holders(folder: CellFolder) -> list[Holder]:
    """Return the live processes that train a cell or compute a measure of it."""
    leases = [folder.lease, *(folder.path / "measures").glob(f".*{LEASE}")]
    return [holder for path in leases if (holder := read_lease(path)) is not None]
