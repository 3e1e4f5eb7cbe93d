"""docs/python.md: its Python runs in one session, and it names what `capsbench` offers."""

import re
from pathlib import Path
from typing import Any

import capsbench

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
FEW_VIEWS = [
    {"measure": "accuracy-by-view", "grid": {"rotation": {"start": -90, "stop": 90, "step": 90}}}
]
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        code = block.replace('"recipe.steps": 300', f'"recipe.steps": 4, "measures": {FEW_VIEWS}')
        code = code.replace("range(2)", 'range(1), limit=50, device="cpu", wandb="off"')
        exec(compile(code, "python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "runs/quick/report/index.html" in printed
    assert "capsnet-dr" in printed
    assert names["novel"]["seed"].tolist() == [0]
    assert 0 <= names["evaluation"].value("accuracy-by-view", metric="worst_accuracy") <= 1


def test_every_public_name_is_in_the_table():
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    assert {*re.findall(r"`(\w+)`", rows), "__version__"} == set(dir(capsbench))


def test_the_exported_file_exists():
    (path,) = re.findall(r'load_results\("(results/.*?\.json)"\)', PAGE)
    assert capsbench.load_results(Path(__file__).parents[1] / path).rows()
