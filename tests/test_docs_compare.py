"""docs/compare.md: its commands have the options that they use."""

import re
import shlex
from pathlib import Path

from capsbench.cli import main
from capsbench.cli.compare import PAGES, parse_pairs

PAGE = (Path(__file__).parents[1] / "docs" / "compare.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^capsbench .*$", PAGE, flags=re.MULTILINE)


def test_options_of_commands_exist(capsys):
    assert main(["compare", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert len(COMMANDS) > 3
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        assert words[1] == "compare"
        assert {word for word in words if word.startswith("--")} <= known
        if "--pair" in words:
            assert parse_pairs([words[words.index("--pair") + 1]])


def test_the_place_of_the_page_is_the_default():
    assert f"`{PAGES}/<A>-<B>.html`" in PAGE
