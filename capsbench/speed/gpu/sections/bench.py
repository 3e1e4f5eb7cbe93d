"""Section ``bench``: the rows of ``capsbench bench routing step``, timed alternately."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import torch

from capsbench.speed.bench import comparisons_of, measure_comparison
from capsbench.speed.gpu.parts import Incomplete, NotMeasured, Parts, Values, Work, describe
from capsbench.speed.groups import routing, step
from capsbench.speed.limits import Limits, LimitSizes, measure_limits
from capsbench.speed.machine import native_precisions
from capsbench.speed.nets import Net
from capsbench.speed.rows import Comparison, Row

BUDGET = 1.0  # seconds of rounds per comparison, unless the minimum of rounds takes longer
SLOW = "compiled"  # rows whose compilation takes longer than all others together
SMALL_ROUTING = routing.RoutingSizes(
    dynamic=routing.DynamicSizes(children=32, parents=3),
    batch_sizes=(4,),
    gpu_batch_sizes=(8,),
    em=(routing.EMSizes(side=4, in_types=2, out_types=2),),
    em_batch_size=2,
)
SMALL_LIMITS = LimitSizes(products=((256, 256, 256),), copy_bytes=2**22)
SMALL_STEP = step.StepSizes(
    dynamic=Net("capsnet-dr", image_shape=(1, 20, 20), num_classes=10, batch_size=2),
    em=Net("capsnet-em-small", image_shape=(1, 20, 20), num_classes=5, batch_size=2),
    steps=2,
)


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return a part for each comparison; those with long compilations are last."""
    if parts.small:
        comparisons = [
            *routing.comparisons(parts.device, SMALL_ROUTING),
            *step.comparisons(parts.device, SMALL_STEP),
        ]
    else:
        names = ("step", "routing")
        comparisons = [each for name in names for each in comparisons_of(name, parts.device)]
    # With gradients first: that is what a training does.
    comparisons.sort(key=lambda each: "training" not in each.name and "backward" not in each.name)
    measured_limits = cache(partial(_limits, parts))
    work = {
        each.name: partial(measure, _choose(each, slow=False), parts, measured_limits)
        for each in comparisons
    }
    compiled = [each for each in comparisons if any(map(_is_slow, each.rows))]
    for each in compiled[: 1 if parts.small else None]:
        work[f"{each.name}, {SLOW}"] = partial(
            measure, _choose(each, slow=True), parts, measured_limits
        )
    return work


def _is_slow(row: Row) -> bool:
    return row.name.startswith(SLOW)


def _choose(comparison: Comparison, *, slow: bool) -> Comparison:
    """Return the baseline with the rows that take long to compile, or with all others."""
    baseline, *others = comparison.rows
    return replace(comparison, rows=(baseline, *(row for row in others if _is_slow(row) == slow)))


def _limits(parts: Parts) -> Limits:
    sizes = SMALL_LIMITS if parts.small else None
    return measure_limits(parts.device, native_precisions(parts.device), sizes)


def measure(comparison: Comparison, parts: Parts, limits: Callable[[], Limits]) -> Values:
    """Measure the rows of a comparison that work; one that fails is not measured.

    Raises:
        NotMeasured: This machine cannot do the work of any row.
        Incomplete: A row failed; it has the results of the others.
    """
    rows: list[Row] = []
    failures: list[Incomplete] = []
    for row in comparison.rows:
        if row.not_measured is None:
            try:
                row.prepare()()
            except Exception as error:  # noqa: BLE001 - of a kernel, a compiler or an allocator
                failures.append(Incomplete(error, {}))
                row = replace(row, not_measured=f"failed: {describe(error)}")
            if failures and parts.device == "cuda":
                torch.cuda.empty_cache()  # after an allocation that failed
        rows.append(row)
    reasons = [row.not_measured for row in rows]
    if not failures and None not in reasons:
        raise NotMeasured(str(reasons[0]))
    results = measure_comparison(
        "bench",
        replace(comparison, rows=tuple(rows)),
        device=parts.device,
        limits=limits(),
        rounds=2 if parts.small else None,
        budget=BUDGET,
    )
    values = {"rows": [each.model_dump(mode="json", exclude_none=True) for each in results]}
    for failure in failures[:1]:
        failure.values = values
        raise failure
    return values
