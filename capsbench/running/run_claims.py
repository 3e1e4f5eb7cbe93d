"""Run claims: every part's benchmark, then the verdicts."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from capsbench.records import SCHEMA, write_json
from capsbench.reporting import claims_report
from capsbench.reporting.claims import at_scale
from capsbench.running.plan import Cell, plan
from capsbench.running.provenance import provenance
from capsbench.running.run import run_benchmark
from capsbench.schema.claims import Claims
from capsbench.training.execution import Execution


def planned(claims: Claims, scale: str | None, data_root: Path | None) -> dict[str, list[Cell]]:
    """The cells of every part.

    Raises:
        UserError: A part's benchmark is unknown, or cannot be planned.
    """
    return {part: plan(claims.benchmark(part, scale), data_root=data_root) for part in claims.parts}


def _in_words(claims: Claims, part: str, scale: str | None) -> list[str]:
    made = claims.changes(part, scale)
    return [f"{place}={value}" for place, value in made.items() if not isinstance(value, list)]


def run_claims(
    claims: Claims,
    *,
    scale: str | None,
    output: Path,
    execution: Execution,
    data_root: Path | None,
    command: str,
    console: Console,
) -> Path | None:
    """Carry out what is not done of every part, and build the page of verdicts.

    Args:
        claims: The claims.
        scale: The scale; the default size if None.
        output: The runs folder.
        execution: How to carry it out.
        data_root: Folder of data files at hand.
        command: The command, for the record.
        console: Where progress and results are shown.

    Returns:
        The page; None in a process of a cluster that is not the first.
    """
    folder = output / claims.at(scale)
    benchmarks = {part: claims.benchmark(part, scale) for part in claims.parts}
    cells = planned(claims, scale, data_root)
    for number, (part, benchmark) in enumerate(benchmarks.items(), start=1):
        console.print(f"part {number} of {len(benchmarks)}: {part}", markup=False, highlight=False)
        page = run_benchmark(
            benchmark,
            cells=cells[part],
            output=output,
            execution=execution,
            data_root=data_root,
            changes=[f"part of {claims.at(scale)}", *_in_words(claims, part, scale)],
            command=command,
            console=console,
        )
    if page is None:
        return None
    content = {
        "schema": SCHEMA,
        "claims": claims.model_dump(mode="json"),
        "scale": scale,
        "parts": {part: each.name for part, each in benchmarks.items()},
        "command": command,
        **provenance(),
    }
    write_json(folder / claims_report.RECORD, content)
    index = claims_report.build(folder)
    for each in claims_report.load_record(folder).judged():
        line = f"{each.claim.claim}: {each.verdict}{at_scale(scale)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"page: {index}", markup=False, highlight=False, soft_wrap=True)
    return index
