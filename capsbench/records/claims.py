"""Record of a run of claims."""

from __future__ import annotations

from capsbench.records.folders import FileName
from capsbench.records.provenance import Provenance
from capsbench.records.record import Command, Record
from capsbench.schema.claims import Claims


class ClaimsRecord(Record):
    """Claims with the folders of the benchmarks that test them.

    Attributes:
        claims: The claims.
        scale: Name of the scale; None at the default size.
        parts: Name of each part's benchmark, whose folder has that name.
        command: The command that was run.
        provenance: Versions, commit and date.
    """

    claims: Claims
    scale: str | None = None
    parts: dict[str, FileName]
    command: Command
    provenance: Provenance
