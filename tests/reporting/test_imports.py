"""Packages that take seconds to import, and the commands that must do without them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from capsbench.reporting import report

HEAVY = (
    "huggingface_hub",
    "kornia",
    "matplotlib",
    "pytorch_lightning",
    "scipy.stats",
    "sklearn",
    "torchmetrics",
    "torchvision",
    "wandb",
)


def imported_by(code: str, *arguments: str) -> set[str]:
    """Return the heavy packages that a program imports."""
    program = f"import json, sys; {code}; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return {"torch", *HEAVY} & set(json.loads(done.stdout.splitlines()[-1]))


def test_records_need_no_torch():
    assert imported_by("import capsbench.records") == set()


def test_planning_and_an_unchanged_report_need_only_torch(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0, 1), models=(("CNN", "cnn-small"),))
    page = report.build(folder)
    before = page.stat().st_mtime_ns
    code = (
        "import pathlib, capsbench.running.protocol; "
        "from capsbench.running.plan import plan; from capsbench.schema import load_benchmark; "
        "plan(load_benchmark('quick'), device='cpu'); "
        "from capsbench.reporting import report; report.build(pathlib.Path(sys.argv[1])); "
        "from capsbench.records import load_results; from capsbench.reporting import terminal; "
        "terminal.result_tables(load_results(pathlib.Path(sys.argv[1])))"
    )
    assert imported_by(code, str(folder)) == {"torch"}
    assert page.stat().st_mtime_ns == before
