"""``python -m capsbench.running REQUEST``: each process of a group that trains a cell."""

import os
import sys

from capsbench import process
from capsbench.environment import variables
from capsbench.environment.entry import run_process


def _train() -> None:
    variables.require_valid()
    variables.require_process_numbers()
    os.environ.pop("PL_GLOBAL_SEED", None)  # Lightning's DDP would draw with this seed
    process.set_up()  # before the worker imports torch
    from capsbench.running.process_group import main

    main(sys.argv[1])


if __name__ == "__main__":
    sys.exit(run_process(_train, stopped=None))  # its parent says so
