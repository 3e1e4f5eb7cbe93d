"""Options of SLURM jobs, as ``--slurm partition=gpu,time=120`` states them."""

from __future__ import annotations

from pydantic import ConfigDict

from capsbench.strict import StrictModel


class SlurmOptions(StrictModel):
    """Resources and limits of each job."""

    model_config = ConfigDict(extra="forbid", frozen=True)
