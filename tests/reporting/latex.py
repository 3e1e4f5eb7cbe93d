"""A strict reader of the LaTeX that tables are written in; it refuses what LaTeX would, too."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COMMANDS = {
    *("addlinespace", "bottomrule", "centering", "footnotesize", "midrule", "par", "raggedright"),
    *("arraybackslash", "linewidth", "scriptsize", "shortstack", "small", "smallskip", "toprule"),
    *("caption", "label", "textbf", "textsuperscript", "begin", "end", "char", "ldots"),
    *("textasciigrave", "textasciitilde", "textasciicircum", "textbackslash", "textbar"),
    *("textemdash", "textendash", "textgreater", "textless"),
    *("pm", "times", "cdot", "circ", "le", "ge", "to", "rho", "mu"),
}
TOKEN = re.compile(r"\\([A-Za-z]+)|\\(.)|(.)", flags=re.DOTALL)
PRINTED = {
    "textbackslash": "\\",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textasciigrave": "`",
    "char": '"',
    "textendash": "–",
    "textemdash": "—",
    "ldots": "…",
    "cdot": "·",
    "times": "×",
    "pm": "±",
    "circ": "°",
    "le": "≤",
    "ge": "≥",
    "to": "→",
    "rho": "ρ",
}
PLAIN = {**dict.fromkeys("{}$^", ""), "~": " "}


@dataclass
class Parsed:
    """Contents of one table: text of each cell as it is printed, and what stands around."""

    caption: str = ""
    label: str = ""
    columns: str = ""
    lines: list[list[str]] = field(default_factory=list)
    below: str = ""


def parse(source: str) -> Parsed:
    """Read the table of a file; an assertion fails where LaTeX would."""
    source = re.sub(r"^%.*\n", "", source, flags=re.MULTILINE)
    head, body, below = _tabular(_environment(source.strip(), "table"))
    require_balanced(head + body + below)
    match = re.fullmatch(
        r"\\centering\\small\n\\caption\[(.*?(?<!\{))\]\{(.*)\}\n\\label\{([\w:-]+)\}\n(.*)",
        head,
        flags=re.DOTALL,
    )
    assert match, head
    require_balanced(match[1])
    assert not re.search(r"\\\\\s*[\[*]", body), "an argument of the end of a line"
    lines = re.split(r"\\(?:toprule|midrule|bottomrule|addlinespace)\n", body)
    rows = [line for part in lines for line in re.findall(r"(.*) \\\\\n", part)]
    assert "".join(f"{row} \\\\\n" for row in rows) == "".join(lines)
    cells = [[printed(cell.strip()) for cell in _split(row)] for row in rows]
    columns = re.sub(r">\{.*?\}|\{[\d.]+cm\}", "", match[4])
    assert {len(row) for row in cells} == {len(columns)}
    return Parsed(printed(match[2]), match[3], columns, cells, printed(below.strip()))


def require_balanced(text: str) -> None:
    """Refuse braces and mathematics that do not end, bare special characters, unknown commands."""
    depth, in_math = 0, False
    for command, escaped, character in TOKEN.findall(text):
        assert not command or command in COMMANDS, command
        assert not escaped or escaped in "{}$&#_%\\", escaped
        depth += {"{": 1, "}": -1}.get(character, 0)
        in_math ^= character == "$"
        assert depth >= 0
        assert not character or character not in "#_%~" or character == "~"
        assert character != "^" or in_math
        assert not character or ord(character) < 0x250, f"pdfLaTeX has no {character!r}"
        assert character not in ("−", "×", "°", "·", "±", "²")
    assert depth == 0
    assert not in_math


def printed(text: str) -> str:
    """Return what is printed, without sizes and fonts."""
    text = text.replace("$-$", "−").replace("$^2$", "²").replace(r"\char34", r"\char")
    text = re.sub(r"\\(?:scriptsize|footnotesize|smallskip|shortstack\[r\]) ?", "", text)
    return "".join(
        PRINTED.get(command, "") or escaped.replace("\\", "") or PLAIN.get(character, character)
        for command, escaped, character in TOKEN.findall(re.sub(r" \\\\ ", " ", text))
    )


def _environment(text: str, name: str) -> str:
    start, end = f"\\begin{{{name}}}\n", f"\n\\end{{{name}}}"
    assert text.startswith(start) and text.endswith(end), text
    inner = text[len(start) : -len(end)]
    assert f"{{{name}}}" not in inner
    return inner


def _tabular(text: str) -> tuple[str, str, str]:
    """Return head with the specification of columns, body, and what follows."""
    match = re.fullmatch(
        r"(.*?\n)\\resizebox\{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi\}\{!\}\{%\n"
        r"\\begin\{tabular\}\{([^\n]*)\}\n(.*)\\end\{tabular\}\}(.*)",
        text,
        flags=re.DOTALL,
    )
    assert match, text
    return match[1] + match[2], match[3], match[4]


def _split(row: str) -> list[str]:
    """Split a row at its ampersands, outside of braces."""
    cells, depth = [""], 0
    for command, escaped, character in TOKEN.findall(row):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "&":
            assert depth == 0
            cells.append("")
        else:
            cells[-1] += f"\\{command or escaped}" if command or escaped else character
    for cell in cells:
        require_balanced(cell)
    return cells
