"""Revisions of the models, data modules and measures behind exported records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from capsbench.measures import load_measure
from capsbench.names import find
from capsbench.records import CellResult
from capsbench.trusted_code import require_trusted
from capsbench.wrapping import model_class


def earlier_revisions(cells: Sequence[CellResult]) -> list[str]:
    """Return what has a higher revision now than when the cells were measured, in words.

    A record of an earlier revision keeps its numbers, and states them as what they are. New cells
    never mix with it, because the revision is part of their fingerprints.

    Args:
        cells: Cells of an exported file.
    """
    return list(dict.fromkeys(text for cell in cells for text in _of_cell(cell)))


def _of_cell(cell: CellResult) -> Iterator[str]:
    if cell.config is None:
        return
    data, model = cell.config.data, cell.config.model
    require_trusted("datamodules", data.name)
    require_trusted("models", model.name)
    current = find("datamodules", data.name).load().revision
    yield from _text("data module", data.name, data.revision, current)
    current = model_class(find("models", model.name)).revision_with(model.arguments)
    yield from _text("model", model.name, model.revision, current)
    for name, record in cell.measures.items():
        yield from _text("measure", name, record.revision, load_measure(name).revision)


def _text(kind: str, name: str, revision: int, current: int) -> Iterator[str]:
    if revision < current:
        yield f"{kind} {name} {revision} (now {current})"
