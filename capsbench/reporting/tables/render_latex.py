r"""Tables in LaTeX: booktabs, intervals in brackets, the best in bold.

A table needs the packages ``array``, ``booktabs`` and ``graphicx``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from capsbench.records.folders import file_name
from capsbench.reporting.formatting import count_range, counted
from capsbench.reporting.tables.mean_cell import NO_BREAK, WITH_SEEDS
from capsbench.reporting.tables.table import MISSING, Table, TableCell, TableColumn

UNITS = {"%": "%", "pts": "points"}  # of a column whose numbers all have one, in its heading
LONG_TEXT = 36  # characters, above which the lines of a column of text are broken
CENTIMETRES = 0.16  # width of a character
NARROWEST, WIDEST = 3.5, 8.0  # centimetres, of a column of long texts, whose lines are two or more
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # only if too wide
HEADING = 12  # characters of a line in the heading of a column of numbers
SMALL_PRINT = 24  # characters of a line below a number
GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "varepsilon",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
}
ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "`": r"\textasciigrave{}",
        '"': r"\char34{}",  # which German makes a command
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        **{character: rf"\{character}" for character in "{}$&#_%"},
        **{character: f"{{{character}}}" for character in "[]*"},  # no argument of a command
        "−": "$-$",
        "×": r"$\times$",
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "°": r"$^\circ$",
        "²": "$^2$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "→": r"$\to$",
        "–": r"\textendash{}",
        "—": r"\textemdash{}",
        "…": r"\ldots{}",
        NO_BREAK: "~",
        **{letter: rf"$\{name}$" for letter, name in GREEK.items()},
    }
)


def render(table: Table, prefix: str) -> str:
    r"""Return a ``table`` environment with caption and label, ready for ``\input``.

    A table that is wider than the text is made smaller.

    The interval of a mean is below it in brackets; without an interval, the values of the seeds are
    there in parentheses. Remarks are notes below the table.

    Args:
        table: The table.
        prefix: Start of the label, such as the name of the benchmark: ``tab:quick-summary``.
    """
    units = [_unit(table, index) for index in range(len(table.columns))]
    remarks = dict.fromkeys(cell.note for row in table.rows for cell in row.contents() if cell.note)
    marks = {note: rf"\textsuperscript{{{_mark(i)}}}" for i, note in enumerate(remarks)}
    rows = [_row(row.contents(), units, marks) for row in table.rows]
    between = "\n\\addlinespace\n" if any("\n" in row for row in rows) else "\n"
    heading = [_heading(column, unit) for column, unit in zip(table.columns, units, strict=True)]
    columns = [_alignment(table, index) for index in range(len(table.columns))]
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption[{escape(table.title)}]{{{escape(_caption(table))}}}",
        rf"\label{{tab:{file_name(f'{prefix} {table.name}')}}}",
        FITTED,
        rf"\begin{{tabular}}{{{''.join(columns)}}}",
        r"\toprule",
        _line(heading),
        r"\midrule",
        between.join(rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    notes = [f"{mark}~{escape(note)}." for note, mark in marks.items()]
    notes += [f"{escape(note)}." for note in table.notes]
    if notes:
        lines += ["", rf"\smallskip{{\footnotesize {' '.join(notes)}\par}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def escape(text: str) -> str:
    r"""Return text in which LaTeX reads nothing as a command, and which pdfLaTeX can print.

    Letters of other alphabets stay as they are: LuaLaTeX and XeLaTeX print them.

    >>> escape("50 % of x_1 & $y$"), escape("−4.8"), escape("'--help'")
    ('50 \\% of x\\_1 \\& \\$y\\$', '$-$4.8', "`-{}-help'")
    """
    escaped = " ".join(text.splitlines()).translate(ESCAPES)
    quoted = re.sub(r"(?<![^\s(])'", "`", escaped)  # an opening quotation mark
    return re.sub(r"-(?=-)", "-{}", quoted)


def _caption(table: Table) -> str:
    cells = [cell for row in table.rows for cell in row.contents()]
    caption, seeds = table.caption, {cell.seeds for cell in cells if cell.interval and cell.seeds}
    if seeds:
        over = counted(max(seeds), "seed") if len(seeds) == 1 else f"{count_range(seeds)} seeds"
        caption = re.sub(rf",? {WITH_SEEDS}", "", caption)
        caption += f" In brackets: the 95 % interval of the mean over {over}."
    return f"{table.title}. {caption}".strip()


def _unit(table: Table, index: int) -> str:
    """Return the unit that all numbers of a column have; empty if they have none, or several."""
    if not table.columns[index].numeric:
        return ""
    texts = [row.contents()[index].text for row in table.rows]
    units = {text.rpartition(" ")[2] for text in texts if text != MISSING}
    unit = units.pop() if len(units) == 1 else ""
    return unit if unit in UNITS else ""


def _alignment(table: Table, index: int) -> str:
    column: TableColumn = table.columns[index]
    texts = [row.contents()[index].text for row in table.rows]
    if column.numeric:
        return "r"
    longest = max(map(len, texts), default=0)
    if longest <= LONG_TEXT:
        return "l"
    width = min(max(CENTIMETRES * longest / 2, NARROWEST), WIDEST)
    return rf">{{\raggedright\arraybackslash}}p{{{width:.1f}cm}}"


def _heading(column: TableColumn, unit: str) -> str:
    title = column.title + (f" ({UNITS[unit]})" if unit else "")
    return _stacked(wrap(title, HEADING)) if column.numeric else escape(title)


def _row(cells: Sequence[TableCell], units: Sequence[str], marks: Mapping[str, str]) -> str:
    """Return the line of a row, and below it, if there is any, the line of its small print."""
    texts = [
        escape(cell.text.removesuffix(f" {unit}")) for cell, unit in zip(cells, units, strict=True)
    ]
    lines = [
        _line(
            (rf"\textbf{{{text}}}" if cell.best else text) + marks.get(cell.note, "")
            for text, cell in zip(texts, cells, strict=True)
        )
    ]
    below = [_small_print(cell) for cell in cells]
    if any(below):
        lines.append(_line(rf"{{\scriptsize {text}}}" if text else "" for text in below))
    return "\n".join(lines)


def _small_print(cell: TableCell) -> str:
    values = f"({cell.values})" if cell.seeds > 1 else ""
    interval = f"[{cell.interval.replace(' to ', ', ')}]" if cell.interval else values
    return _stacked([*wrap(interval, SMALL_PRINT), *wrap(cell.details, SMALL_PRINT)])


def _stacked(lines: Sequence[str]) -> str:
    """Return lines above one another, aligned to the right."""
    text = r" \\ ".join(map(escape, lines))
    return rf"\shortstack[r]{{{text}}}" if len(lines) > 1 else text


def _line(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _mark(index: int) -> str:
    """Return the mark of a note: a letter, or a number after the letters.

    >>> _mark(0), _mark(26)
    ('a', '27')
    """
    return chr(ord("a") + index) if index < 26 else str(index + 1)
