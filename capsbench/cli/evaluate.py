"""``capsbench evaluate``: measure weights that were trained elsewhere."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from capsbench.cli.measure import parse_sources
from capsbench.cli.options import (
    AsJson,
    DataRoot,
    complete_benchmark,
    complete_models,
    json_on_stdout,
    plain_console,
)
from capsbench.errors import UserError
from capsbench.files.folders import require_folder, require_writable


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
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="LABEL=FOLDER",
            help="Training or checkpoint that a measure uses as well; may be repeated.",
        ),
    ] = None,
    data_root: DataRoot = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Device of the model.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure weights that were trained elsewhere on a benchmark's data, views and measures.

    Nothing is trained. With --into, the model joins the benchmark's page, marked as trained
    elsewhere, under the protocol that is recorded there. Networks of TorchScript and torch.export
    are executed as they are: give only files that you trust.
    """
    require_folder(data_root)
    if into is not None:
        require_writable(into)
    elif label is not None:
        raise UserError("--label names the model on a page; name the folder of it by --into RUNS")
    with json_on_stdout(as_json):
        from capsbench.evaluation import evaluate as evaluate_model
        from capsbench.reporting.terminal import page_line
        from capsbench.running.elsewhere import Page
        from capsbench.running.plan import resolve_data
        from capsbench.running.weights import load_trained_model
        from capsbench.schema import load_benchmark, parse_changes
        from capsbench.training.devices import resolve_device

        page = None if into is None else Page.open(benchmark, into, limit)
        protocol = load_benchmark(benchmark) if page is None else page.benchmark
        data, _ = resolve_data(protocol, data_root)
        trained = load_trained_model(
            weights,
            model,
            parse_changes(settings or []),
            data.image_shape,
            data.num_classes,
            device=resolve_device(device),
        )
        evaluation = evaluate_model(
            replace(trained, command=shlex.join(["capsbench", *sys.argv[1:]])),
            benchmark,
            into=into,
            label=label,
            sources={
                name: _checkpoint(folder, protocol.selection)
                for name, folder in parse_sources(sources or []).items()
            },
            data_root=data_root,
            limit=limit,
        )
    if as_json:
        typer.echo(evaluation.to_json())
        return
    console = plain_console()
    console.print(evaluation.table(), soft_wrap=True)
    if evaluation.page is not None:
        console.print(page_line(evaluation.page), soft_wrap=True)


def _checkpoint(folder: Path, rule: str) -> Path:
    """Return the checkpoint of a training's folder; a checkpoint itself is returned as it is."""
    from capsbench.records import CellFolder

    cell = CellFolder(folder)
    return cell.checkpoint(rule) if cell.config.is_file() and cell.training.is_file() else folder
