"""The verdicts on claims in one file, to be kept and shared."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.records import SCHEMA, fingerprint, read_json, write_json
from capsbench.reporting.checks import CLOSE, check_cells
from capsbench.reporting.claims import Judged, Tested, Verdict, overall, values_of, verdict_on
from capsbench.reporting.claims_report import ClaimsRecord, load_record
from capsbench.reporting.export import ExportedCell, ExportedNumbers, exported_cell, portable
from capsbench.reporting.results import FULL, Cell
from capsbench.schema import load_claims
from capsbench.schema.claims import Claim, ClaimTest
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import Difference


class ExportedTest(BaseModel):
    """A test with what was found; ``found`` is None where nothing was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test: ClaimTest
    found: ExportedNumbers | None = None
    values: tuple[float | None, float | None]
    parameters: tuple[int | None, int | None]
    verdict: Verdict


class ExportedClaim(BaseModel):
    """A claim with its tests and its verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: Claim
    tests: tuple[ExportedTest, ...]
    verdict: Verdict


class ExportedClaims(BaseModel):
    """The contents of an exported file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: int = Field(alias="schema")
    record: ClaimsRecord
    devices: tuple[str, ...]
    versions: dict[str, str]
    judged: tuple[ExportedClaim, ...]
    parts: dict[str, tuple[ExportedCell, ...]]


@dataclass(frozen=True)
class KeptClaims:
    """An exported file as reports read it; ``parts`` has the cells of each part."""

    path: Path
    record: ClaimsRecord
    devices: tuple[str, ...]
    versions: dict[str, str]
    judged: list[Judged]
    parts: dict[str, list[Cell]]

    @property
    def name(self) -> str:
        """The name of the claims, and of the folder that the file belongs in."""
        return self.record.claims.name


def export_claims(folder: Path, into: Path) -> Path:
    """Put the verdicts of a run of claims in one file.

    Args:
        folder: ``runs/claims``, or at a scale.
        into: The folder of results; the file is ``<claims>/<scale>-<fingerprint>.json`` in it.

    Returns:
        The file.

    Raises:
        UserError: A record is missing or damaged.
    """
    found = load_record(folder)
    cells = [cell for part in found.parts.values() for cell in part.cells]
    trained = [cell.training for cell in cells if cell.training]
    devices = dict.fromkeys(str(each.execution.get("device_name")) for each in trained)
    record = replace(found.record, command=portable(found.record.command))
    content = {
        "schema": SCHEMA,
        "record": TypeAdapter(ClaimsRecord).dump_python(record, mode="json", exclude_none=True),
        "devices": list(devices),
        "versions": dict(item for each in trained for item in each.versions.items()),
        "judged": [_exported(each) for each in found.judged()],
        "parts": {
            part: [
                exported_cell(cell).model_dump(mode="json", exclude_none=True)
                for cell in each.cells
                if cell.problem is None
            ]
            for part, each in found.parts.items()
        },
    }
    name = record.scale or FULL
    print_ = fingerprint([record.claims.name, name, sorted(cell.path for cell in cells)])
    path = into / record.claims.name / f"{name}-{print_}.json"
    write_json(path, content)
    return path


def read_claims(path: Path) -> KeptClaims:
    """Read an exported file, and check that it fits the schema.

    Raises:
        UserError: It does not.
    """
    try:
        content = ExportedClaims.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is no exported record: {one_line(error)}") from None
    judged = [
        Judged(each.claim, tuple(_tested(test) for test in each.tests), each.verdict)
        for each in content.judged
    ]
    parts = {part: [each.cell(path) for each in cells] for part, cells in content.parts.items()}
    return KeptClaims(path, content.record, content.devices, content.versions, judged, parts)


def check_claims(kept: KeptClaims) -> None:
    """Check that the claims are the shipped ones, and that verdicts follow from their tests.

    The means are those of the cells, the p-values are corrected anew, and the cells are those of
    the parts' benchmarks at the scale that is named. The p-values themselves need the images'
    outcomes, and are believed.

    Raises:
        UserError: They are others, or do not.
    """
    record = kept.record
    shipped = load_claims(record.claims.name, record.scale)
    determining = ("name", "version", "parts", "claims")
    for name in determining:
        if getattr(shipped, name) != getattr(record.claims, name):
            raise UserError(
                f"{kept.path}: '{shipped.name}' has other {name} here; run the claims as shipped"
            )
    if tuple(each.claim for each in kept.judged) != shipped.claims:
        raise UserError(f"{kept.path} judges other claims than it names; export the run again")
    if set(kept.parts) != set(shipped.parts):
        raise UserError(f"{kept.path} has not the cells of all parts; export the run again")
    for part, cells in kept.parts.items():
        check_cells(kept.path, shipped.benchmark(part, record.scale), cells)
    tests = [test for each in kept.judged for test in each.tests]
    adjusted = iter(corrected([test.found for test in tests if test.found is not None]))
    for each in kept.judged:
        follow = [_follows(kept, t, next(adjusted) if t.found else None) for t in each.tests]
        tested = tuple(test.test for test in each.tests) == each.claim.tests
        verdict = overall([test.verdict for test in each.tests])
        if not (all(follow) and tested and each.verdict == verdict):
            raise UserError(
                f"{kept.path}: the verdict on '{each.claim.claim}' does not follow from its tests"
            )


def _follows(kept: KeptClaims, tested: Tested, anew: Difference | None) -> bool:
    """Whether a test says what its cells and its p-value, corrected anew, amount to."""
    means = values_of(kept.parts[tested.test.part], tested.test)
    if tested.verdict != verdict_on(anew) or not _same(means, tested.values):
        return False
    if tested.found is None or anew is None:
        return True
    first, second = means
    low, high = tested.found.interval or (-math.inf, math.inf)
    sign = -1 if tested.test.lower else 1
    return (
        first is not None
        and second is not None
        and math.isclose(sign * (first - second) - tested.test.least, anew.mean, abs_tol=CLOSE)
        and low <= anew.mean <= high
    )


def _same(
    found: tuple[float | None, float | None], told: tuple[float | None, float | None]
) -> bool:
    return all(
        one is other or (one is not None and other is not None and abs(one - other) < CLOSE)
        for one, other in zip(found, told, strict=True)
    )


def claims_exports_in(folder: Path) -> list[KeptClaims]:
    """All exported files of claims in a folder of results, by name."""
    return [read_claims(p) for p in sorted(folder.glob("*/*.json")) if is_claims_export(p)]


def is_claims_export(path: Path) -> bool:
    """Whether an exported file is of claims.

    Raises:
        UserError: It cannot be read.
    """
    return "judged" in read_json(path)


def _exported(judged: Judged) -> dict[str, Any]:
    return {
        "claim": judged.claim.model_dump(mode="json", exclude_none=True),
        "tests": [
            {
                "test": each.test.model_dump(mode="json", exclude_none=True),
                "found": None if each.found is None else ExportedNumbers.numbers(each.found),
                "values": list(each.values),
                "parameters": list(each.parameters),
                "verdict": each.verdict,
            }
            for each in judged.tests
        ],
        "verdict": judged.verdict,
    }


def _tested(each: ExportedTest) -> Tested:
    found = None if each.found is None else each.found.difference
    return Tested(each.test, found, each.values, each.parameters, each.verdict)
