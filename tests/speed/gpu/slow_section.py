"""A section that hangs, as a group of processes does whose members wait for each other."""

import os
import subprocess
import sys
import time
from pathlib import Path

MEMBER = "CAPSBENCH_TEST_MEMBER"  # variable: file for the number of a process of the group


def plan(parts):
    def hang():
        parts.keep({"rows": [1]})
        parts.keep({"rows": [1, 2]})
        wait = [sys.executable, "-c", "import time; time.sleep(60)"]
        with subprocess.Popen(wait, process_group=0) as member:
            Path(os.environ[MEMBER]).write_text(str(member.pid))
            time.sleep(60)

    return {"hang": hang, "never": dict}
