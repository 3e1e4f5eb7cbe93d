"""A run whose processes are killed at random, compared with an undisturbed one.

``make soak`` runs it until SOAK_KILLS processes were killed (default 100), from SOAK_SEED (default:
the time). Workers, the command itself, and whole groups of processes are killed by SIGKILL and
SIGTERM at random times; the command is repeated until it ends by itself. If that happens before the
number is reached, another run begins in another folder. All records and weights must be equal to
those of the undisturbed run, and nothing else may be left in the folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from capsbench.records.digests import result_digests
from capsbench.speed.tiny_cells import as_file, tiny_protocol

KINDS = ("worker", "worker", "worker", "command", "group")  # a worker more often than others
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
# Exit codes of a killed command; a second SIGTERM ends it at once.
ENDS = (-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM)
MAX_SECONDS = 6.0  # between two kills
OTHER_RECORDS = ("config.json", "log.txt")  # which may differ


@dataclass
class Soak:
    """Runs in a folder, disturbed or not.

    Attributes:
        folder: Folder of the benchmark's file and of the runs.
        cells: Number of cells.
        options: Further options of the command.
        killed: Number of kills by kind and signal.
    """

    folder: Path
    cells: int
    options: Sequence[str] = ()
    killed: Counter[str] = field(default_factory=Counter)

    def command(self, runs: Path) -> list[str]:
        """Return the command of a run, whose file is written first."""
        file = self.folder / "soak.yaml"
        file.write_text(as_file(tiny_protocol("soak", self.cells // 3)), encoding="utf-8")
        return [
            sys.executable, "-m", "capsbench", "run", str(file), "--output", str(runs),
            "--device", "cpu", "--wandb", "off", "--retries", "1000", *self.options,
        ]  # fmt: skip

    def undisturbed(self) -> dict[str, str]:
        """Run without disturbance; return the digests of the results."""
        runs = self.folder / "undisturbed"
        subprocess.run(self.command(runs), check=True, stdout=subprocess.DEVNULL)
        return digests(runs)

    def disturbed(self, number: int, kills: int, draw: random.Random) -> Path:
        """Run with kills until the command ends by itself; return the runs folder.

        Args:
            number: Number of the folder.
            kills: Largest number of kills, over all runs.
            draw: Random numbers.
        """
        runs = self.folder / f"disturbed-{number}"
        while True:
            with subprocess.Popen(
                self.command(runs), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stderr is not None
                while process.poll() is None:
                    if self.killed.total() < kills:
                        self._kill(process, draw)
                    else:
                        process.wait()
                errors = process.stderr.read()
            if process.returncode == 0:
                return runs
            if process.returncode not in ENDS:
                raise RuntimeError(f"the command ended with {process.returncode}: {errors}")

    def _kill(self, process: subprocess.Popen[str], draw: random.Random) -> None:
        """Wait for a random time, and kill one of the processes, or all."""
        time.sleep(draw.uniform(0, MAX_SECONDS))
        kind, number = draw.choice(KINDS), draw.choice(SIGNALS)
        below = descendants(process.pid)
        targets = {
            "worker": below and [draw.choice(below)],
            "command": [process.pid],
            "group": [process.pid, *below],
        }[kind]
        if process.poll() is not None or not targets:
            return
        self.killed[f"{kind} by {number.name}"] += 1
        for target in targets:
            try:
                os.kill(target, number)
            except ProcessLookupError:  # it has just ended
                continue


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has just ended
        return []
    return [each for child in map(int, listed) for each in (child, *descendants(child))]


def digests(runs: Path) -> dict[str, str]:
    """Return the digests of all results.

    Raises:
        RuntimeError: There are other files than records and weights.
    """
    results = result_digests(runs)
    others = {
        path.relative_to(runs).as_posix()
        for path in runs.glob("digits/*/*/**/*")
        if path.is_file()
        and path.parent.parent.name != "checkpoints"
        and path.name not in OTHER_RECORDS
    }
    others |= {path.relative_to(runs).as_posix() for path in runs.rglob(".*") if path.is_file()}
    if leftovers := others - results.keys():
        raise RuntimeError(f"left over: {sorted(leftovers)}")
    return results


def soak(folder: Path, *, cells: int, kills: int, seed: int) -> Soak:
    """Kill processes of runs until the number is reached, and compare the results.

    Raises:
        RuntimeError: A result differs, something is left over, or a command failed.
    """
    made, draw = Soak(folder, cells), random.Random(seed)
    expected = made.undisturbed()
    number = 0
    while made.killed.total() < kills:
        number += 1
        before = made.killed.total()
        got = digests(made.disturbed(number, kills, draw))
        differing = [place for place in expected | got if expected.get(place) != got.get(place)]
        if differing:
            raise RuntimeError(f"run {number} differs in {len(differing)} files: {differing[:5]}")
        sys.stderr.write(
            f"run {number}: {made.killed.total() - before} kills, {len(got)} files are equal\n"
        )
    return made


def main() -> None:
    """Run as ``make soak`` does."""
    kills = int(os.environ.get("SOAK_KILLS", "100"))
    seed = int(os.environ.get("SOAK_SEED", str(time.time_ns() % 1_000_000)))
    sys.stderr.write(f"SOAK_KILLS={kills} SOAK_SEED={seed}\n")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        made = soak(Path(folder), cells=30, kills=kills, seed=seed)
    minutes = (time.monotonic() - started) / 60
    sys.stderr.write(f"{made.killed.total()} kills in {minutes:.1f} min: {dict(made.killed)}\n")


if __name__ == "__main__":
    main()
