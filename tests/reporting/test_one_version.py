"""Records of different revisions or settings are never in one table."""

from dataclasses import replace

import pytest

from capsbench import load_results as load_from_python
from capsbench.errors import UserError
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellResult,
    ClaimsRecord,
    Provenance,
    TrainingConfig,
    load_results,
)
from capsbench.records.folders import CellFolder
from capsbench.records.one_version import mixed_revisions, require_one_version
from capsbench.reporting.claims_report import load_claims_results
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.rebuild import rebuild
from capsbench.reporting.results_pages.pages import result_pages
from capsbench.reporting.tables.paper_tables import EARLIER
from tests.reporting.comparisons import made_up_claims


@pytest.fixture
def folder(tmp_path, write_benchmark):
    return write_benchmark(tmp_path, seeds=(0, 1))


def config_of(cell: CellResult) -> TrainingConfig:
    """Return what determines the training of a cell, which is finished."""
    assert cell.config is not None
    return cell.config


def with_config(folder, number, **changes):
    """Change what determines one training, whose folder has another name then."""
    path = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(path)
    cells = list(record.cells)
    cell = load_results(folder).cells[number]
    config = config_of(cell).model_copy(update=changes)
    moved = cell.folder.path.rename(cell.folder.path.with_name(config.folder_name))
    config.save(CellFolder(moved).config)
    place = moved.relative_to(folder.parent).as_posix()
    cells[number] = cells[number].model_copy(update={"path": place})
    record.model_copy(update={"cells": tuple(cells)}).save(path)


def refusal(folder):
    """Return the sentence by which a folder is refused everywhere."""
    sentences = set()
    for read in (load_results, load_from_python, lambda _: [*rebuild(folder.parent, [], None)]):
        with pytest.raises(UserError, match="in one table") as error:
            read(folder)
        sentences.add(str(error.value))
    (sentence,) = sentences
    assert not BenchmarkFolder(folder).report.exists()
    return sentence


def test_models_of_two_revisions_are_refused(folder):
    model = config_of(load_results(folder).cells[0]).model
    with_config(folder, 0, model=model.model_copy(update={"revision": 2}))
    sentence = refusal(folder)
    assert "revision 1 and 2 of model cnn-small" in sentence
    assert str(BenchmarkFolder(folder).record) in sentence


def test_data_modules_of_two_revisions_are_refused(folder):
    data = config_of(load_results(folder).cells[5]).data
    with_config(folder, 5, data=data.model_copy(update={"revision": 3}))
    assert "revision 1 and 3 of data module digits" in refusal(folder)


def test_measures_of_two_revisions_are_refused(folder):
    cell = load_results(folder).cells[3]
    ((measure, record),) = cell.measures.items()
    cell.folder.measure(cell.reference.measures[measure]).unlink()
    record = record.model_copy(update={"revision": 2})
    name = f"{measure}-{record.fingerprint}"
    record.save(cell.folder.measure(name))
    path = BenchmarkFolder(folder).record
    benchmark = BenchmarkRecord.load(path)
    cells = list(benchmark.cells)
    cells[3] = cells[3].model_copy(update={"measures": {measure: name}})
    benchmark.model_copy(update={"cells": tuple(cells)}).save(path)
    assert f"revision 1 and 2 of measure {measure}" in refusal(folder)


def test_seeds_of_other_settings_are_refused(folder):
    recipe = config_of(load_results(folder).cells[1]).recipe
    with_config(folder, 1, recipe=recipe.model_copy(update={"learning_rate": 0.5}))
    assert "recipe.learning_rate 0.002 and 0.5 of CNN" in refusal(folder)


def test_models_on_other_data_are_refused(folder):
    data = config_of(load_results(folder).cells[0]).data
    other = data.model_copy(update={"identity": data.identity | {"checksum": "beef"}})
    with_config(folder, 1, data=other)
    assert "identity.checksum beef and f00d of the data" in refusal(folder)


def test_threads_of_processors_must_be_equal(folder):
    cells = load_results(folder).cells
    for threads, mixed in (((1, 1), False), ((1, 2), True), ((1, None), False)):
        configs = [
            config_of(cell).model_copy(update={"threads": number})
            for cell, number in zip(cells, threads, strict=False)
        ]
        changed = [replace(c, config=config) for c, config in zip(cells, configs, strict=False)]
        if mixed:
            with pytest.raises(UserError, match="threads 1 and 2 of CNN"):
                require_one_version("a folder", changed)
        else:
            require_one_version("a folder", changed)


def test_many_differences_are_counted(folder):
    cells = load_results(folder).cells
    arguments = {f"argument{number}": number for number in range(9)}
    other = {f"argument{number}": -1 for number in range(9)}
    changed = [
        replace(
            cell,
            config=config_of(cell).model_copy(
                update={"model": config_of(cell).model.model_copy(update={"arguments": each})}
            ),
        )
        for cell, each in zip(cells[:2], (arguments, other), strict=True)
    ]
    with pytest.raises(UserError, match="and 5 more in one table"):
        require_one_version("a folder", changed)


TESTS = [
    {
        "part": part,
        "model": "Dynamic routing",
        "against": "CNN",
        "primary": True,
        "measure": "accuracy-by-view",
        "quantity": {"metric": "accuracy", "split": "novel"},
    }
    for part in ("one", "two")
]


@pytest.fixture
def claims(tmp_path, write_benchmark):
    """A folder of claims on two parts, which are two runs of one benchmark."""
    for part in ("one", "two"):
        # In a folder of their own, because a part may have been trained by another revision.
        write_benchmark(tmp_path / part).rename(tmp_path / f"claims-{part}")
        cells = tmp_path / part / "digits"
        for place in sorted(cells.glob("*/*")):
            target = tmp_path / place.relative_to(tmp_path / part)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                place.rename(target)
    files = BenchmarkFolder(tmp_path / "claims")
    ClaimsRecord(
        claims=made_up_claims.claims(*TESTS),
        parts={"one": "claims-one", "two": "claims-two"},
        command="capsbench run claims",
        provenance=Provenance.now(),
    ).save(files.claims)
    return files.path


def test_parts_of_claims_have_one_version(claims):
    load_claims_results(claims)
    path = BenchmarkFolder(claims.parent / "claims-two").record
    record = BenchmarkRecord.load(path)
    benchmark = record.benchmark.model_copy(update={"version": 2})
    record.model_copy(update={"benchmark": benchmark}).save(path)
    with pytest.raises(UserError, match=r"versions 1 and 2 of 'quick'.*run the claims again"):
        load_claims_results(claims)


def test_parts_of_claims_have_one_revision(claims):
    folder = claims.parent / "claims-two"
    model = config_of(load_results(folder).cells[0]).model
    path = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(path)
    cells = [cell for cell in record.cells if cell.label == "CNN"][:1]
    record.model_copy(update={"cells": tuple(cells)}).save(path)
    one = BenchmarkFolder(claims.parent / "claims-one").record
    other = BenchmarkRecord.load(one)
    kept = tuple(cell for cell in other.cells if cell.path != cells[0].path)
    other.model_copy(update={"cells": kept}).save(one)
    with_config(folder, 0, model=model.model_copy(update={"revision": 2}))
    assert mixed_revisions(load_results(folder).cells) == []
    with pytest.raises(UserError, match="revision 1 and 2 of model cnn-small"):
        load_claims_results(claims)


def test_the_front_page_marks_earlier_revisions(folder, monkeypatch):
    exported = ExportedResults(folder / "full-0.json", load_results(folder), [])
    place = "capsbench.reporting.tables.paper_tables.earlier_revisions"
    for earlier in ([], ["model cnn-small 1 (now 2)"]):
        monkeypatch.setattr(place, lambda cells, earlier=earlier: earlier if cells else [])
        front = result_pages([exported])["results.md"]
        assert (f"(full, {EARLIER}; " in front) == bool(earlier)
