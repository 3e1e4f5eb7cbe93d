"""Records as a run leaves them, made up: no training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from capsbench.files.atomic import write_npz, write_rows
from capsbench.measures.accuracy_by_view import AccuracyByViewConfig
from capsbench.names import find
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    CellReference,
    MeasureRecord,
    ProtocolChanges,
    Provenance,
    TrainingConfig,
    TrainingRecord,
)
from capsbench.records.benchmark import ExampleList, ExampleView
from capsbench.records.training import DataConfig, ExecutionRecord, ModelConfig, Selected
from capsbench.schema import Benchmark
from capsbench.training.selection import RULES, at_step
from capsbench.values import Quantity, Value
from capsbench.viewpoint.grid import ViewGrid

if TYPE_CHECKING:
    from tests.reporting.chromium import Browser

VERSIONS = {"python": "3.11.9", "torch": "2.15.0", "capsbench": "0.1.0"}
MODELS = (("CNN", "cnn-small"), ("Dynamic routing", "capsnet-dr"), ("EM routing", "capsnet-em"))
IMAGES = 400


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium; the test is skipped, with a reason, if it is not installed."""
    from tests.reporting.chromium import started_browser

    with started_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


class WriteBenchmark(Protocol):
    def __call__(
        self,
        runs: Path,
        *,
        seeds: tuple[int, ...] = ...,
        models: tuple[tuple[str, str], ...] = ...,
        diverged: tuple[tuple[str, int], ...] = ...,
        unfinished: tuple[tuple[str, int], ...] = ...,
        settings: dict[str, Any] | None = ...,
        published: tuple[dict[str, Any], ...] = ...,
    ) -> Path: ...


@pytest.fixture(scope="session")
def write_benchmark() -> WriteBenchmark:
    return _write_benchmark


def _write_benchmark(
    runs: Path,
    *,
    seeds: tuple[int, ...] = (0, 1),
    models: tuple[tuple[str, str], ...] = MODELS,
    diverged: tuple[tuple[str, int], ...] = (),
    unfinished: tuple[tuple[str, int], ...] = (),
    settings: dict[str, Any] | None = None,
    published: tuple[dict[str, Any], ...] = (),
) -> Path:
    """Write the records of a benchmark whose cells have accuracies by view."""
    benchmark = Benchmark.model_validate(
        {
            "name": "quick",
            "version": 1,
            "title": "Digits, upright in training and turned in the test",
            "question": "What does a change of viewpoint do to a CNN and to two capsule networks?",
            "source": "made for CapsBench",
            "data": {"name": "digits"},
            "views": {"rotation": (-15, 15), "shift": (-2, 2)},
            "models": [{"name": name, "label": label} for label, name in models],
            "recipe": {
                "steps": 300,
                "evaluate_every": 50,
                "batch_size": 64,
                "learning_rate": 0.002,
                "schedule": "cosine",
            },
            "seeds": seeds,
            "measures": [
                {
                    "measure": "accuracy-by-view",
                    "grid": {
                        "rotation": {"start": -180, "stop": 180, "step": 15},
                        "shift_x": {"start": -8, "stop": 8, "step": 1},
                        "shift_y": {"start": -8, "stop": 8, "step": 1},
                        "scale": {"start": 0.5, "stop": 1.5, "step": 0.1},
                    },
                }
            ],
            "published": published,
        }
    )
    cells = []
    for index, (label, name) in enumerate(models):
        for seed in seeds:
            identity = "Net@0123456789abcdef" if name.endswith(".py:Net") else name
            config = _config(benchmark, identity, index, seed)
            random = np.random.default_rng((index, seed))
            record = _record(benchmark, "accuracy-by-view", _accuracies(benchmark, index, random))
            measure = f"accuracy-by-view-{record.fingerprint}"
            cell = CellReference(
                label=label,
                model=name,
                seed=seed,
                path=f"digits/{identity.partition('@')[0]}/{seed}-{config.fingerprint}",
                measures={"accuracy-by-view": measure},
            )
            cells.append(cell)
            folder = CellFolder(runs / cell.path)
            config.save(folder.config)
            if (label, seed) in unfinished:
                continue
            _write_training(folder, index, seed, random, diverged=(label, seed) in diverged)
            if (label, seed) not in diverged:
                record.save(folder.measure(measure))
    views = tuple(
        ExampleView(factor=v.factor, value=v.value, familiar=benchmark.views.familiar(v))
        for v in _grid(benchmark).views()
    )
    files = BenchmarkFolder(runs / "quick")
    BenchmarkRecord(
        benchmark=benchmark,
        changes=ProtocolChanges(settings=settings or {}),
        command="capsbench run quick",
        cells=tuple(cells),
        examples=ExampleList(views=views, classes=("3", "7", "4")),
        provenance=_provenance("19:30"),
    ).save(files.record)
    write_npz(files.examples, {"images": _images(len(views), 3)})
    return files.path


class AddMeasure(Protocol):
    def __call__(
        self,
        folder: Path,
        label: str,
        seed: int,
        config: dict[str, Any],
        values: Sequence[Value],
        *,
        per_image: dict[str, np.ndarray[Any, Any]] | None = ...,
        notes: tuple[str, ...] = ...,
    ) -> None: ...


@pytest.fixture(scope="session")
def add_measure() -> AddMeasure:
    return _add_measure


def _add_measure(
    folder: Path,
    label: str,
    seed: int,
    config: dict[str, Any],
    values: Sequence[Value],
    *,
    per_image: dict[str, np.ndarray[Any, Any]] | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    """Give a written cell the record of another measure, and the benchmark the measure."""
    path = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(path)
    measure = config["measure"]
    others = [each for each in record.benchmark.measures if each.measure != measure]
    content = record.benchmark.model_dump() | {"measures": [*others, config]}
    benchmark = Benchmark.model_validate(content)
    added = _record(benchmark, measure, values, notes=notes)
    name = f"{find('measures', measure).slug}-{added.fingerprint}"
    cells = tuple(
        cell.model_copy(update={"measures": cell.measures | {measure: name}})
        if (cell.label, cell.seed) == (label, seed)
        else cell
        for cell in record.cells
    )
    record.model_copy(update={"benchmark": benchmark, "cells": cells}).save(path)
    for cell in cells:
        if (cell.label, cell.seed) == (label, seed):
            files = CellFolder(folder.parent / cell.path)
            write_npz(files.per_image(name), per_image or {})
            added.save(files.measure(name))


def _grid(benchmark: Benchmark) -> ViewGrid:
    config = benchmark.measures[0]
    assert isinstance(config, AccuracyByViewConfig)
    return config.grid


def _provenance(time: str) -> Provenance:
    date = f"2026-11-22T{time}:00+00:00"
    return Provenance(versions=VERSIONS, commit="0123abcd", date=date)


def _images(views: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return images of a bar that turns from view to view: (V, K, 1, 32, 32)."""
    y, x = np.mgrid[-15.5:16:1, -15.5:16:1]
    angle = np.linspace(0, np.pi, views)[:, None, None, None]
    width = np.arange(2, 2 + count)[None, :, None, None]
    across = np.abs(x * np.cos(angle) + y * np.sin(angle))
    along = np.abs(y * np.cos(angle) - x * np.sin(angle))
    bar = np.clip(width - across, 0, 1) * (along < 10)
    return (255 * bar).astype(np.uint8)[:, :, None]


def _config(benchmark: Benchmark, name: str, index: int, seed: int) -> TrainingConfig:
    return TrainingConfig(
        model=ModelConfig(name=name, arguments={"channels": [16, 32 + index], "dropout": 0.0}),
        data=DataConfig(
            name="digits",
            arguments={},
            identity={"name": "digits", "version": "sklearn-1", "checksum": "f00d"},
            image_shape=(1, 32, 32),
            num_classes=10,
        ),
        views=benchmark.views,
        recipe=benchmark.recipe,
        seed=seed,
    )


def _write_training(
    folder: CellFolder, index: int, seed: int, random: np.random.Generator, *, diverged: bool
) -> None:
    steps = np.arange(50, 137 if diverged else 301, 50)
    rows = [
        {
            "step": float(step),
            "train_loss": float(2.3 * np.exp(-step / 90) + 0.02 * random.random()),
            "validation_loss": float(2.3 * np.exp(-step / 80) + 0.1),
            "validation_accuracy": float(1 - 0.9 * np.exp(-step / 70) - 0.02 * random.random()),
            "learning_rate": 0.002,
            "seconds": float(step) / 15,
        }
        for step in steps
    ]
    write_rows(folder.trajectory, rows)
    steps_of = {rule: select(rows) for rule, select in RULES.items()}
    selected = {
        rule: Selected(
            step=step,
            accuracy=at_step(rows, step)["validation_accuracy"],
            probability_exponent=2.5 if rule == "last" else 1.0,
            exponent_note=None if rule == "last" else "the logits are not finite",
        )
        for rule, step in steps_of.items()
    }
    TrainingRecord(
        status="diverged" if diverged else "trained",
        diverged_at=137 if diverged else None,
        parameters=50_000 + 1_000 * index,
        flops=4_000_000 // (index + 1),
        seconds=20.0 + 7 * index + seed,
        images_per_second=960.0,
        selected=selected,
        execution=ExecutionRecord(device="cpu", device_name="two cores"),
        provenance=_provenance("19:31"),
    ).save(folder.training)


def _record(
    benchmark: Benchmark, measure: str, values: Sequence[Value], *, notes: tuple[str, ...] = ()
) -> MeasureRecord:
    config = next(each for each in benchmark.measures if each.measure == measure)
    return MeasureRecord(
        measure=measure,
        arguments=config.model_dump(mode="json", exclude={"measure"}),
        rule="validation",
        values=tuple(values),
        notes=notes,
        seconds=3.5,
        device="two cores",
        provenance=_provenance("19:32"),
    )


def _accuracies(benchmark: Benchmark, index: int, random: np.random.Generator) -> list[Value]:
    """Return made-up values of the measure ``accuracy-by-view``: each view, and summaries."""
    grid, at_views = _grid(benchmark), list[Value]()
    for view in grid.views():
        spread = {"rotation": 50.0, "scale": 0.3}.get(view.factor, 4.0) * (1 + 0.25 * index)
        middle = 1.0 if view.factor == "scale" else 0.0
        mean = 0.12 + 0.84 * np.exp(-(((view.value - middle) / spread) ** 2))
        accuracy = float(np.clip(mean + 0.015 * random.standard_normal(), 0, 1))
        split = benchmark.views.region(view)
        quantity = Quantity(metric="accuracy", split=split, factor=view.factor, view=view.value)
        at_views.append(quantity.with_value(accuracy, IMAGES))
    values = []
    for summary in ("familiar", "novel"):
        means = {}
        for factor in grid.factors():
            swept = [value for value in at_views if value.factor == factor]
            chosen = [v.value for v in swept if (v.split == "familiar") == (summary == "familiar")]
            means[factor] = float(np.mean(chosen))
        quantity = Quantity(metric="accuracy", split=summary)
        values += [
            quantity.model_copy(update={"factor": factor}).with_value(mean, IMAGES)
            for factor, mean in means.items()
        ]
        values.append(quantity.with_value(float(np.mean(list(means.values()))), IMAGES))
    familiar, novel = (v.value for v in values if v.factor is None)
    values.append(Quantity(metric="gap").with_value(familiar - novel, IMAGES))
    worst = min(value.value for value in at_views)
    values.append(Quantity(metric="worst_accuracy").with_value(worst, IMAGES))
    return [*values, *at_views]
