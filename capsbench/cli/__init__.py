"""The command line; it imports no torch: each command imports what it needs when it runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from capsbench import __version__, process
from capsbench.cli import (
    bench,
    check,
    clean,
    compare,
    data,
    doctor,
    evaluate,
    listing,
    measure,
    merge,
    report,
    results,
    run,
    show,
    status,
)
from capsbench.environment import variables
from capsbench.environment.entry import run_process
from capsbench.environment.streams import print_line
from capsbench.errors import UserError

app = typer.Typer(
    help="What happens to an image classifier when the viewpoint changes.",
    epilog="Begin with 'capsbench run quick'. 'capsbench list' has all names, and 'capsbench show "
    "NAME' describes one.",
    rich_markup_mode=None,  # plain help takes half the time of a boxed one
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("list")(listing.listing)
app.command("show")(show.show)
app.command("check")(check.check)
app.command("data")(data.data)
app.command("measure")(measure.measure)
app.command("evaluate")(evaluate.evaluate)
app.command("status")(status.status)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("merge")(merge.merge)
app.command("clean")(clean.clean)
app.command("results")(results.results)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)


# Consequence of stopping a command that trains, by its name.
STOPPED = {
    "run": "the same command continues where it stopped",
    "bench": "nothing was written",
    "merge": "the same command continues where it stopped",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; ``sys.argv`` if left out.

    Returns:
        The exit code: 0, 1 after a failed check of a model or if nothing was measured, else see
        `run_process`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = next((word for word in given if not word.startswith("-")), "")
    return run_process(lambda: _run_typer(given), stopped=STOPPED.get(name, ""))


def _run_typer(given: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # With standalone_mode off, typer raises what it would otherwise print over several lines.
        code = command.main(given or ["--help"], prog_name="capsbench", standalone_mode=False)
    except typer.TyperException as error:
        raise UserError(_in_house_style(error.format_message())) from None
    return int(code or 0)


def _in_house_style(message: str) -> str:
    """Rewrite a message of typer in the form of our own messages.

    >>> _in_house_style("No such option: --modles (Possible options: --models)")
    'no such option: --modles; did you mean --models?'
    >>> _in_house_style("No such command 'rn'. Did you mean 'run'?")
    "no such command 'rn'; did you mean 'run'?"
    >>> _in_house_style("Invalid value for '--limit': Input should be greater than 0")
    "invalid value for '--limit': it should be greater than 0"
    """
    message = message.replace(": Value error, ", ": ").replace(": Input should", ": it should")
    message = re.sub(r" \(Possible options: (.*)\)$", r"; did you mean \1?", message)
    message = re.sub(r"\.\s+([A-Z])", lambda match: f"; {match[1].lower()}", message)
    return message[:1].lower() + message[1:].removesuffix(".")


def _print_version(requested: bool) -> None:
    if requested:
        print_line(f"capsbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    no_process_setup: Annotated[
        bool,
        typer.Option(
            "--no-process-setup",
            help="Leave memory and threads as they are: slower, but smaller in memory.",
        ),
    ] = False,
) -> None:
    if no_process_setup:
        os.environ[process.NO_SETUP] = "1"
    variables.require_valid()
    if context.invoked_subcommand in STOPPED:
        variables.require_process_numbers()
    process.set_up()  # before a command imports torch
