"""`capsbench.evaluate`: the measures of a benchmark on a model in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError, in_one_line, unknown
from capsbench.files.folders import is_folder, require_folder, require_writable
from capsbench.files.holder import Holder
from capsbench.measures import MeasureConfig, MeasureContext, MeasureResult, run_measure
from capsbench.measures._objects import with_objects
from capsbench.measures._repeated_passes import repeated_pass_notes
from capsbench.profiling.device import device_of
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.progress import progress_bar
from capsbench.records import CellFolder
from capsbench.reporting.evaluation import Evaluation
from capsbench.running.cell import build_data
from capsbench.running.elsewhere import ElsewhereCell, Page
from capsbench.running.examples import require_images
from capsbench.running.resolve_layers import with_own_layers
from capsbench.running.weights import TrainedModel, in_memory, load_trained_model
from capsbench.schema import Benchmark, load_benchmark
from capsbench.training.devices import threads_on, use_threads
from capsbench.trusted_code import trusting_code
from capsbench.wrapping.live import as_model, unwrap

NOTHING: Mapping[str, Any] = MappingProxyType({})


def evaluate(
    model: nn.Module | Path | str,
    benchmark: Benchmark | Path | str,
    *,
    network: str | None = None,
    arguments: Mapping[str, Any] = NOTHING,
    into: Path | str | None = None,
    label: str | None = None,
    sources: Mapping[str, nn.Module | Path | str] = NOTHING,
    data_root: Path | str | None = None,
    limit: int | None = None,
    trust_code: bool = False,
) -> Evaluation:
    """Compute the measures of a benchmark on a trained model; nothing is trained.

    On a processor, the measures use the threads that the benchmark states, and each record
    names them. A terminal shows the progress of each measure. With ``into``, the model joins
    the benchmark's page in a folder of runs, marked as trained elsewhere. The protocol is then
    the recorded one, and recorded measures of the same weights are not computed again. If
    nothing at all is measured, the model does not join, and nothing is recorded. The identity
    of a model in memory covers its class, settings and tensors, but not the code of its
    ``forward``.

    Args:
        model: A `Model`; any module that returns logits (B, K), for which notes list the measures
            that need more. It stays on its device, and keeps its mode. Or a file or folder of
            weights, see `capsbench.running.weights.load_trained_model`, such as a checkpoint of a
            run, ``runs/<data>/<model>/<seed>-<fingerprint>/checkpoints/<rule>``.
        benchmark: A name, a file, or a protocol, of which data, views and measures are used.
        network: Name or path of the network of a file of weights, as in ``capsbench evaluate``.
        arguments: Arguments of that network.
        into: Folder of runs whose page the model joins; nothing is recorded if left out.
        label: Label of the model there; by default the name of its class.
        sources: Other trained models by the labels that measures use for them, such as those whose
            attacks are transferred; also folders of trainings.
        data_root: Folder of local data files.
        limit: Largest number of images of each split; by default that of the benchmark.
        trust_code: Also run code that the file, or a record in ``into``, names elsewhere; see
            ``docs/safety.md``.

    Raises:
        UserError: The benchmark, the weights or a source is unknown, the data lacks a split or view
            of a measure, or the model is for other images or classes, or not in float32; or see
            `capsbench.running.elsewhere.Page.open`. A measure that cannot be computed on this model
            has a note instead of values.
    """
    is_file = isinstance(model, Path | str)
    if not is_file and (network is not None or arguments):
        raise UserError("network and arguments belong to a file of weights, not to a module")
    with trusting_code(trust_code):
        return evaluate_loaded(
            lambda data: _trained(model, data, network, arguments),
            benchmark,
            into=None if into is None else Path(into),
            label=label,
            sources=sources,
            data_root=None if data_root is None else Path(data_root),
            limit=limit,
        )


def evaluate_loaded(
    load: Callable[[ImageDataModule], TrainedModel],
    benchmark: Benchmark | Path | str,
    *,
    into: Path | None,
    label: str | None,
    sources: Mapping[str, nn.Module | Path | str],
    data_root: Path | None,
    limit: int | None,
) -> Evaluation:
    """Compute the measures on the model that a function loads for the data; see `evaluate`."""
    if limit is not None and limit < 1:
        raise UserError(f"limit: expected one or more images of each split, got {limit}")
    require_folder(data_root)
    if into is not None:
        require_writable(into)
    elif label is not None:
        raise UserError("a label names the model on a page: name its folder by into, --into RUNS")
    page = None if into is None else Page.open(benchmark, into, limit)
    if page is not None:
        protocol = page.benchmark
    else:
        protocol = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(str(benchmark))
    known = {label for measure in protocol.measures for label in measure.source_models}
    if strange := [label for label in sources if label not in known]:
        raise unknown(f"source for '{protocol.name}':", strange[0], known)
    recipe = protocol.recipe
    data, _ = build_data(
        protocol.data,
        protocol.views,
        data_root,
        batch_size=recipe.batch_size,
        limit=limit or recipe.limit,
    )
    trained = load(data)
    trained_sources = {
        name: _trained(_checkpoint(source, protocol.selection), data)
        for name, source in sources.items()
    }
    fitted = partial(as_model, image_shape=data.image_shape, num_classes=data.num_classes)
    ready = fitted(trained.module)
    require_images(protocol.measures, data)
    device = torch.device(device_of(ready))
    others = {n: fitted(each.module).to(device) for n, each in trained_sources.items()}
    cell = None
    if page is not None:
        cell = ElsewhereCell.of(
            page, trained, label=label, sources=trained_sources, data_root=data_root
        )
    results: dict[str, MeasureResult] = {}
    empty: list[Callable[[], None]] = []
    with ExitStack() as stack:
        stack.enter_context(use_threads(threads_on(device.type, protocol.threads)))
        for each in (ready, *others.values()):
            stack.enter_context(evaluation_mode(each))
        for each in (ready, *others.values()):  # fails before any measure if it cannot predict
            each(torch.zeros(1, *each.image_shape, device=device))
        if cell is not None:
            held = stack.enter_context(cell.lock(_print_wait))
        progress = stack.enter_context(progress_bar(Console(stderr=True)))
        model_notes = cache(partial(repeated_pass_notes, data=data, device=str(device)))
        for config in protocol.measures:
            result = None if cell is None else cell.load(config)
            if result is None:
                started = time.perf_counter()
                own = with_own_layers(config, ready)
                try:
                    context = MeasureContext(str(device), sources=others, model_notes=model_notes)
                    result = _compute(own, ready, data, context, progress)
                except (UserError, RuntimeError) as error:  # others go on; computed again next time
                    results[config.measure] = _not_measured(error, ready)
                    continue
                if cell is not None:
                    held.require_held()
                    seconds = time.perf_counter() - started
                    save = partial(cell.save, config, result, seconds=seconds, device=device.type)
                    # Notes alone are recorded only beside values of another measure.
                    save() if result.values else empty.append(save)
            results[config.measure] = result
        evaluation = Evaluation(protocol, trained.name, str(device), results)
        if cell is not None and evaluation.is_empty:
            cell.discard()
        elif cell is not None:
            for save_empty in empty:
                save_empty()
    if cell is None or evaluation.is_empty:
        return evaluation
    return replace(evaluation, page=cell.join(data))


def _print_wait(holder: Holder) -> None:
    Console(stderr=True).print(f"waiting for {holder}", markup=False, soft_wrap=True)


def _trained(
    model: nn.Module | Path | str,
    data: ImageDataModule,
    network: str | None = None,
    arguments: Mapping[str, Any] = NOTHING,
) -> TrainedModel:
    """Return a model with the identity of its weights, loaded if it is a file or folder."""
    if isinstance(model, Path | str):
        shape, classes = data.image_shape, data.num_classes
        return load_trained_model(Path(model), network, arguments, shape, classes)
    return in_memory(unwrap(model))


def _checkpoint(source: nn.Module | Path | str, rule: str) -> nn.Module | Path:
    """Return the checkpoint of a training's folder; anything else as it is."""
    if not isinstance(source, Path | str):
        return source
    folder = Path(source)
    cell = CellFolder(folder)
    trained = is_folder(folder, "source") and cell.config.is_file() and cell.training.is_file()
    return cell.checkpoint(rule) if trained else folder


def _compute(
    config: MeasureConfig,
    model: Model,
    data: ImageDataModule,
    context: MeasureContext,
    progress: Progress,
) -> MeasureResult:
    """Compute one measure, with its progress."""
    bar = progress.add_task(config.measure, total=config.num_progress_steps, note="")
    context = replace(context, advance=partial(progress.advance, bar))
    try:
        result = run_measure(config, model, data, context)
    finally:
        progress.remove_task(bar)
    return result._replace(per_image=with_objects(result.per_image, data))


def _not_measured(error: UserError | RuntimeError, model: Model) -> MeasureResult:
    """Return a note on bad input, or on an error of torch, such as out of memory."""
    own = isinstance(error, UserError)
    reason = error if own else in_one_line(error, type(model).__module__)
    return MeasureResult((), {}, (f"not measured: {reason}",))
