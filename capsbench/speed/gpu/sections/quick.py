"""Section ``quick``: ``capsbench run quick``, from its start to the page."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from capsbench.speed.gpu.parts import Incomplete, Parts, Values, Work
from capsbench.speed.gpu.sections._runs import accuracies, load_quick, run_quick

SMALL = ("--models", "CNN", "--seeds", "0", "--set", "recipe.steps=4", "--limit", "32")


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return one part."""
    return {"capsbench run quick": partial(quick, parts)}


def quick(parts: Parts) -> Values:
    """Run the benchmark in a new folder; return its cells, its table and its wall time.

    Raises:
        Incomplete: The time was over, or a cell has no numbers; it has those of the others.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, start = Path(folder), time.monotonic()
        arguments = SMALL if parts.small else ()
        try:
            results = run_quick(output, *arguments, device=parts.device, seconds=parts.left)
        except TimeoutError as error:
            rows = accuracies(load_quick(output).records)
            raise Incomplete(error, {"rows": rows}, "cut") from None
        seconds = time.monotonic() - start
        rows = accuracies(results.records)
        values = {
            "seconds": round(seconds, 1),
            "rows": rows,
            "page": results.page is not None,
            "table": results.table().splitlines(),
        }
    missing = [f"{row['model']}: {row['problem']}" for row in rows if row["problem"]]
    if missing:
        raise Incomplete(RuntimeError(f"cells without numbers: {'; '.join(missing)}"), values)
    return values
