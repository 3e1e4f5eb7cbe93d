"""docs/papers.md: its formats, options and names of files exist."""

import re
import shlex
from pathlib import Path

from capsbench.cli import main
from capsbench.reporting.paper import FIGURE_FORMATS, TABLE_FORMATS, parse_formats

PAGE = (Path(__file__).parents[1] / "docs" / "papers.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True) for line in re.findall(r"^capsbench .*$", PAGE, re.MULTILINE)
]


def test_every_format_is_described_by_its_file():
    rows = dict(re.findall(r"^\| `(\w+)` \| `summary\.(\w+)`", PAGE, re.MULTILINE))
    assert rows == TABLE_FORMATS


def test_options_of_commands_exist(capsys):
    assert len(COMMANDS) > 1
    for words in COMMANDS:
        main([words[1], "--help"])
        help_text = capsys.readouterr().out
        assert [word for word in words if word.startswith("--") and word not in help_text] == []


def test_formats_of_commands_exist():
    known = {"--format": TABLE_FORMATS, "--figures": FIGURE_FORMATS}
    for words in COMMANDS:
        for option, formats in known.items():
            if option in words:
                parse_formats(option, words[words.index(option) + 1], formats)
