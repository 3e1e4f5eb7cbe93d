"""State of a runs folder in the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from capsbench.records.failure import RETRY
from capsbench.records.running_job import RunningJob
from capsbench.records.status import STATES, BenchmarkStatus, CellStatus, RunsStatus, State
from capsbench.reporting.failure_text import failure_lines, retry_line
from capsbench.reporting.formatting import counted, duration, rate

COLORS: dict[State, str] = {
    "running": "cyan",
    "failed": "red",
    "waiting": "",
    "diverged": "yellow",
    "done": "green",
}
MAX_ROWS = 20  # of failed or diverged cells; --json has all
OTHERS = "(no benchmark yet)"
NOTHING = "no benchmark has a record here yet; 'capsbench run quick' makes one"


def status_tables(status: RunsStatus) -> Group:
    """Return totals, one row per benchmark, and the running, failed and diverged cells.

    Args:
        status: The state of the folder.
    """
    parts: list[RenderableType] = [totals(status)]
    if not status.benchmarks:
        parts.append(Text(NOTHING))
    else:
        parts += [Text(), _benchmarks(status)]
    sections: dict[State, list[RenderableType]] = {
        "running": _running(status),
        "failed": [*_failed(status)],
        "diverged": _diverged(status),
    }
    for state, content in sections.items():
        if content:
            parts += [Text(), Text(state, style=f"bold {COLORS[state]}"), *content]
    if remedies := [Text(line) for line in _remedies(status)]:
        parts += [Text(), *remedies]
    parts += [Text(each.problem, style="red") for each in status.benchmarks if each.problem]
    return Group(*parts)


def totals(status: RunsStatus) -> Text:
    """Return the number of cells in each state, in one line."""
    counts = {state: number for state, number in status.counts.items() if number}
    total = sum(counts.values())
    done = counts.pop("done", 0)
    line = Text(f"{status.runs}: ")
    line.append(f"{done} of {counted(total, 'cell')} done", style="bold")
    for state, number in counts.items():
        line.append(f", {number} ")
        line.append(state, style=COLORS[state])
    return line


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="dim")


def _benchmarks(status: RunsStatus) -> Table:
    """Return one row per benchmark; parts of claims come below the row of the claims."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("benchmark", no_wrap=True)
    for name in ("cells", *reversed(STATES)):
        table.add_column(name, justify="right")
    table.add_column("page")
    for name, page in status.pages_of_claims.items():
        parts = status.parts(name)
        counts = {state: sum(part.counts[state] for part in parts) for state in STATES}
        table.add_row(f"{name} (claims)", *_numbers(counts), _link(page))
        for part in parts:
            table.add_row(f"  {part.name}", *_numbers(part.counts), _link(part.page))
    for each in status.benchmarks:
        if each.claims is None:
            table.add_row(Text(each.name or OTHERS), *_numbers(each.counts), _link(each.page))
    return table


def _numbers(counts: dict[State, int]) -> list[Text]:
    numbers = [Text(str(sum(counts.values())))]
    for state in reversed(STATES):
        number = counts[state]
        numbers.append(
            Text(str(number) if number else "·", style=COLORS[state] if number else "dim")
        )
    return numbers


def _link(page: Path | None) -> Text:
    """Return the path of a page, which a terminal opens with a click."""
    if page is None:
        return Text()
    return Text(str(page), style=Style(link=page.resolve().as_uri()), overflow="fold")


def _running(status: RunsStatus) -> list[RenderableType]:
    table = _table()
    for name in ("job", "host", "device", "since", "step", "per second", "left", ""):
        table.add_column(name, no_wrap=name not in ("job", ""))
    now = time.time()
    for _, cell in _cells(status, "running"):
        for job in cell.jobs:
            table.add_row(*map(Text, _job_texts(job, now)))
    return [table] if table.row_count else []


def _job_texts(job: RunningJob, now: float) -> tuple[str, ...]:
    steps = f" of {job.steps:,}" if job.steps is not None else ""
    return (
        job.task,
        job.host,
        job.device or "",
        duration(max(now - job.since, 0)),
        "" if job.step is None else f"{job.step:,}{steps}",
        "" if job.steps_per_second is None else rate(job.steps_per_second),
        "" if job.seconds_left is None else duration(job.seconds_left),
        job.note or "",
    )


def _failed(status: RunsStatus) -> list[Text]:
    """Return the lines of the failed cells, see `failure_lines`."""
    lines = list[Text]()
    for benchmark, cell in _first(status, "failed"):
        failure = cell.failure
        place = benchmark.name or OTHERS
        job = f"{place}, {failure.job}" if failure else place
        reason = failure.reason if failure else str(cell.problem)
        log = status.runs / cell.folder / failure.log if failure and failure.log else None
        lines += failure_lines(_name(cell), job, reason, log)
    return lines


def _diverged(status: RunsStatus) -> list[RenderableType]:
    table = _table("cell", "benchmark", "at step")
    for benchmark, cell in _first(status, "diverged"):
        step = "" if cell.diverged_at is None else str(cell.diverged_at)
        table.add_row(Text(_name(cell)), Text(benchmark.name or OTHERS), Text(step))
    return [table] if table.row_count else []


def _remedies(status: RunsStatus) -> Iterator[str]:
    """Yield the commands that try failed cells again, and how many cells the tables leave out."""
    for state in ("failed", "diverged"):
        if (more := len(list(_cells(status, state))) - MAX_ROWS) > 0:
            yield f"and {counted(more, f'{state} cell')} more, see --json"
    failed = {benchmark.command for benchmark, _ in _cells(status, "failed") if benchmark.command}
    for command in sorted(failed):
        yield retry_line(command)
    if not failed and any(_cells(status, "failed")):
        yield f"try failed cells again: the command of the run with {RETRY}"


def _cells(status: RunsStatus, state: State) -> Iterator[tuple[BenchmarkStatus, CellStatus]]:
    """Yield the cells in a state, each once, with the first benchmark that lists it."""
    known = set[str]()
    for benchmark in status.benchmarks:
        for cell in benchmark.cells:
            if cell.state == state and cell.folder not in known:
                known.add(cell.folder)
                yield benchmark, cell


def _first(status: RunsStatus, state: State) -> Sequence[tuple[BenchmarkStatus, CellStatus]]:
    return list(_cells(status, state))[:MAX_ROWS]


def _name(cell: CellStatus) -> str:
    return cell.title if cell.seed is None else f"{cell.title}, seed {cell.seed}"
