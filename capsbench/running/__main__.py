"""Entry of the processes that carry out jobs.

``python -m capsbench.running`` is a worker of a pool. ``python -m capsbench.running --template
SOCKET MODULES`` is a template of workers, which imports these modules first. ``python -m
capsbench.running REQUEST`` is each process of a group that carries out one request.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from capsbench import process
from capsbench.environment import variables
from capsbench.environment.entry import run_process


def _work() -> None:
    variables.require_valid()
    variables.require_process_numbers()
    os.environ.pop("PL_GLOBAL_SEED", None)  # Lightning's DDP would draw with this seed
    process.set_up()  # before torch is imported
    match sys.argv[1:]:
        case []:
            _serve()
        case ["--template", number, *modules]:
            _serve_as_template(int(number), modules)
        case [request]:
            _carry_out(Path(request))


def _serve() -> None:
    from capsbench.executors.worker import serve
    from capsbench.running.run_job import run_logged

    serve(run_logged)


def _serve_as_template(number: int, modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)
    import torch

    import capsbench.reporting.report_files
    import capsbench.running.run_job
    import capsbench.training.train  # noqa: F401 - imported once, for all workers
    from capsbench.executors.template import become_worker

    if become_worker(number):
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit() and int(threads):  # set after OpenMP has read it
            torch.set_num_threads(int(threads))
        _serve()


def _carry_out(request: Path) -> None:
    from capsbench.executors.group import answer_file
    from capsbench.executors.worker import stop_with_parent
    from capsbench.running.job_request import Outcome
    from capsbench.running.run_job import run_logged

    stop_with_parent()
    answer = run_logged(request.read_text(encoding="utf-8"))
    answer_file(request).write_text(answer, encoding="utf-8")
    if Outcome.model_validate_json(answer).status != "done":
        sys.exit(1)  # the others of the group must not wait


if __name__ == "__main__":
    sys.exit(run_process(_work, stopped=None))  # its parent says so
