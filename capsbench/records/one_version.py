"""Refusal of tables that would mix records of different revisions or settings."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.records.results import CellResult

MAX_SHOWN = 4  # differences that a message names


def require_one_version(where: object, cells: Sequence[CellResult]) -> None:
    """Refuse cells of one benchmark that do not belong in one table.

    All must come from one revision of each model, data module and measure. The trainings of a model
    must differ in their seeds alone, and all models must have the same data.

    Args:
        where: File or folder of the cells, for the message.
        cells: The cells.

    Raises:
        UserError: They do not.
    """
    _refuse(where, [*mixed_revisions(cells), *_mixed_settings(cells)])


def require_one_revision(where: object, cells: Sequence[CellResult]) -> None:
    """Refuse cells of several benchmarks that come from different revisions.

    Args:
        where: File or folder of the cells, for the message.
        cells: The cells.

    Raises:
        UserError: They do.
    """
    _refuse(where, mixed_revisions(cells))


def mixed_revisions(cells: Iterable[CellResult]) -> list[str]:
    """Return each model, data module and measure of more than one revision, in words."""
    return list(_differences((name, ("revision", each)) for name, each in _revisions(cells)))


def _revisions(cells: Iterable[CellResult]) -> Iterator[tuple[str, int]]:
    for cell in cells:
        for part in (cell.config, cell.weights):
            if part is not None:
                yield f"model {part.model.name}", part.model.revision
                yield f"data module {part.data.name}", part.data.revision
        for name, record in cell.measures.items():
            yield f"measure {name}", record.revision


def _mixed_settings(cells: Sequence[CellResult]) -> Iterator[str]:
    """Yield settings that differ between the seeds of a model, or data between models."""
    trained = [cell for cell in cells if cell.config is not None]
    yield from _differences(
        (cell.title, setting)
        for cell in trained
        for setting in _settings(cell)
        if setting[0] != "threads" or setting[1] is not None  # those of a processor alone
    )
    yield from _differences(
        ("the data" if cell.at is None else f"the data at {cell.point}", setting)
        for cell in cells
        if cell.data is not None
        for setting in flattened(cell.data.model_dump(mode="json", exclude={"revision"}))
    )
    yield from _differences(
        (f"{name} of {cell.title}", setting)
        for cell in cells
        for name, record in cell.measures.items()
        for setting in flattened({"rule": record.rule, **record.arguments})
    )


def _settings(cell: CellResult) -> Iterator[tuple[str, Any]]:
    assert cell.config is not None
    content = cell.config.model_dump(mode="json", exclude={"seed", "data"})
    del content["model"]["revision"]
    return flattened(content)


def _differences(settings: Iterable[tuple[str, tuple[str, Any]]]) -> Iterator[str]:
    """Yield the settings that have more than one value, in words.

    Args:
        settings: Owner, and place and value, of each setting.
    """
    values: dict[tuple[str, str], dict[Hashable, None]] = {}
    for owner, (place, value) in settings:
        values.setdefault((owner, place), {})[value] = None
    for (owner, place), each in values.items():
        if len(each) > 1:
            yield f"{place} {' and '.join(sorted(map(str, each)))} of {owner}"


def flattened(content: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested JSON with its dotted place; a list of values is one value.

    >>> dict(flattened({"recipe": {"steps": 4}, "models": [{"label": "A"}], "seeds": [0, 1]}))
    {'recipe.steps': 4, 'models.0.label': 'A', 'seeds': '[0, 1]'}
    """
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{start}{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            yield from flattened({str(i): each for i, each in enumerate(value)}, f"{start}{name}.")
        else:
            yield f"{start}{name}", str(value) if isinstance(value, list | dict) else value


def _refuse(where: object, mixed: Sequence[str]) -> None:
    if mixed:
        more = f", and {len(mixed) - MAX_SHOWN} more" if len(mixed) > MAX_SHOWN else ""
        raise UserError(
            f"{where} would mix {', '.join(mixed[:MAX_SHOWN])}{more} in one table: run the "
            "benchmark again, which trains and measures what is of another version"
        )
