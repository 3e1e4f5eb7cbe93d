from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_first_line_comes_before_torch(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "capsbench", "run", "no-such-benchmark",
         "--output", str(tmp_path / "runs")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    said = next(i for i, line in enumerate(lines) if line.startswith("no-such-benchmark: planning"))
    imported = next(i for i, line in enumerate(lines) if line.split("|")[-1].strip() == "torch._C")
    assert said < imported
