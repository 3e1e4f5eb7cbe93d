"""Benchmarks of tiny networks on few digits, for times of all that is not computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsbench.files.yaml import write_yaml
from capsbench.schema import Benchmark

_DYNAMIC = {"channels": 8, "stride": 2, "primary_types": 4, "primary_kernel": 5, "decoder": []}
_EM = {
    "channels": 8, "kernel": 9, "stride": 4, "primary_types": 4, "types": [4], "strides": [2],
    "iterations": 2,
}  # fmt: skip
NETWORKS: tuple[dict[str, Any], ...] = (
    {"name": "cnn-small", "label": "CNN", "arguments": {"width": 4, "hidden": 16}},
    {"name": "capsnet-dr", "label": "Dynamic routing", "arguments": _DYNAMIC},
    {"name": "capsnet-em", "label": "EM routing", "arguments": _EM},
)


def tiny_protocol(
    name: str, seeds: int, *, networks: Sequence[dict[str, Any]] = NETWORKS, steps: int = 60
) -> Benchmark:
    """Return a benchmark of tiny networks.

    Args:
        name: Its name.
        seeds: Seeds of each network.
        networks: Entries of the models.
        steps: Steps of each training, which is validated three times.
    """
    return Benchmark.model_validate(
        {
            "name": name,
            "version": 1,
            "title": name.capitalize(),
            "question": "Is it fast, and the same each time?",
            "source": "none",
            "data": {"name": "digits"},
            "views": {"rotation": [-30, 30]},
            "models": list(networks),
            "recipe": {
                "steps": steps,
                "batch_size": 32,
                "evaluate_every": max(1, steps // 3),
                "limit": 200,
            },
            "seeds": list(range(seeds)),
            "measures": [
                {
                    "measure": "accuracy-by-view",
                    "grid": {"rotation": {"start": -60, "stop": 60, "step": 60}},
                },
                {
                    "measure": "invariance-error",
                    "grid": {"rotation": {"start": 0, "stop": 30, "step": 30}},
                },
            ],
        }
    )


def as_file(benchmark: Benchmark) -> str:
    """Return a benchmark as the text of its file."""
    return write_yaml(benchmark.model_dump(mode="json", exclude_defaults=True))
