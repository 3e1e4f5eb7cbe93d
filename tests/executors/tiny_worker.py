"""Worker processes of a tiny function, started as those of `capsbench.running` are."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from capsbench.environment.entry import run_process
from capsbench.executors.group import answer_file
from capsbench.executors.template import become_worker
from capsbench.executors.worker import serve, stop_with_parent

COMMAND = (sys.executable, "-m", "tests.executors.tiny_worker")


def carry_out(request):
    """Carry out a request, ``[name, argument]``."""
    name, argument = json.loads(request)
    if name == "die":
        os.kill(os.getpid(), argument)
    elif name == "exit":
        os._exit(argument)
    elif name == "sleep":
        stopped = Path(argument)
        try:
            stopped.with_suffix(".started").touch()
            time.sleep(60)
        except KeyboardInterrupt:  # as a training saves its state
            stopped.touch()
            raise
    elif name == "go on":
        stopped = Path(argument)
        try:
            stopped.with_suffix(".started").touch()
            time.sleep(60)
        except KeyboardInterrupt:  # as code of a user that catches everything
            stopped.touch()
    elif name == "print":
        sys.stdout.write("text of the function\n")
        sys.stdout.flush()
    elif name == "read":
        return sys.stdin.read() or "nothing"
    elif name == "module":
        return import_module(argument).__name__
    elif name == "variable":
        return os.environ.get(argument, "")
    return f"{os.getpid()}"


def main():
    """Serve as what the arguments say."""
    match sys.argv[1:]:
        case []:
            serve(carry_out)
        case ["--template", number]:
            if become_worker(int(number)):
                serve(carry_out)
        case [request]:
            stop_with_parent()
            answer = carry_out(Path(request).read_text())
            answer_file(Path(request)).write_text(answer)


if __name__ == "__main__":
    sys.exit(run_process(main, stopped=None))
