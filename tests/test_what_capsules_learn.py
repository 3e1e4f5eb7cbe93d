"""Run the program of docs/what-capsules-learn.md with fewer training steps."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "what-capsules-learn.md"


def test_the_program_of_the_page_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    short = code.replace("STEPS = 400", "STEPS = 3")
    assert short != code
    monkeypatch.chdir(tmp_path)
    exec(compile(short, str(PAGE), "exec"), {"__name__": "inspect_capsules"})
    assert b"pose" in (tmp_path / "sweep.svg").read_bytes()
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")
    entropies = re.findall(r"^digit \d: (\S+) of", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(entropies) == 8
    assert all(0.9 < float(entropy) <= 1 for entropy in entropies)  # almost untrained
