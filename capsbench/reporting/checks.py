"""What has to be true of an exported record before it is kept: nothing of it is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from capsbench.arguments import SUPPLIED_TO_DATA, SUPPLIED_TO_MODELS, resolve
from capsbench.errors import UserError
from capsbench.names import Kind, find
from capsbench.reporting.differences import DifferenceRow
from capsbench.reporting.export import Kept
from capsbench.reporting.results import (
    MODELS,
    SCALE,
    SEARCH,
    Cell,
    Config,
    Measurement,
    Named,
    Protocol,
    Training,
)
from capsbench.schema import Benchmark, load_benchmark, parse_changes, variants
from capsbench.training.selection import followed

# What makes a protocol the one that it is; the rest are words, of which the shipped ones are shown.
DETERMINING = (
    *("name", "version", "data", "views", "models", "vary", "recipe", "selection", "matched"),
    *("follow", "seeds", "measures"),
)
CLOSE = 1e-6  # of numbers that were written, read and added up again


def check_export(kept: Kept) -> None:
    """Check that what a file says of its protocol is true of the benchmark that is shipped.

    Its changes are made to the shipped file anew: what comes out must be the protocol of the file,
    and every cell one of its cells, whole. What cannot be known here, such as what was in the data
    and whether a training took place, is believed.

    Raises:
        UserError: The benchmark is unknown, has another version, or is another one; a search is not
            the one that it asks for; a cell is none of its cells, stands there twice or is
            incomplete; a share lies outside of [0, 1]; a difference is not that of the cells.
    """
    protocol = kept.results.protocol
    shipped = _shipped(protocol)
    if shipped.version != protocol.benchmark.version:
        raise UserError(
            f"{kept.path}: benchmark '{shipped.name}' has version {shipped.version} here; the "
            f"record is of version {protocol.benchmark.version}"
        )
    searched = SEARCH in protocol.changes
    if different := [
        name
        for name in DETERMINING
        if _part(shipped, name, searched) != _part(protocol.benchmark, name, searched)
    ]:
        raise UserError(
            f"{kept.path}: with the changes that it names, '{shipped.name}' has other "
            f"{', '.join(different)} here; export records of the protocol as it is shipped"
        )
    if searched:
        _check_search(kept, shipped)
    check_cells(kept.path, protocol.benchmark, kept.results.cells)
    for row in kept.differences:
        _check_difference(kept, row)


def check_cells(path: Path, benchmark: Benchmark, cells: Sequence[Cell]) -> None:
    """Check that cells are those of a benchmark, each there once and whole.

    Args:
        path: The file that they come from.
        benchmark: The protocol.
        cells: The cells.

    Raises:
        UserError: They are not.
    """
    places = [(cell.label, cell.at, cell.seed) for cell in cells]
    if not cells or len(set(places)) < len(places):
        raise UserError(f"{path}: expected each cell once, and one or more; got {len(cells)}")
    protocols = variants(benchmark)
    for cell in cells:
        place = f"{path}: {cell.title}, seed {cell.seed}"
        asked = protocols.get(cell.at)
        if asked is None or not _is_cell(asked, cell):
            raise UserError(f"{place} is no cell of '{benchmark.name}'")
        if cell.config is None or not _is_asked(asked, cell, cell.config):
            raise UserError(f"{place} is not the training that the protocol asks for")
        if cell.training is None or not _is_whole(asked, cell, cell.training):
            raise UserError(f"{place} is incomplete: export it again")
        for key, value in _shares(cell.measurements.values()):
            if not 0 <= value <= 1:
                raise UserError(f"{place}: {key} should lie in [0, 1]; got {value:g}")


def _shipped(protocol: Protocol) -> Benchmark:
    """The shipped benchmark with the changes that a record names."""
    told = (SCALE, MODELS)  # these change no place of the file
    made = [c for c in protocol.changes if c != SEARCH and not c.startswith(told)]
    scales = [c.removeprefix(SCALE) for c in protocol.changes if c.startswith(SCALE)]
    scale = scales[0] if scales else None
    return load_benchmark(protocol.benchmark.name, parse_changes(made), scale=scale)


def _part(benchmark: Benchmark, name: str, searched: bool) -> Any:
    part = benchmark.model_dump(mode="json")[name]
    if name == "models" and searched:  # their recipes are those of the search
        return [{key: each[key] for key in ("name", "label", "arguments")} for each in part]
    return part


def _check_search(kept: Kept, shipped: Benchmark) -> None:
    """Every model has had all trials of the grid, and has the recipe of the best."""
    record = kept.results.protocol.search
    grid = shipped.trials
    own = {entry.label: entry.recipe for entry in shipped.models}
    for entry in kept.results.benchmark.models:
        if not any(cell.label == entry.label for cell in kept.results.cells):
            continue
        mine = [trial for trial in (record.trials if record else ()) if trial.label == entry.label]
        chosen = [trial for trial in mine if trial.chosen]
        best = max((trial.accuracy or 0.0 for trial in mine), default=0.0)
        if not (
            [{name: trial.recipe.get(name) for name in grid[0]} for trial in mine] == grid
            and len(chosen) == 1
            and chosen[0].accuracy == best
            and entry.recipe == own[entry.label] | chosen[0].recipe
        ):
            raise UserError(
                f"{kept.path}: {entry.label} has not the recipe of the best of the "
                f"{len(grid)} trials that '{shipped.name}' asks for"
            )


def _is_cell(asked: Benchmark, cell: Cell) -> bool:
    return cell.seed in asked.seeds and cell.label in [entry.label for entry in asked.models]


def _is_asked(asked: Benchmark, cell: Cell, found: Config) -> bool:
    """Whether a training is of the model, the data and the recipe that a protocol asks for."""
    entry = next(entry for entry in asked.models if entry.label == cell.label)
    expected = (asked.recipe_of(entry), asked.views, asked.follow, cell.seed)
    return (
        (found.recipe, found.views, found.follow, found.seed) == expected
        and found.fingerprint == cell.fingerprint
        and _same("models", found.model, entry.name, entry.arguments, SUPPLIED_TO_MODELS)
        and _same(
            "datamodules", found.data, asked.data.name, asked.data.arguments, SUPPLIED_TO_DATA
        )
    )


def _same(
    kind: Kind, found: Named, name: str, given: Mapping[str, Any], supplied: tuple[str, ...]
) -> bool:
    """Whether a name with all of its arguments is the one that is given; others are defaults."""
    if found.name != name or not set(given) <= set(found.arguments):
        return False
    cls = find(kind, name).load()
    expected = _plain(resolve(cls, given, what=name, supplied=supplied))
    recorded: dict[str, Any] = _plain(found.arguments)
    return all(key in expected and expected[key] == value for key, value in recorded.items())


def _is_whole(asked: Benchmark, cell: Cell, training: Training) -> bool:
    """Whether a cell has all that tables are made of."""
    if training.status == "diverged":
        return True
    chosen = training.selected.get(asked.selection)
    looks = {row.get("step"): row for row in cell.trajectory}
    columns = [followed(split) for split in asked.follow]
    return (
        chosen is not None
        and chosen.step in looks
        and all(name in row for row in cell.trajectory for name in columns)
        and set(cell.measurements) == set(cell.measures)
        and set(cell.measures) <= {entry.measure for entry in asked.measures}
        and all(each.checkpoint == asked.selection for each in cell.measurements.values())
    )


def _check_difference(kept: Kept, row: DifferenceRow) -> None:
    """A difference of two models is that of their values, and lies in its interval."""
    groups = kept.results.by_label()
    own = groups.get(row.label, [])
    first = next(iter(kept.results.by_label(own[0].at if own else None)))
    sides = [
        [
            each.values[row.key]
            for cell in groups.get(label, [])
            if (each := cell.measurements.get(row.measure)) and row.key in each.values
        ]
        for label in (row.label, first)
    ]
    low, high = row.found.interval or (-math.inf, math.inf)
    if not (
        all(sides)
        and math.isclose(fmean(sides[0]) - fmean(sides[1]), row.found.mean, abs_tol=CLOSE)
        and row.found.n_seeds == (len(sides[0]), len(sides[1]))
        and low <= row.found.mean <= high
    ):
        raise UserError(
            f"{kept.path}: the difference of {row.what} between {row.label} and {first} is not "
            "that of their values; export the record again"
        )


def _shares(measurements: Iterable[Measurement]) -> Iterable[tuple[str, float]]:
    for measurement in measurements:
        for key, value in measurement.values.items():
            if key.endswith("/accuracy") and not key.startswith("gap"):
                yield f"{measurement.measure}: {key}", value


def _plain(value: Any) -> Any:
    """Lists for tuples, as JSON has them."""
    return json.loads(json.dumps(value, sort_keys=True))
