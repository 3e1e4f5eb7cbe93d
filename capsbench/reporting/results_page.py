"""The page of results in the documentation, made from exported records and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from capsbench.records import write_bytes
from capsbench.reporting.scaling_figures import parameters_figure, varied_figure
from capsbench.reporting.claims_export import KeptClaims
from capsbench.reporting.claims_report import claim_tables, render_markdown
from capsbench.reporting.export import Kept
from capsbench.reporting.figures import accuracy_by_view, svg
from capsbench.reporting.markdown import code, markdown_table, plain, result_tables
from capsbench.reporting.published import KNOWN_BY, Beside, differences, published
from capsbench.reporting.results import FULL, Protocol, Results
from capsbench.reporting.formatting import listed, points
from capsbench.schema import Benchmark, benchmark_names, load_benchmark

HEAD = """# Results

What was measured, from the records in `results/`, each with its command, commit, device and date.
`capsbench results --write` makes this page from them; nothing on it is written by hand. A size
other than `full` is not the shipped protocol but a smaller one, and says nothing about the full
one. 'Reproduced' means that the published number lies in the 95 % t interval of the measured mean
over seeds, or that its own ± reaches it; below three seeds nothing is decided, and at another size
or on another set numbers stand side by side without a verdict. What is marked 'matched' comes from
a rule that sees test labels; each record says what its weights were selected by."""


def render(kept: Sequence[Kept], claims: Sequence[KeptClaims] = ()) -> str:
    """The page as Markdown text.

    Args:
        kept: The exported records of benchmarks, in the order of the page.
        claims: Those of claims.
    """
    parts = [HEAD]
    for one in claims:
        parts += _claims(one)
    parts += ["## At a glance", _glance(kept), "## Published differences", _differences(kept)]
    parts += ["## Published numbers", _published(kept)]
    for each in kept:
        parts += _section(each)
    return "\n\n".join(parts) + "\n"


def write_page(kept: Sequence[Kept], claims: Sequence[KeptClaims], page: Path) -> list[Path]:
    """Write the page, and the figures that it shows beside it; those of others are removed.

    Args:
        kept: The exported records of benchmarks.
        claims: Those of claims.
        page: The page's file; its figures lie under ``figures`` beside it.

    Returns:
        The files.
    """
    made = [page]
    for each in kept:
        for name, figure in _figures(each).items():
            path = page.parent / "figures" / name
            write_bytes(path, svg(figure))
            made.append(path)
    for old in (page.parent / "figures").glob("results-*.svg"):
        if old not in made:
            old.unlink()
    write_bytes(page, render(kept, claims).encode())
    return made


def _figures(kept: Kept) -> dict[str, Figure]:
    """What is drawn of a record, by the name of its file."""
    drawn = {
        "by-view": accuracy_by_view(kept.results),
        "varied": varied_figure(kept.results),
        "parameters": parameters_figure(kept.results),
    }
    start = f"results-{kept.results.benchmark.name}-{kept.path.stem}"
    return {f"{start}-{name}.svg": figure for name, figure in drawn.items() if figure}


def _glance(kept: Sequence[Kept]) -> str:
    rows = []
    for each in kept:
        results = each.results
        verdicts = [row.verdict for row in published(results)]
        counts = [f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts)]
        rows.append(
            (
                results.benchmark.name,
                each.results.protocol.size,
                f"{len(results.cells)} of {_planned(results.benchmark)}",
                _devices(each),
                results.protocol.date[:10],
                listed(counts) or "–",
            )
        )
    table = markdown_table(("Benchmark", "Size", "Cells", "Device", "Date", "Published"), rows)
    known = {each.results.benchmark.name for each in kept}
    missing = [name for name in benchmark_names() if name not in known]
    return f"{table}\n\nNot run: {plain(listed(missing))}." if missing else table


def _differences(kept: Sequence[Kept]) -> str:
    """Every published difference of every benchmark, beside each record that there is."""
    rows: list[Sequence[str]] = []
    for name in benchmark_names():
        records = [each.results for each in kept if each.results.benchmark.name == name]
        nothing = Results(Protocol(load_benchmark(name), (), "", "", ()), (), None)
        for row in differences(nothing):
            start = (name, f"{row.entry.model} less {row.first.model}", row.quantity)
            found = [
                (each.told, each.verdict)
                for results in records
                for each in differences(results)
                if (each.first, each.entry) == (row.first, row.entry)
            ]
            rows += [
                (*start, points(row.published), *numbers, row.entry.source)
                for numbers in found or [("–", "not run")]
            ]
    head = ("Benchmark", "Models", "Quantity", "Published", "Measured", "Verdict", "Source")
    return markdown_table(head, rows)


def _published(kept: Sequence[Kept]) -> str:
    """Every published number of every benchmark, beside each record that there is."""
    rows: list[Sequence[str]] = []
    for name in benchmark_names():
        records = [each for each in kept if each.results.benchmark.name == name]
        for entry in load_benchmark(name).published:
            model = entry.model if entry.at is None else f"{entry.model} at {entry.at:g}"
            start = (name, model, f"{entry.key}{', matched' * (entry.rule == 'matched')}")
            end = (entry.source, KNOWN_BY[entry.known_by])
            found = [
                (_number(row.beside, each.results.protocol), row.verdict)
                for each in records
                for row in published(each.results)
                if row.entry == entry and row.beside.seeds
            ]
            rows += [
                (*start, entry.printed, *numbers, *end) for numbers in found or [("–", "not run")]
            ]
    head = ("Benchmark", "Model", "Quantity", "Published", "Measured", "Verdict", "Source")
    return markdown_table((*head, "Known by"), rows)


def _number(beside: Beside, protocol: Protocol) -> str:
    """A measured number, with what it was measured under."""
    terms = [protocol.size, *([protocol.benchmark.data.name] if protocol.other_data else [])]
    if beside.over is None:
        return f"– ({', '.join(terms)})"
    told = ", ".join([f"n = {beside.over.n}", *terms])
    return f"{100 * beside.over.mean:.2f} % ({told}{beside.note})"


def _claims(kept: KeptClaims) -> Iterable[str]:
    record = kept.record
    tables = claim_tables(kept.judged, record.scale)
    yield render_markdown(record, tables, level=2).strip()
    yield (
        f"*{code(record.command)}, commit {plain((record.commit or 'unknown')[:7])}, "
        f"{plain(listed(kept.devices))}, {plain(record.date[:10])}; {_tools(kept.versions)}. "
        f"Record: {_place(kept.path)}.*"
    )


def _tools(versions: Mapping[str, str]) -> str:
    return plain(", ".join(f"{name} {value}" for name, value in versions.items()))


def _section(kept: Kept) -> Iterable[str]:
    results, record = kept.results, kept.results.protocol
    yield f"## {plain(results.benchmark.name)}: {plain(results.benchmark.title)}"
    yield plain(results.benchmark.question)
    if record.changes:
        size = "" if record.size == FULL else f"At another size ({record.size}). "
        data = f"On {results.benchmark.data.name}. " if record.other_data else ""
        yield f"> **{plain(size + data)}Changed:** {plain(listed(record.changes))}."
    for name in _figures(kept):
        yield f"![{plain(results.benchmark.title)}](figures/{name})"
    yield from result_tables(results, kept.differences, level=3)
    versions = dict(
        item for c in results.cells if c.training for item in c.training.versions.items()
    )
    commits = dict.fromkeys(c.training.commit or "unknown" for c in results.cells if c.training)
    yield (
        f"*{code(record.command)}, commit {plain(listed([c[:7] for c in commits]))}, "
        f"{plain(_devices(kept))}, {plain(record.date[:10])}; {_tools(versions)}. "
        f"Record: {_place(kept.path)}.*"
    )


def _place(path: Path) -> str:
    return code(f"results/{path.parent.name}/{path.name}")


def _planned(benchmark: Benchmark) -> int:
    values = len(benchmark.vary.values) if benchmark.vary else 1
    return len(benchmark.models) * len(benchmark.seeds) * values


def _devices(kept: Kept) -> str:
    found = dict.fromkeys(
        str(cell.training.execution.get("device_name"))
        for cell in kept.results.cells
        if cell.training
    )
    return listed(list(found))
