"""The first page of results: leaderboards, claims in sentences, records, papers, what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from capsbench.records.benchmark import FULL
from capsbench.reporting.claims_report import render_answers
from capsbench.reporting.comparisons.claim_answers import claim_answers, verdict_counts
from capsbench.reporting.comparisons.published import compare_published
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.formatting import counted, listed
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.leaderboard_table import leaderboards
from capsbench.reporting.tables.paper_tables import Paper, earlier_mark, papers
from capsbench.reporting.tables.render_markdown import code, plain, render_rows
from capsbench.reporting.tuning import one_iteration
from capsbench.schema import Benchmark, benchmark_names, load_benchmark

HEAD = """# Results

Measured numbers from the records in `results/`, each with its command, commit, device and date on
the page of its benchmark. `capsbench results --write` makes these pages from the records; nothing
on them is written by hand. A size other than `full` is a smaller protocol than the shipped one, and
says nothing about the full one. 'Earlier revisions' marks numbers of a model, data module or
measure whose numbers have changed since; the page of the benchmark names them."""

ARTICLE = "claims"  # name of the file with the article's claims
NO_CLAIMS = """Verdicts on the article's claims are missing: the present version of their file has
not been measured. `capsbench run claims --scale cpu` and `capsbench report --export results` add
them."""

READING = """'Detectable' is the smallest true difference that a comparison, with its seeds and
images, would have shown with a probability of 80 %. Intervals are corrected for all primary tests
of one claim, and not across claims."""

PAPERS = """One table for each paper whose numbers a protocol repeats, with the command that
measures them and what it costs. 'Reproduced' means that the published number lies in the 95 %
interval of the measured mean over seeds, or that its own ± reaches the interval; a difference is
confirmed or reversed if its interval excludes zero. Below three seeds nothing is decided; at
another size, or on another data set, there is no verdict. Numbers marked 'matched' come from a rule
that sees test labels. `DATA` is the folder of the files, see [data.md](data.md)."""


def render_front(
    exported: Sequence[ExportedResults],
    claims: Sequence[ExportedClaims],
    *,
    has_searches: bool,
) -> str:
    """Return the first page as Markdown text.

    Args:
        exported: Exported records of benchmarks.
        claims: Those of claims.
        has_searches: True if there is a page of searches.
    """
    parts = [HEAD, render_answer(exported, claims)]
    parts += ["## Benchmarks", "\n".join(_records(exported))] if exported else []
    parts += ["## Papers", PAPERS]
    for paper in papers(exported):
        parts += _paper(paper)
    parts += ["## Not run", "\n".join(_not_run(exported))]
    if has_searches:
        parts.append("[Searches for recipes](results/searches.md) lists every search.")
    return "\n\n".join(parts) + "\n"


def render_answer(exported: Sequence[ExportedResults], claims: Sequence[ExportedClaims]) -> str:
    """Return what a reader sees first: the verdicts counted, leaderboards, claims in sentences."""
    parts = ["\n".join(f"* {_summary(each)}" for each in claims)] if claims else []
    parts += [render_markdown.render(table) for table in leaderboards(exported, claims)]
    for each in claims:
        size = "full size" if each.size == FULL else f"scale {each.size}, not at full size"
        parts.append(f"## {plain(each.record.claims.title)}")
        parts.append(f"At {plain(size)} ([tests and tables](results/{each.name}.md)):")
        parts.append(render_answers(claim_answers(each.judged)))
        if note := one_iteration(each.record.claims, each.record.scale):
            parts.append(plain(note))
    parts += [READING] if claims else []
    parts += [] if any(each.name == ARTICLE for each in claims) else [NO_CLAIMS]
    return "\n\n".join(parts)


def _summary(claims: ExportedClaims) -> str:
    """Return the title of a file of claims with the number of each verdict."""
    size = "" if claims.size == FULL else f" At scale {claims.size}, not at full size."
    return f"**{plain(claims.record.claims.title)}** {plain(verdict_counts(claims.judged) + size)}"


def _records(exported: Sequence[ExportedResults]) -> Iterator[str]:
    """Yield a line for each record, with a link to the page of its benchmark."""
    for each in exported:
        results = each.results
        verdicts = [row.verdict for row in compare_published(results)]
        counts = [f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts)]
        trained = [cell.training for cell in results.cells if cell.training]
        devices = dict.fromkeys(training.execution.device_name for training in trained)
        failed = f", {len(each.failed)} failed" if each.failed else ""
        facts = [
            ", ".join([results.record.size, *earlier_mark(each)]),
            f"{len(each.cells)} of {counted(_num_planned(results.benchmark), 'cell')}{failed}",
            listed(list(devices)),
            results.record.provenance.date[:10],
            *([f"published numbers: {listed(counts)}"] if counts else []),
        ]
        link = f"[{plain(each.name)}](results/{each.name}.md)"
        yield f"* {link}: {plain(results.benchmark.title)} ({plain('; '.join(facts))})"


def _num_planned(benchmark: Benchmark) -> int:
    values = len(benchmark.vary.points) if benchmark.vary else 1
    return len(benchmark.models) * len(benchmark.seeds) * values


def _paper(paper: Paper) -> Iterator[str]:
    """Yield the section of a paper: commands with their costs, and the table."""
    yield f"### {plain(paper.name)}"
    yield "\n".join(map(_command, paper.benchmarks))
    if paper.measured.rows:
        yield render_rows(paper.measured)
    if rows := paper.not_run.rows:
        yield f"<details><summary>{counted(len(rows), 'number')} not measured</summary>"
        yield render_rows(paper.not_run)
        yield "</details>"


def _command(benchmark: Benchmark) -> str:
    command = code(f"capsbench run {benchmark.name} --data-root DATA")
    return f"* {command}: {plain(benchmark.expected)}"


def _not_run(exported: Sequence[ExportedResults]) -> Iterator[str]:
    """Yield the command of each protocol without a record, with the time that it takes."""
    known = {each.name for each in exported}
    for name in benchmark_names():
        if name not in known:
            yield _command(load_benchmark(name))
