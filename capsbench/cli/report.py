"""``capsbench report``: build the pages again, export records, write tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capsbench.cli.options import (
    AsJson,
    Output,
    TrustCode,
    complete_benchmark,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.environment.entry import refuse
from capsbench.trusted_code import trusting_code


def report(
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BENCHMARK",
            help="Names of benchmarks or claims with records; all if left out.",
            autocompletion=complete_benchmark,
        ),
    ] = None,
    output: Output = Path("runs"),
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also export each benchmark's numbers to a file there, such as results.",
        ),
    ] = None,
    table_formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="Also write each table to a file: md, csv, json, latex, or several with commas.",
        ),
    ] = None,
    figure_formats: Annotated[
        str | None,
        typer.Option(
            "--figures",
            metavar="FORMATS",
            help="Also write each figure to a file: svg, pdf, png, or several with commas.",
        ),
    ] = None,
    wandb: Annotated[
        bool,
        typer.Option("--wandb", help="Also make reports on Weights & Biases, and views of it."),
    ] = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Build the pages of benchmarks again from records.

    Nothing is trained or measured; the link of each page is printed. An exported file holds all
    numbers with their provenance, without weights or images; `capsbench results` reads it. If a
    benchmark cannot be exported, the others are, and the exit code is 2. Tables and figures for a
    paper are written to the folder of the benchmark, paper/tables and paper/figures. A report on
    Weights & Biases is written as JSON beside the page, and saved there if you are logged in.
    """
    from capsbench.reporting import paper
    from capsbench.reporting.formatting import counted
    from capsbench.reporting.rebuild import rebuild
    from capsbench.reporting.terminal import page_line
    from capsbench.reporting.wandb.login import TIMEOUT, Login, check_login
    from capsbench.reporting.wandb.publish import publish, require_workspaces

    login = Login()
    if wandb:
        require_workspaces()
        login = check_login(TIMEOUT)

    tables = paper.parse_formats("--format", table_formats, paper.TABLE_FORMATS)
    figures = paper.parse_formats("--figures", figure_formats, paper.FIGURE_FORMATS)
    console, rows = plain_console(), []
    with json_on_stdout(as_json), trusting_code(trust_code):
        for rebuilt in rebuild(output, benchmarks or [], export):
            folder = output / rebuilt.benchmark
            written = paper.write_paper(folder, tables=tables, figures=figures)
            published = publish(folder, login) if wandb else None
            if published is not None and published.problem and login.problem is None:
                login = check_login(TIMEOUT)  # a server that hangs is left at once
            saved = {} if published is None else {"wandb": published._asdict()}
            rows.append(rebuilt._asdict() | {"paper": written} | saved)
            if as_json:
                continue
            console.print(page_line(rebuilt.page), soft_wrap=True)
            for place in dict.fromkeys(path.parent for path in written):
                count = sum(path.parent == place for path in written)
                console.print(f"{place}: {counted(count, 'file')}", soft_wrap=True)
            for line in () if published is None else published.lines:
                console.print(line, soft_wrap=True)
            if rebuilt.export is not None:
                console.print(f"exported: {rebuilt.export}", soft_wrap=True)
            for title in rebuilt.left_out:
                console.print(f"not exported: {title}; it is no part of the protocol")
    if as_json:
        print_json(rows)
    if problems := [row["problem"] for row in rows if row["problem"] is not None]:
        for problem in problems:
            refuse(f"not exported: {problem}")
        raise typer.Exit(2)
