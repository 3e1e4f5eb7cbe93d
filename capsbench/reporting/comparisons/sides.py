"""The two sides of a comparison: folders of benchmarks, or of single cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from capsbench.errors import UserError, unknown
from capsbench.files.folders import is_folder
from capsbench.records import (
    BenchmarkFolder,
    CellFolder,
    CellReference,
    CellResult,
    MeasureRecord,
    load_results,
)
from capsbench.records.cell_files import load_config, load_measure, load_weights
from capsbench.records.one_version import flattened
from capsbench.records.results import load_cell

EXPECTED = "expected the folder of a benchmark, such as runs/quick, or of a cell"


@dataclass(frozen=True)
class Side:
    """Models of a folder.

    Attributes:
        folder: The folder as it was given.
        models: Cells of each model, one per seed, by title.
        is_cell: True for the folder of a single cell.
    """

    folder: Path
    models: Mapping[str, list[CellResult]]
    is_cell: bool

    @property
    def cells(self) -> list[CellResult]:
        """All cells."""
        return [*chain.from_iterable(self.models.values())]


@dataclass(frozen=True)
class Pair:
    """A model of the first side, and the one of the second side that it is compared with."""

    title_a: str
    title_b: str
    a: Sequence[CellResult]
    b: Sequence[CellResult]

    @property
    def title(self) -> str:
        """Title of both, or how they are compared."""
        same = self.title_a == self.title_b
        return self.title_a if same else f"{self.title_b} minus {self.title_a}"


def load_sides(a: Path, b: Path) -> tuple[Side, Side]:
    """Load two folders.

    Raises:
        UserError: A folder is neither that of a benchmark nor that of a cell, only one is that of a
            cell, a record is damaged, or the sides have other test images.
    """
    kinds = [_is_cell(folder) for folder in (a, b)]
    if kinds[0] != kinds[1]:
        cell, benchmark = (a, b) if kinds[0] else (b, a)
        raise UserError(
            f"{cell} is a single cell and {benchmark} a benchmark: name two cells or two benchmarks"
        )
    if kinds[0]:
        records = [_records(CellFolder(folder)) for folder in (a, b)]
        common = records[0].keys() & records[1].keys()
        one, other = (
            _cell(folder, _one_of_each(own, common))
            for folder, own in zip((a, b), records, strict=True)
        )
    else:
        one, other = _benchmark(a), _benchmark(b)
    _require_same_images(one, other)
    return one, other


def pair_models(a: Side, b: Side, chosen: Mapping[str, str]) -> list[Pair]:
    """Join the models of both sides by their titles.

    Two sides of one model each are joined whatever their titles are.

    Args:
        a: First side.
        b: Second side.
        chosen: Titles in the first side with those in the second one; if there are any, only these
            are compared.

    Raises:
        UserError: A title is unknown, no two are the same, or every model is compared with itself.
    """
    for title, other in chosen.items():
        for side, name in ((a, title), (b, other)):
            if name not in side.models:
                raise unknown(f"model in {side.folder}:", name, side.models)
    pairs = dict(chosen) or {title: title for title in a.models if title in b.models}
    if not pairs and len(a.models) == len(b.models) == 1:
        pairs = {next(iter(a.models)): next(iter(b.models))}
    if not pairs:
        raise UserError(
            f"{a.folder} and {b.folder} have no model of the same title: name two, such as --pair "
            f"'{next(iter(a.models))}={next(iter(b.models))}'"
        )
    joined = [Pair(own, other, a.models[own], b.models[other]) for own, other in pairs.items()]
    folders = [[cell.folder.path.resolve() for cell in (*each.a, *each.b)] for each in joined]
    if all(len(set(each)) * 2 == len(each) for each in folders):
        raise UserError(
            f"{a.folder} and {b.folder} are the same trainings; name another folder, or two models "
            "by --pair A=B"
        )
    return joined


def _is_cell(folder: Path) -> bool:
    if not is_folder(folder, "folder"):
        raise UserError(f"no folder '{folder}'; {EXPECTED}")
    cell = CellFolder(folder)
    if cell.config.is_file() or cell.weights.is_file():
        return True
    files = BenchmarkFolder(folder)
    if files.claims.is_file():
        raise UserError(f"{folder} holds claims: name one of their benchmarks")
    if not files.record.is_file():
        raise UserError(f"{folder} holds no records; {EXPECTED}")
    return False


def _benchmark(folder: Path) -> Side:
    return Side(folder, load_results(folder).by_label(), is_cell=False)


def _cell(folder: Path, measures: Mapping[str, str]) -> Side:
    files = CellFolder(folder)
    if files.config.is_file():
        config = load_config(files)
        label, name, seed = config.model.name, config.model.name, config.seed
    else:
        weights = load_weights(files)
        label, name, seed = weights.label, weights.model.name, None
    reference = CellReference(
        label=label, model=name, seed=seed, path=folder.resolve().name, measures=dict(measures)
    )
    cell = load_cell(folder.resolve().parent, reference)
    if cell.problem is not None:
        raise UserError(f"{folder} has no numbers: {cell.problem}")
    return Side(folder, {cell.title: [cell]}, is_cell=True)


def _records(folder: CellFolder) -> dict[str, MeasureRecord]:
    """Return the records of the measures of a cell by their names, the most detailed ones last."""
    names = [path.stem for path in sorted(folder.path.glob("measures/*.json"))]
    records = {name: load_measure(folder, name) for name in names}
    has_outcomes = {name: folder.per_image(name).is_file() for name in names}
    names.sort(key=lambda name: (has_outcomes[name], len(records[name].values)))
    return {name: records[name] for name in names}


def _one_of_each(records: Mapping[str, MeasureRecord], common: Collection[str]) -> dict[str, str]:
    """Return the name of one record of each measure, with the same arguments in both cells if any.

    Benchmarks that share a cell may measure it with different arguments.
    """
    in_order = sorted(records, key=lambda name: name in common)
    return {records[name].measure: name for name in in_order}


def _require_same_images(a: Side, b: Side) -> None:
    """Refuse sides whose test images differ; the number of training images may."""
    contents = [
        dict(flattened(cell.data.model_dump(mode="json", exclude={"per_class"})))
        for side in (a, b)
        if (cell := next((c for c in side.cells if c.data is not None), None)) is not None
        and cell.data is not None
    ]
    if len(contents) < 2:
        raise UserError(f"nothing to compare: {a.folder} or {b.folder} has no finished training")
    for place in dict.fromkeys(chain.from_iterable(contents)):
        one, other = (content.get(place) for content in contents)
        if one != other:
            raise UserError(
                f"{a.folder} and {b.folder} have other images: {place} of the data is {one} and "
                f"{other}; compare runs on the same data"
            )
