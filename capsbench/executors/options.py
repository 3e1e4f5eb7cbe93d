"""Options of executors: the engine, and how much of it a run uses."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from capsbench.executors.slurm_options import SlurmOptions
from capsbench.strict import StrictModel


class ExecutorOptions(StrictModel):
    """Engine of a run and its limits; results do not depend on them.

    Attributes:
        name: ``local`` (processes of this machine), ``ray`` or ``slurm``.
        workers: Largest number of jobs at a time; None for as many as there is room for. 0 carries
            them out in this process, one after the other, for example under a debugger.
        per_device: Jobs that share an accelerator.
        retries: Repetitions of a job whose process died.
        address: Address of a Ray cluster; None for one on this machine.
        slurm: Options of SLURM.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["local", "ray", "slurm"] = "local"
    workers: int | None = Field(default=None, ge=0)
    per_device: int = Field(default=1, ge=1)
    retries: int = Field(default=2, ge=0)
    address: str | None = None
    slurm: SlurmOptions = SlurmOptions()
