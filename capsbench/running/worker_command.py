"""The command of a worker process, and the template of workers that `run` starts ahead."""

from __future__ import annotations

import sys

from capsbench.executors.template import Template

WORKER = (sys.executable, "-m", "capsbench.running")
# wandb imports this at its first run. It looks at all modules that are there then, so that it comes
# before torch.
MIRROR = "wandb.sdk.launch"


def worker_template(*, mirrors: bool) -> Template:
    """Return the template of the workers of a command.

    Args:
        mirrors: Workers mirror to Weights & Biases.
    """
    return Template(WORKER, (MIRROR,) if mirrors else ())
