"""A benchmark or claims by name, with changes: the list of the cells, and the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capsbench.errors import UserError
from capsbench.progress import activity
from capsbench.records import ProtocolChanges
from capsbench.running.benchmark import RunOutcome, run_benchmark
from capsbench.running.cell import Cell
from capsbench.running.claims import plan_claims, plan_claims_trials, run_claims
from capsbench.running.plan import plan
from capsbench.running.search import has_failed_trial, search
from capsbench.running.session import Session
from capsbench.running.trials import first_runs, num_repeated, plan_trials
from capsbench.schema import Benchmark, is_claims, load_benchmark, load_claims, parse_models


class PlannedCells(NamedTuple):
    """Cells of a benchmark or of claims.

    Attributes:
        cells: The cells.
        expected: The expected time in the words of the file.
        repeated: Number of further trainings that repeat the best trials of a search.
    """

    cells: list[Cell]
    expected: str
    repeated: int = 0


def protocol_changes(
    *,
    models: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any],
    scale: str | None = None,
    limit: int | None = None,
    search: bool = False,
) -> ProtocolChanges:
    """Collect the changes to a shipped protocol.

    Args:
        models: Requested models, see `parse_models`; all if empty.
        seeds: Seeds in place of the file's.
        settings: Values by dotted place, such as ``{"recipe.steps": 500}``.
        scale: Name of one of the file's scales.
        limit: Largest number of images of each split.
        search: True to choose the recipes by a search.

    Raises:
        UserError: An added model is not an entry of a benchmark file.
    """
    values = dict(settings)
    if seeds is not None:
        values["seeds"] = list(seeds)
    if limit is not None:
        values["recipe.limit"] = limit
    own, added = parse_models(models)
    return ProtocolChanges(scale=scale, settings=values, models=own, added=added, search=search)


def list_cells(
    name: str, changes: ProtocolChanges, data_root: Path | None, device: str
) -> PlannedCells:
    """List the cells of a benchmark or of claims.

    Trials of a search come first. The cells after them have the values of the file, since the best
    ones are not known yet; nor are the trials that are repeated.

    Args:
        name: A name or a file.
        changes: Changes to the shipped protocol.
        data_root: Folder of local data files.
        device: Kind of device, resolved.

    Raises:
        UserError: The name is unknown, a change does not fit, or a cell cannot be planned.
    """
    if _is_claims(name, changes):
        claims = load_claims(name, changes.scale)
        parts = plan_claims(claims, changes.scale, data_root, device).values()
        cells = [cell for part in parts for cell in part]
        if not changes.search:
            return PlannedCells(cells, claims.expected)
        tried = plan_claims_trials(claims, changes.scale, data_root, device)
        repeated = sum(num_repeated(trials, search) for search, trials in tried)
        runs = [cell for _, trials in tried for cell in first_runs(trials)]
        return PlannedCells([*runs, *cells], claims.expected, repeated)
    protocol = _load(name, changes)
    models = changes.requested_models
    cells = plan(protocol, models=models, data_root=data_root, device=device)
    if not changes.search:
        return PlannedCells(cells, protocol.expected)
    trials = plan_trials(protocol, models, data_root, device)
    repeated = num_repeated(trials, protocol.search)
    return PlannedCells([*first_runs(trials), *cells], protocol.expected, repeated)


def run_protocol(
    name: str, changes: ProtocolChanges, session: Session, *, command: str
) -> RunOutcome:
    """Train, measure, and build the page of a benchmark or of claims; nothing is repeated.

    Args:
        name: A name or a file.
        changes: Changes to the shipped protocol.
        session: The session.
        command: The command, for the record.

    Raises:
        UserError: See `list_cells` and `run_benchmark`; or the device is not available.
    """
    if _is_claims(name, changes):
        claims = load_claims(name, changes.scale)
        return run_claims(
            claims, changes.scale, session.ready(), command=command, tune=changes.search
        )
    protocol, trials = _load(name, changes), None
    models = changes.requested_models
    device = session.device
    with activity(session.console, f"planning {protocol.name}"):
        cells = plan(protocol, models=models, data_root=session.data_root, device=device)
        session = session.ready()
    if changes.search:
        protocol, trials = search(protocol, session, changes=changes, command=command)
        cells = plan(protocol, models=models, data_root=session.data_root, device=device)
    outcome = run_benchmark(
        protocol, cells, session, changes=changes, command=command, search=trials
    )
    failed = trials is not None and has_failed_trial(trials)
    return outcome._replace(failed=outcome.failed or failed)


def _load(name: str, changes: ProtocolChanges) -> Benchmark:
    return load_benchmark(name, changes.settings, scale=changes.scale, added=changes.added)


def _is_claims(name: str, changes: ProtocolChanges) -> bool:
    """Check that a name refers to claims, which take no changes but a scale and a search."""
    claims = is_claims(name)
    if claims and changes != ProtocolChanges(scale=changes.scale, search=changes.search):
        raise UserError(
            "claims run as they are, at a --scale, or tuned by --search; --models, --seeds, --set "
            "and --limit are for benchmarks"
        )
    return claims
