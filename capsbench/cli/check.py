"""``capsbench check``: whether a model keeps the contract, and what to do where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from capsbench.cli.facts import model_with_arguments
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
    from capsbench.conformance.contract import Result

MARKS = {"passed": "ok", "failed": "FAILED", "not applicable": "-"}


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name from `capsbench list models`, or file.py:Class, package.module:Class.",
            autocompletion=complete_models,
        ),
    ],
    image_shape: Annotated[
        str, typer.Option(metavar="CxHxW", help="Images for which the model is built.")
    ] = "1x28x28",
    classes: Annotated[int, typer.Option(min=2, help="Classes for which it is built.")] = 10,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ARGUMENT=VALUE", help="An argument of the model."),
    ] = None,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where errors in the model's code come from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a model keeps the contract.

    Shapes, loss, gradients, independence of the batch, image sizes, saving and loading,
    torch.compile, autocast. Exit code 1 if a check fails.
    """
    shape, target = parse_image_shape(image_shape), find("models", name)
    with json_on_stdout(as_json):
        cls, arguments = model_with_arguments(target, settings or [])
        from capsbench.conformance.contract import check_contract
        from capsbench.conformance.subject import Subject

        subject = Subject(cls, shape, classes, arguments)
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
                "passed": all(result.status != "failed" for result in results),
                "checks": [vars(result) for result in results],
            }
        )
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)


def _print(found: Iterable[Result], with_traceback: bool) -> list[Result]:
    """Show each result as soon as it is there; the slowest check takes seconds."""
    from rich.table import Table

    from capsbench.conformance.contract import CHECKS

    console, results = plain_console(), []
    for result in found:
        results.append(result)
        line = Table(box=None, pad_edge=False, show_header=False)
        line.add_column(width=18)
        line.add_column(width=6)
        line.add_column()
        failed = result.status == "failed"
        # What passed says what it promises; what did not, what is wrong.
        told = result.sentence if result.status == "passed" else result.detail
        line.add_row(result.check, MARKS[result.status], told, style="bold" if failed else None)
        if result.status == "passed":
            line.add_row("", "", result.detail, style="dim")
        console.print(line)
        if with_traceback and result.traceback:
            console.print(result.traceback)
    if left := len(CHECKS) - len(results):
        console.print(f"the other {left} checks are not run, since they build on what fails")
    counted = Counter[str](result.status for result in results)
    console.print(", ".join(f"{counted[status]} {status}" for status in MARKS))
    return results
