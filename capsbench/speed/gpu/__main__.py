"""``python -m capsbench.speed.gpu``: check a machine with CUDA in six minutes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from capsbench.environment.entry import run_process
from capsbench.environment.streams import print_line
from capsbench.errors import UserError, unknown
from capsbench.files.folders import require_writable
from capsbench.speed.gpu.record import GpuRecord
from capsbench.speed.gpu.sections import SECTIONS
from capsbench.speed.gpu.supervision import check_machine
from capsbench.speed.gpu.tables import markdown

FAILED = 1  # exit code
LIMIT = 350  # seconds; with its start and end, the check takes six minutes


def gpu(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SECTION", help=f"Sections to run, of {', '.join(SECTIONS)}; all if left out."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of gpu.json.")] = Path(
        "runs/gpu"
    ),
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Device; auto is CUDA if it works.")
    ] = "auto",
    small: Annotated[bool, typer.Option("--small", help="Small sizes, as on a processor.")] = False,
    seconds: Annotated[
        float, typer.Option(min=10, metavar="SECONDS", help="Time for all sections together.")
    ] = LIMIT,
    commit: Annotated[
        str | None, typer.Option(metavar="HASH", help="Commit of a copy without git.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Measure nothing: print a gpu.json as tables in Markdown."
        ),
    ] = None,
) -> int:
    """Check kernels, precisions, devices and speed of a machine with CUDA in six minutes.

    Without CUDA it runs the same code on the processor with small sizes, to test the check itself.
    The exit code is 1 if a section failed.
    """
    if tables is not None:
        print_line(markdown(GpuRecord.load(tables)))
        return 0
    selected = list(dict.fromkeys(sections or SECTIONS))
    for name in selected:
        if name not in SECTIONS:
            raise unknown("section", name, tuple(SECTIONS))
    # The device of the others is not known without it.
    if device == "auto" and selected[0] != "machine":
        selected = ["machine", *(name for name in selected if name != "machine")]
    require_writable(output)
    path = output / "gpu.json"
    record = check_machine(
        path,
        command=shlex.join(["python", "-m", "capsbench.speed.gpu", *sys.argv[1:]]),
        sections=[SECTIONS[name] for name in selected],
        device=device,
        small=small,
        limit=seconds,
        commit=commit,
        report=_print_now,
    )
    print_line(f"written: {path} ({record.seconds:.0f} s)")
    if record.note:
        print_line(record.note)
    return FAILED if any(each.status == "failed" for each in record.sections) else 0


def _print_now(line: str) -> None:
    print_line(line)
    sys.stdout.flush()


def main() -> int:
    """Run the command; a failure that is no bug of ours is one line on stderr."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(gpu)
    command = typer.main.get_command(app)

    def call() -> int:
        try:
            return int(command.main(prog_name="make gpu", standalone_mode=False) or 0)
        except typer.TyperException as error:
            raise UserError(error.format_message()) from None

    return run_process(call, stopped="finished sections are in gpu.json")


if __name__ == "__main__":
    sys.exit(main())
