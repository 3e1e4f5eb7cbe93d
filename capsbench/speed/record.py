"""Record of ``capsbench bench``."""

from __future__ import annotations

from capsbench.records.record import Record
from capsbench.speed.machine import Machine
from capsbench.speed.rows import RowResult


class SpeedRecord(Record):
    """Results of ``capsbench bench``, stored as ``bench.json``.

    Attributes:
        machine: The measured machine.
        rows: Results of all rows, comparison by comparison.
    """

    machine: Machine
    rows: tuple[RowResult, ...]
