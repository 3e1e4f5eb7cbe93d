"""``python -m capsbench.running REQUEST``: each process of a group that trains a cell."""

import sys

from capsbench import process
from capsbench.errors import UserError

if __name__ == "__main__":
    process.set_up()  # before the worker imports torch
    from capsbench.running.process_group import main

    try:
        main(sys.argv[1])
    except UserError as error:
        sys.exit(f"capsbench: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
