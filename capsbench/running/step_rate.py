"""Present speed of a job in steps per second."""

from __future__ import annotations

import time
from collections import deque

WINDOW = 10  # marks, at least a second apart


class StepRate:
    """Speed over about the last ten seconds of the steps that it is called with."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=WINDOW)

    def __call__(self, step: int) -> float:
        """Take in the number of finished steps; return the steps per second, 0 at first."""
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, step))
        since, first = self._marks[0]
        return round((step - first) / (now - since), 3) if now > since else 0.0
