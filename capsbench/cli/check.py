"""``capsbench check``: conformance of a model to the contract, with a remedy for each fault."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from capsbench.cli.facts import model_with_arguments, wrapper_facts
from capsbench.cli.options import (
    AsJson,
    complete_models,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.cli.show import parse_image_shape
from capsbench.names import find

if TYPE_CHECKING:
    from capsbench.conformance.contract import CheckResult

MARKS = {"passed": "ok", "failed": "FAILED", "not applicable": "-"}


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Name from `capsbench list models`, or file.py:Class, package.module:Class.",
            autocompletion=complete_models,
        ),
    ],
    image_shape: Annotated[
        str, typer.Option(metavar="CxHxW", help="Shape of the model's images.")
    ] = "1x28x28",
    classes: Annotated[int, typer.Option(min=2, metavar="N", help="Number of classes.")] = 10,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ARGUMENT=VALUE", help="Argument of the model; may be repeated."
        ),
    ] = None,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show tracebacks of errors in the model's code.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a model satisfies the contract.

    A network of another library, or a plain module that gives logits, is wrapped as a model; the
    wrapper is explained first. The checks cover shapes, loss, gradients, independence of the batch,
    image sizes, saving and loading, torch.compile and autocast. If a check fails, the exit code is
    1.
    """
    shape, target = parse_image_shape(image_shape), find("models", name)
    with json_on_stdout(as_json):
        cls, arguments = model_with_arguments(target, settings or [])
        from capsbench.conformance.contract import check_contract
        from capsbench.conformance.subject import Subject

        subject = Subject(cls, shape, classes, arguments)
        wrapper = wrapper_facts(subject.build()) if subject.wrapped else None
        if wrapper and not as_json:
            _print_wrapper(name, wrapper)
        results = (
            list(check_contract(subject))
            if as_json
            else _print(check_contract(subject), with_traceback)
        )
    if as_json:
        print_json(
            {
                "model": name,
                "image_shape": subject.image_shape,
                "classes": classes,
                "arguments": subject.arguments,
                "wrapper": wrapper,
                "passed": all(result.status != "failed" for result in results),
                "checks": [vars(result) for result in results],
            }
        )
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)
    if target.file is not None and not settings and not as_json:
        command = shlex.join(["capsbench", "run", "quick", "--models", f"+{name}"])
        plain_console().print(f"next: {command}   # beside the networks of quick", soft_wrap=True)


def _print_wrapper(name: str, wrapper: Mapping[str, str]) -> None:
    """Print how a network of another library takes part."""
    from rich.table import Table

    console = plain_console()
    console.print(f"{name} gives logits, and takes part as a model:", style="bold")
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(width=18)
    rows.add_column()
    for subject, text in wrapper.items():
        rows.add_row(subject.replace("_", " "), text)
    console.print(rows)
    console.print()


def _print(checks: Iterable[CheckResult], with_traceback: bool) -> list[CheckResult]:
    """Print each result as soon as it is available; the slowest check takes seconds."""
    from rich.table import Table

    from capsbench.conformance.contract import CHECKS

    console, results = plain_console(), []
    for result in checks:
        results.append(result)
        line = Table(box=None, pad_edge=False, show_header=False)
        line.add_column(width=18)
        line.add_column(width=6)
        line.add_column()
        failed = result.status == "failed"
        # The requirement if the check passed, else the fault.
        text = result.sentence if result.status == "passed" else result.detail
        line.add_row(result.check, MARKS[result.status], text, style="bold" if failed else None)
        if result.status == "passed":
            line.add_row("", "", result.detail, style="dim")
        console.print(line)
        if with_traceback and result.traceback:
            console.print(result.traceback)
    if remaining := len(CHECKS) - len(results):
        console.print(f"{remaining} other checks are not run, since they depend on the failed one")
    counts = Counter[str](result.status for result in results)
    console.print(", ".join(f"{counts[status]} {status}" for status in MARKS))
    return results
