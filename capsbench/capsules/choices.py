"""Which of several ways of computing the same is the fastest here: measured once, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from capsbench.capsules.kernels.native import cache_folder

Ways = Mapping[str, Callable[[], object]]
ROUNDS = 4


class Choices:
    """Chooses among ways of computing the same, by their times on this machine.

    The times are taken at the first need and kept in a file of the user's cache folder, so that
    other processes, and a training that is resumed, compute in the same way, bit for bit. Processes
    that need a choice at once wait for the first of them and take what it has found. Where no file
    can be kept, the baseline is taken unmeasured, since the next process might choose otherwise.

    Args:
        name: Of the file, without its ending.
        baseline: The way that is taken unless another one is clearly faster.
        margin: By which share of the baseline's time a way has to be faster than it.
        clock: Tells seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        baseline: str,
        margin: float = 0.1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.baseline = baseline
        self.margin = margin
        self.clock = clock
        self._known: dict[str, str] = {}

    def find(self, case: str, ways: Callable[[], Ways]) -> str:
        """The way for a case.

        Args:
            case: Everything on which the times depend, the machine included.
            ways: Makes the ways by name, the baseline among them; called if there is no choice yet.
        """
        if case not in self._known:
            self._known[case] = self._look_up(case, ways)
        return self._known[case]

    def used(self) -> dict[str, str]:
        """The way of each case that this process has met."""
        return dict(self._known)

    def kept(self) -> dict[str, dict[str, Any]]:
        """The choices in the file, by case: the way ``chosen``, the ``milliseconds`` of each."""
        try:
            choices: dict[str, dict[str, Any]] = json.loads(self._file().read_bytes())["choices"]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return {}  # none yet, or damaged: then they are made anew
        return choices

    def _look_up(self, case: str, ways: Callable[[], Ways]) -> str:
        try:
            path = self._file()
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                choices = self.kept()
                if not _is_whole(choices.get(case)):
                    choices[case] = self._measure(ways())
                    unfinished = path.with_suffix(".unfinished")
                    unfinished.write_text(json.dumps({"choices": choices}, indent=2))
                    unfinished.replace(path)  # whole or not at all
        except (OSError, RuntimeError):  # no home, or nothing can be locked or written there
            return self.baseline
        return str(choices[case]["chosen"])

    def _measure(self, ways: Ways) -> dict[str, Any]:
        """The shortest times of the ways, which take turns; the first one warms up."""
        seconds = dict.fromkeys(ways, float("inf"))
        for _ in range(ROUNDS):
            for name, compute in ways.items():
                start = self.clock()
                compute()
                seconds[name] = min(seconds[name], self.clock() - start)
        fastest = min(seconds, key=lambda name: seconds[name])
        clear = seconds[fastest] <= (1 - self.margin) * seconds[self.baseline]
        return {
            "chosen": fastest if clear else self.baseline,
            "milliseconds": {name: round(1e3 * taken, 3) for name, taken in seconds.items()},
        }

    def _file(self) -> Path:
        return cache_folder() / f"{self.name}.json"


def _is_whole(entry: Any) -> bool:
    """Whether there is a choice, and one among what was measured."""
    return isinstance(entry, dict) and entry.get("chosen") in entry.get("milliseconds", ())
