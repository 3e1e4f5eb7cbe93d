"""Pages built again from the records of a runs folder, and the records exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from capsbench.errors import UserError, unknown
from capsbench.files.folders import is_folder
from capsbench.records import BenchmarkFolder, BenchmarkRecord, benchmarks_in
from capsbench.reporting import claims_report, report
from capsbench.reporting.exports.claims_export import export_claims
from capsbench.reporting.exports.export import export_benchmark
from capsbench.schema.loading import read_fields


class Rebuilt(NamedTuple):
    """Files that were written for one benchmark.

    Attributes:
        benchmark: Name of the benchmark or claims.
        page: The page.
        export: The exported file; None if there is none.
        problem: Sentence on what prevents the export; None if nothing does.
        left_out: Titles of the models that are not exported, because they were trained elsewhere.
    """

    benchmark: str
    page: Path
    export: Path | None = None
    problem: str | None = None
    left_out: tuple[str, ...] = ()


def rebuild(runs: Path, names: Sequence[str], export: Path | None) -> Iterator[Rebuilt]:
    """Build pages again, claims first.

    The numbers of a part of claims are exported with the claims, and not twice.

    Args:
        runs: The runs folder.
        names: Benchmarks or claims: names of folders in it, or YAML files; all if empty.
        export: Folder of exported files; None to export nothing.

    Raises:
        UserError: There are no such records, or one is damaged. A benchmark that cannot be exported
            raises nothing: its problem is returned.
    """
    folders = [runs / name for name in _selected(runs, names)]
    claims = [folder for folder in folders if BenchmarkFolder(folder).claims.is_file()]
    parts = {part for folder in claims for part in claims_report.part_folders(folder)}
    for folder in claims:
        rebuilt = Rebuilt(folder.name, claims_report.build(folder))
        yield rebuilt if export is None else _exported(rebuilt, export_claims, folder, export)
    for folder in folders:
        if folder not in claims:
            rebuilt = Rebuilt(folder.name, report.build(folder))
            if export is None or folder.name in parts:
                yield rebuilt
            else:
                rebuilt = rebuilt._replace(left_out=_trained_elsewhere(folder))
                yield _exported(rebuilt, export_benchmark, folder, export)


def _exported(
    rebuilt: Rebuilt, write: Callable[[Path, Path], Path], folder: Path, into: Path
) -> Rebuilt:
    """Add the exported file of a folder, or what prevents it."""
    try:
        return rebuilt._replace(export=write(folder, into))
    except UserError as error:
        return rebuilt._replace(problem=str(error))


def _trained_elsewhere(folder: Path) -> tuple[str, ...]:
    record = BenchmarkRecord.load(BenchmarkFolder(folder).record)
    return tuple(cell.title for cell in record.cells if cell.trained_elsewhere)


def _selected(runs: Path, names: Sequence[str]) -> list[str]:
    """Return the names of the folders of some benchmarks, or of all."""
    known = benchmarks_in(runs)
    for name in names:
        if name not in known and is_folder(Path(name), "benchmark"):
            raise UserError(f"'{name}' is a folder; write {_corrected(Path(name))}")
    if not known:
        problem = "holds no benchmark's records" if runs.is_dir() else "is not a folder"
        raise UserError(f"--output: {runs} {problem}; 'capsbench run quick' makes some under runs/")
    selected = [_name_in_file(Path(name)) if name.endswith(".yaml") else name for name in names]
    for name in selected:
        if name not in known:
            raise unknown(f"benchmark in {runs}:", name, known)
    return list(dict.fromkeys(selected)) or known


def _corrected(folder: Path) -> str:
    """Return the command for a folder that was given in place of a name."""
    files = BenchmarkFolder(folder)
    one = files.record.is_file() or files.claims.is_file()
    name, runs = (f" {folder.name}", folder.parent) if one else ("", folder)
    return f"'capsbench report{name} --output {runs}'"


def _name_in_file(path: Path) -> str:
    """Return the name of the benchmark or claims in a YAML file."""
    return str(read_fields(path).get("name"))
