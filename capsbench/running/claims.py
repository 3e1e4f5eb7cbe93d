"""Running claims: the benchmark of every part, then the verdicts."""

from __future__ import annotations

from pathlib import Path

from capsbench.progress import activity
from capsbench.records import (
    BenchmarkFolder,
    ClaimsRecord,
    ProtocolChanges,
    Provenance,
    SearchRecord,
)
from capsbench.reporting.comparisons.verdicts import at_scale, verdict_text
from capsbench.reporting.terminal import page_line
from capsbench.running.benchmark import (
    RunOutcome,
    carry_out_runs,
    finish_run,
    prepare_run,
)
from capsbench.running.cell import Cell
from capsbench.running.next_step import next_claims_step
from capsbench.running.plan import plan
from capsbench.running.search import has_failed_trial, search
from capsbench.running.session import Session
from capsbench.running.trials import ModelTrials, plan_trials
from capsbench.schema import Search
from capsbench.schema.claims import Claims


def plan_claims(
    claims: Claims, scale: str | None, data_root: Path | None, device: str
) -> dict[str, list[Cell]]:
    """List the cells of every part, for a resolved kind of device.

    Raises:
        UserError: A part's benchmark is unknown, or cannot be planned.
    """
    return {
        part: plan(claims.benchmark(part, scale), data_root=data_root, device=device)
        for part in claims.parts
    }


def plan_claims_trials(
    claims: Claims, scale: str | None, data_root: Path | None, device: str
) -> list[tuple[Search, list[ModelTrials]]]:
    """List the search of every part that has models without values of one, with its trials.

    Raises:
        UserError: See `plan_claims` and `plan_trials`.
    """
    return [
        (benchmark.search, plan_trials(benchmark, None, data_root, device))
        for benchmark in (claims.benchmark(part, scale) for part in claims.parts)
        if not benchmark.is_tuned
    ]


def run_claims(
    claims: Claims, scale: str | None, session: Session, *, command: str, tune: bool = False
) -> RunOutcome:
    """Carry out the jobs of all parts that are not done, and build the page of verdicts.

    The jobs of all parts are carried out together, so that no device waits for the end of a part.

    Args:
        claims: The claims.
        scale: Name of the scale; None for the default size.
        session: The session; its device must be resolved.
        command: The command, for the record.
        tune: True to choose the values of models that are not tuned yet by a search before.
    """
    searches: dict[str, SearchRecord] = {}
    if tune:
        for part in claims.parts:
            benchmark = claims.benchmark(part, scale)
            if benchmark.is_tuned:
                continue
            changes = ProtocolChanges(scale=scale, claims=claims.at(scale), search=True)
            tuned, searches[part] = search(benchmark, session, changes=changes, command=command)
            claims = claims.with_models(part, scale, tuned.models)
    benchmarks = {part: claims.benchmark(part, scale) for part in claims.parts}
    with activity(session.console, f"planning {claims.name}"):
        cells = plan_claims(claims, scale, session.data_root, session.execution.device)
    runs = []
    for number, (part, benchmark) in enumerate(benchmarks.items(), start=1):
        session.print(f"part {number} of {len(benchmarks)}: {part}")
        settings = claims.changes(part, scale)
        changes = ProtocolChanges(
            settings=settings, claims=claims.at(scale), search=part in searches
        )
        runs.append(
            prepare_run(
                benchmark,
                cells[part],
                session,
                changes=changes,
                command=command,
                search=searches.get(part),
            )
        )
    failed = carry_out_runs(runs) or any(map(has_failed_trial, searches.values()))
    for run in runs:
        finish_run(run)
    if not session.is_first:
        return RunOutcome(None, failed)
    from capsbench.reporting import claims_report

    folder = BenchmarkFolder(session.output / claims.at(scale))
    record = ClaimsRecord(
        claims=claims,
        scale=scale,
        parts={part: benchmark.name for part, benchmark in benchmarks.items()},
        command=command,
        provenance=Provenance.now(),
    )
    record.save_if_changed(folder.claims)
    page = claims_report.build(folder.path)
    for each in claims_report.load_claims_results(folder.path).judged():
        verdict = verdict_text(each.verdict, each.claim)
        session.print(f"{each.claim.claim}: {verdict}{at_scale(scale)}")
        for label, own in each.networks.items():
            session.print(f"  {label}: {verdict_text(own, each.claim)}")
    session.console.print(page_line(page), soft_wrap=True)
    session.print(next_claims_step(record, session.output))
    return RunOutcome(page, failed)
