"""An exported file of any kind: the record of a benchmark, of claims, or of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from capsbench.files.atomic import read_json
from capsbench.records.search import SearchRecord
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.claims_checks import check_claims
from capsbench.reporting.exports.claims_export import ClaimsExport, ExportedClaims, exported_claims
from capsbench.reporting.exports.export import (
    EXPORT_REMEDY,
    BenchmarkExport,
    ExportedResults,
    exported_results,
)
from capsbench.reporting.exports.search_checks import ExportedSearch, exported_search

Exported: TypeAlias = ExportedResults | ExportedClaims | ExportedSearch


def load_exported(path: Path) -> Exported:
    """Load an exported file.

    Raises:
        UserError: It is damaged, does not fit the schema, or its cells are of different revisions.
    """
    content = read_json(path, EXPORT_REMEDY)
    names = content.keys() if isinstance(content, dict) else ()
    if "trials" in names:
        return exported_search(path, SearchRecord.of_content(path, content))
    if "judged" in names:
        return exported_claims(path, ClaimsExport.of_content(path, content))
    return exported_results(path, BenchmarkExport.of_content(path, content))


def check_exported(exported: Exported) -> None:
    """Check what a file states, see `check_export` and `check_claims`.

    Raises:
        UserError: A statement is not true.
    """
    match exported:
        case ExportedResults():
            check_export(exported)
        case ExportedClaims():
            check_claims(exported)
        case ExportedSearch():
            pass  # is checked when it is loaded
