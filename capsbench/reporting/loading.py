"""`capsbench.load_results`: the results of a benchmark or of claims, as tidy tables."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group

from capsbench import records
from capsbench.errors import UserError, unknown
from capsbench.records import BenchmarkFolder, ClaimsRecord, Results, benchmarks_in
from capsbench.reporting import claims_report, terminal
from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
from capsbench.reporting.comparisons.verdicts import verdict_text, without_margin
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.exports.exported import load_exported
from capsbench.reporting.formatting import counted
from capsbench.reporting.tables import render_terminal
from capsbench.reporting.tables.claims_tables import claim_tables
from capsbench.reporting.tables.render_html import render_notebook
from capsbench.reporting.tables.result_tables import terminal_tables
from capsbench.statistics.power import smallest_detectable
from capsbench.trusted_code import trusting_code

TEXT_WIDTH = 100  # characters of a table as text


@dataclass(frozen=True)
class BenchmarkResults:
    """Results of a benchmark; a notebook shows its summary.

    Attributes:
        records: The records, from which pages are made.
        page: The page; None if there is none, as for an exported file.
    """

    records: Results
    page: Path | None

    def rows(self) -> list[dict[str, Any]]:
        """Return every measured value as a tidy row.

        A row has the columns of ``results.csv``: benchmark, label, varied value, model, seed and
        fingerprint of the training, selection rule and measure, then the fields of a `Value`, with
        one column ``condition_<name>`` for each condition. Fields that do not apply are None.
        """
        columns = self.records.columns
        return [{name: row.get(name) for name in columns} for row in self.records.rows()]

    def frame(self) -> Any:
        """Return the `rows` as a pandas DataFrame.

        Raises:
            UserError: pandas is not installed.
        """
        return data_frame(self.rows(), self.records.columns)

    def table(self) -> str:
        """Return the tables that a run prints, as text."""
        return _text(terminal.result_tables(self.records))

    def __repr__(self) -> str:
        cells, name = self.records.cells, self.records.benchmark.name
        finished = sum(cell.problem is None for cell in cells)
        page = "" if self.page is None else f"; {self.page}"
        return f"<results of '{name}': {finished} of {counted(len(cells), 'cell')}{page}>"

    def _repr_html_(self) -> str:
        changes = ", ".join(self.records.record.change_texts)
        return render_notebook(
            self.records.benchmark.title,
            terminal_tables(self.records),
            notes=[changes and f"Changed protocol: {changes}", _page_note(self.page)],
        )


@dataclass(frozen=True)
class ClaimsResults:
    """Verdicts on claims; a notebook shows them.

    Attributes:
        record: Record of the claims.
        judged: Each claim with its tests and its verdict.
        page: The page; None if there is none, as for an exported file.
    """

    record: ClaimsRecord
    judged: Sequence[JudgedClaim]
    page: Path | None

    def rows(self) -> list[dict[str, Any]]:
        """Return every test of every claim as a tidy row; numbers that do not exist are None."""
        rows = [_test_row(each, test) for each in self.judged for test in each.tests]
        columns = dict.fromkeys(name for row in rows for name in row)
        return [{name: row.get(name) for name in columns} for row in rows]

    def frame(self) -> Any:
        """Return the `rows` as a pandas DataFrame.

        Raises:
            UserError: pandas is not installed.
        """
        return data_frame(self.rows())

    def table(self) -> str:
        """Return the verdicts and the tests of each claim, as text."""
        tables = claim_tables(self.judged, self.record.scale)
        return _text(Group(*map(render_terminal.render, tables)))

    def __repr__(self) -> str:
        page = "" if self.page is None else f"; {self.page}"
        verdicts = ", ".join(verdict_text(each.verdict, each.claim) for each in self.judged)
        return f"<verdicts on '{self.record.claims.name}': {verdicts}{page}>"

    def _repr_html_(self) -> str:
        return render_notebook(
            self.record.claims.title,
            claim_tables(self.judged, self.record.scale),
            notes=[_page_note(self.page)],
        )


def load_results(
    path: Path | str = "runs", benchmark: str | None = None, *, trust_code: bool = False
) -> BenchmarkResults | ClaimsResults:
    """Load the results of a benchmark or of claims.

    Args:
        path: ``runs/<benchmark>``; a runs folder; or an exported file, such as
            ``results/quick/full-0123456789ab.json``.
        benchmark: Name of the benchmark in the runs folder; not needed if it holds only one.
        trust_code: Import measures that the records name by the path of a file, such as your own.

    Raises:
        UserError: There is no such file or folder, it is not that of a benchmark, a record is
            damaged, or names a measure whose code is not trusted.
    """
    with trusting_code(trust_code):
        return _load(Path(path), benchmark)


def _load(place: Path, benchmark: str | None) -> BenchmarkResults | ClaimsResults:
    if place.suffix == ".json" and benchmark is None:
        return _load_exported(place)
    known = benchmarks_in(place)
    if benchmark is not None:
        if benchmark not in known:
            raise unknown(f"benchmark in {place}:", benchmark, known)
        place /= benchmark
    elif len(known) == 1:
        place /= known[0]
    files = BenchmarkFolder(place)
    index = files.report / "index.html"
    page = index if index.is_file() else None
    if files.claims.is_file():
        claims = claims_report.load_claims_results(place)
        return ClaimsResults(claims.record, claims.judged(), page)
    if files.record.is_file():
        return BenchmarkResults(records.load_results(place), page)
    if known:
        raise UserError(
            f"{place} holds the results of {', '.join(known)}; choose one, as in "
            f"load_results('{place}', '{known[0]}')"
        )
    problem = "holds no results" if place.is_dir() else "is not a folder"
    raise UserError(
        f"{place} {problem}; expected the folder of a benchmark, such as runs/quick, or a file "
        "that 'capsbench report --export' wrote"
    )


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """Return rows as a pandas DataFrame.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise UserError(
            "frame() needs pandas, which is not installed: run 'pip install pandas', or use rows()"
        ) from None
    return DataFrame(list(rows), columns=columns)


def _load_exported(path: Path) -> BenchmarkResults | ClaimsResults:
    if not path.is_file():
        raise UserError(f"no file {path}; 'capsbench report --export DIR' writes such files")
    match exported := load_exported(path):
        case ExportedClaims():
            return ClaimsResults(exported.record, exported.judged, None)
        case ExportedResults():
            return BenchmarkResults(exported.results, None)
    raise UserError(f"{path} is the record of a search, expected one of a benchmark or of claims")


def _text(tables: Group) -> str:
    stream = io.StringIO()
    Console(file=stream, width=TEXT_WIDTH).print(tables)
    return stream.getvalue()


def _page_note(page: Path | None) -> str:
    return "" if page is None else f"Page: {page}"


def _test_row(judged: JudgedClaim, test: JudgedTest) -> dict[str, Any]:
    margin = test.test.margin
    each = None if test.difference is None else without_margin(test.difference, margin)
    low, high = (each and each.interval) or (None, None)
    return {
        "claim": judged.claim.claim,
        "claim_verdict": judged.verdict,
        "network_verdict": judged.networks[test.test.model],
        "verdict": test.verdict,
        "reason": test.reason or None,
        "primary": test.test.primary,
        "part": test.test.part,
        "at": test.test.at,
        "model": test.test.model,
        "against": test.test.against,
        "measure": test.test.measure,
        **test.test.quantity.row(),
        "value": test.means[0],
        "value_against": test.means[1],
        "difference": None if each is None else each.mean,
        "low": low,
        "high": high,
        "margin": margin,
        "bound": judged.claim.bound,
        "p": None if each is None else _defined(each.p),
        "p_corrected": _defined(each.p_corrected) if each and test.test.primary else None,
        "detectable": None if each is None else _defined(smallest_detectable(each)),
        "seeds_at_chance": _seeds(test.at_chance[0]),
        "seeds_at_chance_against": _seeds(test.at_chance[1]),
    }


def _defined(number: float) -> float | None:
    return None if math.isnan(number) else number


def _seeds(seeds: Sequence[int]) -> str | None:
    """Return seeds as the text of one column."""
    return ", ".join(map(str, seeds)) or None
