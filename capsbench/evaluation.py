"""`capsbench.evaluate`: the measures of a benchmark on a model in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from capsbench.capsules.losses import cross_entropy
from capsbench.contracts import Batch, ImageShape, Model, Prediction, one_hot
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError, in_one_line
from capsbench.measures import MeasureConfig, MeasureContext, MeasureResult, run_measure
from capsbench.measures._objects import with_objects
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.progress import progress_bar
from capsbench.records import CellFolder, TrainingConfig
from capsbench.reporting.evaluation import Evaluation
from capsbench.running.cell import build_data
from capsbench.running.checkpoints import load_checkpoint
from capsbench.running.examples import require_images
from capsbench.schema import Benchmark, load_benchmark

NO_SOURCES: Mapping[str, Any] = MappingProxyType({})


def evaluate(
    model: nn.Module | Path | str,
    benchmark: Benchmark | Path | str,
    *,
    sources: Mapping[str, nn.Module | Path | str] = NO_SOURCES,
    data_root: Path | str | None = None,
    limit: int | None = None,
) -> Evaluation:
    """Compute the measures of a benchmark on a trained model; nothing is trained or recorded.

    A terminal shows the progress of each measure.

    Args:
        model: A `Model`; any module that returns logits (B, K), for which notes list the measures
            that need more; or a checkpoint of a run,
            ``runs/<data>/<model>/<seed>-<fingerprint>/checkpoints/<rule>``. It stays on its device,
            and keeps its mode.
        benchmark: A name, a file, or a protocol, of which data, views and measures are used.
        sources: Other trained models by the labels that measures use for them, such as those whose
            attacks are transferred.
        data_root: Folder of local data files.
        limit: Largest number of images of each split; by default that of the benchmark.

    Raises:
        UserError: The benchmark or the checkpoint is unknown, the data lacks a split or view of a
            measure, or the model is for other images or classes, or not in float32. A measure that
            cannot be computed on this model has a note instead of values.
    """
    protocol = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(str(benchmark))
    recipe = protocol.recipe
    data, _ = build_data(
        protocol.data,
        protocol.views,
        None if data_root is None else Path(data_root),
        batch_size=recipe.batch_size,
        limit=limit or recipe.limit,
    )
    ready = _ready(model, data)
    require_images(protocol.measures, data)
    device = next(ready.parameters(), torch.empty(0)).device
    others = {label: _ready(source, data).to(device) for label, source in sources.items()}
    results: dict[str, MeasureResult] = {}
    with ExitStack() as stack:
        for each in (ready, *others.values()):
            stack.enter_context(evaluation_mode(each))
        for each in (ready, *others.values()):  # fails before any measure if it cannot predict
            each(torch.zeros(1, *each.image_shape, device=device))
        progress = stack.enter_context(progress_bar(Console(stderr=True)))
        for config in protocol.measures:
            result = _compute(config, ready, data, str(device), others, progress)
            per_image = with_objects(result.per_image, data)
            results[config.measure] = result._replace(per_image=per_image)
    module = ready.module if isinstance(ready, LogitsModel) else ready
    return Evaluation(protocol, type(module).__name__, str(device), results)


def _compute(
    config: MeasureConfig,
    model: Model,
    data: ImageDataModule,
    device: str,
    sources: Mapping[str, Model],
    progress: Progress,
) -> MeasureResult:
    """Compute one measure; if it fails, return a note, so that the other measures are not lost."""
    bar = progress.add_task(config.measure, total=config.num_progress_steps, note="")
    context = MeasureContext(device, partial(progress.advance, bar), sources)
    try:
        return run_measure(config, model, data, context)
    except UserError as error:
        return MeasureResult((), {}, (f"not measured: {error}",))
    except RuntimeError as error:  # from torch: out of memory, or an operation of the model
        reason = in_one_line(error, type(model).__module__)
        return MeasureResult((), {}, (f"not measured: {reason}",))
    finally:
        progress.remove_task(bar)


class LogitsModel(Model):
    """A module that returns logits, as a `Model` that can be measured but not trained.

    Args:
        module: Images (B, C, H, W) in [0, 1] in, logits (B, K) out.
        image_shape: (C, H, W).
        num_classes: K.
    """

    def __init__(self, module: nn.Module, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.module = module

    def forward(self, images: Tensor, views: Any = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        logits = self.module(images)
        if not isinstance(logits, Tensor) or logits.shape != (len(images), self.num_classes):
            actual = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(
                f"expected logits of shape {(len(images), self.num_classes)} from "
                f"{type(self.module).__name__}, got {actual}; pass a capsbench.contracts.Model or "
                "a module that returns logits"
            )
        return Prediction(logits)

    def addressed_modules(self) -> dict[str, nn.Module]:
        """Return the modules by their dotted paths within the wrapped module."""
        return {path: each for path, each in self.module.named_modules() if path}

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Return the cross-entropy, for measures that need a loss."""
        return cross_entropy(prediction.scores, one_hot(batch.targets, self.num_classes))


def _ready(model: nn.Module | Path | str, data: ImageDataModule) -> Model:
    """Return a model for the images and classes of the data."""
    if isinstance(model, Path | str):
        model = _load(Path(model))
    if not isinstance(model, nn.Module):
        raise UserError(f"expected a module or the folder of a checkpoint, got {model!r}")
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise UserError(
                f"measures give images in float32, but the model has parameters in "
                f"{str(parameter.dtype).removeprefix('torch.')}: measure model.float()"
            )
    if not isinstance(model, Model):
        return LogitsModel(model, image_shape=data.image_shape, num_classes=data.num_classes)
    actual = (tuple(model.image_shape), model.num_classes)
    expected = (tuple(data.image_shape), data.num_classes)
    if actual != expected:
        raise UserError(
            f"the model is for images {actual[0]} of {actual[1]} classes, but {data.identity.name} "
            f"has images {expected[0]} of {expected[1]}"
        )
    return model


def _load(folder: Path) -> Model:
    """Load the model of a checkpoint; the cell that it belongs to records the name of its class."""
    config = CellFolder(folder.absolute().parent.parent).config
    if not config.is_file():
        raise UserError(
            f"{folder} is no checkpoint of a run (runs/<data>/<model>/<seed>-.../checkpoints/"
            "<rule>); load the model by its class's from_pretrained, and pass the model"
        )
    return load_checkpoint(folder, TrainingConfig.load(config).model.name)
