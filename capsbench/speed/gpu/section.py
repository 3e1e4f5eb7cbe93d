"""``python -m capsbench.speed.gpu.section REQUEST``: the process of one section."""

from __future__ import annotations

import faulthandler
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Literal

from pydantic import BaseModel


class SectionRequest(BaseModel):
    """A section to run, as plain JSON.

    Attributes:
        module: Module of the section.
        file: File of the results of its parts.
        device: Device; ``auto`` only for the section that chooses it.
        small: Use small sizes.
        seconds: Time of the section.
    """

    module: str
    file: Path
    device: Literal["auto", "cpu", "cuda"]
    small: bool
    seconds: float


def run_section(request: SectionRequest) -> None:
    """Run the parts of a section in this process."""
    from capsbench.speed.gpu.parts import Parts

    parts = Parts(request.file, device=request.device, small=request.small, seconds=request.seconds)
    parts.run(import_module(request.module).plan(parts))


def main(request: SectionRequest) -> None:
    """Prepare the process of a section and run its parts."""
    # The stacks of all threads in the log: at a crash, and shortly before a hang is ended.
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(1.0, request.seconds - 1))
    # Before torch is imported: its profiler, which measures memory, prints messages on stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from capsbench import process

    process.set_up()
    run_section(request)


if __name__ == "__main__":
    main(SectionRequest.model_validate_json(sys.argv[1]))
