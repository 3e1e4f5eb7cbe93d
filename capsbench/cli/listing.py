"""``capsbench list``: models, data modules, benchmarks and measures by name."""

from __future__ import annotations

from typing import Annotated

import typer

from capsbench.cli.options import KINDS, AsJson, plain_console, print_json
from capsbench.errors import UserError
from capsbench.names import SINGULAR, Kind, Target, table


def listing(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="KIND", help="Kind to list; all kinds if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List models, data modules, benchmarks or measures.

    Installed plug-ins are included.
    """
    rows = [
        {
            "kind": SINGULAR[listed],
            "name": target.name,
            "summary": _summary(target),
            "where": _where(target),
        }
        for listed in ((kind,) if kind else KINDS)
        for target in table(listed).values()
    ]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table_of_names = Table(box=None, pad_edge=False)
    if kind is None:
        table_of_names.add_column("kind", no_wrap=True)
    table_of_names.add_column("name", no_wrap=True)
    table_of_names.add_column("summary")
    for row in rows:
        table_of_names.add_row(*([] if kind else [row["kind"]]), row["name"], row["summary"])
    plain_console().print(table_of_names)


def _where(target: Target) -> str:
    return f"{target.module}:{target.attribute}"


def _summary(target: Target) -> str:
    try:
        return target.summary()
    except UserError as error:  # a broken plug-in must not hide other names
        return f"broken: {error}"
