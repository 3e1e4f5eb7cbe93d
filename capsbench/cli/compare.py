"""``capsbench compare``: paired differences between two folders of records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capsbench.cli.options import AsJson, TrustCode, json_on_stdout, plain_console, print_json
from capsbench.errors import UserError
from capsbench.trusted_code import trusting_code

PAGES = Path("runs/comparisons")
FOLDER = "Folder of a benchmark, such as runs/quick, or of a cell."


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help=FOLDER)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another folder of the same kind.")],
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            metavar="MODEL=MODEL",
            help="Compare a model of A with one of another name in B; may be repeated.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page.", show_default=f"{PAGES}/A-B.html"),
    ] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: differences B minus A with 95 % intervals, and what else differs.

    Models of equal names are compared on the same test images. Nothing is trained or measured. Two
    cells are compared over images alone. Other data, other views and other classes are refused.
    """
    from capsbench.records.folders import file_name
    from capsbench.reporting import comparison
    from capsbench.reporting.tables import render_terminal
    from capsbench.reporting.terminal import page_line

    chosen = parse_pairs(pairs or [])
    names = (file_name(" ".join(folder.parts[-2:])) for folder in (a, b))
    path = page or PAGES / f"{'-'.join(names)}.html"
    with json_on_stdout(as_json), trusting_code(trust_code):
        compared = comparison.compare(a, b, chosen)
        compared.write_page(path)
    if as_json:
        print_json({**compared.as_json(), "page": path})
        return
    console = plain_console()
    for table in reversed(compared.tables()):  # the differences last, where a reader looks first
        console.print(render_terminal.render(table))
    for line in (f"A: {a}", f"B: {b}", compared.verdict, compared.left_out):
        if line:
            console.print(line, soft_wrap=True)
    console.print(page_line(path), soft_wrap=True)


def parse_pairs(pairs: list[str]) -> dict[str, str]:
    """Return the model of B by that of A.

    Raises:
        UserError: One is not of the form MODEL=MODEL, or a model of A is given twice.
    """
    chosen: dict[str, str] = {}
    for pair in pairs:
        title, separator, other = pair.partition("=")
        if not (title and separator and other):
            raise UserError(f"--pair takes MODEL=MODEL, such as 'CNN=CNN 2'; got '{pair}'")
        if title in chosen:
            raise UserError(f"--pair: '{title}' is given twice; compare it in two calls")
        chosen[title] = other
    return chosen
