"""Tables in Markdown, and text in which nothing is read as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from capsbench.reporting.tables.table import Table, TableCell

_SPECIAL = re.compile(r"([\\`*_\[\]|$~])")
# The beginning of a heading, of a list, or of the line below a heading.
_BLOCK = re.compile(r"^(\s*)(?:(\d+)(?=[.)]\s)|(?=(?:#{1,6}|[+-])\s|(?:=+|-+)\s*$))")


def render(table: Table, level: int = 2) -> str:
    """Return a table with its heading, caption and notes.

    Args:
        table: The table.
        level: Level of the heading.
    """
    parts = [f"{'#' * level} {plain(table.title)}", render_rows(table)]
    if table.caption:
        parts.append(plain(table.caption))
    if table.notes:
        parts.append("\n".join(["Not in the table:", "", *(f"- {plain(n)}" for n in table.notes)]))
    return "\n\n".join(parts)


def render_rows(table: Table) -> str:
    """Return the columns and rows of a table."""
    lines: list[Sequence[str]] = [
        [plain(column.title) for column in table.columns],
        ["---"] * len(table.columns),
        *([_cell(cell) for cell in row.contents()] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: TableCell) -> str:
    line = plain(cell.line)
    return f"**{plain(cell.text)}**{line.removeprefix(plain(cell.text))}" if cell.best else line


def plain(text: str) -> str:
    r"""Return text in which neither Markdown nor HTML is read as markup.

    >>> plain("<b> *a* | b"), plain("# Not a heading"), plain("1. no list"), plain("-0.5 pts")
    ('&lt;b&gt; \\*a\\* \\| b', '\\# Not a heading', '1\\. no list', '-0.5 pts')
    """
    line = escape(" ".join(text.splitlines()), quote=False)
    return _BLOCK.sub(r"\1\2\\", _SPECIAL.sub(r"\\\1", line))


def code(text: str) -> str:
    """Return text as a code span, which nothing in the text ends.

    >>> code("a *b*"), code("a `b`")
    ('`a *b*`', '`` a `b` ``')
    """
    text = " ".join(text.split())
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"
