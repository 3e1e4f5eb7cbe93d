"""Autotuning: time several implementations, select the fastest, and cache the result."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from capsbench.capsules.kernels.code_cache import cache_folder

Candidates = Mapping[str, Callable[[], object]]
ROUNDS = 4


class AutotuningCache:
    """Select the fastest of several equivalent implementations on this machine.

    The times are measured on first use and kept in a file of the user's cache folder. Other
    processes, and a resumed training, therefore use the same implementation, bit for bit. Processes
    that need a result at the same time wait for the first of them and use its result. If no file
    can be written, the baseline is used without measurement, since the next process might select
    another implementation.

    Args:
        name: Name of the file, without its extension.
        names: All implementations. An entry of the file that selects another one is measured again.
        baseline: Implementation to use unless another one is clearly faster.
        margin: Minimum reduction of the time, as a fraction of the baseline's time.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        *,
        baseline: str,
        margin: float = 0.1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.names = names
        self.baseline = baseline
        self.margin = margin
        self.clock = clock
        self._selected: dict[str, str] = {}

    def fastest(self, case: str, candidates: Callable[[], Candidates]) -> str:
        """Return the name of the implementation for a case.

        Args:
            case: Description of all that the times depend on, including the machine.
            candidates: Returns the implementations by name, including the baseline; called only if
                the case has no result yet.
        """
        if case not in self._selected:
            self._selected[case] = self._load_or_measure(case, candidates)
        return self._selected[case]

    def selected(self) -> dict[str, str]:
        """Return the implementation of each case that this process has computed."""
        return dict(self._selected)

    def load(self) -> dict[str, dict[str, Any]]:
        """Return the results in the file, by case: ``chosen``, and ``milliseconds`` by name."""
        try:
            results = json.loads(self._file().read_bytes())["results"].items()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}  # no file yet, no access, or a damaged one: measure again
        return {case: entry for case, entry in results if self._is_valid(entry)}

    def _load_or_measure(self, case: str, candidates: Callable[[], Candidates]) -> str:
        try:
            path = self._file()
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                results = self.load()
                if case not in results:
                    results[case] = self._measure(candidates())
                    unfinished = path.with_suffix(".unfinished")
                    unfinished.write_text(json.dumps({"results": results}, indent=2), "utf-8")
                    unfinished.replace(path)  # atomic
        except (OSError, RuntimeError):  # no home folder, or no access to it
            return self.baseline
        return str(results[case]["chosen"])

    def _is_valid(self, entry: Any) -> bool:
        """Return True if an entry selects an implementation that exists and has its time."""
        if not isinstance(entry, dict) or not isinstance(entry.get("chosen"), str):
            return False
        times = entry.get("milliseconds")
        return (
            isinstance(times, dict)
            and entry["chosen"] in times
            and set(times) <= set(self.names)
            and all(type(best) in (int, float) and 0 <= best < math.inf for best in times.values())
        )

    def _measure(self, candidates: Candidates) -> dict[str, Any]:
        """Time the implementations in rounds; keep the minima, so that the first round warms up."""
        seconds = dict.fromkeys(candidates, float("inf"))
        for _ in range(ROUNDS):
            for name, compute in candidates.items():
                start = self.clock()
                compute()
                seconds[name] = min(seconds[name], self.clock() - start)
        fastest = min(seconds, key=lambda name: seconds[name])
        is_clear = seconds[fastest] <= (1 - self.margin) * seconds[self.baseline]
        return {
            "chosen": fastest if is_clear else self.baseline,
            "milliseconds": {name: round(1e3 * best, 3) for name, best in seconds.items()},
        }

    def _file(self) -> Path:
        return cache_folder() / f"{self.name}.json"
