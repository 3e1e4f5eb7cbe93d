"""A section that hangs, as a group of processes does whose members wait for each other."""

import time


def plan(parts):
    def hang():
        parts.keep({"rows": [1]})
        parts.keep({"rows": [1, 2]})
        time.sleep(60)

    return {"hang": hang, "never": dict}
