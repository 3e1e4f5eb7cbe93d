"""`capsbench merge`: runs folders of several machines as one."""

import json
import shutil
from pathlib import Path

import pytest

from capsbench.environment.failure_kinds import Failure
from capsbench.files.lease import lease
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    FailureRecord,
    MeasureRecord,
    SearchRecord,
    TrainingConfig,
    TrainingRecord,
)
from capsbench.records.folders import cells_in
from capsbench.running.merging import merge as merging
from capsbench.running.merging.merge import carry_out, plan_merge
from tests.records.search_records import search_record

OTHER = "0" * 64  # SHA-256 of nothing here
LATER = {"date": "2030-01-01T00:00:00+00:00"}


@pytest.fixture
def halves(cells):
    """Runs folders `one` and `two`, each with one of the two models, as if run by --models."""
    for folder, label in (("one", "small"), ("two", "smaller")):
        for other in cells:
            if other != label:
                shutil.copytree("runs", folder)
                shutil.rmtree(Path(folder, *cells[other].parts[1:]))
        path = BenchmarkFolder(Path(folder, "tiny")).record
        record = BenchmarkRecord.load(path)
        kept = tuple(cell for cell in record.cells if cell.label == label)
        changes = record.changes.model_copy(update={"models": (label,)})
        command = f"capsbench run tiny.yaml --seeds 0 --models {label}"
        changed = {"cells": kept, "changes": changes, "command": command}
        record.model_copy(update=changed).save(path)
    return {label: Path(*folder.parts[1:]) for label, folder in cells.items()}


def contents(folder):
    """Return the bytes of each record and checkpoint, without pages, logs and leases."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {
        path.relative_to(folder): path.read_bytes()
        for path in paths
        if not {"report", "index.html"} & {*path.parts}
        and path.suffix != ".log"
        and path.name[0] != "."
    }


def edit(record, path, **changes):
    """Change fields of a record as another run would have written them."""
    loaded = record.load(path)
    if "provenance" in changes:
        changes["provenance"] = loaded.provenance.model_copy(update=changes["provenance"])
    loaded.model_copy(update=changes).save(path)


def test_two_halves_become_the_whole(cli, halves):
    code, out, err = cli("merge", "one", "two", "--into", "all")
    assert (code, err) == (0, "")
    assert "2 cells" in out and "tiny" in out
    assert Path("all/tiny/report/index.html").resolve().as_uri() in out
    whole, merged = contents("runs"), contents("all")
    record = Path("tiny/benchmark.json")
    assert {path for path in whole if whole[path] != merged.get(path)} == {record}
    assert merged.keys() == whole.keys()
    united = BenchmarkRecord.load("all" / record)
    assert united.cells == BenchmarkRecord.load("runs" / record).cells
    assert united.changes.models == ("small", "smaller")
    assert united.command == "capsbench run tiny.yaml --models small --models smaller --seeds 0"
    code, out, err = cli("merge", "one", "two", "--into", "all")  # again
    assert (code, err) == (0, "")
    assert "nothing new" in out
    assert contents("all") == merged


def test_the_search_of_both_is_one_file(cli, halves):
    for folder, label in (("one", "small"), ("two", "smaller")):
        path = BenchmarkFolder(Path(folder, "tiny")).record
        record = BenchmarkRecord.load(path)
        search = search_record(record.benchmark, {label: (0.5,)})
        models = tuple(map(search.applied_to, record.benchmark.models))
        changed = {
            "search": search,
            "benchmark": record.benchmark.model_copy(update={"models": models}),
        }
        record.model_copy(update=changed).save(path)
    assert cli("merge", "one", "two", "--into", "all")[0] == 0
    united = BenchmarkRecord.load(Path("all/tiny/benchmark.json"))
    assert united.search is not None
    assert {trial.label for trial in united.search.trials} == {"small", "smaller"}
    assert {entry.tuned for entry in united.benchmark.models} == {united.search.name}
    (path,) = Path("all/searches").iterdir()
    assert (path.stem, SearchRecord.load(path)) == (united.search.name, united.search)


def test_the_target_may_be_one_of_the_folders(halves):
    before = contents("one")
    carry_out(plan_merge([Path("one"), Path("two")], Path("one")))
    after = contents("one")
    assert cells_in(Path("one")) == cells_in(Path("runs"))
    del before[Path("tiny/benchmark.json")]
    assert {path for path in before if after[path] != before[path]} == set()


def test_a_dry_run_writes_nothing(cli, halves):
    code, out, _ = cli("merge", "one", "two", "--into", "all", "--dry-run")
    assert code == 0
    assert not Path("all").exists()
    assert all(path.as_posix() in out for path in halves.values())
    code, plan, _ = cli("merge", "one", "two", "--into", "all", "--dry-run", "--json")
    assert code == 0
    assert {cell["path"] for cell in plan["cells"]} == {str(p) for p in halves.values()}
    assert all(cell["bytes"] > 0 and cell["files"] for cell in plan["cells"])
    assert (plan["problems"], plan["pages"]) == ([], [])
    assert not Path("all").exists()


def test_all_conflicts_are_listed_and_nothing_is_written(cli, cells):
    shutil.copytree("runs", "other")
    small, smaller = (Path("other", *cells[label].parts[1:]) for label in ("small", "smaller"))
    weights = dict.fromkeys(TrainingRecord.load(small / "training.json").weights, OTHER)
    edit(TrainingRecord, small / "training.json", weights=weights, provenance=LATER)
    (measure,) = (smaller / "measures").glob("*.json")
    values = MeasureRecord.load(measure).values
    changed = (values[0].model_copy(update={"value": values[0].value + 0.25}), *values[1:])
    edit(MeasureRecord, measure, values=changed)
    code, out, err = cli("merge", "runs", "other", "--into", "all")
    assert (code, out) == (2, "")
    first, second = sorted(err.splitlines(), key=lambda line: "measures" in line)
    named = ("runs/", "other/", "weights 'validation'", OTHER[:12], "2030-01-01")
    assert [word for word in (*named, small.name) if word not in first] == []
    assert [
        word for word in ("runs/", "other/", measure.name, values[0].name) if word not in second
    ] == []
    assert not Path("all").exists()
    code, out, _ = cli("merge", "runs", "other", "--into", "all", "--json")
    assert code == 2
    assert len(json.loads(out)["problems"]) == 2


def test_equal_trainings_of_different_dates_are_joined(cells):
    shutil.copytree("runs", "other")
    small = Path("other", *cells["small"].parts[1:])
    edit(TrainingRecord, small / "training.json", provenance=LATER)
    (measure,) = (small / "measures").glob("*.json")
    edit(MeasureRecord, measure, provenance=LATER, seconds=1e3, device="another")
    plan = plan_merge([Path("runs"), Path("other")], Path("all"))
    ((note, paths),) = plan.notes.items()
    assert "equal results" in note and "runs is kept" in note
    assert paths == [small.relative_to("other").as_posix()]
    carry_out(plan)
    assert contents("all") == contents("runs")


def test_copies_are_equal_also_without_weights(cells):
    """As of records from before checksums, whose weights were deleted to free the disk."""
    path = cells["small"] / "training.json"
    edit(TrainingRecord, path, weights={})
    shutil.rmtree(cells["small"] / "checkpoints")
    carry_out(plan_merge([Path("runs")], Path("all")))
    assert plan_merge([Path("runs")], Path("all")).problems == ()
    edit(TrainingRecord, path, provenance=LATER)
    (problem,) = plan_merge([Path("runs")], Path("all")).problems
    assert "unknown" in problem and "2030-01-01" in problem


def test_measures_of_both_are_united(cells):
    shutil.copytree("runs", "other")
    small = cells["small"]
    (measure,) = (small / "measures").glob("*.json")
    arrays = measure.with_suffix(".npz")
    moved = {path: Path("other", *path.parts[1:]) for path in (measure, arrays)}
    for path in moved:
        path.unlink()
    for path in (*moved.values(),):
        shutil.copy(path, path.with_stem("filters-0123456789ab"))
    extra = moved[measure].with_stem("filters-0123456789ab")
    record = MeasureRecord.load(extra)
    arguments = {"layers": ["body"]}
    record = record.model_copy(update={"measure": "filters", "arguments": arguments})
    own = extra.with_stem(f"filters-{record.fingerprint}")
    record.save(own)
    extra.with_suffix(".npz").rename(own.with_suffix(".npz"))
    extra.unlink()
    before = (small / "training.json").read_bytes()
    plan = plan_merge([Path("other")], Path("runs"))
    carry_out(plan)
    assert {path.name for path in (small / "measures").iterdir()} == {
        path.name for each in (measure, own) for path in (each, each.with_suffix(".npz"))
    }
    assert (small / "training.json").read_bytes() == before


def unfinish(folder, state=b"a state"):
    """Make a cell one that was interrupted after its last validation."""
    folder = CellFolder(folder)
    folder.training.unlink()
    for path in ("measures", "checkpoints"):
        shutil.rmtree(folder.path / path)
    folder.state.write_bytes(state)
    return folder


def fail(folder):
    failure = Failure("user code", "it failed", "Traceback")
    FailureRecord.now(failure, cell=folder.path.name, job="train").save(folder.failure)


@pytest.mark.parametrize("into", ["all", "runs", "other"])
@pytest.mark.parametrize("failed", [False, True], ids=["unfinished", "failed"])
def test_a_finished_cell_wins(cells, into, failed):
    shutil.copytree("runs", "other")
    whole = contents("runs")
    folder = unfinish(Path("other", *cells["small"].parts[1:]))
    if failed:
        fail(folder)
    plan = plan_merge([Path("other"), Path("runs")], Path(into))
    assert plan.problems == ()
    carry_out(plan)
    assert contents(into) == whole


def test_a_state_is_carried_along_if_nobody_else_has_the_cell(cells):
    small = Path(*cells["small"].parts[1:])
    folder = unfinish(cells["small"])
    carry_out(plan_merge([Path("runs")], Path("all")))
    assert contents("all") == contents("runs")
    shutil.copytree("runs", "other")
    Path("other", small, "state.ckpt").write_bytes(b"another state")
    carry_out(plan_merge([Path("runs"), Path("other")], Path("both")))
    assert not Path("both", small).exists()
    fail(folder)
    plan = plan_merge([Path("runs"), Path("other")], Path("both"))
    carry_out(plan)
    assert any("unfinished" in note for note in plan.notes)
    both = CellFolder(Path("both", small))
    assert both.failure.is_file() and not both.state.exists()
    carry_out(plan_merge([Path("other")], Path("all")))  # which keeps its own
    assert Path("all", small, "state.ckpt").read_bytes() == b"a state"


def test_an_interrupted_merge_continues(halves, monkeypatch):
    carry_out(plan_merge([Path("one"), Path("two")], Path("all")))
    expected, copy = contents("all"), merging._copy
    for count in (0, 1, 5, 9, 12, 15, 20):
        left = iter(range(count))

        def stop(*arguments, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            copy(*arguments)

        target = Path(f"all-{count}")
        monkeypatch.setattr(merging, "_copy", stop)
        with pytest.raises(KeyboardInterrupt):
            carry_out(plan_merge([Path("one"), Path("two")], target))
        for path in cells_in(target):  # a record states only what is there
            folder = CellFolder(target / path)
            if folder.training.is_file():
                files = {k.relative_to(path) for k in expected if k.is_relative_to(path)}
                assert {file for file in files if not (folder.path / file).is_file()} == set()
        monkeypatch.setattr(merging, "_copy", copy)
        plan = plan_merge([Path("one"), Path("two")], target)
        assert plan.problems == ()
        carry_out(plan)
        assert contents(target) == expected


def test_damaged_files_are_named_before_anything_is_copied(cli, halves):
    weights = Path("two", halves["smaller"], "checkpoints/validation/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    training = Path("one", halves["small"], "training.json")
    training.write_text(training.read_text("utf-8").replace('"seconds": ', '"seconds": 1'), "utf-8")
    code, out, err = cli("merge", "one", "two", "--into", "all")
    assert (code, out) == (2, "")
    assert any(str(training) in line and "changed" in line for line in err.splitlines())
    assert any(str(weights) in line and "SHA-256" in line for line in err.splitlines())
    assert not Path("all").exists()


def test_cells_in_use_are_refused(cli, halves):
    for path in (
        CellFolder(Path("one", halves["small"])).lease,
        CellFolder(Path("two", halves["smaller"])).measure_lease("calibration-0"),
    ):
        with lease(path, "training"):
            code, out, err = cli("merge", "one", "two", "--into", "all")
        assert (code, out) == (2, "")
        assert "in use" in err and "(training)" in err
        assert not Path("all").exists()
    assert plan_merge([Path("one"), Path("two")], Path("all")).problems == ()  # released


def test_other_protocols_are_refused(cli, halves):
    path = BenchmarkFolder(Path("two/tiny")).record
    record = BenchmarkRecord.load(path)
    changed = record.benchmark.model_copy(update={"version": 2})
    record.model_copy(update={"benchmark": changed}).save(path)
    code, out, err = cli("merge", "one", "two", "--into", "all")
    assert (code, out) == (2, "")
    assert str(path) in err and "version 1 and 2" in err


def test_other_revisions_are_refused(cli, halves):
    old = CellFolder(Path("two", halves["smaller"]))
    config = TrainingConfig.load(old.config)
    model = config.model.model_copy(update={"revision": config.model.revision + 1})
    config = config.model_copy(update={"model": model})
    new = CellFolder(old.path.rename(old.path.with_name(config.folder_name)))
    config.save(new.config)
    edit(TrainingRecord, new.training, cell=config.folder_name)
    (measure,) = (new.path / "measures").glob("*.json")
    edit(MeasureRecord, measure, cell=config.folder_name)
    path = BenchmarkFolder(Path("two/tiny")).record
    record = BenchmarkRecord.load(path)
    place = halves["smaller"].with_name(config.folder_name).as_posix()
    cells = tuple(cell.model_copy(update={"path": place}) for cell in record.cells)
    record.model_copy(update={"cells": cells}).save(path)
    code, out, err = cli("merge", "one", "two", "--into", "all")
    assert (code, out) == (2, "")
    assert "model cnn-small" in err and f"revision {model.revision - 1} and {model.revision}" in err
    assert not Path("all").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", "--into", "all"), ("nothing", "not a folder")),
        ((".", "--into", "all"), ("holds no records",)),
        (("runs",), ("--into",)),
        (("runs", "--into", "tiny.yaml"), ("tiny.yaml",)),
    ],
    ids=["absent", "empty", "no target", "file"],
)
def test_bad_input_is_refused_in_one_line(refusal, cells, arguments, words):
    message = refusal("merge", *arguments)
    assert [word for word in words if word not in message] == []
