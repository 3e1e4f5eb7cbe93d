"""``capsbench list``: what there is, by name."""

from __future__ import annotations

from typing import Annotated

import typer

from capsbench.cli.options import KINDS, AsJson, plain_console, print_json
from capsbench.errors import UserError
from capsbench.names import SINGULAR, Kind, Target, table


def listing(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="KIND", help="What to list; all if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List models, data modules or benchmarks.

    Those of installed plug-ins stand beside ours.
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

    shown = Table(box=None, pad_edge=False)
    if kind is None:
        shown.add_column("kind", no_wrap=True)
    shown.add_column("name", no_wrap=True)
    shown.add_column("what it is")
    for row in rows:
        shown.add_row(*([] if kind else [row["kind"]]), row["name"], row["summary"])
    plain_console().print(shown)


def _where(target: Target) -> str:
    return f"{target.module}:{target.attribute}"


def _summary(target: Target) -> str:
    try:
        return target.summary()
    except UserError as error:  # a broken plug-in must not hide the other names
        return f"broken: {error}"
