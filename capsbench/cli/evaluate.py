"""``capsbench evaluate``: measure weights that were trained elsewhere."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsbench.cli.measure import parse_sources
from capsbench.cli.options import (
    NOTHING_MEASURED,
    AsJson,
    DataRoot,
    ModelDevice,
    Sources,
    TrustCode,
    complete_benchmark,
    complete_models,
    json_on_stdout,
    plain_console,
)
from capsbench.environment.streams import print_line
from capsbench.errors import printable
from capsbench.trusted_code import trusting_code

if TYPE_CHECKING:
    from capsbench.data.images import ImageDataModule
    from capsbench.running.weights import TrainedModel


def evaluate(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="A state dict (.safetensors, .pt, .ckpt), a folder of save_pretrained, or a file "
            "of TorchScript or torch.export.",
        ),
    ],
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="BENCHMARK",
            help="A name from `capsbench list benchmarks`, or a YAML file.",
            autocompletion=complete_benchmark,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Network of the weights: a name, file.py:Class or package.module:Class.",
            autocompletion=complete_models,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ARGUMENT=VALUE", help="Argument of the network; may be repeated."
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="RUNS", help="Add the model to the benchmark's page in this folder."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Label of the model on the page.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Use at most this many images of each split."),
    ] = None,
    sources: Sources = None,
    data_root: DataRoot = None,
    device: ModelDevice = "auto",
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure weights that were trained elsewhere on a benchmark's data, views and measures.

    Nothing is trained. With --into, the model joins the benchmark's page, marked as trained
    elsewhere, under the protocol that is recorded there. If nothing is measured, it does not join,
    and the exit code is 1. Networks of TorchScript and torch.export are executed as they are: give
    only files that you trust.
    """
    with json_on_stdout(as_json), trusting_code(trust_code):
        from capsbench.evaluation import evaluate_loaded
        from capsbench.reporting.terminal import page_line
        from capsbench.running.weights import load_trained_model
        from capsbench.schema import parse_changes
        from capsbench.training.devices import resolve_device

        arguments, chosen = parse_changes(settings or []), resolve_device(device)

        def load(data: ImageDataModule) -> TrainedModel:
            trained = load_trained_model(
                weights, model, arguments, data.image_shape, data.num_classes, device=chosen
            )
            return replace(trained, command=printable(shlex.join(["capsbench", *sys.argv[1:]])))

        evaluation = evaluate_loaded(
            load,
            benchmark,
            into=into,
            label=label,
            sources=parse_sources(sources or []),
            data_root=data_root,
            limit=limit,
        )
    if as_json:
        print_line(evaluation.to_json())
    else:
        console = plain_console()
        console.print(evaluation.table(), soft_wrap=True)
        if evaluation.page is not None:
            console.print(page_line(evaluation.page), soft_wrap=True)
    if evaluation.is_empty:
        raise typer.Exit(NOTHING_MEASURED)
