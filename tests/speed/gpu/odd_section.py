"""A section whose parts fail in every way that a GPU makes them fail."""

import os
import signal
import sys

from capsbench.speed.gpu.parts import RESTART, Incomplete, NotMeasured


def plan(parts):
    def miss():
        raise NotMeasured("there is one device")

    def fail():
        raise RuntimeError("CUDA out of memory\nadvice")

    def fail_late():
        raise Incomplete(ValueError("the second row"), {"first": 1.5, "nan": float("nan")})

    def crash():
        parts.keep({"rows": [1]})
        os.kill(os.getpid(), signal.SIGSEGV)

    def lose_device():
        sys.exit(RESTART)

    return {
        "good": lambda: {"value": (1, 2)},
        "missing": miss,
        "failed": fail,
        "partly failed": fail_late,
        "crash": crash,
        "lost device": lose_device,
        "after": dict,
    }
