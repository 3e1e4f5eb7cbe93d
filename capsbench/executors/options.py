"""Options of executors: the engine, and how much of it a run uses."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from capsbench.errors import UserError
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

    @model_validator(mode="after")
    def _options_are_those_of_the_engine(self) -> Self:
        if self.address is not None and self.name != "ray":
            raise UserError("--address is that of a Ray cluster; add --executor ray")
        if self.slurm != SlurmOptions() and self.name != "slurm":
            raise UserError("--slurm has options of SLURM; add --executor slurm")
        return self

    @property
    def is_elsewhere(self) -> bool:
        """True if jobs run on machines whose devices this one does not know."""
        if self.name == "slurm":
            return self.slurm.cluster == "slurm"
        return self.address is not None
