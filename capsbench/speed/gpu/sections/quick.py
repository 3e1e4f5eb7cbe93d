"""Section ``quick``: ``capsbench run quick``, from its start to the page."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from capsbench.speed.gpu.parts import PartlyFailed, Parts, Values, Work
from capsbench.speed.gpu.sections._runs import accuracies, run_quick

SMALL = ("--models", "CNN", "--seeds", "0", "--set", "recipe.steps=4", "--limit", "32")


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return one part."""
    return {"capsbench run quick": partial(quick, parts)}


def quick(parts: Parts) -> Values:
    """Run the benchmark in a new folder; return its cells, its table and its wall time.

    Raises:
        PartlyFailed: A cell has no numbers.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        arguments = SMALL if parts.small else ()
        results = run_quick(Path(folder), *arguments, device=parts.device, seconds=parts.left)
        seconds = time.monotonic() - start
        rows = accuracies(results.records)
        values = {
            "seconds": round(seconds, 1),
            "rows": rows,
            "page": results.page is not None,
            "table": results.table().splitlines(),
        }
    problems = [f"{row['model']}, seed {row['seed']}: {row['problem']}" for row in rows]
    missing = [each for each, row in zip(problems, rows, strict=True) if row["problem"]]
    if missing:
        raise PartlyFailed(RuntimeError(f"cells without numbers: {'; '.join(missing)}"), values)
    return values
