"""Verdicts on claims in one file, to be stored and shared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from capsbench.fingerprint import fingerprint
from capsbench.records import CellResult, ClaimsRecord
from capsbench.records.benchmark import FULL
from capsbench.records.one_version import require_one_revision, require_one_version
from capsbench.records.record import Record, RecordPart
from capsbench.reporting.claims_report import load_claims_results
from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
from capsbench.reporting.comparisons.verdicts import ClaimVerdict
from capsbench.reporting.exports.export import (
    EXPORT_REMEDY,
    ExportedCell,
    ExportedNumbers,
    portable,
)
from capsbench.schema.claims import Claim, ClaimTest


class ExportedTest(RecordPart):
    """A judged test as JSON, see `JudgedTest`."""

    test: ClaimTest
    numbers: ExportedNumbers | None
    added: ExportedNumbers | None
    values: tuple[tuple[float, ...], tuple[float, ...]]
    parameters: tuple[int | None, int | None]
    at_chance: tuple[tuple[int, ...], tuple[int, ...]]
    verdict: ClaimVerdict | None
    reason: str

    @classmethod
    def of(cls, judged: JudgedTest) -> Self:
        """Convert a judged test for export."""
        each, added = judged.difference, judged.added
        return cls(
            test=judged.test,
            numbers=None if each is None else ExportedNumbers.of(each),
            added=None if added is None else ExportedNumbers.of(added),
            values=judged.values,
            parameters=judged.parameters,
            at_chance=judged.at_chance,
            verdict=judged.verdict,
            reason=judged.reason,
        )

    @property
    def judged(self) -> JudgedTest:
        """The test as before the export."""
        return JudgedTest(
            test=self.test,
            difference=None if self.numbers is None else self.numbers.difference,
            added=None if self.added is None else self.added.difference,
            values=self.values,
            parameters=self.parameters,
            at_chance=self.at_chance,
            verdict=self.verdict,
            reason=self.reason,
        )


class ExportedClaim(RecordPart):
    """A claim with its tests and its verdict."""

    claim: Claim
    tests: tuple[ExportedTest, ...]
    verdict: ClaimVerdict

    @property
    def judged(self) -> JudgedClaim:
        """The claim as before the export."""
        return JudgedClaim(self.claim, tuple(test.judged for test in self.tests), self.verdict)


class ClaimsExport(Record):
    """Contents of an exported file.

    Attributes:
        record: Record of the claims.
        judged: The verdicts.
        parts: Finished cells of each part.
    """

    remedy = EXPORT_REMEDY
    indent = None  # hundreds of thousands of numbers

    record: ClaimsRecord
    judged: tuple[ExportedClaim, ...]
    parts: dict[str, tuple[ExportedCell, ...]]


@dataclass(frozen=True)
class ExportedClaims:
    """An exported file as reports read it.

    Attributes:
        path: The file.
        record: Record of the claims.
        judged: The verdicts.
        parts: Finished cells of each part.
    """

    path: Path
    record: ClaimsRecord
    judged: list[JudgedClaim]
    parts: dict[str, list[CellResult]]

    @property
    def name(self) -> str:
        """Name of the claims, and of the folder that the file belongs to."""
        return self.record.claims.name

    @property
    def version(self) -> int:
        """Version of the claims."""
        return self.record.claims.version

    @property
    def size(self) -> str:
        """``full``, or the name of a scale."""
        return self.record.scale or FULL

    @property
    def cells(self) -> list[CellResult]:
        """Finished cells of all parts."""
        return [cell for cells in self.parts.values() for cell in cells]

    @property
    def failed(self) -> list[CellResult]:
        """Failed cells: none, because a verdict does not need them."""
        return []


def export_claims(folder: Path, into: Path) -> Path:
    """Export the verdicts of a run of claims to one file.

    Args:
        folder: Folder of the claims in the runs folder, at full size or at a scale.
        into: Folder of results; the file is ``<claims>/<scale>-<fingerprint>.json`` in it.

    Returns:
        The file.

    Raises:
        UserError: A record is missing or damaged.
    """
    results = load_claims_results(folder)
    record = results.record
    cells = [cell for part in results.parts.values() for cell in part.cells]
    path = into / record.claims.name / claims_export_name(record, [c.reference.path for c in cells])
    ClaimsExport(
        record=record.model_copy(update={"command": portable(record.command)}),
        judged=tuple(
            ExportedClaim(
                claim=each.claim,
                tests=tuple(ExportedTest.of(test) for test in each.tests),
                verdict=each.verdict,
            )
            for each in results.judged()
        ),
        parts={
            part: tuple(ExportedCell.of(cell) for cell in each.cells if cell.problem is None)
            for part, each in results.parts.items()
        },
    ).save(path)
    return path


def claims_export_name(record: ClaimsRecord, paths: list[str]) -> str:
    """Return the name of an exported file, from the scale and the folders of all cells."""
    size = record.scale or FULL
    return f"{size}-{fingerprint([record.claims.name, size, sorted(paths)])}.json"


def load_claims_export(path: Path) -> ExportedClaims:
    """Load an exported file.

    Raises:
        UserError: It does not fit the schema, or its cells are of different revisions.
    """
    return exported_claims(path, ClaimsExport.load(path))


def exported_claims(path: Path, content: ClaimsExport) -> ExportedClaims:
    """Return the contents of a file as reports read them, see `load_claims_export`."""
    judged = [each.judged for each in content.judged]
    parts = {part: [cell.result(path) for cell in cells] for part, cells in content.parts.items()}
    for cells in parts.values():
        require_one_version(path, cells)
    require_one_revision(path, [cell for cells in parts.values() for cell in cells])
    return ExportedClaims(path, content.record, judged, parts)
