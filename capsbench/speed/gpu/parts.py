"""Parts of a section: each result is written at once, so that the next failure loses none.

The process of a section appends lines of JSON to a file: the names of all parts, then the start,
kept values and the result of each. The process that supervises it reads them.
"""

from __future__ import annotations

import gc
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from capsbench.speed.gpu.lines import append_line, read_parts
from capsbench.speed.gpu.record import PartResult, Status

RESTART = 75  # exit code of a process whose device accepts no more work after an error
NO_TIME = "the time of the section was over before it began"
MAX_TRACEBACK = 6000  # characters; the end names the error

Values = Mapping[str, Any]
Work = Callable[[], Values]


class NotMeasured(Exception):
    """Reason why this machine cannot do a part."""


class Incomplete(Exception):
    """Failure of a part after some of its results.

    The error itself is not kept: its traceback holds the tensors of the work that failed.

    Args:
        error: The failure.
        values: Results before it.
        status: ``failed``, or ``cut`` if the time was over.
    """

    def __init__(
        self, error: BaseException, values: Values, status: Literal["failed", "cut"] = "failed"
    ) -> None:
        super().__init__(describe(error))
        self.trace = format_traceback(error)
        self.values = values
        self.status = status


class Parts:
    """Setting of a section's parts, which it runs.

    A part whose result is in the file, or that ended the process before, is not run again.

    Args:
        file: File of the lines.
        device: ``cpu`` or ``cuda``; ``auto`` only for the section that chooses it.
        small: Use small sizes.
        seconds: Time of the section; parts that have not started by then are cut.
    """

    def __init__(self, file: Path, *, device: str, small: bool, seconds: float) -> None:
        self.file = file
        self.device = device
        self.small = small
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the section's time is over."""
        return self._end - time.monotonic()

    def keep(self, values: Values) -> None:
        """Keep results of the running part, in case it does not come to its end."""
        append_line(self.file, {"kept": plain(values)})

    def run(self, plan: Mapping[str, Work]) -> None:
        """Run parts in order; any error of a part is its result.

        Args:
            plan: The work of each part by its name, unique in the section. It returns the results:
                plain values, lists and mappings.
        """
        known = {each.name for each in read_parts(self.file)[0]}
        append_line(self.file, {"planned": list(plan)})
        for name, work in plan.items():
            if name not in known:
                self._run(name, work)

    def _run(self, name: str, work: Work) -> None:
        if self.left <= 0:
            self._finish(PartResult(name=name, status="cut", reason=NO_TIME))
            return
        append_line(self.file, {"begun": name})
        start = time.monotonic()
        status: Status = "done"
        values: Values = {}
        reason = trace = None
        try:
            values = work()
        except NotMeasured as missing:
            status, reason = "not measured", str(missing)
        except Incomplete as failure:
            status, reason, trace = failure.status, str(failure), failure.trace
            values = failure.values
        except Exception as error:  # noqa: BLE001 - a failure of any kind is the part's result
            status, reason, trace = "failed", describe(error), format_traceback(error)
        self._finish(
            PartResult(
                name=name,
                status=status,
                seconds=round(time.monotonic() - start, 3),
                values=plain(values),
                reason=reason,
                traceback=trace,
            )
        )
        if status == "failed":
            self._require_working_device()

    def _finish(self, result: PartResult) -> None:
        append_line(self.file, {"part": result.model_dump(mode="json")})

    def _require_working_device(self) -> None:
        """Free what a failed part left; end the process if the device reports an error by itself.

        After an illegal access, every later call of a process fails with the same error.
        """
        gc.collect()
        torch = sys.modules.get("torch")  # a section may use no device
        if torch is None or not torch.cuda.is_initialized():
            return
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            sys.exit(RESTART)


def describe(error: BaseException) -> str:
    """Return an error in one sentence: its kind and the first line of its message.

    >>> describe(ValueError("too large"))
    'ValueError: too large'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    return f"{name}: {lines[0][:300]}" if lines else name


def format_traceback(error: BaseException) -> str:
    """Return the end of an error's traceback."""
    return "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; numbers that are not finite become texts.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, 'nan']}
    """
    match value:
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case float():
            return value if math.isfinite(value) else str(value)
        case bool() | int() | str() | None:
            return value
    return str(value)
