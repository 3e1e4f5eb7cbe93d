"""Records as a run leaves them, made up: no torch, no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from capsbench.measures import AccuracyByView
from capsbench.records import CellFolder, read_json, write_json, write_npz, write_rows
from capsbench.schema import Benchmark
from capsbench.viewpoint.grid import GridView, ViewGrid

VERSIONS = {"python": "3.11.9", "torch": "2.15.0", "capsbench": "0.1.0"}
MODELS = (("CNN", "cnn-small"), ("Dynamic routing", "capsnet-dr"), ("EM routing", "capsnet-em"))


class WriteBenchmark(Protocol):
    def __call__(
        self,
        runs: Path,
        *,
        seeds: tuple[int, ...] = ...,
        models: tuple[tuple[str, str], ...] = ...,
        diverged: tuple[tuple[str, int], ...] = ...,
        unfinished: tuple[tuple[str, int], ...] = ...,
        changes: tuple[str, ...] = ...,
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
    changes: tuple[str, ...] = (),
    published: tuple[dict[str, Any], ...] = (),
) -> Path:
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
            "recipe": {"steps": 300, "batch_size": 64, "learning_rate": 0.002, "schedule": "cosine"},
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
            path = f"digits/{name}/{seed}-{index:04d}23456{seed:03d}"
            outcome = f"accuracy-by-view-{index:012d}"
            cells.append(
                {
                    "label": label,
                    "model": name,
                    "seed": seed,
                    "path": path,
                    "measures": {"accuracy-by-view": outcome},
                }
            )
            folder = CellFolder(runs / path)
            _write_config(folder, benchmark, name, seed)
            random = np.random.default_rng((index, seed))
            if (label, seed) in unfinished:
                continue
            _write_training(folder, index, seed, random, diverged=(label, seed) in diverged)
            if (label, seed) not in diverged:
                _write_measure(folder, outcome, benchmark, index, random)
    views = [
        {"factor": view.factor, "value": view.value, "familiar": benchmark.views.familiar(view)}
        for view in _grid(benchmark).views()
    ]
    write_json(
        runs / "quick/benchmark.json",
        {
            "schema": 1,
            "benchmark": benchmark.model_dump(mode="json"),
            "changes": list(changes),
            "command": "capsbench run quick",
            "commit": "0123abcd",
            "date": "2026-11-22T19:30:00+00:00",
            "cells": cells,
            "examples": {"views": views, "classes": ["3", "7", "4"]},
        },
    )
    write_npz(runs / "quick/examples.npz", {"images": _images(len(views), 3)})
    return runs / "quick"


class AddMeasure(Protocol):
    def __call__(
        self,
        folder: Path,
        label: str,
        seed: int,
        entry: dict[str, Any],
        values: dict[str, float],
        *,
        samples: dict[str, np.ndarray[Any, Any]] | None = ...,
        notes: tuple[str, ...] = ...,
    ) -> None: ...


@pytest.fixture(scope="session")
def add_measure() -> AddMeasure:
    return _add_measure


def _add_measure(
    folder: Path,
    label: str,
    seed: int,
    entry: dict[str, Any],
    values: dict[str, float],
    *,
    samples: dict[str, np.ndarray[Any, Any]] | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    """Give a cell that was written another outcome, and the benchmark the measure."""
    content = read_json(folder / "benchmark.json")
    entry = (
        Benchmark.model_validate({**content["benchmark"], "measures": [entry]})
        .measures[0]
        .model_dump(mode="json")
    )
    name = entry["measure"]
    others = [each for each in content["benchmark"]["measures"] if each["measure"] != name]
    content["benchmark"]["measures"] = [*others, entry]
    cell = next(c for c in content["cells"] if (c["label"], c["seed"]) == (label, seed))
    cell["measures"][name] = f"{name}-0123456789ab"
    write_json(folder / "benchmark.json", content)
    records = CellFolder(folder.parent / cell["path"])
    write_npz(records.samples(cell["measures"][name]), samples or {})
    write_json(
        records.measure(cell["measures"][name]),
        {
            "schema": 1,
            "measure": name,
            "arguments": entry,
            "checkpoint": "validation",
            "n": 400,
            "seconds": 3.5,
            "values": values,
            "views": [],
            "notes": list(notes),
            "device": "two cores",
            "versions": VERSIONS,
            "date": "2026-11-22T19:32:00+00:00",
        },
    )


def _grid(benchmark: Benchmark) -> ViewGrid:
    entry = benchmark.measures[0]
    assert isinstance(entry, AccuracyByView)
    return entry.grid


def _images(views: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A bar that turns from view to view: (V, K, 1, 32, 32)."""
    y, x = np.mgrid[-15.5:16:1, -15.5:16:1]
    angle = np.linspace(0, np.pi, views)[:, None, None, None]
    width = np.arange(2, 2 + count)[None, :, None, None]
    across = np.abs(x * np.cos(angle) + y * np.sin(angle))
    along = np.abs(y * np.cos(angle) - x * np.sin(angle))
    bar = np.clip(width - across, 0, 1) * (along < 10)
    return (255 * bar).astype(np.uint8)[:, :, None]


def _write_config(folder: CellFolder, benchmark: Benchmark, name: str, seed: int) -> None:
    config = {
        "schema": 1,
        "fingerprint": folder.path.name.partition("-")[2],
        "model": {"name": name, "arguments": {"channels": [16, 32], "dropout": 0.0}},
        "data": {
            "name": "digits",
            "arguments": {},
            "identity": {"name": "digits", "version": "sklearn-1", "checksum": "f00d"},
            "image_shape": [1, 32, 32],
            "num_classes": 10,
        },
        "views": benchmark.views.model_dump(mode="json"),
        "recipe": benchmark.recipe.model_dump(mode="json"),
        "seed": seed,
    }
    write_json(folder.config, config)


def _write_training(
    folder: CellFolder, index: int, seed: int, random: np.random.Generator, *, diverged: bool
) -> None:
    steps = np.arange(50, 301, 50)
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
    best = {"step": 300, "accuracy": rows[-1]["validation_accuracy"]}
    training = {
        "schema": 1,
        "status": "diverged" if diverged else "trained",
        "diverged_at": 137 if diverged else None,
        "parameters": 50_000 + 1_000 * index,
        "seconds": 20.0 + 7 * index + seed,
        "images_per_second": 960.0,
        "selected": {} if diverged else {"validation": best, "last": best},
        "execution": {"device": "cpu", "device_name": "two cores", "devices": 1, "nodes": 1},
        "versions": VERSIONS,
        "commit": "0123abcd",
        "date": "2026-11-22T19:31:00+00:00",
    }
    write_json(folder.training, training)


def _write_measure(
    folder: CellFolder,
    name: str,
    benchmark: Benchmark,
    index: int,
    random: np.random.Generator,
) -> None:
    views = []
    for view in _grid(benchmark).views():
        spread = {"rotation": 50.0, "scale": 0.3}.get(view.factor, 4.0) * (1 + 0.25 * index)
        middle = 1.0 if view.factor == "scale" else 0.0
        mean = 0.12 + 0.84 * np.exp(-(((view.value - middle) / spread) ** 2))
        accuracy = float(np.clip(mean + 0.015 * random.standard_normal(), 0, 1))
        familiar = benchmark.views.familiar(view)
        views.append(_view(view, accuracy=accuracy, familiar=familiar))
    values: dict[str, float] = {}
    factors = _grid(benchmark).factors()
    for kind in ("familiar", "novel"):
        for factor in factors:
            mine = [v for v in views if v["factor"] == factor]
            found = [v["accuracy"] for v in mine if v["familiar"] is (kind == "familiar")]
            values[f"{factor}/{kind}/accuracy"] = float(np.mean(found))
        means = [values[f"{factor}/{kind}/accuracy"] for factor in factors]
        values[f"{kind}/accuracy"] = float(np.mean(means))
    values["gap"] = values["familiar/accuracy"] - values["novel/accuracy"]
    values["worst/accuracy"] = min(view["accuracy"] for view in views)
    values |= {f"{view['key']}/accuracy": view["accuracy"] for view in views}
    outcome = {
        "schema": 1,
        "measure": "accuracy-by-view",
        "arguments": benchmark.measures[0].model_dump(mode="json"),
        "checkpoint": "validation",
        "n": 400,
        "seconds": 3.5,
        "values": values,
        "views": views,
        "versions": VERSIONS,
        "commit": "0123abcd",
        "device": "cpu",
        "date": "2026-11-22T19:32:00+00:00",
    }
    write_json(folder.measure(name), outcome)


def _view(view: GridView, *, accuracy: float, familiar: bool) -> dict[str, Any]:
    return {
        "factor": view.factor,
        "value": view.value,
        "key": view.key,
        "familiar": familiar,
        "place": "familiar" if familiar else "outside",
        "accuracy": accuracy,
        "n": 400,
    }
