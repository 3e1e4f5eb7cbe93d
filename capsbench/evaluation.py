"""A model in memory, measured as a benchmark measures: `capsbench.evaluate`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from capsbench.capsules.losses import cross_entropy
from capsbench.contracts import Batch, ImageShape, Model, Prediction, one_hot
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError, in_one_line
from capsbench.measures._objects import with_objects
from capsbench.measures._result import Measured
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.progress import progress_bar
from capsbench.records import read_json
from capsbench.reporting.evaluation import Evaluation
from capsbench.running.checkpoints import load_checkpoint
from capsbench.running.examples import require_asked
from capsbench.running.plan import build_data
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
    """Measure a trained model as a benchmark measures its own; nothing is trained or recorded.

    A terminal shows how far each measure is.

    Args:
        model: A `Model`; any module that returns logits (B, K), of which the measures say what
            they cannot tell; or a checkpoint that a run has left,
            ``runs/<data>/<model>/<seed>-<fingerprint>/checkpoints/<rule>``. It is measured where it
            is, and left in the mode that it was in.
        benchmark: A name, a file, or a protocol; of it the data, the views and the measures count.
        sources: Other trained models by the labels that measures call them by, such as those that
            attacks are transferred from.
        data_root: Folder of data files at hand.
        limit: Use at most this many images of each split; as many as the benchmark if left out.

    Raises:
        UserError: The benchmark or the checkpoint is unknown, the data lacks what it asks for, or
            the model is of other images or classes, or not in float32. A measure that cannot be
            taken of this model says so in its notes instead.
    """
    protocol = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(str(benchmark))
    root = None if data_root is None else Path(data_root)
    recipe = protocol.recipe
    data, _ = build_data(
        protocol.data,
        protocol.views,
        root,
        batch_size=recipe.batch_size,
        limit=limit or recipe.limit,
    )
    ready = _ready(model, data)
    require_asked(protocol.measures, data)
    device = next(ready.parameters(), torch.empty(0)).device
    others = {label: _ready(source, data).to(device) for label, source in sources.items()}
    measured: dict[str, Measured] = {}
    with ExitStack() as stack:
        for each in (ready, *others.values()):
            stack.enter_context(evaluation_mode(each))
        for each in (ready, *others.values()):  # does it answer at all?
            each(torch.zeros(1, *each.image_shape, device=device))
        progress = stack.enter_context(progress_bar(Console(stderr=True)))
        for entry in protocol.measures:
            bar = progress.add_task(entry.measure, total=entry.steps, note="")
            measure = importlib.import_module(entry.module).measure
            more = {"sources": others} if entry.needs else {}
            try:
                found = measure(
                    entry, ready, data, str(device), partial(progress.advance, bar), **more
                )
            except UserError as error:  # what was measured before is not to be lost
                found = Measured({}, [], 0, {}, (f"not measured: {error}",))
            except RuntimeError as error:  # torch's: memory, or an operation of the model's
                why = in_one_line(error, type(ready).__module__)
                found = Measured({}, [], 0, {}, (f"not measured: {why}",))
            progress.remove_task(bar)
            measured[entry.measure] = found._replace(samples=with_objects(found.samples, data))
    of = ready.module if isinstance(ready, LogitsModel) else ready
    return Evaluation(protocol, type(of).__name__, measured)


class LogitsModel(Model):
    """Any module that returns logits, as a `Model` that can be measured and not trained.

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
            came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(
                f"expected logits of shape {(len(images), self.num_classes)} from "
                f"{type(self.module).__name__}, got {came}; give a capsbench.contracts.Model, or a "
                "module that returns logits"
            )
        return Prediction(logits)

    def addressed_modules(self) -> dict[str, nn.Module]:
        """The modules by their dotted paths within the module that is wrapped."""
        return {path: each for path, each in self.module.named_modules() if path}

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Cross-entropy, for measures that need a loss."""
        return cross_entropy(prediction.scores, one_hot(batch.targets, self.num_classes))


def _ready(model: nn.Module | Path | str, data: ImageDataModule) -> Model:
    """A model for the data's images and classes."""
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
    found = (tuple(model.image_shape), model.num_classes)
    expected = (tuple(data.image_shape), data.num_classes)
    if found != expected:
        raise UserError(
            f"the model is for images {found[0]} of {found[1]} classes, but {data.identity.name} "
            f"has images {expected[0]} of {expected[1]}"
        )
    return model


def _load(folder: Path) -> Model:
    """The model of a checkpoint; the cell that left it knows the name of its class."""
    config = folder.absolute().parent.parent / "config.json"
    if not config.is_file():
        raise UserError(
            f"{folder} is no checkpoint of a run (runs/<data>/<model>/<seed>-.../checkpoints/"
            "<rule>); load the model by its class's from_pretrained, and give the model"
        )
    return load_checkpoint(folder, read_json(config)["model"]["name"])
