"""Runs of ``capsbench run`` as a user starts them, and their records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from capsbench.records import Results
from capsbench.reporting.loading import BenchmarkResults, load_results

STOPPING = 10.0  # seconds that a run has to stop after SIGTERM
LOADING = 5.0  # seconds to load its records
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def run_quick(
    output: Path,
    *arguments: str,
    device: str,
    seconds: float,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> BenchmarkResults:
    """Run ``quick`` and load its results.

    Args:
        output: Folder of the records.
        arguments: Further arguments.
        device: ``cpu`` or ``cuda``.
        seconds: Time after which it is stopped.
        variables: Variables of the environment that differ from this process's.

    Raises:
        RuntimeError: It failed; the message is its last line.
        TimeoutError: It was stopped; what is finished is in the records.
    """
    command = [sys.executable, "-m", "capsbench", "run", "quick", "--device", device]
    command += ["--wandb", "off", "--output", str(output), *arguments]
    limit = max(1.0, seconds - STOPPING - LOADING)
    environment = os.environ | variables
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            _, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=STOPPING)
            process.kill()
            raise TimeoutError(f"the run was stopped after {limit:.0f} s") from None
    sys.stderr.write(errors)  # into the log of the section
    if process.returncode:
        last = errors.strip().rpartition("\n")[2]
        raise RuntimeError(f"capsbench run ended with code {process.returncode}: {last}")
    return load_quick(output)


def load_quick(output: Path) -> BenchmarkResults:
    """Load the results of ``quick``, also if it is not finished."""
    results = load_results(output / "quick")
    assert isinstance(results, BenchmarkResults)
    return results


def accuracies(records: Results) -> list[dict[str, object]]:
    """Return a row for each cell: its status, speed, device and selected accuracy."""
    rows = []
    for cell in records.cells:
        row: dict[str, object] = {"model": cell.label, "seed": cell.seed, "problem": cell.problem}
        if cell.training is not None:
            execution = cell.training.execution
            row |= {
                "validation_accuracy": cell.trajectory[-1]["validation_accuracy"],
                "seconds": cell.training.seconds,
                "images_per_second": cell.training.images_per_second,
                "device": execution.device_name,
                "backends": ", ".join(execution.backends_used),
            }
        rows.append(row)
    return rows
